//! The line about the end of a tunnel.

use core::mem::{size_of, zeroed};

use ngx::ffi::{ngx_connection_t, ngx_current_msec, ngx_http_upstream_t};
use websocket_guard_core::diagnosis::{diagnose_end, End, TunnelEnd};

use crate::report::{facts, journal};
use crate::request::exchange::Exchange;
use crate::request::view::{Location, Request};

/// Writes the line about an end, or about what happened in a tunnel that goes on. What only the line tells is
/// asked of the kernel once it is sure that there will be one.
pub fn report(request: &Request, end: End) {
    let (Some(finding), Some(upstream), Some(location), Some(attempt)) =
        (end.finding(), request.upstream(), Location::of(request), request.attempt())
    else {
        return;
    };
    let Some(switched) = attempt.switched.get() else { return };
    // SAFETY: the upstream, its connection and its configuration belong to the live request.
    let (upstream, backend, conf) = unsafe {
        let upstream: &ngx_http_upstream_t = upstream.as_ref();
        (upstream, upstream.peer.connection.as_ref(), upstream.conf.as_ref())
    };
    let (Some(backend), Some(conf)) = (backend, conf) else { return };
    let level = Some(finding.level());
    let Some(place) = journal::place(request, location, finding.into(), level) else { return };
    let limit = match end {
        End::Idle => conf.read_timeout,
        End::BackendStalled => conf.send_timeout,
        End::ClientStalled => location.core.send_timeout,
        End::ClientDead | End::BackendDead => {
            location.conf.ping().and_then(|ping| ping.timeout).unwrap_or(0)
        }
        _ => 0,
    };
    // SAFETY: nginx changes its clock between two events only.
    let age = unsafe { ngx_current_msec }.wrapping_sub(switched.at) as u64;
    let end = TunnelEnd {
        end,
        age_ms: age,
        limit_ms: limit as u64,
        client_silent_ms: silence(request.connection()).unwrap_or(age).min(age),
        backend_silent_ms: silence(backend).unwrap_or(age).min(age),
        peer: attempt.exchange(request).map(Exchange::peer).unwrap_or_default(),
        handler: facts::handler(upstream),
        mode: location.conf.mode(),
        lifetime: match (end, location.conf.lifetime()) {
            (End::LifetimeUnknown, Some(lifetime)) => lifetime.written(request).unwrap_or_default(),
            _ => &[],
        },
    };
    if let Some(diagnosis) = diagnose_end(&end) {
        place.write(&diagnosis);
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
