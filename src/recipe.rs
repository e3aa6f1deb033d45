//! The WebSocket recipe: what the guard makes of a location's proxy settings.
//!
//! nginx merges a module's configurations from `http {}` down, one module after the other. This
//! module's turn is before that of the proxy modules, so for each location it sees what was
//! written there, remembers what the location would have had without the guard ([`Plain`]), and
//! fills in the values that the guard wants; the proxy modules then merge them as if they had been
//! written by hand.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use ngx::ffi::{
    nginx_version, ngx_array_t, ngx_conf_t, ngx_flag_t, ngx_http_complex_value_t,
    ngx_http_conf_ctx_t, ngx_msec_t, ngx_str_t, ngx_uint_t,
};

use ngx::http::{HttpModuleLocationConf, HttpModuleServerConf, NgxHttpCoreModule};

use crate::cache_condition::ConditionList;
use crate::conf::{Guard, Level, LocationConf, MainConf, MergedLevel};
use crate::headers::{HeaderList, OwnUpgrade, CHECKED_UPGRADE};
use crate::nginx::{place, AllocationFailed};
use crate::params::ParamList;
use crate::proxies::{Field, ProxyModule, Value, MODULES};
use crate::tunnel::{TunnelConf, TunnelTimeouts};
use websocket_guard_core::words::Mode;

/// The guard's own idle limit, in milliseconds.
const DEFAULT_TIMEOUT: ngx_msec_t = 60 * 60 * 1000;

/// `proxy_http_version 1.1`, as the proxy module keeps it.
const HTTP_11: ngx_uint_t = 1001;

/// `proxy_http_version 2` (from nginx 1.29.4 on), in which there is no upgrade.
const HTTP_2: ngx_uint_t = 2000;

/// `proxy_buffering off`
const UNBUFFERED: ngx_flag_t = 0;

/// What nginx takes where nothing was set (`ngx_http_proxy_merge_loc_conf` and the same of the
/// other modules).
mod nginx_default {
    use super::{nginx_version, ngx_flag_t, ngx_msec_t, ngx_uint_t};

    pub const TIMEOUT: ngx_msec_t = 60 * 1000;
    pub const BUFFERING: ngx_flag_t = 1;
    pub const HTTP_VERSION: ngx_uint_t = if nginx_version >= 1_029_007 { 1001 } else { 1000 };
}

