//! `ngx_connection_t`

use ngx::ffi::ngx_connection_t;
#[cfg(ngx_feature = "ssl")]
use ngx::ffi::{ngx_pfree, NGX_OK};

/// Whether a connection speaks TLS. An nginx without it has not even the field.
#[cfg(any(ngx_feature = "ssl", ngx_feature = "compat"))]
pub fn speaks_tls(connection: &ngx_connection_t) -> bool {
    !connection.ssl.is_null()
}

/// This nginx has no TLS.
#[cfg(not(any(ngx_feature = "ssl", ngx_feature = "compat")))]
pub fn speaks_tls(_: &ngx_connection_t) -> bool {
    false
}

/// Gives back the buffer that nginx collects a TLS record in (`ssl_buffer_size`), if it is empty; nginx makes
/// another if it collects one again (`ngx_ssl_send_chain`). So does `ngx_ssl_free_buffer` for a connection that is kept
/// alive; an nginx without TLS to which this module is compatible does not have that function.
///
/// # Safety
/// The connection must be open, and nothing may be in the midst of writing to it.
#[cfg(ngx_feature = "ssl")]
pub unsafe fn free_tls_buffer(connection: *mut ngx_connection_t) {
    // SAFETY: an open connection has a pool; the TLS state and its buffer are in it, and nobody else refers to the
    // buffer's memory.
    unsafe {
        let Some(tls) = (*connection).ssl.as_ref() else { return };
        let Some(buffer) = tls.buf.as_mut() else { return };
        let is_empty = (*connection).buffered() == 0 && buffer.pos == buffer.last;
        if !buffer.start.is_null() && is_empty {
            // A small one lies among other things in the pool, and stays.
            if ngx_pfree((*connection).pool, buffer.start.cast()) == NGX_OK as isize {
                buffer.start = core::ptr::null_mut();
            }
        }
    }
}

/// See above.
///
/// # Safety
/// There are no conditions.
#[cfg(not(ngx_feature = "ssl"))]
pub unsafe fn free_tls_buffer(_: *mut ngx_connection_t) {}
