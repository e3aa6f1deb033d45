//! How a tunnel ended.

use ngx::ffi::{ngx_exiting, ngx_int_t};
use websocket_guard_core::diagnosis::{End, EndSigns};

use super::side::Broken;
use crate::nginx::AllocationFailed;
use crate::request::record::Record;
use crate::request::view::Request;

/// What the frames of a tunnel tell of its end.
#[derive(Clone, Copy, Default)]
pub struct Frames {
    /// Whether the client's frames are known up to the end.
    pub client_tracked: bool,
    /// Whether the backend's are.
    pub backend_tracked: bool,
    /// Whether the client's end was seen before the backend's.
    pub client_first: bool,
}

/// What is known of an end.
#[derive(Clone, Copy)]
pub enum How {
    /// The argument of `u->finalize_request`.
    Found(ngx_int_t),
    /// The guard makes it.
    Known(End),
}

/// Why a tunnel cannot go on.
pub enum Ending {
    /// A side has closed and the other has all of its bytes, or a limit of nginx's has passed.
    Over,
    /// A frame is refused.
    Refused(End),
    Broken,
}

impl From<Broken> for Ending {
    fn from(Broken: Broken) -> Self {
        Self::Broken
    }
}

impl From<AllocationFailed> for Ending {
    fn from(_: AllocationFailed) -> Self {
        Self::Broken
    }
}

/// Notes and reports how a tunnel ended, the first time that it is called. Returns that end; `None` if memory
/// runs out.
pub fn conclude(request: &Request, how: How, frames: Option<Frames>) -> Option<End> {
    let record = Record::of(request)?;
    if let Some(end) = record.end() {
        return Some(end);
    }
    let end = match how {
        How::Found(rc) => infer(request, record, frames.unwrap_or_default(), rc)?,
        How::Known(end) => end,
    };
    record.note_end(end);
    observe(request, end);
    Some(end)
}

/// Tells the tunnel's observer of its end, or of what happens in it.
pub fn observe(request: &Request, end: End) {
    if let Some(switched) = request.attempt().and_then(|attempt| attempt.switched.get()) {
        (switched.observer)(request, end);
    }
}

/// What ended a tunnel that nginx is about to finalize.
fn infer(request: &Request, record: &Record, frames: Frames, rc: ngx_int_t) -> Option<End> {
    // SAFETY: the upstream and its connection belong to the live request.
    let backend = unsafe { request.upstream()?.as_ref().peer.connection.as_ref()? };
    let client = request.connection();
    // SAFETY: open connections have both events.
    let (client_events, backend_events) =
        unsafe { ((&*client.read, &*client.write), (&*backend.read, &*backend.write)) };
    let first_close = record.first_close();
    Some(End::infer(EndSigns {
        rc,
        client_eof: client_events.0.eof() != 0,
        client_error: client_events.0.error() != 0 || client_events.1.error() != 0,
        backend_eof: backend_events.0.eof() != 0,
        backend_error: backend_events.0.error() != 0 || backend_events.1.error() != 0,
        backend_write_timedout: backend_events.1.timedout() != 0,
        // SAFETY: nginx changes it between two events only.
        shutdown: client.close() != 0 && unsafe { ngx_exiting } != 0,
        first_close: first_close.and_then(|close| close.sender),
        client_tracked: frames.client_tracked,
        backend_tracked: frames.backend_tracked,
        client_first: frames.client_first,
    }))
}
