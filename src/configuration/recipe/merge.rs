//! The WebSocket recipe, level by level.
//!
//! nginx merges a module's configurations from `http {}` down, one module after the other. This
//! module's turn is before that of the proxy modules, so for each location it sees what was
//! written there, remembers what the location would have had without the guard ([`Plain`]), and
//! fills in the values that the guard wants; the proxy modules then merge them as if they had been
//! written by hand.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use ngx::ffi::{ngx_array_t, ngx_conf_t, ngx_flag_t, ngx_http_conf_ctx_t, ngx_uint_t};

use ngx::http::{HttpModuleLocationConf, HttpModuleServerConf, NgxHttpCoreModule};

use super::settings::{Plain, Settings};
use super::timeouts::{nginx_default, Limits};
use crate::configuration::conf::{Guard, Level, LocationConf, MainConf, MergedLevel};
use crate::configuration::foreign::proxies::{Field, Value, MODULES};
use crate::configuration::recipe::headers::CHECKED_UPGRADE;
use crate::configuration::written::Written;
use crate::nginx::{place, AllocationFailed, ConfigurationError};
use websocket_guard_core::words::{Marked, Mode};

/// `proxy_http_version 1.1`, as the proxy module keeps it.
const HTTP_11: ngx_uint_t = 1001;

/// `proxy_http_version 2` (from nginx 1.29.4 on), in which there is no upgrade.
const HTTP_2: ngx_uint_t = 2000;

/// `proxy_buffering off`
const UNBUFFERED: ngx_flag_t = 0;

/// Remembers what was set in `http {}` itself. `conf` is its configuration of this module.
///
/// # Safety
/// Must be called with the context of `http {}`, before anything is merged.
pub unsafe fn start(
    cf: &mut ngx_conf_t,
    main: &MainConf,
    written: &Written,
    conf: &mut LocationConf,
) -> Result<(), ConfigurationError> {
    // SAFETY: `cf` has the context of `http {}`, of which nothing is filled in yet.
    let own = unsafe { read_own(cf, main)? };
    conf.recipe.plain = Some(place(cf, Plain(own))?);
    conf.recipe.guard_timeout = written.timeout;
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
    written: &Written,
    parent: &LocationConf,
    conf: &mut LocationConf,
) -> Result<(), ConfigurationError> {
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
        // SAFETY: `cf` has the context of the level; plain settings live as long as the configuration.
        let (own, inherited) = unsafe {
            let inherited = parent.recipe.plain.map(|plain| plain.as_ref().0).unwrap_or_default();
            (read_own(cf, main)?, inherited)
        };
        // SAFETY: a list lives as long as the configuration.
        own_headers =
            own.iter().find_map(|settings| settings.headers).map(|list| unsafe { list.as_ref() });
        conf.recipe.guard_timeout = written.timeout.or(parent.recipe.guard_timeout);
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
            // SAFETY: the recipe's `loc_conf` is this location's.
            unsafe { fill_in(cf, main, written, parent, conf, &own, &inherited)? };
        }
    }

    let server = NgxHttpCoreModule::server_conf(cf);
    if level == Level::Location && conf.mode().is_guarded() {
        let (server, location) = (Guard::server_conf_mut(cf), NgxHttpCoreModule::location_conf(cf));
        if let (Some(server), Some(location)) = (server, location) {
            server.guarded_location.get_or_insert(location.name);
        }
    }
    main.audited |= match conf.marked {
        Marked::Here | Marked::Above => conf.mode() != Mode::Off,
        Marked::Nowhere => own_headers.is_some_and(|list| list.forwards_upgrade()),
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
/// The recipe's `loc_conf` must be the array of configurations of the location being merged.
unsafe fn fill_in(
    cf: &mut ngx_conf_t,
    main: &MainConf,
    written: &Written,
    parent: &LocationConf,
    conf: &mut LocationConf,
    own: &[Settings; MODULES],
    inherited: &[Settings; MODULES],
) -> Result<(), ConfigurationError> {
    let mode = conf.mode();
    conf.recipe.written = mode.is_guarded();
    if !mode.is_guarded() && !parent.recipe.written {
        return Ok(());
    }
    let Some(loc_conf) = conf.recipe.loc_conf else { return Ok(()) };

    for (index, module) in main.proxies.iter().enumerate() {
        let (Some(module), Some(own), Some(inherited), Some(checked_upgrade)) =
            (module, own.get(index), inherited.get(index), CHECKED_UPGRADE.get(index))
        else {
            continue;
        };
        let limits = Limits::new(written.timeout, conf.recipe.guard_timeout, own, inherited);
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
        let module_conf = unsafe { module.location_conf(loc_conf.as_ptr()) };
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

/// What the level that is being merged sets itself.
///
/// # Safety
/// `cf.ctx` must be the context of that level, and nothing of it may have been filled in yet.
unsafe fn read_own(
    cf: &mut ngx_conf_t,
    main: &MainConf,
) -> Result<[Settings; MODULES], AllocationFailed> {
    // SAFETY: `cf` has the context of the level.
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
