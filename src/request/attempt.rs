//! What is remembered of a request that asks for an upgrade.
//!
//! nginx looks up the handler of each request header in a table that is built for every
//! configuration. The guard puts its own in the place of that for Upgrade, which creates an [`Attempt`]
//! as the request's module context. All hooks then ask for nothing but this pointer, and a request
//! without the header pays no more.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use ngx::ffi::{
    ngx_http_request_t, ngx_http_upstream_t, ngx_int_t, ngx_msec_t, ngx_pool_cleanup_add,
    ngx_str_t, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_SWITCHING_PROTOCOLS,
};
use ngx::http::HttpModule;
use websocket_guard_core::diagnosis::{Asks, Dropped, End, Gate, SwitchFault};

use crate::configuration::conf::{Guard, LocationConf};
use crate::nginx::bytes;
use crate::request::exchange::Exchange;
use crate::request::record::Record;
use crate::request::view::{Location, Request};

/// What is remembered of one main request. It lives in the request's pool, as do the faults that few
/// requests have: a pool that overflows costs the request another 4 KiB.
#[derive(Default)]
pub struct Attempt {
    /// What the Upgrade header asked for and what the checks said, noted before anything changed.
    pub checked: Cell<Option<Checked>>,
    /// The Upgrade header that the gate let pass, and what of it the backend gets.
    forwarded: Cell<Option<(&'static [u8], ngx_str_t)>>,
    /// The address of the connection's other end, as it was before realip.
    pub peer: Cell<&'static [u8]>,
    /// The location of the last preaccess phase.
    current: Cell<Option<Location>>,
    /// The same, not counting the pages that stand for an error.
    intended: Cell<Option<Location>>,
    /// Whether the request came to its first phase. What nginx refuses before comes to later ones for an error page.
    begun: Cell<bool>,
    /// Whether the last was such a page, and whether even the first was.
    for_error_page: Cell<bool>,
    only_error_page: Cell<bool>,
    /// The last upstream, which leads to those before it.
    last: Cell<Option<&'static Exchange>>,
    /// The status that the client was sent, once it was; 0 if the backend's answer had none.
    sent_status: Cell<Option<u16>>,
    /// Whether that was a 101 with which no upstream has to do: another module speaks WebSocket itself.
    served_by_other: Cell<bool>,
    /// Whether a later filter put something else in the place of a backend's 101.
    replaced: Cell<bool>,
    /// The status of auth_request's subrequest, and the location that asks for it; 0 without one.
    auth: Cell<(u16, Option<Location>)>,
    /// The URI of a subrequest that was answered with 101.
    pub subrequest_101: Cell<Option<&'static [u8]>>,
    /// Whether the gate has refused it for its Sec-WebSocket-Version.
    pub needs_version: Cell<bool>,
    /// Whether the request's diagnosis was written.
    pub reported: Cell<bool>,
    /// Set once a backend's 101 is on its way to the client.
    pub switched: Cell<Option<Switched>>,
    /// How the tunnel ended; set from its first Close or its end on.
    pub record: Cell<Option<&'static Record>>,
}

/// A backend's 101 that is on its way to the client.
#[derive(Clone, Copy)]
pub struct Switched {
    /// `ngx_current_msec` at the 101.
    pub at: ngx_msec_t,
    /// The proxy module's own function for the end.
    pub finalize: Option<unsafe extern "C" fn(*mut ngx_http_request_t, ngx_int_t)>,
    /// Who is told of the end of the tunnel, or of what happens in it.
    pub observer: fn(&Request, End),
}

/// The client's request as it came.
#[derive(Clone, Copy)]
pub struct Checked {
    pub asks: Asks,
    /// The first Upgrade line.
    pub upgrade: &'static [u8],
    /// What it could have been upgraded to, had it been listed.
    pub dropped: Option<Dropped<'static>>,
    pub method: &'static [u8],
    pub gate: Gate<'static>,
}

impl Attempt {
    /// Notes that nginx has found no fault with the request, and runs its phases.
    pub fn begin(&self) {
        self.begun.set(true);
    }

    /// Whether nginx refused the request before it ran its phases.
    pub fn is_refused_early(&self) -> bool {
        !self.begun.get()
    }

    /// Notes which location the request has come to, if it is about to run there. What follows a
    /// request, `post_action`, is none of its locations.
    pub fn enter(&self, request: &Request) {
        if request.is_post_action() {
            return;
        }
        self.exchange(request);
        self.forwarded.set(None);
        let location = Location::of(request);
        let for_error_page = is_for_error(request);
        if !for_error_page {
            // Another module may have set the header since.
            self.begin();
        }
        self.for_error_page.set(for_error_page);
        if self.current.replace(location).is_none() {
            self.only_error_page.set(for_error_page);
        }
        if !for_error_page || self.intended.get().is_none() {
            self.intended.set(location);
        }
    }

    /// Notes the status of auth_request's subrequest.
    pub fn note_auth(&self, status: u16) {
        self.auth.set((status, self.current.get()));
    }

