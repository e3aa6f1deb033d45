//! Why a backend was not reached.
//!
//! nginx forgets that before the request is logged. So each upstream's `peer.init` is replaced, when
//! a configuration is read, by a function that calls the original and, for a handshake, puts
//! itself between nginx and the balancer's `get` and `free`: there it sees the connection as it was
//! left.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;

use ngx::core::Status;
use ngx::ffi::{
    ngx_conf_t, ngx_connection_t, ngx_http_log_ctx_t, ngx_http_request_t, ngx_http_upstream_conf_t,
    ngx_http_upstream_srv_conf_t, ngx_http_upstream_t, ngx_int_t, ngx_msec_t,
    ngx_peer_connection_t, ngx_uint_t, NGX_LOG_WARN,
};
use ngx::http::{HttpModuleMainConf, NgxHttpUpstreamModule};
use ngx::ngx_conf_log_error;
use once_cell::unsync::OnceCell;
use websocket_guard_core::diagnosis::{Failure, Waiting};

use crate::configuration::foreign::proxies;
use crate::nginx::{bytes, elements, speaks_tls, OneThread};
use crate::request::connect;
use crate::request::exchange::Exchange;
use crate::request::view::Request;

type InitPeer =
    unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_http_upstream_srv_conf_t) -> ngx_int_t;

/// How many different balancers can be watched: nginx has 6, and each module of others that wraps one
/// makes another.
const MAX: usize = 16;

/// The balancers' own functions, each set once, since requests of an earlier configuration may still go
/// through it.
static ORIGINALS: OneThread<[OnceCell<InitPeer>; MAX]> =
    OneThread::new([const { OnceCell::new() }; MAX]);

/// One function for each original, so that none has to be looked up when a request comes.
const WATCHERS: [InitPeer; MAX] = [
    init_peer::<0>,
    init_peer::<1>,
    init_peer::<2>,
    init_peer::<3>,
    init_peer::<4>,
    init_peer::<5>,
    init_peer::<6>,
    init_peer::<7>,
    init_peer::<8>,
    init_peer::<9>,
    init_peer::<10>,
    init_peer::<11>,
    init_peer::<12>,
    init_peer::<13>,
    init_peer::<14>,
    init_peer::<15>,
];

/// Watches all upstreams of a configuration. One for whose balancer there is no place left is told, and
/// its failures are known by the status alone.
///
/// # Safety
/// Must be called from `postconfiguration`, with all upstreams initialized.
pub unsafe fn watch(cf: &mut ngx_conf_t) {
    let Some(upstreams) = NgxHttpUpstreamModule::main_conf(cf) else { return };
    // SAFETY: the array holds pointers to live upstreams; nothing else refers to them meanwhile.
    let upstreams = unsafe { elements::<*mut ngx_http_upstream_srv_conf_t>(&upstreams.upstreams) };
    for upstream in upstreams {
        // SAFETY: the upstream is live, and nothing else refers to it meanwhile.
        let Some(upstream) = (unsafe { upstream.as_mut() }) else { continue };
        let Some(init) = upstream.peer.init else { continue };
        match watcher(init) {
            Some(watcher) => upstream.peer.init = Some(watcher),
            None => {
                ngx_conf_log_error!(
                    NGX_LOG_WARN,
                    cf,
                    "websocket_guard: there are more than {MAX} kinds of balancers, \
                 why a server of upstream \"{}\" was not reached will not be told",
                    upstream.host
                );
            }
        }
    }
}

/// The function that stands for a balancer's own, which the table has or gets.
fn watcher(init: InitPeer) -> Option<InitPeer> {
    let is_its = |cell: &OnceCell<InitPeer>| *cell.get_or_init(|| init) as usize == init as usize;
    ORIGINALS.iter().zip(WATCHERS).find(|(cell, _)| is_its(cell)).map(|(_, watcher)| watcher)
}

/// # Safety
/// `r` must be a live request, and `upstream` that of its configuration.
unsafe extern "C" fn init_peer<const N: usize>(
    r: *mut ngx_http_request_t,
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: `r` is a live request, and `upstream` one with this balancer; the table is complete before requests come.
    unsafe {
        let original = ORIGINALS.get(N).and_then(OnceCell::get);
        let Some(&init) = original else { return Status::NGX_ERROR.into() };
        if Request::live(r).may_have_attempt() {
            init_watched(init, r, upstream)
        } else {
            init(r, upstream)
        }
    }
}

/// Puts the functions of this module between nginx and the balancer's, if the request has an attempt.
///
/// # Safety
/// `r` must be a live request, `upstream` that of its configuration, and `init` that of its balancer.
#[inline(never)]
unsafe fn init_watched(
    init: InitPeer,
    r: *mut ngx_http_request_t,
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: `r` is a live request, which has an upstream and, after `init`, its peer. Nothing of it was sent.
    unsafe {
        let rc = init(r, upstream);
        let request = Request::live(r);
        if rc == Status::NGX_OK.into() && request.is_main() {
            if let Some(exchange) = request.attempt().and_then(|it| it.exchange(&request)) {
                exchange.note_head();
                let peer = &mut (*exchange.upstream().as_ptr()).peer;
                exchange.get_peer.set(peer.get.replace(get_peer));
                exchange.free_peer.set(peer.free.replace(free_peer));
            }
        }
        rc
    }
}

/// # Safety
/// `peer` must be that of a live request which [`init_watched`] saw, and `data` the balancer's.
unsafe extern "C" fn get_peer(peer: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: the peer is a live request's, with its log, and the function its balancer's.
    unsafe {
        let Some((request, exchange)) = find(peer) else { return Status::NGX_ERROR.into() };
        let rc = exchange.get_peer.get().map_or(Status::NGX_ERROR.into(), |get| get(peer, data));
        exchange.note_peer(&request, (*peer).name.as_ref());
        exchange.forget_failure();
        if rc == Status::NGX_OK.into() {
            connect::watch(exchange, (*peer).log);
        }
        if rc == Status::NGX_BUSY.into() {
            exchange.note_failure(&request, Failure::NoLivePeer);
        }
        rc
    }
}

