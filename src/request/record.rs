//! What is remembered of a tunnel for the access log, which is written when its pump is gone.

use core::cell::Cell;

use ngx::ffi::ngx_str_t;
use websocket_guard_core::diagnosis::End;
use websocket_guard_core::frame::control::Close;
use websocket_guard_core::frame::{CloseCode, Role};

use crate::request::view::Request;

/// How a tunnel ended and what it carried. It lives in the request's pool, from the first Close or the
/// end of the tunnel on.
#[derive(Default)]
pub struct Record {
    end: Cell<Option<End>>,
    first_close: Cell<Option<FirstClose>>,
    client: Cell<Option<Carried>>,
    backend: Cell<Option<Carried>>,
    client_round_trip: Cell<Option<u32>>,
    backend_round_trip: Cell<Option<u32>>,
}

/// The first Close of a tunnel.
#[derive(Clone, Copy)]
pub struct FirstClose {
    /// Who sent it; `None` for the guard.
    pub sender: Option<Role>,
    /// Its code, if it had one.
    pub code: Option<CloseCode>,
    reason: ngx_str_t,
}

/// What came from one side.
#[derive(Clone, Copy)]
pub struct Carried {
    /// Messages that are complete.
    pub messages: u64,
    /// The payload of data frames.
    pub bytes: u64,
}

impl Record {
    /// The record of a tunnel, which is begun when it is asked for; `None` if memory runs out.
    pub fn of(request: &Request) -> Option<&'static Self> {
        let place = &request.attempt()?.record;
        if place.get().is_none() {
            place.set(request.place(Self::default()));
        }
        place.get()
    }

    /// Notes a Close that one side sent, if it is the first.
    pub fn note_close(&self, request: &Request, sender: Role, close: &Close) {
        if self.first_close.get().is_none() {
            let reason = request.copy(&close.reason()).unwrap_or_default();
            self.first_close.set(Some(FirstClose {
                sender: Some(sender),
                code: close.code(),
                reason,
            }));
        }
    }

    /// Notes a Close of the guard's, if it is the first.
    pub fn note_own_close(&self, code: Option<CloseCode>) {
        if self.first_close.get().is_none() {
            let reason = ngx_str_t::empty();
            self.first_close.set(Some(FirstClose { sender: None, code, reason }));
        }
    }

    pub fn first_close(&self) -> Option<FirstClose> {
        self.first_close.get()
    }

    /// Notes how the tunnel ended; the first time counts.
    pub fn note_end(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
        }
    }

    /// How the tunnel ended.
    pub fn end(&self) -> Option<End> {
        self.end.get()
    }

    /// Notes what came from both sides.
    pub fn note_carried(&self, client: Option<Carried>, backend: Option<Carried>) {
        self.client.set(client);
        self.backend.set(backend);
    }

    /// Notes how long the last Pongs took.
    pub fn note_round_trips(&self, client: Option<u32>, backend: Option<u32>) {
        self.client_round_trip.set(client);
        self.backend_round_trip.set(backend);
    }

    /// How long the last Pong of one side took, in milliseconds.
    pub fn round_trip(&self, side: Role) -> Option<u32> {
        match side {
            Role::Client => self.client_round_trip.get(),
            Role::Server => self.backend_round_trip.get(),
        }
    }

    /// What came from one side, if its frames were looked at.
    pub fn carried(&self, sender: Role) -> Option<Carried> {
        match sender {
            Role::Client => self.client.get(),
            Role::Server => self.backend.get(),
        }
    }
}

impl FirstClose {
    /// The code for the access log.
    pub fn printed_code(&self) -> CloseCode {
        self.code.unwrap_or(CloseCode::STATUS)
    }

    /// Its reason, as it came.
    pub fn reason(&self) -> &'static [u8] {
        self.reason.into()
    }
}
