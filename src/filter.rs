//! The header and the body filter: they see every response first.

use ngx::core::Status;
use ngx::ffi::{
    ngx_chain_t, ngx_http_output_body_filter_pt, ngx_http_output_header_filter_pt,
    ngx_http_request_t, ngx_http_top_body_filter, ngx_http_top_header_filter, ngx_int_t,
    NGX_HTTP_SWITCHING_PROTOCOLS,
};

use crate::request::{bytes, Request};
use crate::{switch, tunnel};

/// The next filters, as every nginx filter module keeps them: set each time a configuration is read.
static mut NEXT_HEADER: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY: ngx_http_output_body_filter_pt = None;

/// Puts the filters in front of the others.
///
/// # Safety
/// Must be called from `postconfiguration`.
pub unsafe fn install() {
    // SAFETY: nginx reads configurations in one thread.
    unsafe {
        NEXT_HEADER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        NEXT_BODY = ngx_http_top_body_filter;
        ngx_http_top_body_filter = Some(body_filter);
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
        match NEXT_HEADER {
            Some(next) => next(r),
            None => Status::NGX_OK.into(),
        }
    }
}

/// All that it wants is the flush with which nginx begins a tunnel; the rest passes through.
///
/// # Safety
/// Called by nginx with a live request and the buffers of its response.
unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if (*r).headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS as usize && is_flush(chain) {
            let request = Request::new(r).filter(Request::is_main);
            if request.is_some_and(|request| tunnel::take_over(request).is_err()) {
                return Status::NGX_ERROR.into();
            }
        }
        match NEXT_BODY {
            Some(next) => next(r, chain),
            None => Status::NGX_OK.into(),
        }
    }
}

/// # Safety
/// `chain` must be null or a chain of buffers.
unsafe fn is_flush(chain: *const ngx_chain_t) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { chain.as_ref().and_then(|link| link.buf.as_ref()) }
        .is_some_and(|buffer| buffer.flush() != 0)
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
