//! What passed between nginx and one backend for a request that asks for an upgrade.
//!
//! A diagnosis is made when the request is over, and by then nginx has freed or reused much of what
//! it had while it talked to the backend. So what a diagnosis needs is taken when nginx hands it over,
//! and kept here, in the request's pool. All that the module reads later than that, who frees or changes it, and what
//! the module does about it:
//!
//! - links of `u->request_bufs`: `ngx_http_upstream_send_request_body` frees each one for reuse while an
//!   unbuffered body is sent. The module reads them before anything is sent, in `proxy_bind` and `peer.init`
//!   ([`note_head`](Exchange::note_head)), or not at all.
//! - the first buffer of that chain: the bytes of the head: nobody before the request's pool goes; only its
//!   `pos` moves. The module keeps a slice of them.
//! - `u->buffer`: `ngx_event_pipe` frees it with the last of the answer; a retry reuses it; the pump frees it.
//!   The module looks at the bytes while the answer's header is sent on
//!   ([`note_answer`](Exchange::note_answer)), later never.
//! - `u->peer.name`: a server of a `zone` with `resolve` goes with its address, also during the request. The
//!   module copies it when the balancer has chosen ([`note_peer`](Exchange::note_peer)); a peer made of
//!   `u->resolved` lives in the request's pool.
//! - `u->peer.connection`, its events: closed after `peer.free` and after `finalize_request`. The module looks
//!   at them inside these two.
//! - `u->peer.get`, `u->peer.free`: replaced by each balancer for each upstream. The module remembers them for
//!   each upstream.
//! - the error of a connection that cannot be made: the socket tells it once, and nginx only its log. The
//!   module notes it when that line is written ([`connect`](super::connect)).
//! - `u` itself, `u->state`, `u->resolved`, lines of `u->headers_in`: nobody before the request's pool goes; a
//!   retry starts a new state and new lines. The module reads them at the end: then they are those of the last
//!   try.
//! - `r->upstream`: another one takes its place at the next location that passes the request on; the old one
//!   stays in the pool. The module keeps a record of each.
//! - `r->loc_conf`, module contexts: changed and cleared by internal redirects, `error_page`, `post_action`,
//!   filters that replace a response. The module remembers the location, and finds its own context again by a
//!   cleanup of the pool.
//! - `r->http_version`, `r->headers_out`: `post_action` sets and reuses them after the answer. The module notes
//!   the status when the header is sent, and nothing of a `post_action`.
//! - lines of `r->headers_in`, request line: nobody before the request ends; the gate itself changes the values
//!   of Upgrade lines. The module reads them at any time; what the Upgrade lines said it notes before.
//! - `r->variables`: kept values stay when what they were made of changes. The module has `$http_upgrade` read
//!   anew after a change.
//! - `c->addr_text`: replaced by realip for the time of the request. The module remembers the first, which
//!   lives as long as the connection.
//! - configurations, also of another cycle: the cycle that a worker was started with lives as long as the
//!   worker; without workers nginx keeps an old one while connections use it. The module keeps pointers only in
//!   requests, and in the journal's window, which ends with the configuration.
//! - timers of a connection's events: owned by nginx until the tunnel begins, and where an event is `delayed`.
//!   The module sets and deletes them only in its own tunnels, and not while `delayed`.

use core::cell::Cell;
use core::ptr::NonNull;
use core::slice;

use ngx::ffi::{
    ngx_event_free_peer_pt, ngx_event_get_peer_pt, ngx_http_upstream_t, ngx_log_handler_pt,
    ngx_str_t, ngx_uint_t, NGX_HTTP_BAD_REQUEST,
};
use websocket_guard_core::diagnosis::{Failure, SwitchFault};
use websocket_guard_core::http::head::Head;

use crate::nginx::bytes;
use crate::request::view::{Location, Request};

/// `NGX_HTTP_VERSION_9`
const HTTP_09: ngx_uint_t = 9;

/// The first byte of a TLS alert, and the first of its version (RFC 8446 section 5.1).
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// So many bytes of a refusal's body are enough to see what it says.
const BODY_MAX: usize = 512;