/// What the guard made of a location's settings.
#[derive(Clone, Copy, Default)]
pub struct Recipe {
    /// What the location would have had without the guard.
    plain: Option<NonNull<Plain>>,
    /// `websocket_guard_timeout` of this level or above, in milliseconds.
    guard_timeout: Option<ngx_msec_t>,
    /// Whether the guard's values stand in the proxy modules' configurations of this location, so
    /// that the levels below would inherit them.
    written: bool,
    /// The location's array of configurations; in a block that of the location around it.
    pub loc_conf: Option<NonNull<*mut c_void>>,
    /// The limits of a tunnel, for each proxy module.
    pub tunnel_timeouts: [TunnelTimeouts; MODULES],
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

/// The settings of the proxy modules that a location would have had without the guard. A level that
/// sets none of them shares its parent's.
#[derive(Clone, Copy, Default)]
struct Plain([Settings; MODULES]);

/// The settings of one proxy module; `None` for what was not set.
#[derive(Clone, Copy, Default)]
struct Settings {
    read_timeout: Option<ngx_msec_t>,
    send_timeout: Option<ngx_msec_t>,
    buffering: Option<ngx_flag_t>,
    http_version: Option<ngx_uint_t>,
    headers: Option<NonNull<HeaderList>>,
    params: Option<NonNull<ParamList>>,
    cache_bypass: Option<NonNull<ConditionList>>,
    no_cache: Option<NonNull<ConditionList>>,
}

/// Remembers what was set in `http {}` itself. `conf` is its configuration of this module.
///
/// # Safety
/// Must be called with the context of `http {}`, before anything is merged.
pub unsafe fn start(
    cf: &mut ngx_conf_t,
    main: &MainConf,
    conf: &mut LocationConf,
) -> Result<(), AllocationFailed> {
    // SAFETY: guaranteed by the caller.
    let own = unsafe { read_own(cf, main)? };
    conf.recipe.plain = Some(place(cf, Plain(own))?);
    conf.recipe.guard_timeout = conf.timeout;
    Ok(())
}

/// Merges one level: works out what it would have without the guard, and in a guarded location
/// fills in what the guard wants.
///
/// # Safety
/// Must be called from `merge_loc_conf`, with `parent` and `conf` as nginx passes them.
pub unsafe fn merge(
    cf: &mut ngx_conf_t,
    main: &mut MainConf,
    parent: &LocationConf,
    conf: &mut LocationConf,
) -> Result<(), AllocationFailed> {
    let level = Level::of(cf);
    // SAFETY: nginx sets the context of the level that it merges.
    let loc_conf = unsafe { (*cf.ctx.cast::<ngx_http_conf_ctx_t>()).loc_conf };

    let mut own_headers = None;
    if level == Level::Block {
        // No setting of the recipe is allowed in a block, so that it has all from the location
        // around it, through the proxy modules' own merging.
        conf.recipe = parent.recipe;
        conf.location_opened = parent.location_opened;
    } else {
        conf.location_opened = conf.opened;
        // SAFETY: guaranteed by the caller; plain settings live as long as the configuration.
        let (own, inherited) = unsafe {
            let inherited = parent.recipe.plain.map(|plain| plain.as_ref().0).unwrap_or_default();
            (read_own(cf, main)?, inherited)
        };
        // SAFETY: a list lives as long as the configuration.
        own_headers =
            own.iter().find_map(|settings| settings.headers).map(|list| unsafe { list.as_ref() });
        conf.recipe.guard_timeout = conf.timeout.or(parent.recipe.guard_timeout);
        conf.recipe.plain = match own.iter().all(Settings::is_empty) {
            true => parent.recipe.plain,
            false => {
                let mut plain = own;
                for (settings, above) in plain.iter_mut().zip(&inherited) {
                    *settings = settings.or(above);
                }
                Some(place(cf, Plain(plain))?)
            }
        };
        conf.recipe.loc_conf = NonNull::new(loc_conf);
        if level == Level::Location {
            // SAFETY: `loc_conf` is this location's.
            unsafe { fill_in(cf, main, parent, conf, loc_conf, &own, &inherited)? };
        }
    }

    let server = NgxHttpCoreModule::server_conf(cf);
    if level == Level::Location && conf.mode().is_guarded() {
        let (server, location) = (Guard::server_conf_mut(cf), NgxHttpCoreModule::location_conf(cf));
        if let (Some(server), Some(location)) = (server, location) {
            server.guarded_location.get_or_insert(location.name);
        }
    }
    main.audited |= match conf.mode {
        Some(mode) => mode != Mode::Off,
        None => own_headers.is_some_and(|list| list.forwards_upgrade()),
    };
    main.levels.push(MergedLevel {
        level,
        parent,
        conf: NonNull::from(conf),
        loc_conf,
        server: server.map_or(ptr::null(), ptr::from_ref),
    });
    Ok(())
}

/// # Safety
/// `loc_conf` must be the array of configurations of the location being merged.
unsafe fn fill_in(
    cf: &mut ngx_conf_t,
    main: &MainConf,
    parent: &LocationConf,
    conf: &mut LocationConf,
    loc_conf: *mut *mut c_void,
    own: &[Settings; MODULES],
    inherited: &[Settings; MODULES],
) -> Result<(), AllocationFailed> {
    let mode = conf.mode();
    conf.recipe.written = mode.is_guarded();
    if !mode.is_guarded() && !parent.recipe.written {
        return Ok(());
    }

    for (index, module) in main.proxies.iter().enumerate() {
        let (Some(module), Some(own), Some(inherited), Some(checked_upgrade)) =
            (module, own.get(index), inherited.get(index), CHECKED_UPGRADE.get(index))
        else {
            continue;
        };
        let limits = Limits::new(conf, own, inherited);
        if let Some(timeouts) = conf.recipe.tunnel_timeouts.get_mut(index) {
            *timeouts = limits.tunnel;
        }

        let mut own_upgrade = None;
        let realtime = mode == Mode::On;
        let upgrades = mode.is_guarded();
        let plain = own.or(inherited);
        // nginx cannot choose it for each request, and the plain ones of a backend that speaks HTTP/2 need it.
        let http2 = match mode {
            Mode::Auto => plain.http_version,
            _ => own.http_version,
        } == Some(HTTP_2);
        // SAFETY: the array has the module's configuration.
        let module_conf = unsafe { module.location_conf(loc_conf) };
        let fill = Fill { conf: module_conf, undo: parent.recipe.written };
        fill.field(
            Some(module.read_timeout),
            own.read_timeout,
            realtime.then_some(limits.plain_read),
            inherited.read_timeout.unwrap_or(nginx_default::TIMEOUT),
        );
        fill.field(
            module.send_timeout,
            own.send_timeout,
            realtime.then_some(limits.tunnel.send),
            inherited.send_timeout.unwrap_or(nginx_default::TIMEOUT),
        );
        fill.field(
            module.buffering,
            own.buffering,
            realtime.then_some(UNBUFFERED),
            inherited.buffering.unwrap_or(nginx_default::BUFFERING),
        );
        fill.field(
            module.http_version,
            own.http_version,
            (upgrades && !http2).then_some(HTTP_11),
            inherited.http_version.unwrap_or(nginx_default::HTTP_VERSION),
        );

        for (field, own, list) in [
            (module.cache_bypass, own.cache_bypass, plain.cache_bypass),
            (module.no_cache, own.no_cache, plain.no_cache),
        ] {
            // SAFETY: the lists live as long as the configuration.
            let list = unsafe { list.unwrap_or(NonNull::from(&main.no_conditions)).as_ref() };
            if upgrades {
                fill.array(field, list.guarded(cf)?.as_ptr());
            } else if own.is_none() && fill.undo {
                fill.array(field, list.plain());
            }
        }

        if module.headers_source.is_some() {
            // SAFETY: as above.
            let list = unsafe { plain.headers.unwrap_or(NonNull::from(&main.no_headers)).as_ref() };
            let upgrades = upgrades && !http2;
            if upgrades && own.headers.is_some() {
                let headers = list.guarded_own(cf, conf.forwarded(), *checked_upgrade)?;
                fill.array(module.headers_source, headers.list.as_ptr());
                own_upgrade = headers.upgrade;
                conf.recipe.connection = headers.connection;
            } else if upgrades {
                fill.array(
                    module.headers_source,
                    list.guarded_inherited(cf, conf.forwarded())?.as_ptr(),
                );
                conf.recipe.connection = list.connection(cf)?;
            } else if own.headers.is_none() && fill.undo {
                fill.array(module.headers_source, list.plain(cf)?.as_ptr());
            }
        }
        if let Some(list) = plain.params {
            // SAFETY: as above.
            let list = unsafe { list.as_ref() };
            if upgrades {
                let (list, upgrade) = list.guarded(cf, *checked_upgrade)?;
                fill.array(module.params_source, list.as_ptr());
                own_upgrade = upgrade;
            } else if own.params.is_none() && fill.undo {
                fill.array(module.params_source, list.plain().as_ptr());
            }
        }
        if let Some(upgrade) = conf.recipe.upgrade.get_mut(index) {
            *upgrade = own_upgrade;
        }
    }
    Ok(())
}

/// Writes into one location configuration of one proxy module.
struct Fill {
    conf: *mut c_void,
    /// The parent location holds the guard's values. What this location does not want of them must
    /// be written out, or it would inherit them.
    undo: bool,
}

impl Fill {
    fn field<T: Value>(
        &self,
        field: Option<Field<T>>,
        own: Option<T>,
        wanted: Option<T>,
        plain: T,
    ) {
        let value = wanted.or(self.undo.then_some(plain));
        if let (Some(field), None, Some(value)) = (field, own, value) {
            // SAFETY: the field and the configuration are of the same module.
            unsafe { field.write(self.conf, value) };
        }
    }

