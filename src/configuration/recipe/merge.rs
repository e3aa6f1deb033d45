//! The WebSocket recipe, level by level.
//!
//! nginx merges a module's configurations from `http {}` down, one module after the other. This
//! module's turn is before that of the proxy modules, so for each location it sees what was
//! written there, remembers what the location would have had without the guard ([`Plain`]), and
//! fills in the values that the guard wants; the proxy modules then merge them as if they had been
//! written by hand.

use core::ptr::{self, NonNull};

use ngx::ffi::{ngx_conf_t, ngx_http_conf_ctx_t};
use ngx::http::{HttpModuleLocationConf, HttpModuleServerConf, NgxHttpCoreModule};

use super::fill::{fill_in, Sources};
use super::settings::{Plain, Settings};
use crate::configuration::conf::{
    Guard, GuardedLocation, Level, LocationConf, MainConf, MergedLevel,
};
use crate::configuration::foreign::proxies::MODULES;
use crate::configuration::written::Written;
use crate::nginx::{place, AllocationFailed, ConfigurationError};
use websocket_guard_core::words::{Marked, Mode};

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
        conf.location_marked = parent.location_marked;
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
            let sources = Sources { own, inherited, timeout: written.timeout };
            // SAFETY: the recipe's `loc_conf` is this location's.
            unsafe { fill_in(cf, main, &sources, parent, conf)? };
        }
    }

    let server = NgxHttpCoreModule::server_conf(cf);
    if level == Level::Location && conf.mode().is_guarded() {
        let (server, location) = (Guard::server_conf_mut(cf), NgxHttpCoreModule::location_conf(cf));
        if let (Some(server), Some(location)) = (server, location) {
            let before = server.guarded_location;
            server.guarded_location =
                Some(place(cf, GuardedLocation { name: location.name, before })?);
        }
    }
    main.audited |= written.asks();
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