/// What is remembered of one upstream of a request, for the requests that have an attempt.
pub struct Exchange {
    upstream: NonNull<ngx_http_upstream_t>,
    /// The request's upstream before this one.
    previous: Option<&'static Exchange>,
    /// The location that created the upstream.
    pub location: Option<Location>,
    /// Whether that was a page that stands for an error.
    pub for_error_page: bool,
    /// The request that was made for the backend, from its first byte; maybe more than the head.
    head: Cell<Option<&'static [u8]>>,
    /// The address of the server that was chosen last.
    peer: Cell<&'static [u8]>,
    /// Whether the header of its answer was sent on.
    answered: Cell<bool>,
    /// The first bytes of the body of a refusal.
    body: Cell<&'static [u8]>,
    /// Why the last try to reach the backend failed.
    failure: Cell<Option<&'static Failure<'static>>>,
    /// What is wrong with the backend's 101.
    switch_fault: Cell<Option<&'static SwitchFault<'static>>>,
    /// nginx's own functions that were replaced to see why a try fails.
    pub get_peer: Cell<ngx_event_get_peer_pt>,
    pub free_peer: Cell<ngx_event_free_peer_pt>,
    /// Likewise, to see the system's error of a connection that cannot be made; and that error.
    pub log_handler: Cell<ngx_log_handler_pt>,
    pub errno: Cell<i32>,
}

impl Exchange {
    pub fn new(
        upstream: NonNull<ngx_http_upstream_t>,
        previous: Option<&'static Exchange>,
        location: Option<Location>,
        for_error_page: bool,
    ) -> Self {
        Self {
            upstream,
            previous,
            location,
            for_error_page,
            head: Cell::new(None),
            peer: Cell::new(b""),
            answered: Cell::new(false),
            body: Cell::new(b""),
            failure: Cell::new(None),
            switch_fault: Cell::new(None),
            get_peer: Cell::new(None),
            free_peer: Cell::new(None),
            log_handler: Cell::new(None),
            errno: Cell::new(0),
        }
    }

    /// This one and those before it.
    pub fn backwards(&'static self) -> impl Iterator<Item = &'static Exchange> {
        core::iter::successors(Some(self), |exchange| exchange.previous)
    }

    pub fn upstream(&self) -> NonNull<ngx_http_upstream_t> {
        self.upstream
    }

    /// Takes note of the request for the backend, once it is made.
    ///
    /// # Safety
    /// Nothing may have been sent yet, or the request has no body that is sent while it comes.
    pub unsafe fn note_head(&self) {
        // SAFETY: the upstream lives in the request's pool; its buffers are as they were made.
        unsafe { self.head.set(made_head(self.upstream.as_ref())) };
    }

    /// The head of the request that the backend was sent, if the proxy module made it
    /// (`ngx_http_proxy_create_request`).
    pub fn head(&self) -> Option<Head<'static>> {
        self.head.get().map(Head::new)
    }

    /// Takes note of the server that the balancer has chosen.
    pub fn note_peer(&self, request: &Request, name: Option<&ngx_str_t>) {
        let copy = name.and_then(|name| request.copy(name.as_bytes()));
        self.peer.set(copy.map(bytes).unwrap_or_default());
    }