/// # Safety
/// `peer` must be that of a live request which [`init_watched`] saw, and `data` the balancer's.
unsafe extern "C" fn free_peer(
    peer: *mut ngx_peer_connection_t,
    data: *mut c_void,
    state: ngx_uint_t,
) {
    // SAFETY: the peer is a live request's, with its log, its connection is live or null, and the function is its
    // balancer's.
    unsafe {
        let Some((request, exchange)) = find(peer) else { return };
        connect::unwatch(exchange, (*peer).log);
        if let Some(failure) = failure(exchange, (*peer).connection) {
            exchange.note_failure(&request, failure);
        }
        if let Some(free) = exchange.free_peer.get() {
            free(peer, data, state);
        }
    }
}

/// The request that a peer connection belongs to, by way of its log, and the record of the upstream that
/// it is a part of.
///
/// # Safety
/// `peer` must be that of a live request which [`init_watched`] saw.
unsafe fn find(peer: *mut ngx_peer_connection_t) -> Option<(Request, &'static Exchange)> {
    // SAFETY: the upstream's log is the client connection's, whose data is an
    // `ngx_http_log_ctx_t` (`ngx_http_init_connection`, `ngx_http_v2_create_stream`).
    let request = unsafe {
        let context = (*(*peer).log).data.cast::<ngx_http_log_ctx_t>().as_ref()?;
        Request::new(context.request)?.main()
    };
    let upstream = peer.wrapping_byte_sub(offset_of!(ngx_http_upstream_t, peer)).cast();
    let exchange = request.attempt()?.exchange_of(NonNull::new(upstream)?)?;
    Some((request, exchange))
}

/// What the state of the connection tells, when nginx gives it up or is done with it.
///
/// # Safety
/// `connection` must be null or the upstream's live connection.
unsafe fn failure(
    exchange: &Exchange,
    connection: *const ngx_connection_t,
) -> Option<Failure<'static>> {
    const UNSET: ngx_msec_t = ngx_msec_t::MAX;
    // SAFETY: the upstream, its configuration and its state live as long as the request.
    let (upstream, conf, state) = unsafe {
        let upstream = exchange.upstream().as_ref();
        (upstream, upstream.conf.as_ref()?, upstream.state.as_ref()?)
    };
    let connected = state.connect_time != UNSET;
    if state.header_time != UNSET {
        return None;
    }
    // SAFETY: the connection is null or live.
    let Some(connection) = (unsafe { connection.as_ref() }) else {
        return Some(connect::failure(exchange, upstream, true));
    };
    if speaks_tls(connection) && !connected {
        // The connection counts as made once the handshake is done and the certificate verified.
        return Some(Failure::TlsHandshake { sni: sni(upstream, conf) });
    }
    // SAFETY: a live connection has both events.
    let (read, write) = unsafe { (connection.read.as_ref()?, connection.write.as_ref()?) };
    if read.timedout() != 0 || write.timedout() != 0 {
        let (waiting, limit) = if !connected {
            (Waiting::Connect, conf.connect_timeout)
        } else if upstream.request_body_sent() == 0 {
            (Waiting::Send, conf.send_timeout)
        } else {
            (Waiting::Read, conf.read_timeout)
        };
        let by_guard = is_of_guard(exchange, conf, waiting);
        return Some(Failure::TimedOut(waiting, limit as u64, by_guard));
    }
    if !connected {
        return Some(connect::failure(exchange, upstream, false));
    }
    let buffer = &upstream.buffer;
    if !buffer.start.is_null() && buffer.last == buffer.end {
        Some(Failure::HeaderTooBig)
    } else if read.error() != 0 || write.error() != 0 {
        Some(Failure::Reset)
    } else if read.eof() != 0 {
        Some(Failure::Closed)
    } else if !buffer.start.is_null() && buffer.last != buffer.start && exchange.is_proxied() {
        // It goes on, but nginx reads no further (`ngx_http_upstream_process_header`).
        Some(Failure::BadHeader)
    } else {
        None
    }
}

/// Whether `websocket_guard_timeout` decides how long the backend is waited for.
fn is_of_guard(exchange: &Exchange, conf: &ngx_http_upstream_conf_t, waiting: Waiting) -> bool {
    let Some(location) = exchange.location else { return false };
    let modules: [&[u8]; proxies::MODULES] = [b"proxy", b"uwsgi", b"scgi"];
    let mut waits = modules.iter().zip(location.conf.recipe.waits);
    waits.any(|(module, waits)| {
        let is_guards = match waiting {
            Waiting::Connect => false,
            Waiting::Send => waits.send,
            Waiting::Read => waits.read,
        };
        is_guards && *module == bytes(conf.module)
    })
}

/// The name that was sent to the backend in the TLS handshake.
#[cfg(any(ngx_feature = "http_ssl", ngx_feature = "compat"))]
fn sni(upstream: &ngx_http_upstream_t, conf: &ngx_http_upstream_conf_t) -> Option<&'static [u8]> {
    (conf.ssl_server_name != 0).then(|| upstream.ssl_name.into())
}

/// This nginx has no TLS to backends.
#[cfg(not(any(ngx_feature = "http_ssl", ngx_feature = "compat")))]
fn sni(_: &ngx_http_upstream_t, _: &ngx_http_upstream_conf_t) -> Option<&'static [u8]> {
    None
}
