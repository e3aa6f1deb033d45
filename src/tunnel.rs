//! A request that a 101 has turned into a tunnel: its timeouts, its pump, and how it ended.

use core::ptr::{self, NonNull};

use ngx::ffi::{
    ngx_current_msec, ngx_cycle_t, ngx_exiting, ngx_http_request_t, ngx_int_t, ngx_terminate,
};
use websocket_guard_core::diagnosis::End;
use websocket_guard_core::frame::Role;

use self::connections::Tunnel;
use self::end::{conclude, How};
use self::pump::Pump;
use crate::configuration::conf::LocationConf;
use crate::nginx::AllocationFailed;
use crate::request::attempt::{Attempt, Switched};
use crate::request::view::Request;

mod asked;
mod buffer;
mod clock;
mod closing;
mod connections;
mod direction;
mod drain;
mod end;
mod farewell;
mod frames;
mod handlers;
mod hold;
mod inspect;
mod leaving;
mod lifetime;
mod limits;
mod own;
mod ping;
mod pump;
mod random;
mod side;
mod start;
mod transfer;
mod trim;
mod upgraded;
mod watch;
mod wheel;

/// Called with the headers of a 101 before they are sent: the tunnel goes on with its own
/// timeouts, and its end will be seen.
///
/// `observer` is told of the end of the tunnel, and of what happens in it.
pub fn begin(request: Request, conf: &LocationConf, observer: fn(&Request, End)) {
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
        attempt.switched.set(Some(Switched { at: ngx_current_msec, finalize, observer }));
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
    let begins = attempt.is_tunnel() && Pump::of(&request).is_none();
    if pumps && begins && is_switched(&request) {
        start::start(request, conf.pumps())?;
    }
    Ok(())
}

/// Called when a worker exits: what became of its tunnels. At a fast stop (SIGTERM; without
/// a master process SIGQUIT too) nginx leaves its connections to the system, and the tunnels that the guard
/// moves are told.
pub fn stop(cycle: &ngx_cycle_t) {
    leaving::sum_up(cycle);
    // SAFETY: nginx changes them between two events only.
    let waited = unsafe { ngx_exiting != 0 && ngx_terminate == 0 };
    if waited {
        return;
    }
    for request in pump::requests(cycle) {
        let frames = Pump::of(&request).map(Pump::frames);
        if let Some(end) = conclude(&request, How::Known(End::FastStop), frames) {
            part(request, end);
        }
    }
}

/// In place of the proxy module's `finalize_request`, which it calls: the last moment at which both
/// connections are there (`ngx_http_upstream_finalize_request`).
///
/// # Safety
/// Called by nginx with a live request, for which [`begin`] was called.
unsafe extern "C" fn finalize(r: *mut ngx_http_request_t, rc: ngx_int_t) {
    // SAFETY: nginx finalizes a request that is live.
    let Some(request) = (unsafe { Request::new(r) }) else { return };
    let Some(attempt) = request.find_attempt() else { return };
    let Some(switched) = attempt.switched.get() else { return };
    if attempt.is_tunnel() && is_switched(&request) {
        let pump = Pump::of(&request);
        let end = conclude(&request, How::Found(rc), pump.map(Pump::frames));
        // The end of a drain is known before there is one.
        if let (Some(end), false) = (end, pump.is_some_and(Pump::is_closing)) {
            part(request, end);
        }
        note_carried(&request, attempt);
    } else {
        attempt.note_replaced();
    }
    Pump::forget(&request);
    if let Some(finalize) = switched.finalize {
        // SAFETY: it is the function that this request had, and it gets what nginx has passed.
        unsafe { finalize(r, rc) };
    }
}

/// Whether the 101 has passed all filters, so that nginx has made a tunnel of the request
/// (`ngx_http_upstream_send_response`).
fn is_switched(request: &Request) -> bool {
    // SAFETY: the upstream belongs to the live request.
    request.upstream().is_some_and(|upstream| unsafe { upstream.as_ref() }.header_sent() != 0)
}

/// Tells the sides of a tunnel that it is over, where that is about to happen to them.
fn part(request: Request, end: End) {
    if let (Some(pump), Some(tunnel)) = (Pump::of(&request), Tunnel::of(request)) {
        pump.part(&tunnel, end);
    }
}

/// Notes what a tunnel carried.
fn note_carried(request: &Request, attempt: &Attempt) {
    if let (Some(pump), Some(record)) = (Pump::of(request), attempt.record.get()) {
        record.note_carried(pump.carried(Role::Client), pump.carried(Role::Server));
        record.note_round_trips(pump.round_trip(Role::Client), pump.round_trip(Role::Server));
    }
}
