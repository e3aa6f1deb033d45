//! A request that a 101 has turned into a tunnel: its timeouts, its pump, and how it ended.

use core::mem::{size_of, zeroed};
use core::ptr::{self, NonNull};

use ngx::ffi::{
    ngx_conf_t, ngx_connection_t, ngx_current_msec, ngx_cycle_t, ngx_exiting, ngx_http_request_t,
    ngx_http_upstream_conf_t, ngx_http_upstream_t, ngx_int_t, ngx_msec_t, ngx_terminate,
};
use websocket_guard_core::diagnosis::{diagnose_end, End, EndSigns, TunnelEnd};
use websocket_guard_core::frame::Role;

use crate::attempt::Attempt;
use crate::conf::{Level, LocationConf, MainConf, MergedLevel};
use crate::exchange::Exchange;
use crate::facts;
use crate::journal;
use crate::nginx::{place, AllocationFailed};
use crate::request::{Location, Request};

mod buffer;
mod closing;
mod frames;
mod heap;
mod leaving;
mod lifetime;
mod own;
mod ping;
mod pump;
mod record;
mod side;
mod watch;
mod wheel;

pub use leaving::Drain;
pub use lifetime::{Lifetime, Limit};
pub use ping::PingConf;
pub use pump::Pump;
pub use record::Record;

/// How long a tunnel may be silent, and how long a write to the backend may block; milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelTimeouts {
    pub read: ngx_msec_t,
    pub send: ngx_msec_t,
}

/// The upstream configuration that a location's tunnels go on with, in place of the one that its
/// requests start with. nginx reads a tunnel's timeouts there
/// (`ngx_http_upstream_process_upgraded`).
pub struct TunnelConf {
    request: NonNull<ngx_http_upstream_conf_t>,
    tunnel: ngx_http_upstream_conf_t,
}

/// Makes the location's [`TunnelConf`], if its tunnels need other timeouts than its requests have.
///
/// # Safety
/// All modules must be done with merging the location.
pub unsafe fn prepare(
    cf: &ngx_conf_t,
    main: &MainConf,
    mut location: MergedLevel,
) -> Result<(), AllocationFailed> {
    // SAFETY: the location's configurations live as long as the cycle; nobody else refers to this
    // module's.
    let conf = unsafe { location.conf.as_mut() };
    if location.level == Level::Server || !conf.mode().is_guarded() {
        return Ok(());
    }
    for (module, timeouts) in main.proxies.iter().zip(conf.recipe.tunnel_timeouts) {
        let Some(module) = module else { continue };
        // SAFETY: the array has the module's configuration.
        let request = unsafe { module.upstream_conf(module.location_conf(location.loc_conf)) };
        // SAFETY: the configurations are complete.
        let (merged, proxied) = unsafe {
            let around = conf.recipe.loc_conf.map_or(location.loc_conf, NonNull::as_ptr);
            (&*request, module.serves(location.loc_conf, around))
        };
        let same = merged.read_timeout == timeouts.read && merged.send_timeout == timeouts.send;
        if let (Some(request), true, false) = (NonNull::new(request), proxied, same) {
            let tunnel = ngx_http_upstream_conf_t {
                read_timeout: timeouts.read,
                send_timeout: timeouts.send,
                ..*merged
            };
            conf.recipe.tunnel_conf = Some(place(cf, TunnelConf { request, tunnel })?);
        }
    }
    Ok(())
}

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
        attempt.pump.set(pump::start(request, conf.pumps())?);
    }
    Ok(())
}

