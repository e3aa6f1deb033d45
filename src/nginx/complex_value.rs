//! `ngx_http_complex_value_t`: text with variables

use core::mem::zeroed;
use core::ptr::NonNull;

use ngx::ffi::{
    ngx_conf_t, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_http_request_t, ngx_str_t,
};

use super::error::ConfigurationError;
use super::pool::place;

/// Compiles `text`, which may hold variables (`ngx_http_compile_complex_value`).
pub fn compile(
    cf: &mut ngx_conf_t,
    mut text: ngx_str_t,
) -> Result<NonNull<ngx_http_complex_value_t>, ConfigurationError> {
    // SAFETY: all pointers are live for the call; the value is allocated from the same pool as
    // the configuration that keeps it.
    unsafe {
        let value = place(cf, zeroed::<ngx_http_complex_value_t>())?;
        let mut ccv: ngx_http_compile_complex_value_t = zeroed();
        ccv.cf = cf;
        ccv.value = &mut text;
        ccv.complex_value = value.as_ptr();
        match ngx_http_compile_complex_value(&mut ccv) {
            0 => Ok(value),
            _ => Err(ConfigurationError::Value(text)),
        }
    }
}

/// Evaluates a compiled value for this request; `None` if memory runs out.
///
/// # Safety
/// `r` must be a live request whose configuration compiled `value`.
pub unsafe fn evaluate(
    r: *mut ngx_http_request_t,
    value: NonNull<ngx_http_complex_value_t>,
) -> Option<ngx_str_t> {
    let mut result = ngx_str_t::empty();
    // SAFETY: the request is live, and the value of its configuration.
    match unsafe { ngx_http_complex_value(r, value.as_ptr(), &mut result) } {
        0 => Some(result),
        _ => None,
    }
}
