//! The header and the body filter: they see every response first.

use ngx::core::Status;
use ngx::ffi::{
    ngx_chain_t, ngx_http_output_body_filter_pt, ngx_http_output_header_filter_pt,
    ngx_http_request_t, ngx_http_top_body_filter, ngx_http_top_header_filter, ngx_int_t,
    ngx_uint_t, NGX_HTTP_SWITCHING_PROTOCOLS,
};

use crate::nginx::AllocationFailed;
use crate::request::{bytes, Request};
use crate::{gate, switch, tunnel};

const SWITCHING_PROTOCOLS: ngx_uint_t = NGX_HTTP_SWITCHING_PROTOCOLS as ngx_uint_t;

/// The next filters, as every nginx filter module keeps them: set each time a configuration is read.
static mut NEXT_HEADER: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY: ngx_http_output_body_filter_pt = None;

/// Puts the filters in front of the others: that of the body, which every response of nginx goes through
/// several times, only if the guard moves the bytes of a tunnel.
///
/// # Safety
/// Must be called from `postconfiguration`.
pub unsafe fn install(pumps: bool) {
    // SAFETY: nginx reads configurations in one thread.
    unsafe {
        NEXT_HEADER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        if pumps {
            NEXT_BODY = ngx_http_top_body_filter;
            ngx_http_top_body_filter = Some(body_filter);
        }
    }
}

/// # Safety
/// Called by nginx with a live request.
unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let request = Request::live(r);
        let headers_out = &request.raw().headers_out;
        let concerned = headers_out.status == SWITCHING_PROTOCOLS
            || request.raw().err_status != 0
            || !request.is_main();
        if concerned {
            if let Err(status) = look(request) {
                return status;
            }
        }
        match NEXT_HEADER {
            Some(next) => next(r),
            None => Status::NGX_OK.into(),
        }
    }
}

/// Looks at the header of a 101, of what stands for an error, or of the answer to a subrequest; `Err` holds the status
/// that the client gets instead.
#[cold]
fn look(request: Request) -> Result<(), ngx_int_t> {
    if !request.is_main() {
        note_subrequest(&request);
        return Ok(());
    }
    match request.raw().headers_out.status {
        SWITCHING_PROTOCOLS => switch::verify(request),
        gate::UPGRADE_REQUIRED => {
            switch::verify_hidden(request)?;
            gate::explain(request).map_err(|AllocationFailed| Status::NGX_ERROR.into())
        }
        _ => switch::verify_hidden(request),
    }
}

/// All that it wants is the flush with which nginx begins a tunnel; the rest passes through.
///
/// # Safety
/// Called by nginx with a live request and the buffers of its response.
unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let request = Request::live(r);
        if request.raw().headers_out.status == SWITCHING_PROTOCOLS {
            if let Err(AllocationFailed) = take_over(request, chain) {
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
#[cold]
unsafe fn take_over(request: Request, chain: *const ngx_chain_t) -> Result<(), AllocationFailed> {
    // SAFETY: guaranteed by the caller.
    let flushed = unsafe { is_flush(chain) };
    if flushed && request.is_main() {
        tunnel::take_over(request)?;
    }
    Ok(())
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
    if status == SWITCHING_PROTOCOLS && switches {
        attempt.subrequest_101.set(Some(bytes(r.uri)));
    }
    if request.is_auth_request() {
        attempt.auth_status.set(u16::try_from(status).unwrap_or(0));
    }
}
