//! The header filter: it sees every response first.

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_header_filter, ngx_int_t,
    NGX_HTTP_SWITCHING_PROTOCOLS,
};

use crate::request::{bytes, Request};
use crate::switch;

/// The next filter, as every nginx filter module keeps it: set each time a configuration is read.
static mut NEXT: ngx_http_output_header_filter_pt = None;

/// Puts the filter in front of the others.
///
/// # Safety
/// Must be called from `postconfiguration`.
pub unsafe fn install() {
    // SAFETY: nginx reads configurations in one thread.
    unsafe {
        NEXT = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
    }
}

/// # Safety
/// Called by nginx with a live request.
unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if let Some(request) = Request::new(r) {
            if !request.is_main() {
                note_subrequest(&request);
            } else if request.raw().headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS as usize {
                if let Err(status) = switch::verify(request) {
                    return status;
                }
            }
        }
        match NEXT {
            Some(next) => next(r),
            None => Status::NGX_OK.into(),
        }
    }
}

/// Remembers what the answer to a subrequest means for the handshake of its main request.
fn note_subrequest(request: &Request) {
    let Some(attempt) = request.main().attempt() else { return };
    let r = request.raw();
    let status = r.headers_out.status;
    // SAFETY: the upstream belongs to the live request.
    let switches =
        request.upstream().is_some_and(|upstream| unsafe { upstream.as_ref() }.upgrade() != 0);
    if status == NGX_HTTP_SWITCHING_PROTOCOLS as usize && switches {
        attempt.subrequest_101.set(Some(bytes(r.uri)));
    }
    if request.is_auth_request() {
        attempt.auth_status.set(u16::try_from(status).unwrap_or(0));
    }
}