    /// The status of auth_request's subrequest.
    pub fn auth_status(&self) -> Option<u16> {
        Some(self.auth.get().0).filter(|status| *status != 0)
    }

    /// The same if it refused the request, and the location that asks for it. An `error_page` may
    /// have brought the request to another one.
    pub fn denied(&self) -> Option<(u16, Option<Location>)> {
        let (status, location) = self.auth.get();
        (status != 0 && !(200..300).contains(&status)).then_some((status, location))
    }

    /// Notes what the backend gets of an Upgrade header, in this location.
    pub fn note_forwarded(&self, upgrade: &'static [u8], allowed: ngx_str_t) {
        self.forwarded.set(Some((upgrade, allowed)));
    }

    /// The Upgrade header that the gate has let pass in this location, and what of it the backend gets.
    pub fn forwarded(&self) -> Option<(&'static [u8], ngx_str_t)> {
        self.forwarded.get()
    }

    /// The record of the request's upstream, which is begun with the first look at it; `None` without
    /// an upstream, or if memory runs out. An upstream belongs to the location that the request was
    /// in when it came into being, and that of a `post_action` to none.
    pub fn exchange(&self, request: &Request) -> Option<&'static Exchange> {
        let upstream = request.upstream()?;
        let last = self.last.get();
        if let Some(last) = last.filter(|last| last.upstream() == upstream) {
            return Some(last);
        }
        if request.is_post_action() {
            return None;
        }
        let (location, for_error_page) = (self.current.get(), self.for_error_page.get());
        let exchange = Exchange::new(upstream, last, location, for_error_page);
        let exchange = request.place(exchange)?;
        self.last.set(Some(exchange));
        Some(exchange)
    }

    /// The record of an upstream, if there is one.
    pub fn exchange_of(&self, upstream: NonNull<ngx_http_upstream_t>) -> Option<&'static Exchange> {
        self.exchanges().find(|exchange| exchange.upstream() == upstream)
    }

    /// The record of the upstream that is trying to reach a backend.
    pub fn watched(&self) -> Option<&'static Exchange> {
        self.exchanges().find(|exchange| exchange.log_handler.get().is_some())
    }

    /// The last one first.
    fn exchanges(&self) -> impl Iterator<Item = &'static Exchange> {
        self.last.get().into_iter().flat_map(Exchange::backwards)
    }

    /// The location and the upstream that tell what became of the handshake. An `error_page` may
    /// since have brought the request to others.
    pub fn subject(&self, request: &Request) -> (Option<Location>, Option<&'static Exchange>) {
        self.exchange(request);
        let last = self.last.get();
        let exchange = self
            .exchanges()
            .find(|exchange| exchange.switch_fault().is_some())
            .or(last.filter(|last| !last.for_error_page || last.forwards_upgrade()))
            .or(self.exchanges().last().filter(|first| !first.for_error_page));
        match exchange {
            Some(exchange) => (exchange.location, Some(exchange)),
            None => (self.intended.get(), None),
        }
    }

    /// Notes what the client is sent, and what nginx still knows then of the backend's answer. Returns
    /// whether it is that answer, and not one that a filter or nginx puts in its place.
    pub fn note_response(&self, request: &Request) -> bool {
        let status = request.raw().headers_out.status;
        self.sent_status.set(Some(u16::try_from(status).unwrap_or(0)));
        let is_answer = request.is_answered_by_upstream();
        // Not by the rewrite phase's `return`, which the preaccess phase does not follow.
        let by_handler = request.location().is_some_and(|conf| self.is_in(conf));
        self.served_by_other
            .set(!is_answer && by_handler && status == NGX_HTTP_SWITCHING_PROTOCOLS as usize);
        let Some(exchange) = self.exchange(request).filter(|_| is_answer) else { return is_answer };
        let is_first = exchange.note_answer(request);
        if !is_first {
            self.note_replaced();
        }
        is_first
    }

    /// The status that the client got; 0 if it got none.
    pub fn status(&self, request: &Request) -> u16 {
        let r = request.raw();
        let status = match r.err_status {
            // What stands there is of the `post_action`. A client that got no header before that has left.
            _ if request.is_post_action() => {
                self.sent_status.get().unwrap_or(NGX_HTTP_CLIENT_CLOSED_REQUEST as u16)
            }
            0 => u16::try_from(r.headers_out.status).unwrap_or(0),
            status => u16::try_from(status).unwrap_or(0),
        };
        match status {
            _ if self.is_tunnel() || self.served_by_other.get() => {
                NGX_HTTP_SWITCHING_PROTOCOLS as u16
            }
            // It was about to be sent, and was not.
            101 if self.replaced.get() => 0,
            _ => status,
        }
    }

    /// Notes that the 101 of a backend did not reach the client.
    pub fn note_replaced(&self) {
        self.replaced.set(true);
    }

    /// Whether the client was sent a header, or a backend's 101 that did not reach it, or has left.
    pub fn is_answered(&self, request: &Request) -> bool {
        self.sent_status.get().is_some() || self.replaced.get() || request.is_post_action()
    }

    /// Whether a backend's 101 has been sent on, and as far as is known has reached the client.
    pub fn is_tunnel(&self) -> bool {
        self.switched.get().is_some() && !self.replaced.get()
    }

    /// Whether another module has opened a WebSocket of its own.
    pub fn is_served_by_other(&self) -> bool {
        self.served_by_other.get()
    }

    pub fn switch_fault(&self) -> Option<SwitchFault<'static>> {
        self.exchanges().find_map(Exchange::switch_fault)
    }

    /// Notes what the checks say of the request: at first, and where they refuse it.
    pub fn note_check(&self, checked: Checked, refused: bool) {
        match self.checked.get() {
            Some(first) if refused => {
                self.checked.set(Some(Checked { gate: checked.gate, ..first }));
            }
            Some(_) => {}
            None => self.checked.set(Some(checked)),
        }
    }

    /// Whether the request became a tunnel, and nothing more is to be said about that.
    pub fn is_sound_tunnel(&self) -> bool {
        self.is_tunnel() && self.switch_fault().is_none() && self.subrequest_101.get().is_none()
    }

    /// Whether it is at a page that stands for an error, whose status it keeps.
    pub fn is_at_error_page(&self) -> bool {
        self.for_error_page.get()
    }

    /// Whether the request is in the location of its last preaccess phase.
    pub fn is_in(&self, conf: &LocationConf) -> bool {
        self.current.get().is_some_and(|current| ptr::eq(current.conf, conf))
    }

    /// Whether the request came as far as a location's preaccess phase.
    pub fn reached_location(&self) -> bool {
        self.current.get().is_some()
    }

    /// Whether it came to no location but to that of an error page.
    pub fn only_reached_error_page(&self) -> bool {
        self.only_error_page.get()
    }

    /// Whether it came as far as this location's preaccess phase.
    pub fn entered(&self, location: Location) -> bool {
        let entered = [self.current.get(), self.intended.get()];
        entered.into_iter().flatten().any(|entered| ptr::eq(entered.conf, location.conf))
    }
}

