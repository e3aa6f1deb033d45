//! What the two sides of a tunnel are told at its end, and how far that has come: a Close for a side that has
//! had none, and a moment to let it arrive.

use core::cell::Cell;

use websocket_guard_core::diagnosis::{End, FrameError, MessageTooLarge};
use websocket_guard_core::frame::control::{self, ControlFrame};
use websocket_guard_core::frame::{CloseCode, Control, Mask, Role};

use crate::request::record::FirstClose;

/// How long a side may take to answer a Close, in milliseconds.
pub const PATIENCE: ngx::ffi::ngx_msec_t = 1000;

/// An end that is under way.
pub struct Closing {
    /// Whether nginx is to end the request as one that failed.
    pub is_failure: bool,
    pub codes: Cell<Codes>,
}

impl Closing {
    /// An end of which nobody was told yet.
    pub fn new(is_failure: bool, codes: Codes) -> Self {
        Self { is_failure, codes: Cell::new(codes) }
    }
}

/// What is still to be done with one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It gets this Close behind the frame that is on its way to it; whether it has sent its own.
    Within { code: Option<CloseCode>, has_closed: bool },
    /// It gets this Close once it may; whether it has sent its own.
    Pending { code: Option<CloseCode>, has_closed: bool },
    /// It has got it. What it sends is read and thrown away, since unread bytes would make its system
    /// reset the connection and destroy the Close; until its own Close comes.
    Sent { has_closed: bool },
    /// Nothing.
    Over,
}

/// What the guard's Close says after an end: to the client, and to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    pub client: Farewell,
    pub backend: Farewell,
    /// Whether the backend is the one whom it concerns, and is told first.
    pub backend_first: bool,
}

impl Codes {
    const fn new(client: Farewell, backend: Farewell) -> Self {
        Self { client, backend, backend_first: false }
    }

    /// What follows from an end. Whoever has sent a Close gets its own code back.
    pub fn of(end: End, first_close: Option<FirstClose>) -> Self {
        // Whether a side has sent its own is seen to by whoever asks.
        const fn code(code: CloseCode) -> Farewell {
            Farewell::Pending { code: Some(code), has_closed: false }
        }
        let own = || Farewell::Pending {
            code: first_close.and_then(|close| close.code),
            has_closed: false,
        };
        match end {
            End::Closed => Self::new(Farewell::Over, Farewell::Over),
            End::ClientClose => Self::new(own(), Farewell::Over),
            End::BackendClose => Self::new(Farewell::Over, own()),
            End::ClientGone | End::ClientReset | End::ClientStalled | End::ClientDead => {
                Self::new(Farewell::Over, code(CloseCode::AWAY))
            }
            End::BackendGone | End::BackendReset | End::BackendStalled | End::BackendDead => {
                Self::new(code(CloseCode::BAD_GATEWAY), Farewell::Over)
            }
            End::Idle => Self::new(code(CloseCode::AWAY), code(CloseCode::AWAY)),
            End::Shutdown | End::FastStop => {
                Self::new(code(CloseCode::RESTART), code(CloseCode::RESTART))
            }
            End::Lifetime => Self::new(code(CloseCode::POLICY), code(CloseCode::POLICY)),
            End::MessageTooLarge(MessageTooLarge { sender: Role::Client, .. }) => {
                Self::new(code(CloseCode::SIZE), code(CloseCode::AWAY))
            }
            End::MessageTooLarge(MessageTooLarge { sender: Role::Server, .. }) => {
                let codes = Self::new(code(CloseCode::AWAY), code(CloseCode::SIZE));
                Self { backend_first: true, ..codes }
            }
            End::MessageRate(_) => Self::new(code(CloseCode::POLICY), code(CloseCode::AWAY)),
            // The tunnel goes on.
            End::LifetimeUnknown => Self::new(Farewell::Over, Farewell::Over),
            // The client was told before, with the code that is configured.
            End::Drained => Self::new(Farewell::Over, code(CloseCode::AWAY)),
            End::FrameError(FrameError { sender: Role::Client, .. }) => {
                Self::new(code(CloseCode::PROTOCOL), code(CloseCode::AWAY))
            }
            End::FrameError(FrameError { sender: Role::Server, .. }) => {
                let codes = Self::new(code(CloseCode::AWAY), code(CloseCode::PROTOCOL));
                Self { backend_first: true, ..codes }
            }
        }
    }
}

/// A Close, masked with `key`.
pub fn close_frame(code: Option<CloseCode>, key: Option<Mask>) -> Option<ControlFrame> {
    match code {
        Some(code) => Some(control::close(code, "", key)),
        None => control::frame(Control::Close, &[], key),
    }
}
