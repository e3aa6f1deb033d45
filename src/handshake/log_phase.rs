//! The end of a request.

use ngx::ffi::{ngx_http_request_t, ngx_int_t};

use crate::report::outcome::report;
use crate::request::view::Request;

/// The handler of the log phase.
///
/// # Safety
/// `r` must be a live request.
pub unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is a live request.
    let request = unsafe { Request::live(r) };
    let refused = matches!(request.raw().err_status, 400 | 413) || request.is_header_incomplete();
    let has_key = request.has_key();
    if request.may_have_attempt() || refused || has_key {
        conclude(&request, refused || has_key);
    }
    0
}

/// Writes the diagnosis of a request that is over, if it needs one. It may without an attempt.
#[inline(never)]
fn conclude(request: &Request, anyway: bool) {
    if request.is_main() && (anyway || request.attempt().is_some()) {
        report(request);
    }
}
