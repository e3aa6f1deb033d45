//! The limits of a tunnel.

use core::ptr::NonNull;

use ngx::ffi::{
    nginx_version, ngx_conf_t, ngx_flag_t, ngx_http_upstream_conf_t, ngx_msec_t, ngx_uint_t,
};

use super::settings::{GuardWaits, Settings, TunnelConf, TunnelTimeouts};
use crate::configuration::conf::{Level, MainConf, MergedLevel};
use crate::nginx::{place, AllocationFailed};

/// The guard's own idle limit, in milliseconds.
const DEFAULT_TIMEOUT: ngx_msec_t = 60 * 60 * 1000;

/// What nginx takes where nothing was set (`ngx_http_proxy_merge_loc_conf` and the same of the
/// other modules).
pub mod nginx_default {
    use super::{nginx_version, ngx_flag_t, ngx_msec_t, ngx_uint_t};

    pub const TIMEOUT: ngx_msec_t = 60 * 1000;
    pub const BUFFERING: ngx_flag_t = 1;
    pub const HTTP_VERSION: ngx_uint_t = if nginx_version >= 1_029_007 { 1001 } else { 1000 };
}

/// The timeouts of a guarded location, in milliseconds.
pub(super) struct Limits {
    pub(super) tunnel: TunnelTimeouts,
    /// `proxy_read_timeout` for requests that are no upgrades, in mode `on`.
    pub(super) plain_read: ngx_msec_t,
    /// Which of those of requests are the guard's, in mode `on`.
    pub(super) waits: GuardWaits,
}

impl Limits {
    /// `own_timeout` is `websocket_guard_timeout` of the location itself, `timeout` that of the location or above.
    pub(super) fn new(
        own_timeout: Option<ngx_msec_t>,
        timeout: Option<ngx_msec_t>,
        own: &Settings,
        inherited: &Settings,
    ) -> Self {
        let above = |inherited: Option<ngx_msec_t>| {
            let longer = inherited.unwrap_or(nginx_default::TIMEOUT).max(DEFAULT_TIMEOUT);
            timeout.unwrap_or(longer)
        };
        let read =
            own_timeout.or(own.read_timeout).unwrap_or_else(|| above(inherited.read_timeout));
        let send =
            own.send_timeout.or(own_timeout).unwrap_or_else(|| above(inherited.send_timeout));
        // An inherited time that is longer than the guard's default stays.
        let decides = |own: Option<ngx_msec_t>, inherited: Option<ngx_msec_t>| {
            own.is_none()
                && (timeout.is_some() || inherited.map_or(true, |it| it <= DEFAULT_TIMEOUT))
        };
        let waits = GuardWaits {
            read: decides(own.read_timeout, inherited.read_timeout),
            send: decides(own.send_timeout, inherited.send_timeout),
        };
        Self { tunnel: TunnelTimeouts { read, send }, plain_read: read, waits }
    }
}

/// Makes the location's [`TunnelConf`], if its tunnels need other timeouts than its requests have.
///
/// # Safety
/// All modules must be done with merging the location.
pub unsafe fn prepare(
    cf: &ngx_conf_t,
    main: &MainConf,
    mut location: MergedLevel,
) -> Result<(), AllocationFailed> {
    // SAFETY: the location's configurations live as long as the cycle; nobody else refers to this
    // module's.
    let conf = unsafe { location.conf.as_mut() };
    if location.level == Level::Server || !conf.mode().is_guarded() {
        return Ok(());
    }
    for (module, timeouts) in main.proxies.iter().zip(conf.recipe.tunnel_timeouts) {
        let Some(module) = module else { continue };
        // SAFETY: the array has the module's configuration.
        let request = unsafe { module.upstream_conf(module.location_conf(location.loc_conf)) };
        // SAFETY: the configurations are complete.
        let (merged, proxied) = unsafe {
            let around = conf.recipe.loc_conf.map_or(location.loc_conf, NonNull::as_ptr);
            (&*request, module.serves(location.loc_conf, around))
        };
        let same = merged.read_timeout == timeouts.read && merged.send_timeout == timeouts.send;
        if let (Some(request), true, false) = (NonNull::new(request), proxied, same) {
            let tunnel = ngx_http_upstream_conf_t {
                read_timeout: timeouts.read,
                send_timeout: timeouts.send,
                ..*merged
            };
            conf.recipe.tunnel_conf = Some(place(cf, TunnelConf { request, tunnel })?);
        }
    }
    Ok(())
}
