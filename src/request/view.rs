//! What the module asks of a request.

use core::ffi::CStr;
use core::fmt::Display;
use core::ptr::{self, NonNull};
use core::slice;

use ngx::ffi::{
    ngx_connection_t, ngx_del_timer, ngx_hash_key, ngx_http_core_loc_conf_t,
    ngx_http_get_flushed_variable, ngx_http_get_variable, ngx_http_request_t, ngx_http_upstream_t,
    ngx_list_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t, NGX_HTTP_GET,
};
use ngx::http::{
    HttpModule, HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule,
};
use websocket_guard_core::handshake;
use websocket_guard_core::handshake::upgrade::Selection;
use websocket_guard_core::http::field::{self, FieldLine, Fields};
use websocket_guard_core::http::host::in_request_line;
use websocket_guard_core::http::token::Lines;
use websocket_guard_core::http::version::HttpVersion;

pub use crate::configuration::conf::Location;
use crate::configuration::conf::{Guard, LevelConf, LocationConf, MainConf, ServerConf};
use crate::nginx::text;
use crate::nginx::{
    bits, bytes, configured, fields, has_line, hash, http_version, place_in, HeaderLines, Line,
};
use crate::nginx::{ngx_str, speaks_tls};

impl Location {
    pub fn of(request: &Request) -> Option<Self> {
        Some(Self { conf: request.location()?, core: request.core_location()? })
    }
}

/// A live request.
///
/// What is reached through it, headers and configuration, lives as long as the request's pool.
/// Such references are `'static` here, since C knows no lifetimes; none is kept anywhere but in the
/// same pool.
#[derive(Clone, Copy)]
pub struct Request(NonNull<ngx_http_request_t>);

impl Request {
    /// # Safety
    /// `r` must be null or a live request, and stay so for as long as the value is used.
    pub unsafe fn new(r: *mut ngx_http_request_t) -> Option<Self> {
        NonNull::new(r).map(Self)
    }

    /// The same without a test for null.
    ///
    /// # Safety
    /// `r` must be a live request, and stay so for as long as the value is used.
    pub unsafe fn live(r: *mut ngx_http_request_t) -> Self {
        // SAFETY: `r` is a live request.
        Self(unsafe { NonNull::new_unchecked(r) })
    }

    pub fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    /// The request itself, to be looked at and let go: nginx changes it whenever it runs.
    pub fn raw(&self) -> &ngx_http_request_t {
        // SAFETY: a `Request` is live, and nginx runs nothing while this library does.
        unsafe { self.0.as_ref() }
    }

    pub fn connection(&self) -> &ngx_connection_t {
        // SAFETY: a request has a connection until it is freed.
        unsafe { &*self.raw().connection }
    }

    /// The request that this one is, or is a subrequest of.
    pub fn main(self) -> Request {
        NonNull::new(self.raw().main).map_or(self, Request)
    }

    /// Not a subrequest, such as those of `auth_request` and `mirror`.
    pub fn is_main(&self) -> bool {
        self.raw().main == self.0.as_ptr()
    }

    /// Whether an internal redirect, or a subrequest, brought the request where it is.
    pub fn is_internal(&self) -> bool {
        self.bit(bits::websocket_guard_internal)
    }

    /// Whether a filter replaced the response (`ngx_http_filter_finalize_request`).
    pub fn is_replaced(&self) -> bool {
        self.bit(bits::websocket_guard_filter_finalize)
    }

    /// Whether this subrequest is one of auth_request: those, and no others, are waited for and ask
    /// for the header only (`ngx_http_auth_request_handler`).
    pub fn is_auth_request(&self) -> bool {
        self.bit(bits::websocket_guard_waited) && self.bit(bits::websocket_guard_header_only)
    }

    /// Whether nginx gave the request up before it had read its header to the end. Only HTTP/1 is read in pieces
    /// (`ngx_http_process_request_headers`).
    pub fn is_header_incomplete(&self) -> bool {
        matches!(self.http_version(), HttpVersion::Http10 | HttpVersion::Http11)
            && self.bit(bits::websocket_guard_reading)
    }

    /// Whether the request came to its phases (`ngx_http_handler`), be it for an error page.
    pub fn reached_phases(&self) -> bool {
        self.bit(bits::websocket_guard_valid_location)
    }

    /// Whether the request is over and `post_action` follows it (`ngx_http_post_action`).
    pub fn is_post_action(&self) -> bool {
        self.bit(bits::websocket_guard_post_action)
    }

