//! What the module asks of a request.

use core::ptr::NonNull;

use ngx::ffi::{ngx_http_request_t, ngx_http_upstream_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf};
use websocket_guard_protocol::token::Lines;
use websocket_guard_protocol::upgrade::Selection;

use crate::conf::{Guard, LocationConf, MainConf};
use crate::nginx::HeaderLines;

/// `NGX_HTTP_VERSION_11`
const HTTP_11: ngx_uint_t = 1001;

/// A live request.
#[derive(Clone, Copy)]
pub struct Request(NonNull<ngx_http_request_t>);

impl Request {
    /// # Safety
    /// `r` must be null or a live request, and stay so for as long as the value is used.
    pub unsafe fn new(r: *mut ngx_http_request_t) -> Option<Self> {
        NonNull::new(r).map(Self)
    }

    pub fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    fn raw(&self) -> &ngx_http_request_t {
        // SAFETY: a `Request` is live, and nginx runs nothing while this library does.
        unsafe { self.0.as_ref() }
    }

    /// This module's configuration of the request's location, which can change until the content
    /// phase.
    pub fn location(&self) -> Option<&'static LocationConf> {
        Guard::location_conf(self.raw())
    }

    /// This module's configuration of `http {}`.
    pub fn main_conf(&self) -> Option<&'static MainConf> {
        Guard::main_conf(self.raw())
    }

    /// Not a subrequest, such as those of `auth_request` and `mirror`.
    pub fn is_main(&self) -> bool {
        self.raw().main == self.0.as_ptr()
    }

    pub fn upstream(&self) -> Option<NonNull<ngx_http_upstream_t>> {
        NonNull::new(self.raw().upstream)
    }

    /// Whether there is an Upgrade header: the one test that an ordinary request pays.
    pub fn has_upgrade(&self) -> bool {
        !self.raw().headers_in.upgrade.is_null()
    }

    /// The request's Upgrade lines, as nginx keeps them.
    pub fn upgrade_lines(&self) -> impl Iterator<Item = NonNull<ngx_table_elt_t>> + Clone + '_ {
        self.header_lines(b"upgrade")
    }

    fn header_lines<'a>(
        &'a self,
        name: &'a [u8],
    ) -> impl Iterator<Item = NonNull<ngx_table_elt_t>> + Clone + 'a {
        // SAFETY: the list holds the request's header lines, which live as long as the request.
        let lines = unsafe { HeaderLines::new(&self.raw().headers_in.headers) };
        lines.filter(move |line| {
            // SAFETY: as above.
            let line = unsafe { line.as_ref() };
            line.hash != 0 && line.key.as_bytes().eq_ignore_ascii_case(name)
        })
    }

    /// The values of a header, line by line.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Lines<'a> {
        // SAFETY: as above.
        self.header_lines(name).map(|line| unsafe { line.as_ref() }.value.into())
    }

    /// The protocols that this request is to be upgraded to; `None` for an ordinary request.
    ///
    /// A subrequest is one even while the main request is being upgraded: a 101 answered to it
    /// would kill the request.
    pub fn upgrade<'a>(&'a self, conf: &'a LocationConf) -> Option<Selection<'a, impl Lines<'a>>> {
        if !self.has_upgrade() || !self.is_main() || self.raw().http_version != HTTP_11 {
            return None;
        }
        let selection = conf.protocols()?.select(self.values(b"upgrade"));
        (!selection.is_empty()).then_some(selection)
    }

    /// The host as the client asked for it, with its port: the Host header, else what nginx made of
    /// the request line (`$host`).
    pub fn host(&self) -> ngx_str_t {
        let headers = &self.raw().headers_in;
        // SAFETY: the header line lives as long as the request.
        match unsafe { headers.host.as_ref() } {
            Some(host) if !host.value.is_empty() => host.value,
            _ => headers.server,
        }
    }

    /// Copies `text` into the request's pool; `None` if memory runs out.
    pub fn copy(&self, text: &str) -> Option<ngx_str_t> {
        // SAFETY: the pool lives as long as the request.
        unsafe { ngx_str_t::from_bytes(self.raw().pool, text.as_bytes()) }
    }

    /// Takes the Upgrade header away from nginx: whatever the backend answers, there will be no
    /// tunnel.
    pub fn forget_upgrade(&mut self) {
        // SAFETY: as in `raw`; no reference to the request is held.
        unsafe { (*self.0.as_ptr()).headers_in.upgrade = core::ptr::null_mut() };
    }
}