/// Whether a request that comes to a location is there to show an error (`ngx_http_send_error_page`). An `error_page`
/// that replaces the status, as `404 = @app` does, is a way to go on, and no such page.
fn is_for_error(request: &Request) -> bool {
    request.raw().err_status != 0
}

impl Request {
    /// What is remembered of this main request.
    pub fn attempt(&self) -> Option<&'static Attempt> {
        let r = self.raw();
        // SAFETY: the array has a place for each HTTP module; this module's holds null or an
        // attempt.
        let attempt = unsafe { (*r.ctx.add(Guard::module().ctx_index)).cast::<Attempt>().as_ref() };
        if attempt.is_none() && (self.is_internal() || self.is_replaced()) {
            return self.find_attempt();
        }
        attempt
    }

    /// Whether this request or its main request may have an attempt: those that have, have cleanups, and
    /// most others have none. What runs for every request asks nothing else of most.
    #[inline]
    pub fn may_have_attempt(&self) -> bool {
        // SAFETY: the pool lives as long as the request; subrequests share it.
        unsafe { !(*self.raw().pool).cleanup.is_null() }
    }

    /// Finds the attempt also after nginx has cleared the module contexts, as it does for an internal
    /// redirect and where a filter replaces the response (`ngx_http_internal_redirect`,
    /// `ngx_http_filter_finalize_request`), and puts it back in its place.
    pub fn find_attempt(&self) -> Option<&'static Attempt> {
        // SAFETY: the cleanups of a live pool are a linked list, and the marker says what `data`
        // is.
        unsafe {
            let mut cleanup = (*self.raw().pool).cleanup;
            while let Some(entry) = cleanup.as_ref() {
                if entry
                    .handler
                    .is_some_and(|handler| handler as usize == marker as *const () as usize)
                {
                    *self.raw().ctx.add(Guard::module().ctx_index) = entry.data;
                    return entry.data.cast::<Attempt>().as_ref();
                }
                cleanup = entry.next;
            }
        }
        None
    }

    /// Starts to remember this main request; `None` if memory runs out.
    pub fn start_attempt(&self) -> Option<&'static Attempt> {
        if let Some(attempt) = self.attempt() {
            return Some(attempt);
        }
        let attempt = self.place(Attempt::default())?;
        attempt.peer.set(bytes(self.connection().addr_text));
        if self.reached_phases() {
            // Without an Upgrade header there is none until a 101 comes.
            attempt.begin();
        }
        // SAFETY: the attempt lives in the same pool as the cleanup, and as long as the context.
        unsafe {
            let cleanup = NonNull::new(ngx_pool_cleanup_add(self.raw().pool, 0))?.as_ptr();
            (*cleanup).handler = Some(marker);
            (*cleanup).data = ptr::from_ref(attempt).cast_mut().cast();
            *self.raw().ctx.add(Guard::module().ctx_index) = (*cleanup).data;
        }
        Some(attempt)
    }
}

/// Marks the attempt among the cleanups of a request's pool; there is nothing to clean up.
unsafe extern "C" fn marker(_: *mut c_void) {}
