//! What the guard writes into the proxy modules' configurations of a location, before these modules merge them.

use core::ffi::c_void;
use core::ptr::NonNull;

use ngx::ffi::{ngx_array_t, ngx_conf_t, ngx_flag_t, ngx_msec_t, ngx_str_t, ngx_uint_t};
use websocket_guard_core::words::Mode;

use super::headers::{GuardedHeaders, OwnUpgrade, CHECKED_UPGRADE};
use super::settings::Settings;
use super::timeouts::{nginx_default, Limits};
use crate::configuration::conf::{LocationConf, MainConf};
use crate::configuration::foreign::proxies::{Field, ProxyModule, Value, MODULES};
use crate::configuration::words::Forwarded;
use crate::nginx::ConfigurationError;

/// `proxy_http_version 1.1`, as the proxy module keeps it.
const HTTP_11: ngx_uint_t = 1001;

/// `proxy_http_version 2` (from nginx 1.29.4 on), in which there is no upgrade.
const HTTP_2: ngx_uint_t = 2000;

/// `proxy_buffering off`
const UNBUFFERED: ngx_flag_t = 0;

/// Where the settings of a location come from, before the guard has its say; for each proxy module.
pub(super) struct Sources {
    /// What the location sets itself.
    pub(super) own: [Settings; MODULES],
    /// What it has from above where it sets nothing.
    pub(super) inherited: [Settings; MODULES],
    /// `websocket_guard_timeout` of the location itself, in milliseconds.
    pub(super) timeout: Option<ngx_msec_t>,
}

/// Fills in what the guard wants in a location, and notes it in the location's recipe.
///
/// # Safety
/// The recipe's `loc_conf` must be the array of configurations of the location, which no module after this one has
/// merged yet.
pub(super) unsafe fn fill_in(
    cf: &mut ngx_conf_t,
    main: &MainConf,
    sources: &Sources,
    parent: &LocationConf,
    conf: &mut LocationConf,
) -> Result<(), ConfigurationError> {
    let (mode, undo) = (conf.mode(), parent.recipe.written);
    conf.recipe.written = mode.is_guarded();
    let Some(loc_conf) = conf.recipe.loc_conf.filter(|_| mode.is_guarded() || undo) else {
        return Ok(());
    };
    for (index, module) in main.proxies.iter().enumerate() {
        let (Some(module), Some(own), Some(inherited), Some(checked_upgrade)) = (
            module,
            sources.own.get(index),
            sources.inherited.get(index),
            CHECKED_UPGRADE.get(index).copied(),
        ) else {
            continue;
        };
        // SAFETY: the array has a configuration of each HTTP module.
        let module_conf = unsafe { module.location_conf(loc_conf.as_ptr()) };
        let limits = Limits::new(sources.timeout, conf.recipe.guard_timeout, own, inherited);
        let plain = own.or(inherited);
        let fill =
            Fill { module, conf: module_conf, mode, undo, own, inherited, plain, checked_upgrade };
        fill.numbers(&limits);
        fill.conditions(cf, main)?;
        let mut own_upgrade = fill.params(cf)?;
        if let Some(headers) = fill.headers(cf, main, conf.forwarded())? {
            own_upgrade = headers.upgrade;
            conf.recipe.connection = headers.connection;
        }
        if let Some(timeouts) = conf.recipe.tunnel_timeouts.get_mut(index) {
            *timeouts = limits.tunnel;
        }
        if let Some(waits) = conf.recipe.waits.get_mut(index).filter(|_| mode == Mode::On) {
            *waits = limits.waits;
        }
        if let Some(upgrade) = conf.recipe.upgrade.get_mut(index) {
            *upgrade = own_upgrade;
        }
    }
    Ok(())
}

/// What is filled in of one proxy module.
struct Fill<'a> {
    module: &'a ProxyModule,
    /// The module's configuration of the location.
    conf: *mut c_void,
    mode: Mode,
    /// The parent location holds the guard's values. What this location does not want of them must
    /// be written out, or it would inherit them.
    undo: bool,
    /// What the location sets itself, which stays.
    own: &'a Settings,
    inherited: &'a Settings,
    /// What the location would have without the guard: `own`, or else `inherited`.
    plain: Settings,
    /// What stands in the place of the location's own Upgrade (see [`CHECKED_UPGRADE`]).
    checked_upgrade: ngx_str_t,
}

