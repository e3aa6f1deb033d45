//! Whether the connections to a request's backend are kept.

use ngx::ffi::{
    ngx_http_upstream_srv_conf_t, ngx_http_upstream_t, ngx_uint_t, NGX_HTTP_UPSTREAM_CREATE,
};
use ngx::http::{HttpModuleMainConf, NgxHttpUpstreamModule};

use crate::nginx::elements;
use crate::request::view::Request;

/// Whether the request's upstream has a `keepalive`.
pub fn keeps_connections(request: &Request) -> bool {
    let keepalive = request.main_conf().and_then(|main| main.keepalive);
    let upstream = request.upstream().and_then(|upstream| {
        // SAFETY: the upstream belongs to the live request.
        unsafe { find(request, upstream.as_ref()) }
    });
    match (keepalive, upstream.and_then(|upstream| upstream.peer.init_upstream)) {
        (Some(keepalive), Some(initializer)) => keepalive as usize == initializer as usize,
        _ => false,
    }
}

/// Whether an upstream of the request is a block of the configuration, whose name nobody else needs to know.
pub fn is_block(request: &Request, upstream: &ngx_http_upstream_t) -> bool {
    // SAFETY: the upstream is the request's.
    let upstream = unsafe { find(request, upstream) };
    upstream.is_some_and(|upstream| upstream.flags & NGX_HTTP_UPSTREAM_CREATE as ngx_uint_t != 0)
}

/// The upstream that the request goes to. One that is named by a variable is looked up as nginx
/// does it a little later (`ngx_http_upstream_init_request`).
///
/// # Safety
/// `upstream` must be the request's.
unsafe fn find<'a>(
    request: &Request,
    upstream: &ngx_http_upstream_t,
) -> Option<&'a ngx_http_upstream_srv_conf_t> {
    // SAFETY: configurations outlive the request.
    unsafe {
        let Some(resolved) = upstream.resolved.as_ref() else {
            return upstream.conf.as_ref()?.upstream.as_ref();
        };
        let main = NgxHttpUpstreamModule::main_conf(&*request.as_ptr())?;
        elements::<*mut ngx_http_upstream_srv_conf_t>(&main.upstreams)
            .iter()
            .filter_map(|upstream| upstream.as_ref())
            .find(|upstream| {
                let default_port = upstream.port == 0 && resolved.no_port != 0;
                upstream.host.as_bytes().eq_ignore_ascii_case(resolved.host.as_bytes())
                    && (default_port || upstream.port == resolved.port)
            })
    }
}
