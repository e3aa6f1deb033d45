//! How a tunnel ended.

use crate::findings::EndFinding;
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
}

/// What ended a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client or the backend closed it.
    Closed,
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
        // nginx sets eof together with error when it could not read. An orderly close of one side
        // explains why the other side then fails.
        let client_closed = signs.client_eof && !signs.client_error;
        let backend_closed = signs.backend_eof && !signs.backend_error;
        if client_closed || backend_closed {
            Self::Closed
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
    pub(super) fn finding(self) -> Option<EndFinding> {
        Some(match self {
            Self::Closed => return None,
            Self::Idle => EndFinding::TunnelIdle,
            Self::ClientStalled => EndFinding::TunnelClientStalled,
            Self::BackendStalled => EndFinding::TunnelBackendStalled,
            Self::ClientReset => EndFinding::TunnelClientReset,
            Self::BackendReset => EndFinding::TunnelBackendReset,
            Self::Shutdown => EndFinding::TunnelShutdown,
        })
    }
}
