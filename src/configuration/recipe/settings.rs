//! The settings of the proxy modules that the recipe is about: what a location would have had, and what
//! the guard made of them.

use core::ffi::c_void;
use core::ptr::NonNull;

use ngx::ffi::{
    ngx_conf_t, ngx_flag_t, ngx_http_complex_value_t, ngx_http_upstream_conf_t, ngx_msec_t,
    ngx_str_t, ngx_uint_t,
};

use super::cache::ConditionList;
use super::headers::{HeaderList, OwnUpgrade, CHECKED_UPGRADE};
use super::params::ParamList;
use crate::configuration::foreign::proxies::{Field, ProxyModule, Value, MODULES};
use crate::nginx::{place, AllocationFailed};

/// What the guard made of a location's settings.
#[derive(Clone, Copy, Default)]
pub struct Recipe {
    /// What the location would have had without the guard.
    pub(super) plain: Option<NonNull<Plain>>,
    /// `websocket_guard_timeout` of this level or above, in milliseconds.
    pub(super) guard_timeout: Option<ngx_msec_t>,
    /// Whether the guard's values stand in the proxy modules' configurations of this location, so
    /// that the levels below would inherit them.
    pub(super) written: bool,
    /// The location's array of configurations; in a block that of the location around it.
    pub loc_conf: Option<NonNull<*mut c_void>>,
    /// The limits of a tunnel, for each proxy module.
    pub tunnel_timeouts: [TunnelTimeouts; MODULES],
    /// Which times of a request that is no tunnel yet are the guard's, for each proxy module.
    pub waits: [GuardWaits; MODULES],
    /// The configuration that the location's tunnels go on with, where it differs.
    pub tunnel_conf: Option<NonNull<TunnelConf>>,
    /// The value of Connection for requests that are no upgrades: what the location inherited, or its own `""` or
    /// `close`.
    pub connection: Option<NonNull<ngx_http_complex_value_t>>,
    /// The location's own value of Upgrade, if it is sent only as far as it is allowed; for each proxy module.
    pub upgrade: [Option<OwnUpgrade>; MODULES],
}

impl Recipe {
    /// A value of the location's headers as the operator wrote it.
    pub fn own_text(&self, value: ngx_str_t) -> ngx_str_t {
        let own =
            CHECKED_UPGRADE.iter().zip(self.upgrade).find(|(text, _)| text.data == value.data);
        // SAFETY: compiled values live as long as the configuration, and keep their text.
        own.and_then(|(_, own)| own).map_or(value, |own| unsafe { own.as_ref() }.value)
    }
}

/// The times of a request that `websocket_guard_timeout` decides, by its value or its default.
#[derive(Clone, Copy, Default)]
pub struct GuardWaits {
    pub read: bool,
    pub send: bool,
}

/// The settings of the proxy modules that a location would have had without the guard. A level that
/// sets none of them shares its parent's.
#[derive(Clone, Copy, Default)]
pub(super) struct Plain(pub(super) [Settings; MODULES]);

/// The settings of one proxy module; `None` for what was not set.
#[derive(Clone, Copy, Default)]
pub(super) struct Settings {
    pub(super) read_timeout: Option<ngx_msec_t>,
    pub(super) send_timeout: Option<ngx_msec_t>,
    pub(super) buffering: Option<ngx_flag_t>,
    pub(super) http_version: Option<ngx_uint_t>,
    pub(super) headers: Option<NonNull<HeaderList>>,
    pub(super) params: Option<NonNull<ParamList>>,
    pub(super) cache_bypass: Option<NonNull<ConditionList>>,
    pub(super) no_cache: Option<NonNull<ConditionList>>,
}

impl Settings {
    /// # Safety
    /// `conf` must be a location configuration of `module`.
    pub(super) unsafe fn read(
        cf: &mut ngx_conf_t,
        module: &ProxyModule,
        conf: *const c_void,
    ) -> Result<Self, AllocationFailed> {
        // SAFETY: the configuration is the module's that the fields were found in.
        let (headers, params, cache_bypass, no_cache) = unsafe {
            (
                own(module.headers_source, conf),
                own(module.params_source, conf).and_then(NonNull::new),
                own(module.cache_bypass, conf),
                own(module.no_cache, conf),
            )
        };
        // SAFETY: these fields are of the same module, too.
        let (read_timeout, send_timeout, buffering, http_version) = unsafe {
            (
                own(Some(module.read_timeout), conf),
                own(module.send_timeout, conf),
                own(module.buffering, conf),
                own(module.http_version, conf),
            )
        };
        let conditions = |list| place(cf, ConditionList::new(list));
        Ok(Self {
            read_timeout,
            send_timeout,
            buffering,
            http_version,
            headers: headers.map(|list| place(cf, HeaderList::new(list))).transpose()?,
            params: params.map(|list| place(cf, ParamList::new(list))).transpose()?,
            cache_bypass: cache_bypass.map(conditions).transpose()?,
            no_cache: no_cache.map(conditions).transpose()?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read_timeout.is_none()
            && self.send_timeout.is_none()
            && self.buffering.is_none()
            && self.http_version.is_none()
            && self.headers.is_none()
            && self.params.is_none()
            && self.cache_bypass.is_none()
            && self.no_cache.is_none()
    }

    /// What is not set here, is as in `above`.
    pub(super) fn or(&self, above: &Self) -> Self {
        Self {
            read_timeout: self.read_timeout.or(above.read_timeout),
            send_timeout: self.send_timeout.or(above.send_timeout),
            buffering: self.buffering.or(above.buffering),
            http_version: self.http_version.or(above.http_version),
            headers: self.headers.or(above.headers),
            params: self.params.or(above.params),
            cache_bypass: self.cache_bypass.or(above.cache_bypass),
            no_cache: self.no_cache.or(above.no_cache),
        }
    }
}

/// The value of a field, where it is set.
///
/// # Safety
/// `conf` must be a location configuration of the module that the field belongs to.
unsafe fn own<T: Value>(field: Option<Field<T>>, conf: *const c_void) -> Option<T> {
    // SAFETY: the configuration is the module's that the field was found in.
    let value = unsafe { field?.read(conf) };
    value.is_set().then_some(value)
}
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
    pub request: NonNull<ngx_http_upstream_conf_t>,
    pub tunnel: ngx_http_upstream_conf_t,
}
