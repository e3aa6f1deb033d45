//! The gate in front of a guarded location: only what asks for an allowed protocol goes on as an
//! upgrade. Everything else is proxied as the plain request that it is.

use core::ptr::NonNull;

use ngx::core::Status;
use ngx::ffi::{ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_table_elt_t};

use crate::conf::LocationConf;
use crate::request::Request;

/// The handler of the preaccess phase.
///
/// # Safety
/// Called by nginx with a live request.
pub unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    if let Some(request) = unsafe { Request::new(r) } {
        if request.has_upgrade() {
            if let Some(conf) = request.location().filter(|conf| conf.mode().applies()) {
                return pass(request, conf).into();
            }
        }
    }
    Status::NGX_DECLINED.into()
}

fn pass(mut request: Request, conf: &LocationConf) -> Status {
    if !request.is_main() {
        // The header lines belong to the main request as well.
        request.forget_upgrade();
        return Status::NGX_DECLINED;
    }

    let upgrade = request.upgrade(conf).map(|protocols| protocols.to_string()).unwrap_or_default();
    let mut lines = request.upgrade_lines();
    if upgrade.is_empty() {
        lines.for_each(remove);
        request.forget_upgrade();
    } else if let Some(first) = lines.next() {
        // An explicit "proxy_set_header Upgrade $http_upgrade" sends no more than is allowed.
        if !keep_only(request, first, &upgrade) {
            return Status::NGX_ERROR;
        }
        lines.for_each(remove);
    }
    Status::NGX_DECLINED
}

/// Empties a header line of the request. Its name and hash stay: by the hash the proxy module finds
/// the lines that it does not pass on (`ngx_http_proxy_create_request`).
fn remove(mut line: NonNull<ngx_table_elt_t>) {
    // SAFETY: the line belongs to a live request.
    unsafe { line.as_mut() }.value = ngx_str_t::empty();
}

/// Sets the line to `value`, unless it says just that. False if memory runs out.
fn keep_only(request: Request, mut line: NonNull<ngx_table_elt_t>, value: &str) -> bool {
    // SAFETY: the line belongs to the live request.
    let line = unsafe { line.as_mut() };
    if line.value.as_bytes().eq_ignore_ascii_case(value.as_bytes()) {
        return true;
    }
    match request.copy(value) {
        Some(value) => {
            line.value = value;
            true
        }
        None => false,
    }
}
