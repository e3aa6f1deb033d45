//! `keepalive` of an upstream

use ngx::ffi::{ngx_conf_t, ngx_http_upstream_init_pt};

use crate::configuration::foreign::trial;
use crate::nginx::find_module;
use crate::nginx::ngx_str;

/// The function that `keepalive` puts into its upstream.
///
/// From nginx 1.29.7 on it leaves none, but there connections are kept by default.
pub fn initializer(cf: &mut ngx_conf_t) -> ngx_http_upstream_init_pt {
    let module = find_module(cf, b"ngx_http_upstream_keepalive_module")?;
    trial::run(cf, module, "keepalive", ngx_str(c"1"))?.init_upstream
}
