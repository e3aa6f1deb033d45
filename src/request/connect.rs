//! The system's error where a connection to a backend cannot be made.
//!
//! nginx keeps it nowhere. What asks the socket gets it once (`ngx_http_upstream_test_connect`), and what fails
//! at once is told to the log only (`ngx_event_connect_peer`). So while a try is under way the handler of the
//! connection's log, which writes ", client: ..." behind each line, is one that reads what it is written behind.

use core::iter;

use ngx::ffi::{
    ngx_cycle, ngx_http_log_ctx_t, ngx_http_upstream_t, ngx_log_handler_pt, ngx_log_t, u_char,
};
use websocket_guard_core::diagnosis::{Cause, Failure, Step, Unconnected};

use crate::nginx::{bytes, c_bytes};
use crate::request::exchange::Exchange;
use crate::request::view::Request;

/// Puts the handler in its place, when the balancer has chosen a server.
///
/// # Safety
/// `log` must be the log of the request's connection.
pub unsafe fn watch(exchange: &Exchange, log: *mut ngx_log_t) {
    // SAFETY: the connection's log is live.
    unsafe {
        if exchange.log_handler.get().is_none() {
            exchange.log_handler.set((*log).handler.replace(log_handler));
        }
    }
}

/// Puts the one that was there back, when nginx is done with the server.
///
/// # Safety
/// `log` must be the log of the request's connection.
pub unsafe fn unwatch(exchange: &Exchange, log: *mut ngx_log_t) {
    // SAFETY: the connection's log is live.
    unsafe {
        // Another module may since have put one of its own before it.
        if is_ours((*log).handler) {
            (*log).handler = exchange.log_handler.take();
        }
    }
}

fn is_ours(handler: ngx_log_handler_pt) -> bool {
    handler.is_some_and(|handler| handler as usize == log_handler as *const () as usize)
}

/// What nginx calls for each line of the log while a try is watched.
///
/// # Safety
/// `log` must be that of a live request's connection, whose data is an `ngx_http_log_ctx_t` (see `peer::find`), and
/// `buffer` the place behind what `ngx_log_error_core` has written of a line, with room for as many bytes as `length`.
unsafe extern "C" fn log_handler(
    log: *mut ngx_log_t,
    buffer: *mut u_char,
    length: usize,
) -> *mut u_char {
    // SAFETY: the log's data is that of a live request.
    let exchange = unsafe {
        (*log)
            .data
            .cast::<ngx_http_log_ctx_t>()
            .as_ref()
            .and_then(|context| Request::new(context.request))
            .and_then(|request| request.main().attempt())
            .and_then(|attempt| attempt.watched())
    };
    let Some(exchange) = exchange else { return buffer };
    // SAFETY: an action is null or a constant of nginx's; a line stands in front of the place, and the handler that was
    // there before takes what this one does.
    unsafe {
        if c_bytes((*log).action) == b"connecting to upstream" {
            if let Some(number) = errno_before(buffer) {
                exchange.errno.set(number);
            }
        }
        match exchange.log_handler.get() {
            Some(handler) => handler(log, buffer, length),
            None => buffer,
        }
    }
}

/// The number in " (111: Connection refused)" at the end of a line.
///
/// # Safety
/// `end` must be behind a line that `ngx_log_error_core` is writing: it begins with its time and "[level]".
unsafe fn errno_before(end: *const u_char) -> Option<i32> {
    let mut place = end;
    let mut backwards = iter::from_fn(|| {
        place = place.wrapping_sub(1);
        // SAFETY: what is read backwards is of that line, since it ends at the level's bracket at the latest.
        Some(unsafe { *place })
    });
    if backwards.next()? != b')' {
        return None;
    }
    let (mut number, mut digit, mut is_number) = (0_i32, 1_i32, false);
    for byte in backwards {
        match byte {
            b'(' => return is_number.then_some(number),
            b'[' | b']' | b')' => return None,
            // What stands behind it is the text.
            b':' => (number, digit, is_number) = (0, 1, true),
            b'0'..=b'9' if is_number => {
                number = number.checked_add(i32::from(byte - b'0').checked_mul(digit)?)?;
                digit = digit.checked_mul(10)?;
            }
            _ => is_number = false,
        }
    }
    None
}

/// Why the connection of a try could not be made, when nginx gives it up.
pub fn failure(
    exchange: &Exchange,
    upstream: &ngx_http_upstream_t,
    closed: bool,
) -> Failure<'static> {
    let number = exchange.errno.get();
    // SAFETY: the state belongs to the upstream.
    let asked = unsafe { upstream.state.as_ref() }.is_some_and(|state| !state.peer.is_null());
    let step = if closed && !asked {
        Step::Before { bound: !upstream.peer.local.is_null(), exhausted: exhausted() }
    } else {
        Step::Connect
    };
    Failure::NotConnected(Unconnected { cause: Cause::infer(step, number), number, text: b"" })
}

/// The number of worker_connections, if all are taken.
pub fn exhausted() -> Option<u64> {
    // SAFETY: nginx has a cycle while it serves requests.
    let cycle = unsafe { ngx_cycle.as_ref() }?;
    (cycle.free_connection_n == 0).then_some(cycle.connection_n as u64)
}

/// Adds the text of the system's error.
pub fn with_text(request: &Request, failure: Failure<'static>) -> Failure<'static> {
    let Failure::NotConnected(error) = failure else { return failure };
    // SAFETY: the text is a constant, or stays until the next call; it is copied.
    let text = unsafe { c_bytes(libc::strerror(error.number)) };
    let text = request.copy(text).map(bytes).unwrap_or_default();
    Failure::NotConnected(Unconnected { text, ..error })
}