/// Called when a worker exits: what became of its tunnels. At a fast stop (SIGTERM) nginx leaves its connections to the system, and the
/// tunnels that the guard moves are told.
pub fn stop(cycle: &ngx_cycle_t) {
    leaving::sum_up(cycle);
    // SAFETY: nginx changes it between two events only.
    if unsafe { ngx_terminate } == 0 {
        return;
    }
    for request in pump::requests(cycle) {
        if let Some(attempt) = request.attempt() {
            if let Some(end) = conclude(&request, attempt, How::Known(End::FastStop)) {
                part(request, attempt, end);
            }
        }
    }
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
        let is_first = attempt.record.get().and_then(Record::end).is_none();
        let end = conclude(&request, attempt, How::Found(rc));
        if let (Some(end), true) = (end, is_first) {
            part(request, attempt, end);
        }
        note_carried(attempt);
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

/// What is known of an end.
#[derive(Clone, Copy)]
pub enum How {
    /// The argument of `u->finalize_request`.
    Found(ngx_int_t),
    /// The guard makes it.
    Known(End),
}

/// Notes and reports how a tunnel ended, the first time that it is called. Returns that end; `None` if memory
/// runs out.
fn conclude(request: &Request, attempt: &Attempt, how: How) -> Option<End> {
    let record = Record::of(request, attempt)?;
    if let Some(end) = record.end() {
        return Some(end);
    }
    let end = match how {
        How::Found(rc) => infer(request, attempt, rc)?,
        How::Known(end) => end,
    };
    record.note_end(end);
    report(request, end);
    Some(end)
}

/// Tells the sides of a tunnel that it is over, where that is about to happen to them.
fn part(request: Request, attempt: &Attempt, end: End) {
    let closes = request.location().is_some_and(|conf| conf.closes());
    let pump = attempt.pump.get().filter(|_| closes);
    if let (Some(pump), Some(tunnel)) = (pump, pump::Tunnel::of(request)) {
        pump.part(&tunnel, end);
    }
}

/// Notes what a tunnel carried.
fn note_carried(attempt: &Attempt) {
    if let (Some(pump), Some(record)) = (attempt.pump.get(), attempt.record.get()) {
        record.note_carried(pump.carried(Role::Client), pump.carried(Role::Server));
        record.note_round_trips(pump.round_trip(Role::Client), pump.round_trip(Role::Server));
    }
}

/// What ended a tunnel that nginx is about to finalize.
fn infer(request: &Request, attempt: &Attempt, rc: ngx_int_t) -> Option<End> {
    // SAFETY: the upstream and its connection belong to the live request.
    let backend = unsafe { request.upstream()?.as_ref().peer.connection.as_ref()? };
    let client = request.connection();
    // SAFETY: open connections have both events.
    let (client_events, backend_events) =
        unsafe { ((&*client.read, &*client.write), (&*backend.read, &*backend.write)) };
    let pump = attempt.pump.get();
    let first_close = attempt.record.get().and_then(Record::first_close);
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
        client_tracked: pump.is_some_and(|pump| pump.has_tracked(Role::Client)),
        backend_tracked: pump.is_some_and(|pump| pump.has_tracked(Role::Server)),
        client_first: pump.is_some_and(Pump::client_first),
    }))
}

/// Writes the line about an end, or about what happened in a tunnel that goes on.
fn report(request: &Request, end: End) {
    let (Some(upstream), Some(location), Some(attempt)) =
        (request.upstream(), Location::of(request), request.attempt())
    else {
        return;
    };
    let Some(tunnel) = attempt.tunnel.get() else { return };
    // SAFETY: the upstream, its connection and its configuration belong to the live request.
    unsafe {
        let upstream: &ngx_http_upstream_t = upstream.as_ref();
        let (Some(backend), Some(conf)) =
            (upstream.peer.connection.as_ref(), upstream.conf.as_ref())
        else {
            return;
        };
        let client = request.connection();
        let limit = match end {
            End::Idle => conf.read_timeout,
            End::BackendStalled => conf.send_timeout,
            End::ClientStalled => location.core.send_timeout,
            End::ClientDead | End::BackendDead => {
                location.conf.ping().and_then(|ping| ping.timeout).unwrap_or(0)
            }
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
