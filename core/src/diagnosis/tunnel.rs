//! How a tunnel ended.

use crate::findings::EndFinding;
use crate::frame::rate::Rate;
use crate::frame::{Role, Violation};
use crate::words::Mode;

use super::facts::Handler;

/// One tunnel, when nginx calls the `u->finalize_request` that was replaced at the 101.
#[derive(Clone, Copy, Debug)]
pub struct TunnelEnd<'a> {
    /// What ended it; see [`End::infer`].
    pub end: End,
    /// Time since the 101.
    pub age_ms: u64,
    /// The limit that ran out: the read timeout of `u->conf` for an idle tunnel, else the send
    /// timeout of that side. 0 if none did.
    pub limit_ms: u64,
    /// Time since the client's last byte.
    pub client_silent_ms: u64,
    /// Time since the backend's last byte.
    pub backend_silent_ms: u64,
    /// `u->peer.name`.
    pub peer: &'a [u8],
    /// The location's handler.
    pub handler: Handler,
    /// What websocket_guard says in the location.
    pub mode: Mode,
    /// What the variable of websocket_guard_lifetime says, where that is no number.
    pub lifetime: &'a [u8],
}

/// What ended a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended in order, or in a way that is not known: nobody looked at its frames.
    Closed,
    /// The client sent a Close frame first.
    ClientClose,
    /// The backend sent a Close frame first.
    BackendClose,
    /// The client's connection ended without a Close frame.
    ClientGone,
    /// The backend's connection ended without a Close frame.
    BackendGone,
    /// The idle limit ran out.
    Idle,
    /// The client did not read.
    ClientStalled,
    /// The backend did not read.
    BackendStalled,
    /// The client reset its connection.
    ClientReset,
    /// The backend reset its connection.
    BackendReset,
    /// worker_shutdown_timeout ran out.
    Shutdown,
    /// nginx was stopped at once.
    FastStop,
    /// A frame broke RFC 6455.
    FrameError(FrameError),
    /// No answer of the client to a Ping of the guard's.
    ClientDead,
    /// No answer of the backend to one.
    BackendDead,
    /// A message was too large.
    MessageTooLarge(MessageTooLarge),
    /// The client sent messages too fast.
    MessageRate(MessageRate),
    /// Its lifetime was over.
    Lifetime,
    /// None: what is to limit its lifetime is no number, so that it goes on without a limit.
    LifetimeUnknown,
    /// It was closed since its worker leaves.
    Drained,
}

/// A frame that breaks RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// Who sent it.
    pub sender: Role,
    /// The rule.
    pub violation: Violation,
    /// Whether the tunnel ends therefore; else it goes on, and its frames are not looked at any more.
    pub is_end: bool,
}

/// A message that is larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTooLarge {
    /// Who sent it.
    pub sender: Role,
    /// The payload of its frames up to the one that was refused, in bytes; more may follow.
    pub size: u64,
    /// The most that it may be.
    pub limit: u64,
}

/// A message that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRate {
    /// How many the client had sent.
    pub messages: u64,
    /// How many it may.
    pub rate: Rate,
}

/// What nginx's structures say when a tunnel ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndSigns {
    /// The argument of `u->finalize_request`.
    pub rc: isize,
    /// `c->read->eof` of the client.
    pub client_eof: bool,
    /// `c->read->error` or `c->write->error` of the client.
    pub client_error: bool,
    /// `c->read->eof` of the backend.
    pub backend_eof: bool,
    /// `c->read->error` or `c->write->error` of the backend.
    pub backend_error: bool,
    /// `c->write->timedout` of the backend.
    pub backend_write_timedout: bool,
    /// `c->close` of the client and `ngx_exiting`: the shutdown timer closes connections so.
    pub shutdown: bool,
    /// Who sent a Close frame first, if that is known.
    pub first_close: Option<Role>,
    /// Whether the frames of the client were looked at, all of them.
    pub client_tracked: bool,
    /// Whether the frames of the backend were looked at, all of them.
    pub backend_tracked: bool,
    /// Where both connections have ended: whether that of the client did first.
    pub client_first: bool,
}

impl End {
    /// What these signs mean.
    pub fn infer(signs: EndSigns) -> Self {
        match signs.rc {
            408 => return Self::ClientStalled,
            504 if signs.backend_write_timedout => return Self::BackendStalled,
            504 => return Self::Idle,
            _ => {}
        }
        match signs.first_close {
            Some(Role::Client) => return Self::ClientClose,
            Some(Role::Server) => return Self::BackendClose,
            None => {}
        }
        // nginx sets eof together with error when it could not read. An orderly close of one side
        // explains why the other side then fails.
        let client_closed = signs.client_eof && !signs.client_error;
        let backend_closed = signs.backend_eof && !signs.backend_error;
        if client_closed && (signs.client_first || !backend_closed) {
            if signs.client_tracked {
                Self::ClientGone
            } else {
                Self::Closed
            }
        } else if backend_closed {
            if signs.backend_tracked {
                Self::BackendGone
            } else {
                Self::Closed
            }
        } else if signs.backend_error {
            Self::BackendReset
        } else if signs.client_error {
            Self::ClientReset
        } else if signs.shutdown {
            Self::Shutdown
        } else {
            Self::Closed
        }
    }

    /// Which finding it is; `None` for a normal end.
    pub fn finding(self) -> Option<EndFinding> {
        Some(match self {
            Self::Closed | Self::ClientClose | Self::BackendClose => return None,
            Self::ClientGone => EndFinding::TunnelClientGone,
            Self::BackendGone => EndFinding::TunnelBackendGone,
            Self::Idle => EndFinding::TunnelIdle,
            Self::ClientStalled => EndFinding::TunnelClientStalled,
            Self::BackendStalled => EndFinding::TunnelBackendStalled,
            Self::ClientReset => EndFinding::TunnelClientReset,
            Self::BackendReset => EndFinding::TunnelBackendReset,
            Self::Shutdown | Self::FastStop => EndFinding::TunnelShutdown,
            Self::FrameError(_) => EndFinding::TunnelFrameError,
            Self::ClientDead => EndFinding::TunnelClientDead,
            Self::BackendDead => EndFinding::TunnelBackendDead,
            Self::MessageTooLarge(_) => EndFinding::TunnelMessageTooLarge,
            Self::MessageRate(_) => EndFinding::TunnelMessageRate,
            Self::Lifetime => EndFinding::TunnelLifetime,
            Self::LifetimeUnknown => EndFinding::TunnelLifetimeUnknown,
            Self::Drained => EndFinding::TunnelDrained,
        })
    }

    /// The value of `$websocket_guard_end`; empty where only frames would tell more.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed | Self::LifetimeUnknown => "",
            Self::ClientClose => "client-close",
            Self::BackendClose => "backend-close",
            Self::ClientGone => "client-gone",
            Self::BackendGone => "backend-gone",
            Self::Idle => "idle",
            Self::ClientStalled => "client-stalled",
            Self::BackendStalled => "backend-stalled",
            Self::ClientReset => "client-reset",
            Self::BackendReset => "backend-reset",
            Self::Shutdown | Self::FastStop => "shutdown",
            Self::FrameError(_) => "frame-error",
            Self::ClientDead | Self::BackendDead => "ping-timeout",
            Self::MessageTooLarge(_) => "message-too-large",
            Self::MessageRate(_) => "message-rate",
            Self::Lifetime => "lifetime",
            Self::Drained => "drained",
        }
    }
}