    /// The address of the server that was asked last; empty if none was.
    pub fn peer(&self) -> &'static [u8] {
        // SAFETY: the upstream lives in the request's pool.
        let upstream = unsafe { self.upstream.as_ref() };
        if self.get_peer.get().is_some() || !upstream.upstream.is_null() {
            return self.peer.get();
        }
        // No block: nginx made the peer of `u->resolved`, in the request's pool
        // (`ngx_http_upstream_create_round_robin_peer`).
        // SAFETY: see there.
        unsafe { upstream.peer.name.as_ref() }.map(|name| bytes(*name)).unwrap_or_default()
    }

    /// Takes note of why a try to reach the backend failed.
    pub fn note_failure(&self, request: &Request, failure: Failure<'static>) {
        self.failure.set(request.place(failure));
    }

    /// Takes note that another try begins.
    pub fn forget_failure(&self) {
        self.failure.set(None);
        self.errno.set(0);
    }

    pub fn failure(&self) -> Option<Failure<'static>> {
        self.failure.get().copied()
    }

    /// Takes note of the answer, while its header is sent on and `u->buffer` still holds its beginning.
    /// Returns false if it was sent on before: then a filter puts another one in its place
    /// (`ngx_http_filter_finalize_request`).
    pub fn note_answer(&self, request: &Request) -> bool {
        if self.answered.replace(true) {
            return false;
        }
        // SAFETY: the upstream is at work, and its peer and its buffer are there.
        let upstream = unsafe { self.upstream.as_ref() };
        if self.get_peer.get().is_none() {
            // Nobody was told of its beginning: its name came from a variable, or the request got its
            // attempt only now.
            // SAFETY: the name of a peer lives as long as the request.
            self.note_peer(request, unsafe { upstream.peer.name.as_ref() });
            if request.is_body_buffered() {
                // SAFETY: there is no body that is sent while it comes.
                unsafe { self.note_head() };
            }
        }
        if upstream.headers_in.status_n >= NGX_HTTP_BAD_REQUEST as ngx_uint_t {
            // SAFETY: the answer's header is being sent on, and the bytes are copied.
            let body = beginning(unsafe { unread(upstream) }, upstream.headers_in.chunked() != 0);
            let copy = if body.is_empty() { None } else { request.copy(body) };
            self.body.set(copy.map(bytes).unwrap_or_default());
        }
        // Without a status line nginx takes an answer for HTTP/0.9
        // (`ngx_http_proxy_process_status_line`).
        if request.raw().http_version == HTTP_09 {
            // SAFETY: the answer's header is being sent on, and the bytes are only looked at.
            let answer = unsafe { unread(upstream) };
            let speaks_tls = answer.iter().zip(TLS_ALERT).all(|(byte, first)| *byte == first);
            self.note_failure(
                request,
                if speaks_tls && !answer.is_empty() {
                    Failure::SpeaksTls
                } else {
                    Failure::NotHttp
                },
            );
        }
        true
    }

    /// The first bytes of the body of a refusal, if they came with its header.
    pub fn body(&self) -> &'static [u8] {
        self.body.get()
    }

    /// Takes note of what is wrong with the backend's 101.
    pub fn note_switch_fault(&self, request: &Request, fault: SwitchFault<'static>) {
        self.switch_fault.set(request.place(fault));
    }

    pub fn switch_fault(&self) -> Option<SwitchFault<'static>> {
        self.switch_fault.get().copied()
    }

    /// Whether it is the proxy module's.
    pub fn is_proxied(&self) -> bool {
        self.head.get().is_some()
    }

    /// Whether it can have been an upgrade.
    pub fn forwards_upgrade(&self) -> bool {
        self.head().is_some_and(|head| head.value("Upgrade").is_some())
    }
}

/// # Safety
/// The request must be made, and nothing of it sent.
unsafe fn made_head(upstream: &ngx_http_upstream_t) -> Option<&'static [u8]> {
    // SAFETY: nothing of the request was sent, so the chain is as it was made. The bytes stay in the request's pool.
    unsafe {
        // There is no configuration yet if the address in proxy_pass was not to be made out.
        if upstream.conf.as_ref()?.module.as_bytes() != b"proxy" {
            return None;
        }
        let buffer = upstream.request_bufs.as_ref()?.buf.as_ref()?;
        let length = usize::try_from(buffer.last.offset_from(buffer.start)).ok()?;
        Some(slice::from_raw_parts(buffer.start, length))
    }
}

/// What was read of the backend's answer and not yet sent on.
///
/// # Safety
/// `upstream` must be sending its answer's header on, and the bytes must not be kept.
unsafe fn unread(upstream: &ngx_http_upstream_t) -> &[u8] {
    let buffer = &upstream.buffer;
    // SAFETY: what lies between the two was read from the backend.
    unsafe {
        match usize::try_from(buffer.last.offset_from(buffer.pos)) {
            Ok(length) if length > 0 => slice::from_raw_parts(buffer.pos, length),
            _ => &[],
        }
    }
}

/// The first bytes of a body, without the size in front of its first chunk.
fn beginning(body: &[u8], chunked: bool) -> &[u8] {
    let size = body.iter().position(|byte| *byte == b'\n').filter(|_| chunked);
    let body = body.get(size.map_or(0, |end| end + 1)..).unwrap_or_default();
    body.get(..BODY_MAX).unwrap_or(body)
}
