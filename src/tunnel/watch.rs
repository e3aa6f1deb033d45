//! What a tunnel needs of time: a box of its own, only where a directive asks for it.

use core::cell::Cell;
use core::pin::Pin;

use ngx::ffi::ngx_msec_t;

use websocket_guard_core::frame::Role;

use super::asked::Asked;
use super::clock::is_past;
use super::limits::Limits;
use super::random::random;
use super::wheel::Waiting;
use crate::configuration::tunnels::PingConf;
use crate::request::view::Request;

/// The moments that a tunnel waits for.
pub struct Watch {
    waiting: Waiting,
    /// Whether one of them may have come.
    is_due: Cell<bool>,
    /// The end of its lifetime, as `ngx_current_msec`.
    pub lifetime: Cell<Option<ngx_msec_t>>,
    pub drain: Cell<Turn>,
    /// The sides that are asked whether they are there.
    pub client: Option<Asked>,
    pub backend: Option<Asked>,
    /// When one of them is to be looked at.
    pub ping: Cell<Option<ngx_msec_t>>,
    /// Whether the backend of a tunnel that is drained has sent a Close.
    pub backend_closed: Cell<bool>,
    /// What messages may be, if there is a limit.
    pub limits: Option<Limits>,
}

/// How far a tunnel of a worker that leaves has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The worker stays.
    #[default]
    Off,
    /// It is closed at that moment.
    At(ngx_msec_t),
    /// The client is being told, or was told, to close; both sides have time until then.
    Under { until: ngx_msec_t },
}

impl Turn {
    /// Whether something is to be done for a drain.
    pub fn is_due(self) -> bool {
        match self {
            Self::Off => false,
            Self::At(moment) | Self::Under { until: moment } => is_past(moment),
        }
    }
}

impl Watch {
    /// `call` is called when one of its moments has come.
    pub fn new(
        request: Request,
        call: fn(Request),
        ping: Option<PingConf>,
        limits: Option<Limits>,
    ) -> Self {
        let asked = |is_asked: bool| is_asked.then(|| Asked::new(random()));
        Self {
            waiting: Waiting::new(request, call),
            is_due: Cell::new(false),
            lifetime: Cell::new(None),
            drain: Cell::new(Turn::Off),
            client: ping.and_then(|ping| asked(ping.client)),
            backend: ping.and_then(|ping| asked(ping.backend)),
            ping: Cell::new(None),
            backend_closed: Cell::new(false),
            limits,
        }
    }

    /// Waits for the next of its moments.
    pub fn wait(self: Pin<&Self>) {
        let drain = match self.drain.get() {
            Turn::Off => None,
            Turn::At(moment) | Turn::Under { until: moment } => Some(moment),
        };
        // A drain that is under way is the last thing that a tunnel does.
        let message = self.limits.as_ref().and_then(Limits::due);
        let others = [self.lifetime.get(), self.ping.get(), message]
            .map(|it| it.filter(|_| !self.is_draining()));
        if let Some(moment) = [drain].into_iter().chain(others).flatten().min() {
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

    pub fn is_draining(&self) -> bool {
        matches!(self.drain.get(), Turn::Under { .. })
    }

    pub fn set_due(&self) {
        self.is_due.set(true);
    }

    #[inline(always)]
    pub fn take_due(&self) -> bool {
        self.is_due.replace(false)
    }
}