    fn array(&self, field: Option<Field<*mut ngx_array_t>>, array: *mut ngx_array_t) {
        if let Some(field) = field {
            // SAFETY: as above.
            unsafe { field.write(self.conf, array) };
        }
    }
}

/// The timeouts of a guarded location, in milliseconds.
struct Limits {
    tunnel: TunnelTimeouts,
    /// `proxy_read_timeout` for requests that are no upgrades, in mode `on`.
    plain_read: ngx_msec_t,
}

impl Limits {
    fn new(conf: &LocationConf, own: &Settings, inherited: &Settings) -> Self {
        let above = |inherited: Option<ngx_msec_t>| {
            let longer = inherited.unwrap_or(nginx_default::TIMEOUT).max(DEFAULT_TIMEOUT);
            conf.recipe.guard_timeout.unwrap_or(longer)
        };
        let read =
            conf.timeout.or(own.read_timeout).unwrap_or_else(|| above(inherited.read_timeout));
        let send =
            own.send_timeout.or(conf.timeout).unwrap_or_else(|| above(inherited.send_timeout));
        Self { tunnel: TunnelTimeouts { read, send }, plain_read: read }
    }
}

/// What the level that is being merged sets itself.
///
/// # Safety
/// `cf.ctx` must be the context of that level, and nothing of it may have been filled in yet.
unsafe fn read_own(
    cf: &mut ngx_conf_t,
    main: &MainConf,
) -> Result<[Settings; MODULES], AllocationFailed> {
    // SAFETY: guaranteed by the caller.
    let loc_conf = unsafe { (*cf.ctx.cast::<ngx_http_conf_ctx_t>()).loc_conf };
    let mut own = [Settings::default(); MODULES];
    for (settings, module) in own.iter_mut().zip(&main.proxies) {
        if let Some(module) = module {
            // SAFETY: the array has the module's configuration of this level.
            *settings = unsafe { Settings::read(cf, module, module.location_conf(loc_conf))? };
        }
    }
    Ok(own)
}

impl Settings {
    /// # Safety
    /// `conf` must be a location configuration of `module`.
    unsafe fn read(
        cf: &mut ngx_conf_t,
        module: &ProxyModule,
        conf: *const c_void,
    ) -> Result<Self, AllocationFailed> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let headers = own(module.headers_source, conf);
            let params = own(module.params_source, conf).and_then(NonNull::new);
            let cache_bypass = own(module.cache_bypass, conf);
            let no_cache = own(module.no_cache, conf);
            Ok(Self {
                read_timeout: own(Some(module.read_timeout), conf),
                send_timeout: own(module.send_timeout, conf),
                buffering: own(module.buffering, conf),
                http_version: own(module.http_version, conf),
                headers: headers.map(|list| place(cf, HeaderList::new(list))).transpose()?,
                params: params.map(|list| place(cf, ParamList::new(list))).transpose()?,
                cache_bypass: cache_bypass
                    .map(|list| place(cf, ConditionList::new(list)))
                    .transpose()?,
                no_cache: no_cache.map(|list| place(cf, ConditionList::new(list))).transpose()?,
            })
        }
    }

    fn is_empty(&self) -> bool {
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
    fn or(&self, above: &Self) -> Self {
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
    // SAFETY: guaranteed by the caller.
    let value = unsafe { field?.read(conf) };
    value.is_set().then_some(value)
}
