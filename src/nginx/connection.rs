//! `ngx_connection_t`

use ngx::ffi::ngx_connection_t;

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
