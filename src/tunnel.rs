//! What changes when a 101 turns a request into a tunnel.

use core::ptr::NonNull;

use ngx::ffi::{ngx_conf_t, ngx_http_core_loc_conf_t, ngx_http_upstream_conf_t, ngx_msec_t};
use ngx::http::{HttpModule, NgxHttpCoreModule};

use crate::conf::{GuardedLocation, LocationConf, MainConf};
use crate::nginx::{place, AllocationFailed};
use crate::proxies::ProxyModule;
use crate::request::Request;

/// How long a tunnel may be silent, and how long a write to the backend may block; milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelTimeouts {
    pub read: ngx_msec_t,
    pub send: ngx_msec_t,
}

/// The upstream configuration that a location's tunnels go on with, in place of the one that its
/// requests start with. nginx reads a tunnel's timeouts there
/// (`ngx_http_upstream_process_upgraded`).
pub struct TunnelConf {
    request: NonNull<ngx_http_upstream_conf_t>,
    tunnel: ngx_http_upstream_conf_t,
}

/// Makes the location's [`TunnelConf`], if its tunnels need other timeouts than its requests have.
///
/// # Safety
/// All modules must be done with merging the location.
pub unsafe fn prepare(
    cf: &ngx_conf_t,
    main: &MainConf,
    mut location: GuardedLocation,
) -> Result<(), AllocationFailed> {
    // SAFETY: the location's configurations live as long as the cycle; nobody else refers to this
    // module's.
    let conf = unsafe { location.conf.as_mut() };
    for (module, timeouts) in main.proxies.iter().zip(conf.recipe.tunnel_timeouts) {
        let Some(module) = module else { continue };
        // SAFETY: the array has the module's configuration.
        let request = unsafe { module.upstream_conf(module.location_conf(location.loc_conf)) };
        // SAFETY: the configuration is complete.
        let (merged, proxied) = unsafe { (request.read(), is_proxied(module, location, request)) };
        let same = merged.read_timeout == timeouts.read && merged.send_timeout == timeouts.send;
        if let (Some(request), true, false) = (NonNull::new(request), proxied, same) {
            let tunnel = ngx_http_upstream_conf_t {
                read_timeout: timeouts.read,
                send_timeout: timeouts.send,
                ..merged
            };
            conf.recipe.tunnel_conf = Some(place(cf, TunnelConf { request, tunnel })?);
        }
    }
    Ok(())
}

/// Whether `module` passes the location's requests on.
///
/// # Safety
/// As for [`prepare`].
unsafe fn is_proxied(
    module: &ProxyModule,
    location: GuardedLocation,
    upstream: *const ngx_http_upstream_conf_t,
) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let core = *location.loc_conf.add(NgxHttpCoreModule::module().ctx_index);
        let handler = (*core.cast::<ngx_http_core_loc_conf_t>()).handler;
        let same_handler = match (module.handler, handler) {
            (Some(module), Some(location)) => module as usize == location as usize,
            _ => false,
        };
        same_handler || !(*upstream).upstream.is_null()
    }
}

/// Called with the headers of a 101 before they are sent: the tunnel goes on with its own
/// timeouts.
pub fn begin(request: &Request, conf: &LocationConf) {
    let Some(mut tunnel_conf) = conf.recipe.tunnel_conf else { return };
    let Some(upstream) = request.upstream() else { return };
    // SAFETY: the request is live; the configuration outlives it, and its tunnel part is only read.
    unsafe {
        let tunnel_conf = tunnel_conf.as_mut();
        let upstream = upstream.as_ptr();
        if (*upstream).conf == tunnel_conf.request.as_ptr() {
            (*upstream).conf = &raw mut tunnel_conf.tunnel;
        }
    }
}
