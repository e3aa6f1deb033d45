//! The header and the body filter: they see every response first.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_chain_t, ngx_http_filter_finalize_request, ngx_http_output_body_filter_pt,
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_body_filter,
    ngx_http_top_header_filter, ngx_http_write_filter, ngx_int_t, ngx_uint_t, NGX_ERROR,
    NGX_HTTP_BAD_GATEWAY, NGX_HTTP_SWITCHING_PROTOCOLS,
};

use crate::handshake::{gate, switch};
use crate::nginx::bytes;
use crate::nginx::AllocationFailed;
use crate::request::view::Request;
use crate::tunnel;

const SWITCHING_PROTOCOLS: ngx_uint_t = NGX_HTTP_SWITCHING_PROTOCOLS as ngx_uint_t;

/// The next filters, as every nginx filter module keeps them: set each time a configuration is read.
static mut NEXT_HEADER: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY: ngx_http_output_body_filter_pt = None;

/// Puts the filters in front of the others: that of the body, which every response of nginx goes through
/// several times, only if a location is guarded.
///
/// # Safety
/// Must be called from `postconfiguration`.
pub unsafe fn install(guards: bool) {
    // SAFETY: nginx reads configurations in one thread.
    unsafe {
        NEXT_HEADER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        if guards {
            NEXT_BODY = ngx_http_top_body_filter;
            ngx_http_top_body_filter = Some(body_filter);
        }
    }
}

/// # Safety
/// `r` must be a live request.
unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is a live request.
    let request = unsafe { Request::live(r) };
    let concerned = request.raw().headers_out.status == SWITCHING_PROTOCOLS
        || !request.is_main()
        || request.may_have_attempt();
    if concerned {
        if let Err(status) = look(request) {
            return status;
        }
    }
    // SAFETY: the static is only written while a configuration is read; the next filter takes a live request, and
    // leaves it so for the caller of this one.
    let status = unsafe {
        match NEXT_HEADER {
            Some(next) => next(r),
            None => Status::NGX_OK.into(),
        }
    };
    if concerned && request.raw().headers_out.status == SWITCHING_PROTOCOLS && request.is_main() {
        switch::verify_delivered(&request);
    }
    status
}

/// Looks at the header of a 101, of the answer to a handshake, or to a subrequest; `Err` holds the status
/// that the client gets instead.
#[cold]
fn look(request: Request) -> Result<(), ngx_int_t> {
    if !request.is_main() {
        note_subrequest(&request);
        return Ok(());
    }
    let is_answer = match request.attempt() {
        Some(attempt) => attempt.note_response(&request),
        None => request.is_answered_by_upstream(),
    };
    let status = request.raw().headers_out.status;
    if is_answer && status == SWITCHING_PROTOCOLS {
        return switch::verify(request);
    }
    if is_answer {
        switch::verify_hidden(request)?;
    }
    if status == gate::UPGRADE_REQUIRED {
        gate::explain(request).map_err(|AllocationFailed| Status::NGX_ERROR.0)?;
    }
    Ok(())
}

/// All that it wants is what nginx sends of a tunnel: the flush with which one begins, and the end.
///
/// # Safety
/// `r` must be a live request, and `chain` null or a chain of its response's buffers.
unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: `r` is a live request, and the chain one of its buffers.
    unsafe {
        let request = Request::live(r);
        let status = request.raw().headers_out.status;
        if status == SWITCHING_PROTOCOLS && is_guarded_tunnel(&request) {
            return write(request, chain);
        }
        pass_on(r, chain)
    }
}

/// # Safety
/// `r` must be a live request, and `chain` null or a chain of its response's buffers.
unsafe fn pass_on(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the static is only written while a configuration is read; the next filter takes what this one does.
    unsafe {
        match NEXT_BODY {
            Some(next) => next(r, chain),
            None => Status::NGX_OK.into(),
        }
    }
}

/// Whether nginx makes, or has made, a tunnel of a 101 in a guarded location.
#[cold]
fn is_guarded_tunnel(request: &Request) -> bool {
    request.is_main()
        && request.location().is_some_and(|conf| conf.mode().is_guarded())
        // SAFETY: the upstream belongs to the live request.
        && request.upstream().is_some_and(|upstream| unsafe { upstream.as_ref() }.upgrade() != 0)
}

/// Sends the header of a tunnel's 101, and what nginx sends at its end, past the filters that work on
/// bodies. A 101 has none, but some of them work on it if they are told to work on every type: that of
/// SSI keeps the flush without which the header waits for ever, while the tunnel's bytes go out.
///
/// # Safety
/// `chain` must be null or a chain of the response's buffers.
#[cold]
unsafe fn write(request: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the chain is null or one of buffers.
    let begins = unsafe { is_flush(chain) };
    if begins && !request.is_header_sent() {
        // SAFETY: the chain is null or one of the response's buffers.
        return unsafe { refuse(request, chain) };
    }
    if begins {
        request.lift_limit_rate();
    }
    // SAFETY: the request is live, and the chain null or one of its response's buffers.
    let status = unsafe { ngx_http_write_filter(request.as_ptr(), chain) };
    if begins && status != NGX_ERROR as ngx_int_t && tunnel::take_over(request).is_err() {
        return Status::NGX_ERROR.into();
    }
    status
}

/// A filter has held the header of the 101 back until it has seen the body, of which it makes another
/// one (`image_filter`, `xslt_stylesheet`). It may answer the flush itself, with an error; else there
/// would be a tunnel without a 101.
///
/// # Safety
/// `chain` must be null or a chain of the response's buffers.
unsafe fn refuse(request: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    let r = request.as_ptr();
    if let Some(attempt) = request.attempt() {
        attempt.note_replaced();
    }
    // SAFETY: the request is live; nothing of the response was sent.
    unsafe {
        let status = pass_on(r, chain);
        if status == NGX_ERROR as ngx_int_t || request.is_header_sent() {
            return status;
        }
        ngx_http_filter_finalize_request(r, ptr::null_mut(), NGX_HTTP_BAD_GATEWAY as ngx_int_t)
    }
}

/// # Safety
/// `chain` must be null or a chain of buffers.
unsafe fn is_flush(chain: *const ngx_chain_t) -> bool {
    // SAFETY: the chain is null or one of buffers.
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
        attempt.note_auth(u16::try_from(status).unwrap_or(0));
    }
}
