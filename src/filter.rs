//! The header filter: it sees every response first.

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_header_filter, ngx_int_t,
    NGX_HTTP_SWITCHING_PROTOCOLS,
};

use crate::request::Request;
use crate::tunnel;

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
        if (*r).headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS as usize {
            if let Some(request) = Request::new(r) {
                begin_tunnel(request);
            }
        }
        match NEXT {
            Some(next) => next(r),
            None => Status::NGX_OK.into(),
        }
    }
}

fn begin_tunnel(request: Request) {
    if let Some(conf) = request.location().filter(|conf| conf.mode().applies()) {
        tunnel::begin(&request, conf);
    }
}