    /// Whether the body goes to the backend after all of it has come
    /// (`ngx_http_upstream_send_request_body`).
    pub fn is_body_buffered(&self) -> bool {
        !self.bit(bits::websocket_guard_request_body_no_buffering)
    }

    /// Whether what is sent to the client now is the answer of the request's upstream, and not a page
    /// that nginx makes after the upstream was finalized.
    pub fn is_answered_by_upstream(&self) -> bool {
        // SAFETY: the upstream belongs to the live request.
        self.upstream().is_some_and(|upstream| !unsafe { upstream.as_ref() }.cleanup.is_null())
    }

    /// Whether there is a Sec-WebSocket-Key, which nothing but a handshake has. It is asked of every
    /// request: the hash that nginx keeps with a name is enough to pass over all other lines.
    #[inline]
    pub fn has_key(&self) -> bool {
        const HASH: ngx_uint_t = hash(b"sec-websocket-key");
        has_line(&self.raw().headers_in.headers, HASH)
            && self.values("Sec-WebSocket-Key").next().is_some()
    }

    /// Whether the header of the response has come through the filters (`ngx_http_header_filter`).
    pub fn is_header_sent(&self) -> bool {
        self.bit(bits::websocket_guard_header_sent)
    }

    /// The bytes of the connection that the request was read from, as far as nginx still has them; `None` if it is
    /// not the first request of the connection.
    pub fn received(&self) -> Option<&'static [u8]> {
        if self.connection().requests > 1 {
            return None;
        }
        // SAFETY: a buffer of the connection, which lives as long as the request; what lies between the
        // two was read into it.
        unsafe {
            let buffer = self.raw().header_in.as_ref().filter(|buffer| !buffer.start.is_null())?;
            let length = usize::try_from(buffer.last.offset_from(buffer.start)).ok()?;
            Some(slice::from_raw_parts(buffer.start, length))
        }
    }

    pub fn closes_lingering(&self) -> bool {
        self.bit(bits::websocket_guard_lingering_close)
    }

    /// The status of limit_req and that of limit_conn, as those modules number them.
    pub fn limits(&self) -> (ngx_uint_t, ngx_uint_t) {
        // SAFETY: the request is live.
        unsafe {
            (
                bits::websocket_guard_limit_req_status(self.as_ptr()),
                bits::websocket_guard_limit_conn_status(self.as_ptr()),
            )
        }
    }

    fn bit(&self, read: unsafe extern "C" fn(*const ngx_http_request_t) -> ngx_uint_t) -> bool {
        // SAFETY: the request is live.
        unsafe { read(self.as_ptr()) != 0 }
    }

    /// This module's configuration of the request's location, which can change until the content
    /// phase.
    pub fn location(&self) -> Option<&'static LocationConf> {
        Guard::location_conf(self.raw())?.merged()
    }

    /// The core module's.
    pub fn core_location(&self) -> Option<&'static ngx_http_core_loc_conf_t> {
        NgxHttpCoreModule::location_conf(self.raw())
    }

    /// This module's configuration of the server.
    pub fn server_conf(&self) -> Option<&'static ServerConf> {
        Guard::server_conf(self.raw())
    }

    /// This module's configuration of the server's own level.
    pub fn server_level(&self) -> Option<&'static LocationConf> {
        let server = NgxHttpCoreModule::server_conf(self.raw())?;
        // SAFETY: a server has a context, with a configuration of each HTTP module.
        unsafe {
            let conf = *server.ctx.as_ref()?.loc_conf.add(Guard::module().ctx_index);
            conf.cast::<LevelConf>().as_ref()?.merged()
        }
    }

    /// This module's configuration of `http {}`.
    pub fn main_conf(&self) -> Option<&'static MainConf> {
        Guard::main_conf(self.raw())
    }

    pub fn upstream(&self) -> Option<NonNull<ngx_http_upstream_t>> {
        NonNull::new(self.raw().upstream)
    }

    pub fn http_version(&self) -> HttpVersion {
        http_version(self.raw().http_version)
    }

    /// Whether nginx knows of an Upgrade header, without which it makes no tunnel.
    pub fn has_upgrade(&self) -> bool {
        !self.raw().headers_in.upgrade.is_null()
    }

    /// The table of the request's headers, which lives as long as the request.
    fn headers(&self) -> &'static ngx_list_t {
        // SAFETY: see `Request`; nginx only adds to the table, and a line is never moved.
        unsafe { &*ptr::addr_of!((*self.as_ptr()).headers_in.headers) }
    }

    /// The request's lines of one header, as nginx keeps them.
    pub fn lines(&self, name: &'static str) -> impl Iterator<Item = NonNull<ngx_table_elt_t>> {
        // SAFETY: the table of a request holds header lines.
        let lines = unsafe { HeaderLines::new(self.headers()) };
        lines.filter(move |line| Line(*line).value(name).is_some())
    }

    /// The lines of the header.
    pub fn fields(&self) -> impl Fields<'static> {
        fields(self.headers())
    }

    /// The lines of the response's header.
    pub fn response_fields(&self) -> impl Fields<'static> {
        // SAFETY: see `Request`; the table lives as long as the request, and its lines are not moved.
        fields(unsafe { &*ptr::addr_of!((*self.as_ptr()).headers_out.headers) })
    }

    /// The values of one header, line by line.
    pub fn values(&self, name: &'static str) -> impl Lines<'static> {
        let [values] = field::find(self.fields(), [name]);
        values
    }

    /// The client's opening handshake.
    pub fn handshake(&self) -> handshake::Request<field::Values<'static, impl Fields<'static>>> {
        let r = self.raw();
        let [upgrade, connection, key, version] = field::find(
            self.fields(),
            ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"],
        );
        handshake::Request {
            is_get: r.method == NGX_HTTP_GET as ngx_uint_t,
            http_version: self.http_version(),
            has_body: r.headers_in.content_length_n > 0 || r.headers_in.chunked() != 0,
            upgrade,
            connection,
            key,
            version,
        }
    }

    /// The value of the Upgrade header for the backend; empty for an ordinary request, `None` if memory
    /// runs out.
    ///
    /// A subrequest is one even while the main request is being upgraded: a 101 answered to it
    /// would kill the request.
    pub fn upgrade(&self, conf: &LocationConf) -> Option<ngx_str_t> {
        // SAFETY: the header line lives as long as the request.
        let line = unsafe { self.raw().headers_in.upgrade.as_ref() };
        let (Some(line), true, HttpVersion::Http11) = (line, self.is_main(), self.http_version())
        else {
            return Some(ngx_str_t::empty());
        };
        let asked = || self.allowed(&conf.protocols().select(self.values("Upgrade")));
        if !conf.mode().is_guarded() {
            return asked();
        }
        match self.attempt() {
            // The gate is still to come, as in the rewrite phase.
            Some(attempt) if !attempt.is_in(conf) => asked(),
            Some(attempt) => match attempt.forwarded() {
                Some((passed, allowed)) if ptr::eq(passed, bytes(line.value)) => Some(allowed),
                // Another module has set the header behind the gate. The same again is no harm.
                Some((_, allowed)) => Some(asked()?)
                    .filter(|asked| asked.as_bytes() == allowed.as_bytes())
                    .or(Some(ngx_str_t::empty())),
                None => Some(ngx_str_t::empty()),
            },
            None => Some(ngx_str_t::empty()),
        }
    }

    /// The allowed protocols as the value of a header; `None` if memory runs out.
    pub fn allowed<'p>(&self, protocols: &Selection<'p, impl Lines<'static>>) -> Option<ngx_str_t> {
        match protocols.only() {
            Some(only) => Some(configured(only)),
            None => self.print(protocols),
        }
    }

    /// The host as the client asked for it, with its port: that of the request line, else the Host header, else
    /// what nginx takes in its place (`$host`).
    pub fn host(&self) -> ngx_str_t {
        if let Some(host) = in_request_line(bytes(self.raw().request_line)) {
            return ngx_str_t { len: host.len(), data: host.as_ptr().cast_mut() };
        }
        let headers = &self.raw().headers_in;
        // SAFETY: the header line lives as long as the request.
        let asked = unsafe { headers.host.as_ref() }.map(|line| line.value);
        let server = || NgxHttpCoreModule::server_conf(self.raw()).map(|server| server.server_name);
        asked
            .filter(|host| !host.is_empty())
            .or(Some(headers.server).filter(|host| !host.is_empty()))
            .or_else(server)
            .unwrap_or_default()
    }

    /// The scheme that the client used. Behind a proxy that ends TLS it is known only if that proxy
    /// is one of realip's.
    pub fn scheme(&self) -> &'static [u8] {
        if speaks_tls(self.connection()) {
            return b"https";
        }
        self.forwarded_proto().map_or(b"http", bytes)
    }

    /// The X-Forwarded-Proto of a proxy that realip trusts.
    pub fn forwarded_proto(&self) -> Option<ngx_str_t> {
        // SAFETY: the header lines live as long as the request.
        let mut lines = self.lines("X-Forwarded-Proto").map(|line| unsafe { line.as_ref() }.value);
        lines.next().filter(|value| !value.is_empty() && self.is_from_trusted_proxy())
    }

    /// Whether realip trusts the other end of the connection: then it has replaced its address.
    pub fn is_from_trusted_proxy(&self) -> bool {
        let address = self.connection().addr_text.as_bytes();
        self.variable(c"realip_remote_addr").is_some_and(|peer| peer != address)
    }

    /// The Host that the proxy module sends by itself, in a request that it passes on.
    pub fn proxy_host(&self) -> Option<ngx_str_t> {
        let index = self.main_conf()?.proxy_host?;
        // SAFETY: the request is live, and the index is one of its configuration.
        unsafe {
            let value = ngx_http_get_flushed_variable(self.as_ptr(), index).as_ref()?;
            let found = value.valid() != 0 && value.not_found() == 0 && value.len() > 0;
            found.then(|| ngx_str_t { len: value.len() as usize, data: value.data })
        }
    }

    /// The value of one of nginx's variables, if it has one.
    pub fn variable(&self, name: &'static CStr) -> Option<&'static [u8]> {
        let mut name = ngx_str(name);
        // SAFETY: the request is live, and nginx keeps nothing of the name.
        unsafe {
            let hash = ngx_hash_key(name.data, name.len);
            let value = ngx_http_get_variable(self.as_ptr(), &mut name, hash).as_ref()?;
            let found = value.valid() != 0 && value.not_found() == 0 && value.len() > 0;
            found.then(|| slice::from_raw_parts(value.data, value.len() as usize))
        }
    }

    /// Prints a value into the request's pool; `None` if memory runs out.
    pub fn print(&self, value: &impl Display) -> Option<ngx_str_t> {
        // SAFETY: the pool lives as long as the request.
        unsafe { text::print(self.raw().pool, value) }
    }

    /// Copies `text` into the request's pool; `None` if memory runs out.
    pub fn copy(&self, text: &[u8]) -> Option<ngx_str_t> {
        // SAFETY: the pool lives as long as the request.
        unsafe { ngx_str_t::from_bytes(self.raw().pool, text) }
    }

    /// Moves a value into the request's pool; `None` if memory runs out.
    pub fn place<T>(&self, value: T) -> Option<&'static T> {
        // SAFETY: the pool lives as long as the request.
        unsafe { place_in(self.raw().pool, value).ok().map(|place| place.as_ref()) }
    }

    /// Whatever of the response is still to be sent goes without `limit_rate`, and without waiting for
    /// the time that it has cost already.
    ///
    /// nginx waits with the client's write timer, and the event is `delayed` until that has expired. A
    /// tunnel's loop, nginx's as well as the guard's, has the same timer for the client's send timeout,
    /// and deletes it (`ngx_http_upstream_process_upgraded`). Nothing would be sent any more.
    pub fn lift_limit_rate(self) {
        // SAFETY: the request is live, and its connection has both events.
        unsafe {
            bits::websocket_guard_lift_limit_rate(self.as_ptr());
            let write = self.connection().write;
            if (*write).delayed() != 0 {
                (*write).set_delayed(0);
                if (*write).timer_set() != 0 {
                    ngx_del_timer(write);
                }
            }
        }
    }

    /// Takes the Upgrade header away from nginx: whatever the backend answers, there will be no
    /// tunnel.
    pub fn forget_upgrade(self) {
        // SAFETY: a `Request` is live, and nginx runs nothing while this library does.
        unsafe { (*self.0.as_ptr()).headers_in.upgrade = ptr::null_mut() };
    }

    /// Makes nginx read `$http_upgrade` anew, after the header was changed: it keeps the value once
    /// it was used, as by an `if` in the rewrite phase.
    pub fn forget_variable(self) {
        if let Some(index) = self.main_conf().and_then(|main| main.http_upgrade) {
            // SAFETY: the request has a value for each indexed variable.
            unsafe {
                let value = &mut *self.raw().variables.add(index);
                value.set_valid(0);
                value.set_not_found(0);
            }
        }
    }
}
