//! Messages of the client that come too early: they wait, or end the tunnel.

use ngx::ffi::ngx_msec_t;
use websocket_guard_core::diagnosis::{self, End};

use super::clock::Moment;
use super::connections::Tunnel;
use super::direction::Direction;
use super::frames::Gate;
use super::limits::Limit;
use super::pump::Pump;
use crate::configuration::tunnels::MessageRate;

impl Pump {
    /// What the messages that go this way may be.
    #[inline(always)]
    pub fn limit(&self, direction: Direction) -> Option<&Limit> {
        self.watch()?.get_ref().limit(direction.sender())
    }

    /// Whether bytes that go this way were read and wait.
    #[inline(always)]
    pub fn keeps(&self, direction: Direction) -> bool {
        self.limit(direction).is_some_and(|limit| !limit.kept.is_empty())
    }

    /// The gate that messages have to pass this way. In a drain none has to wait: the tunnel is gone soon, and
    /// nothing of it is to be lost.
    pub fn gate(&self, direction: Direction) -> Option<Gate> {
        let pace = self.limit(direction)?.pace.as_ref()?;
        (pace.conf.closes || !self.is_draining()).then(|| pace.gate())
    }

    /// A message this way is too early. It waits, or it is the end of the tunnel.
    pub fn wait_for_room(&self, direction: Direction) -> Option<End> {
        let watch = self.watch()?;
        let pace = self.limit(direction)?.pace.as_ref()?;
        let MessageRate { rate, closes } = pace.conf;
        if closes {
            let messages = self.lane(direction).tracker().messages();
            return Some(End::MessageRate(diagnosis::MessageRate { messages, rate }));
        }
        pace.due.set(Some(Moment::at(pace.bucket.get().due(rate) as ngx_msec_t)));
        watch.wait();
        None
    }

    /// Whether messages wait whose client is not there any more: it reset its connection.
    pub fn waits_in_vain(&self, tunnel: &Tunnel, direction: Direction) -> bool {
        direction == Direction::ToBackend && self.keeps(direction) && tunnel.client.find_reset()
    }

    /// How long a message of the client's has to wait, in milliseconds. Called when what could be moved was
    /// moved.
    pub fn hold(&self, tunnel: &Tunnel) -> ngx_msec_t {
        let Some(limit) = self.limit(Direction::ToBackend) else { return 0 };
        let Some(pace) = &limit.pace else { return 0 };
        if limit.kept.is_empty() {
            if !tunnel.client.is_readable() {
                let mut bucket = pace.bucket.get();
                bucket.rest();
                pace.bucket.set(bucket);
            }
            return 0;
        }
        pace.due.get().map_or(0, |due| due.since(Moment::now()))
    }
}
