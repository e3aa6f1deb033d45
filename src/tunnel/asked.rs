//! What is known of a side that is asked whether it is there: Pings that were sent, and what Pongs tell.

use core::cell::Cell;

use ngx::ffi::ngx_msec_t;
use websocket_guard_core::frame::control::ControlFrame;
use websocket_guard_core::frame::{Mask, Pings};

use super::clock::{is_past, now};
use crate::configuration::tunnels::PingConf;

/// One side that is asked.
pub struct Asked {
    pings: Cell<Pings>,
    /// The moment from which its silence counts: a byte came, a Ping of ours or the application left.
    quiet_since: Cell<ngx_msec_t>,
    /// When the first Ping left after which nothing came.
    waits_since: Cell<Option<ngx_msec_t>>,
    /// When the last Ping left.
    last_sent: Cell<ngx_msec_t>,
    /// The last round trip that was measured.
    round_trip: Cell<Option<ngx_msec_t>>,
    /// Whether a Ping waits for its place between two frames.
    is_pending: Cell<bool>,
}

/// What is to be done about a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before that moment.
    At(ngx_msec_t),
    /// Ask it.
    Ping,
    /// It has not answered.
    Dead,
}

impl Asked {
    /// `token` is what no application has in its Pings.
    pub fn new(token: [u8; 8]) -> Self {
        Self {
            pings: Cell::new(Pings::new(token)),
            quiet_since: Cell::new(now()),
            waits_since: Cell::new(None),
            last_sent: Cell::new(0),
            round_trip: Cell::new(None),
            is_pending: Cell::new(false),
        }
    }

    pub fn pings(&self) -> Pings {
        self.pings.get()
    }

    pub fn round_trip(&self) -> Option<ngx_msec_t> {
        self.round_trip.get()
    }

    /// A byte came from that side, or could not come.
    #[inline(always)]
    pub fn hear(&self) {
        self.quiet_since.set(now());
        self.waits_since.set(None);
    }

    /// Nothing can be asked now; the time begins anew.
    pub fn put_off(&self) {
        self.is_pending.set(false);
        self.quiet_since.set(now());
        self.waits_since.set(None);
    }

    /// A Ping of the application went to it. Another one would let it leave out the answer to that one
    /// (RFC 6455 section 5.5.3).
    pub fn note_foreign_ping(&self) {
        self.quiet_since.set(now());
    }

    /// A Pong of ours came.
    pub fn note_answer(&self, number: u32) {
        let mut pings = self.pings.get();
        if pings.answer(number) && number == pings.last() {
            self.round_trip.set(Some(now().saturating_sub(self.last_sent.get())));
        }
        self.pings.set(pings);
    }

    pub fn is_pending(&self) -> bool {
        self.is_pending.get()
    }

    pub fn set_pending(&self, is_pending: bool) {
        self.is_pending.set(is_pending);
    }

    /// The next Ping, which leaves now.
    pub fn next(&self, key: Option<Mask>) -> ControlFrame {
        let mut pings = self.pings.get();
        let frame = pings.next(key);
        self.pings.set(pings);
        self.is_pending.set(false);
        self.quiet_since.set(now());
        self.last_sent.set(now());
        if self.waits_since.get().is_none() {
            self.waits_since.set(Some(now()));
        }
        frame
    }

    /// What is to be done now.
    pub fn due(&self, conf: PingConf) -> Due {
        let dead = match (self.waits_since.get(), conf.timeout) {
            (Some(since), Some(timeout)) => Some(since.saturating_add(timeout)),
            _ => None,
        };
        if dead.is_some_and(is_past) {
            return Due::Dead;
        }
        let ping = self.quiet_since.get().saturating_add(conf.interval);
        if !self.is_pending.get() && is_past(ping) {
            return Due::Ping;
        }
        // One that is pending leaves when there is a place for it.
        let ping = if self.is_pending.get() { now().saturating_add(conf.interval) } else { ping };
        Due::At(dead.map_or(ping, |dead| dead.min(ping)))
    }

    /// It has not answered, but it is slow and not dead: the time begins anew.
    pub fn be_patient(&self) {
        if self.waits_since.get().is_some() {
            self.waits_since.set(Some(now()));
        }
    }
}