impl Fill<'_> {
    /// Timeouts, buffering and the version of HTTP.
    fn numbers(&self, limits: &Limits) {
        let Fill { module, own, inherited, .. } = self;
        let realtime = self.mode == Mode::On;
        self.number(
            Some(module.read_timeout),
            own.read_timeout,
            realtime.then_some(limits.plain_read),
            inherited.read_timeout.unwrap_or(nginx_default::TIMEOUT),
        );
        self.number(
            module.send_timeout,
            own.send_timeout,
            realtime.then_some(limits.tunnel.send),
            inherited.send_timeout.unwrap_or(nginx_default::TIMEOUT),
        );
        self.number(
            module.buffering,
            own.buffering,
            realtime.then_some(UNBUFFERED),
            inherited.buffering.unwrap_or(nginx_default::BUFFERING),
        );
        self.number(
            module.http_version,
            own.http_version,
            (self.mode.is_guarded() && !self.speaks_http2()).then_some(HTTP_11),
            inherited.http_version.unwrap_or(nginx_default::HTTP_VERSION),
        );
    }

    /// The conditions of the cache.
    fn conditions(&self, cf: &mut ngx_conf_t, main: &MainConf) -> Result<(), ConfigurationError> {
        let Fill { module, own, plain, .. } = self;
        for (field, own, list) in [
            (module.cache_bypass, own.cache_bypass, plain.cache_bypass),
            (module.no_cache, own.no_cache, plain.no_cache),
        ] {
            // SAFETY: a list stands in the configuration's pool, and is not changed.
            let list = unsafe { list.unwrap_or(NonNull::from(&main.no_conditions)).as_ref() };
            if self.mode.is_guarded() {
                self.array(field, list.guarded(cf)?.as_ptr());
            } else if self.undo && own.is_none() {
                self.array(field, list.plain());
            }
        }
        Ok(())
    }

    /// The headers of the request for the backend; `None` if they are not the guard's.
    fn headers(
        &self,
        cf: &mut ngx_conf_t,
        main: &MainConf,
        forwarded: Forwarded,
    ) -> Result<Option<GuardedHeaders>, ConfigurationError> {
        let field = self.module.headers_source;
        if field.is_none() {
            return Ok(None);
        }
        // SAFETY: the lists live as long as the configuration.
        let list =
            unsafe { self.plain.headers.unwrap_or(NonNull::from(&main.no_headers)).as_ref() };
        if self.mode.is_guarded() && !self.speaks_http2() {
            let headers = match self.own.headers {
                Some(_) => list.guarded_own(cf, forwarded, self.checked_upgrade)?,
                None => list.guarded_inherited(cf, forwarded)?,
            };
            self.array(field, headers.list.as_ptr());
            return Ok(Some(headers));
        }
        if self.undo && self.own.headers.is_none() {
            self.array(field, list.plain(cf)?.as_ptr());
        }
        Ok(None)
    }

    /// The parameters of uwsgi and scgi. Returns the operator's value of Upgrade, if the guard has a say in it.
    fn params(&self, cf: &mut ngx_conf_t) -> Result<Option<OwnUpgrade>, ConfigurationError> {
        let Some(list) = self.plain.params else { return Ok(None) };
        // SAFETY: the lists live as long as the configuration.
        let list = unsafe { list.as_ref() };
        if self.mode.is_guarded() {
            let (list, upgrade) = list.guarded(cf, self.checked_upgrade)?;
            self.array(self.module.params_source, list.as_ptr());
            return Ok(upgrade);
        }
        if self.undo && self.own.params.is_none() {
            self.array(self.module.params_source, list.plain().as_ptr());
        }
        Ok(None)
    }

    /// Whether the backend is spoken to in HTTP/2. nginx cannot choose that for each request, and the plain ones of
    /// such a backend need it.
    fn speaks_http2(&self) -> bool {
        let version = match self.mode {
            Mode::Auto => self.plain.http_version,
            _ => self.own.http_version,
        };
        version == Some(HTTP_2)
    }

    /// Writes what is `wanted`, unless the location has a value of its `own`; `plain` undoes what it would inherit.
    fn number<T: Value>(
        &self,
        field: Option<Field<T>>,
        own: Option<T>,
        wanted: Option<T>,
        plain: T,
    ) {
        let value = wanted.or(self.undo.then_some(plain));
        if let (Some(field), None, Some(value)) = (field, own, value) {
            // SAFETY: the field and the configuration are of the same module, which reads it when it merges.
            unsafe { field.write(self.conf, value) };
        }
    }

    fn array(&self, field: Option<Field<*mut ngx_array_t>>, array: *mut ngx_array_t) {
        if let Some(field) = field {
            // SAFETY: the field and the configuration are of the same module.
            unsafe { field.write(self.conf, array) };
        }
    }
}
