//! A request that a 101 has turned into a tunnel: its timeouts, its pump, and how it ended.

use core::mem::{size_of, zeroed};
use core::ptr::{self, NonNull};

use ngx::ffi::{
    ngx_connection_t, ngx_current_msec, ngx_exiting, ngx_http_request_t, ngx_http_upstream_t,
    ngx_int_t, ngx_msec_t,
};
use websocket_guard_core::diagnosis::{diagnose_end, End, EndSigns, TunnelEnd};

use crate::configuration::conf::LocationConf;
use crate::nginx::AllocationFailed;
use crate::report::facts;
use crate::report::journal;
use crate::request::attempt::Attempt;
use crate::request::exchange::Exchange;
use crate::request::view::{Location, Request};

mod buffer;
mod pump;
mod side;
mod trim;

pub use pump::Pump;

/// What is remembered of a tunnel.
#[derive(Clone, Copy)]
pub struct Tunnel {
    /// `ngx_current_msec` at the 101.
    started: ngx_msec_t,
    /// The proxy module's own function for the end.
    finalize: Option<unsafe extern "C" fn(*mut ngx_http_request_t, ngx_int_t)>,
}

/// Called with the headers of a 101 before they are sent: the tunnel goes on with its own
/// timeouts, and its end will be seen.
pub fn begin(request: Request, conf: &LocationConf) {
    let (Some(upstream), Some(attempt)) = (request.upstream(), request.attempt()) else { return };
    // SAFETY: the request is live; the configuration outlives it, and its tunnel part is only read.
    unsafe {
        let upstream = upstream.as_ptr();
        if let Some(tunnel_conf) = conf.recipe.tunnel_conf.map(NonNull::as_ptr) {
            if (*upstream).conf == (*tunnel_conf).request.as_ptr() {
                (*upstream).conf = ptr::addr_of_mut!((*tunnel_conf).tunnel);
            }
        }
        let finalize = (*upstream).finalize_request.replace(finalize);
        attempt.tunnel.set(Some(Tunnel { started: ngx_current_msec, finalize }));
    }
}

/// Called when a 101 has been flushed, which nginx does once its own loop is set up: the tunnel's bytes are
/// moved by the guard's pump, if the location wants that, or if the client's socket has not taken all of
/// the 101. nginx's loop would send the tunnel's bytes first.
pub fn take_over(request: Request) -> Result<(), AllocationFailed> {
    let (Some(attempt), Some(conf)) = (request.attempt(), request.location()) else {
        return Ok(());
    };
    let pumps = conf.pumps() || request.connection().buffered() != 0;
    let begins = attempt.is_tunnel() && attempt.pump.get().is_none();
    if pumps && begins && is_switched(&request) {
        attempt.pump.set(pump::start(request)?);
    }
    Ok(())
}

/// In place of the proxy module's `finalize_request`, which it calls: the last moment at which both
/// connections are there (`ngx_http_upstream_finalize_request`).
///
/// # Safety
/// Called by nginx with a live request, for which [`begin`] was called.
unsafe extern "C" fn finalize(r: *mut ngx_http_request_t, rc: ngx_int_t) {
    // SAFETY: guaranteed by the caller.
    let Some(request) = (unsafe { Request::new(r) }) else { return };
    let Some(attempt) = request.find_attempt() else { return };
    let Some(tunnel) = attempt.tunnel.get() else { return };
    if attempt.is_tunnel() && is_switched(&request) {
        report_end(&request, attempt, &tunnel, rc);
    } else {
        attempt.note_replaced();
    }
    attempt.pump.set(None);
    if let Some(finalize) = tunnel.finalize {
        // SAFETY: guaranteed by the caller.
        unsafe { finalize(r, rc) };
    }
}

/// Whether the 101 has passed all filters, so that nginx has made a tunnel of the request
/// (`ngx_http_upstream_send_response`).
fn is_switched(request: &Request) -> bool {
    // SAFETY: the upstream belongs to the live request.
    request.upstream().is_some_and(|upstream| unsafe { upstream.as_ref() }.header_sent() != 0)
}

fn report_end(request: &Request, attempt: &Attempt, tunnel: &Tunnel, rc: ngx_int_t) {
    let (Some(upstream), Some(location)) = (request.upstream(), Location::of(request)) else {
        return;
    };
    // SAFETY: the upstream, its connection and its configuration belong to the live request.
    unsafe {
        let upstream: &ngx_http_upstream_t = upstream.as_ref();
        let (Some(backend), Some(conf)) =
            (upstream.peer.connection.as_ref(), upstream.conf.as_ref())
        else {
            return;
        };
        let client = request.connection();
        let client_events = (&*client.read, &*client.write);
        let backend_events = (&*backend.read, &*backend.write);
        let end = End::infer(EndSigns {
            rc,
            client_eof: client_events.0.eof() != 0,
            client_error: client_events.0.error() != 0 || client_events.1.error() != 0,
            backend_eof: backend_events.0.eof() != 0,
            backend_error: backend_events.0.error() != 0 || backend_events.1.error() != 0,
            backend_write_timedout: backend_events.1.timedout() != 0,
            shutdown: client.close() != 0 && ngx_exiting != 0,
        });
        let limit = match end {
            End::Idle => conf.read_timeout,
            End::BackendStalled => conf.send_timeout,
            End::ClientStalled => location.core.send_timeout,
            _ => 0,
        };
        let age = ngx_current_msec.wrapping_sub(tunnel.started) as u64;
        let end = TunnelEnd {
            end,
            age_ms: age,
            limit_ms: limit as u64,
            client_silent_ms: silence(client).unwrap_or(age).min(age),
            backend_silent_ms: silence(backend).unwrap_or(age).min(age),
            peer: attempt.exchange(request).map(Exchange::peer).unwrap_or_default(),
            handler: facts::handler(upstream),
            mode: location.conf.mode(),
        };
        if let Some(diagnosis) = diagnose_end(&end) {
            journal::write(request, location, &diagnosis);
        }
    }
}

/// How long ago the last byte came over a connection, in milliseconds; the kernel knows it
/// (tcp(7)). `None` for sockets that are not TCP.
fn silence(connection: &ngx_connection_t) -> Option<u64> {
    // SAFETY: the structure is plain data and as large as the kernel is told.
    unsafe {
        let mut info: libc::tcp_info = zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let rc = libc::getsockopt(
            connection.fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&mut info as *mut libc::tcp_info).cast(),
            &mut length,
        );
        (rc == 0).then_some(u64::from(info.tcpi_last_data_recv))
    }
}
