//! What a tunnel needs of time: a box of its own, only where a directive asks for it.

use core::cell::Cell;
use core::pin::Pin;

use websocket_guard_core::frame::Role;

use super::asked::Asked;
use super::clock::Moment;
use super::limits::{Limit, Limits};
use super::own::Own;
use super::random::random;
use super::wheel::Waiting;
use crate::configuration::tunnels::PingConf;
use crate::request::view::Request;

/// The moments that a tunnel waits for.
pub struct Watch {
    waiting: Waiting,
    state: Cell<u8>,
    /// The end of its lifetime.
    pub lifetime: Cell<Option<Moment>>,
    /// What comes next in a drain: the client is told to close, and then both sides have had time enough.
    pub drain: Cell<Option<Moment>>,
    /// When a side that is asked is to be looked at.
    pub ping: Cell<Option<Moment>>,
    /// The sides that are asked whether they are there.
    client: Option<Asked>,
    backend: Option<Asked>,
    /// What messages may be, if there is a limit.
    pub limits: Option<Own<Limits>>,
}

/// What may stand in the way of bytes: one byte of flags, since every event looks at it.
mod state {
    /// One of the moments may have come.
    pub const DUE: u8 = 1;
    /// A Ping to the client waits for its place between two frames.
    pub const CLIENT_PING: u8 = 2;
    /// The same to the backend.
    pub const BACKEND_PING: u8 = 4;
    /// The client of a tunnel whose worker leaves is being told to close, or was told.
    pub const DRAINING: u8 = 8;
    /// The backend of such a tunnel has sent a Close.
    pub const BACKEND_CLOSED: u8 = 16;
    /// Messages may have to wait.
    pub const PACED: u8 = 32;
}

/// The flag of a Ping to that side.
const fn ping_to(side: Role) -> u8 {
    match side {
        Role::Client => state::CLIENT_PING,
        Role::Server => state::BACKEND_PING,
    }
}

impl Watch {
    /// `call` is called when one of its moments has come.
    pub fn new(
        request: Request,
        call: fn(Request),
        ping: Option<PingConf>,
        limits: Option<Own<Limits>>,
    ) -> Self {
        let is_paced = limits.as_ref().is_some_and(|limits| limits.are_paced());
        let asked = |is_asked: bool| is_asked.then(|| Asked::new(random()));
        Self {
            waiting: Waiting::new(request, call),
            state: Cell::new(if is_paced { state::PACED } else { 0 }),
            lifetime: Cell::new(None),
            drain: Cell::new(None),
            ping: Cell::new(None),
            client: ping.and_then(|ping| asked(ping.client)),
            backend: ping.and_then(|ping| asked(ping.backend)),
            limits,
        }
    }

    /// Waits for the next of its moments.
    pub fn wait(self: Pin<&Self>) {
        // A drain that is under way is the last thing that a tunnel does.
        let message = self.limits.as_ref().and_then(|limits| limits.due());
        let others = [self.lifetime.get(), self.ping.get(), message]
            .map(|it| it.filter(|_| !self.is_draining()));
        if let Some(moment) = [self.drain.get()].into_iter().chain(others).flatten().min() {
            // SAFETY: it is a field, never moved out of a value that is not moved.
            unsafe { self.map_unchecked(|watch| &watch.waiting) }.wait_until(moment);
        }
    }

    /// A side that is asked.
    #[inline(always)]
    pub fn asked(&self, side: Role) -> Option<&Asked> {
        match side {
            Role::Client => self.client.as_ref(),
            Role::Server => self.backend.as_ref(),
        }
    }

    /// What the messages of a side may be.
    #[inline(always)]
    pub fn limit(&self, sender: Role) -> Option<&Limit> {
        Some(self.limits.as_ref()?.of_sender(sender))
    }
}

/// Its flags.
impl Watch {
    /// Whether it only waits for what has not come yet, so that bytes pass as in a tunnel without a watch.
    #[inline(always)]
    pub fn is_quiet(&self) -> bool {
        self.state.get() == 0
    }

    fn has(&self, flag: u8) -> bool {
        self.state.get() & flag != 0
    }

    fn set(&self, flag: u8, value: bool) {
        let others = self.state.get() & !flag;
        self.state.set(if value { others | flag } else { others });
    }

    /// Whether the client of a tunnel whose worker leaves is being told to close, or was told.
    pub fn is_draining(&self) -> bool {
        self.has(state::DRAINING)
    }

    /// From now on it is. Both sides have time until then.
    pub fn set_draining(&self, until: Moment) {
        self.drain.set(Some(until));
        self.set(state::DRAINING, true);
    }

    /// Whether the backend of such a tunnel has sent a Close.
    pub fn has_backend_closed(&self) -> bool {
        self.has(state::BACKEND_CLOSED)
    }

    pub fn set_backend_closed(&self) {
        self.set(state::BACKEND_CLOSED, true);
    }

    /// Whether a Ping to a side waits for its place between two frames.
    pub fn is_ping_pending(&self, side: Role) -> bool {
        self.has(ping_to(side))
    }

    pub fn set_ping_pending(&self, side: Role, is_pending: bool) {
        self.set(ping_to(side), is_pending);
    }

    /// One of its moments may have come.
    pub fn set_due(&self) {
        self.set(state::DUE, true);
    }

    /// Whether that is so; it is not any more.
    pub fn take_due(&self) -> bool {
        let is_due = self.has(state::DUE);
        self.set(state::DUE, false);
        is_due
    }
}
