//! Bit fields, as the C compiler sees them: made by build.rs from `bits.h`.

use ngx::ffi::{ngx_http_request_t, ngx_http_variable_value_t, ngx_str_t, ngx_uint_t};

mod made {
    #![allow(missing_docs)]

    use super::{ngx_http_request_t, ngx_http_variable_value_t, ngx_str_t, ngx_uint_t};

    include!(concat!(env!("OUT_DIR"), "/bits.rs"));
}

pub use made::*;

/// Gives a variable its value for this time only.
pub fn set_variable(variable: &mut ngx_http_variable_value_t, value: ngx_str_t) {
    // The length has 28 bits (ngx_variable_value_t); no header line comes near.
    // SAFETY: both are live.
    unsafe { websocket_guard_set_variable(variable, &value) };
}
