//! What is known of a side that is asked whether it is there: Pings that were sent, and what Pongs tell.

use core::cell::Cell;

use websocket_guard_core::frame::control::ControlFrame;
use websocket_guard_core::frame::{Mask, Pings};

use super::clock::Moment;
use crate::configuration::tunnels::PingConf;

/// One side that is asked.
pub struct Asked {
    pings: Cell<Pings>,
    /// The moment from which its silence counts: a byte came, a Ping of ours or the application left.
    quiet_since: Cell<Moment>,
    /// When the first Ping left after which nothing came.
    waits_since: Cell<Option<Moment>>,
    /// When the last Ping left.
    last_sent: Cell<Option<Moment>>,
    /// How long the last Pong took that was waited for, in milliseconds.
    round_trip: Cell<Option<u32>>,
}

/// What is to be done about a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before that moment.
    At(Moment),
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
            quiet_since: Cell::new(Moment::now()),
            waits_since: Cell::new(None),
            last_sent: Cell::new(None),
            round_trip: Cell::new(None),
        }
    }

    pub fn pings(&self) -> Pings {
        self.pings.get()
    }

    /// In milliseconds.
    pub fn round_trip(&self) -> Option<u32> {
        self.round_trip.get()
    }

    /// A byte came from that side, or could not come, or nothing can be asked now.
    #[inline(always)]
    pub fn hear(&self) {
        self.quiet_since.set(Moment::now());
        self.waits_since.set(None);
    }

    /// A Ping of the application went to it. Another one would let it leave out the answer to that one
    /// (RFC 6455 section 5.5.3).
    pub fn note_foreign_ping(&self) {
        self.quiet_since.set(Moment::now());
    }

    /// A Pong of ours came.
    pub fn note_answer(&self, number: u32) {
        let mut pings = self.pings.get();
        if pings.answer(number) && number == pings.last() {
            let time = self.last_sent.get().map(|sent| Moment::now().since(sent));
            self.round_trip.set(time.and_then(|time| u32::try_from(time).ok()));
        }
        self.pings.set(pings);
    }

    /// The next Ping, which leaves now.
    pub fn next(&self, key: Option<Mask>) -> ControlFrame {
        let mut pings = self.pings.get();
        let frame = pings.next(key);
        self.pings.set(pings);
        let now = Moment::now();
        self.quiet_since.set(now);
        self.last_sent.set(Some(now));
        if self.waits_since.get().is_none() {
            self.waits_since.set(Some(now));
        }
        frame
    }

    /// What is to be done now. One that is pending leaves when there is a place for it.
    pub fn due(&self, conf: PingConf, is_pending: bool) -> Due {
        let dead = match (self.waits_since.get(), conf.timeout) {
            (Some(since), Some(timeout)) => Some(since.plus(timeout)),
            _ => None,
        };
        if dead.is_some_and(Moment::is_past) {
            return Due::Dead;
        }
        let ping = self.quiet_since.get().plus(conf.interval);
        if !is_pending && ping.is_past() {
            return Due::Ping;
        }
        let ping = if is_pending { Moment::later(conf.interval) } else { ping };
        Due::At(dead.map_or(ping, |dead| dead.min(ping)))
    }

    /// It has not answered, but it is slow and not dead: the time begins anew.
    pub fn be_patient(&self) {
        if self.waits_since.get().is_some() {
            self.waits_since.set(Some(Moment::now()));
        }
    }
}
