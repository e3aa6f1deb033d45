//! What nginx calls while it reads and merges a configuration.
//!
//! # What nginx promises
//! It calls each function of the tables below in its one thread, with pointers that are not null and live for the
//! call: a `cf` of the configuration that is being read, which nothing else refers to meanwhile and whose context is
//! that of the level, configurations that `create_*_conf` of the same table has made, and a cycle. Configurations and
//! the pool of `cf` live on until nginx drops that configuration.

use core::ffi::{c_char, c_void};
use core::mem;
use core::ptr::{self, NonNull};

use ngx::core::{Pool, Status, NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ffi::{
    ngx_conf_t, ngx_cycle_t, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_phases_NGX_HTTP_LOG_PHASE as LOG_PHASE,
    ngx_http_phases_NGX_HTTP_POST_READ_PHASE as POST_READ_PHASE,
    ngx_http_phases_NGX_HTTP_PREACCESS_PHASE as PREACCESS_PHASE, ngx_int_t, NGX_HTTP_MODULE,
};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule};
use websocket_guard_core::handshake::upgrade::Protocols;

use crate::audit;
use crate::configuration::conf::{Guard, LevelConf, LocationConf, MainConf, ServerConf};
use crate::configuration::foreign::{keepalive, proxies};
use crate::configuration::recipe::{merge as recipe, timeouts};
use crate::configuration::written::{Opening, Written};
use crate::handshake::{filter, gate, header, log_phase, outbound, peer, variables};
use crate::nginx::find_module;
use crate::nginx::{at_line, place, push_front, ConfigurationError};
use crate::report::journal;
use crate::tunnel;

/// The name of the module that has the configuration.
const OWN_NAME: &str = "ngx_http_websocket_guard_module";

/// The context of the module that stands before the proxy module.
pub static GUARD_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: Some(init_main_conf),
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: None,
    create_loc_conf: Some(create_loc_conf),
    merge_loc_conf: Some(merge_loc_conf),
};

/// The context of the module that comes last.
pub static FILTER_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: Some(install_filter),
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

/// Called when a configuration comes into force, with its logs open.
///
/// # Safety
/// As for all that follow, what is promised at the head of this file must hold.
pub unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // Without worker processes the configuration before ends here, and what was counted refers to it.
    journal::flush();
    // SAFETY: the new cycle is live.
    let cycle = unsafe { &*cycle };
    if let Some(main) = Guard::main_conf_mut(cycle) {
        // SAFETY: the cycle's logs are open.
        unsafe { mem::take(&mut main.reports).repeat(cycle) };
    }
    Status::NGX_OK.into()
}

/// Called when a worker exits.
pub unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: a worker's cycle is live until its process ends.
    tunnel::stop(unsafe { &*cycle });
    journal::flush();
}

unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is live, and nothing else refers to it.
    let cf = unsafe { &mut *cf };
    let result = variables::register(cf);
    status(cf, result)
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the pool is live, and drops the value with the configuration.
    unsafe { Pool::from_ngx_pool((*cf).pool).allocate(MainConf::default()).cast() }
}

unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is live.
    let conf = place(unsafe { &*cf }, ServerConf::default());
    conf.map_or(ptr::null_mut(), |conf| conf.as_ptr().cast())
}

unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf` is live.
    let cf = unsafe { &*cf };
    let mut written = Written::default();
    // When the configurations of `http {}` itself are created, its context is not yet in place.
    let inside = cf.module_type == NGX_HTTP_MODULE as usize;
    if let Some(main) = inside.then(|| Guard::main_conf_mut(cf)).flatten() {
        main.created += 1;
        written.number = main.created;
    }
    // nginx has just read the line that opens the level.
    // SAFETY: a configuration that is being read has a file, or null; the file's name lives as long as the pool.
    if let Some(file) = unsafe { cf.conf_file.as_ref() } {
        let line = u32::try_from(file.line).unwrap_or(u32::MAX);
        written.opened = Opening { file: file.file.name, line };
    }
    let conf = place(cf, LevelConf::Written(written));
    conf.map_or(ptr::null_mut(), |conf| conf.as_ptr().cast())
}

/// Called when all of `http {}` is read, before anything is merged.
unsafe extern "C" fn init_main_conf(cf: *mut ngx_conf_t, main: *mut c_void) -> *mut c_char {
    // SAFETY: both are live, and `create_main_conf` made `main`; nothing else refers to them.
    let (cf, main) = unsafe { (&mut *cf, &mut *main.cast::<MainConf>()) };
    let opened = Guard::location_conf(cf).map(LevelConf::opened).unwrap_or_default();
    let result = begin(cf, main);
    at_line(cf, opened.file, opened.line, |cf| conf_status(cf, result))
}

fn begin(cf: &mut ngx_conf_t, main: &mut MainConf) -> Result<(), ConfigurationError> {
    let http = Guard::location_conf_mut(cf).ok_or(ConfigurationError::Missing(OWN_NAME))?;
    // SAFETY: the pool is live, and drops the value with the configuration.
    let protocols = unsafe { Pool::from_ngx_pool(cf.pool).allocate(Protocols::default()) };
    let protocols = NonNull::new(protocols).ok_or(ConfigurationError::Memory)?;
    let merged = http.merge(&LocationConf::new(protocols));
    let (written, http) = merged.ok_or(ConfigurationError::MergeOrder)?;
    refuse_contradiction(&written, http)?;
    main.audited = written.asks() || main.buffer_size.is_some();
    main.proxies = proxies::find(cf);
    main.keepalive = keepalive::initializer(cf);
    main.ssl = find_module(cf, b"ngx_http_ssl_module").map(|module| module.ctx_index);
    if let [Some(_), ..] = main.proxies {
        main.proxy_host = Some(variables::use_indexed(cf, c"proxy_host")?);
    }
    // SAFETY: `cf` has the context of `http {}`.
    unsafe { recipe::start(cf, main, &written, http) }
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: all are live, and `create_loc_conf` made both configurations; nothing else refers to `cf` and `conf`.
    let (cf, parent, conf) =
        unsafe { (&mut *cf, &*parent.cast::<LevelConf>(), &mut *conf.cast::<LevelConf>()) };
    let opened = conf.opened();
    let result = merge(cf, parent, conf);
    at_line(cf, opened.file, opened.line, |cf| conf_status(cf, result))
}

fn merge(
    cf: &mut ngx_conf_t,
    parent: &LevelConf,
    conf: &mut LevelConf,
) -> Result<(), ConfigurationError> {
    let main = Guard::main_conf_mut(cf).ok_or(ConfigurationError::Missing(OWN_NAME))?;
    let parent = parent.merged().ok_or(ConfigurationError::MergeOrder)?;
    let (written, conf) = conf.merge(parent).ok_or(ConfigurationError::MergeOrder)?;
    refuse_contradiction(&written, conf)?;
    // SAFETY: `cf` has the context of the level that nginx merges, `parent` is that of the level above.
    unsafe { recipe::merge(cf, main, &written, parent, conf) }
}

/// Refuses a guarded level whose own directives contradict each other; its mode may be that of a level above.
fn refuse_contradiction(
    written: &Written,
    merged: &LocationConf,
) -> Result<(), ConfigurationError> {
    match written.contradiction() {
        Some(directive) if merged.mode().is_guarded() => {
            Err(ConfigurationError::Contradiction(directive))
        }
        _ => Ok(()),
    }
}

/// Called when all modules are merged.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is live, and nothing else refers to it.
    let cf = unsafe { &mut *cf };
    let result = finish(cf);
    status(cf, result)
}

fn finish(cf: &mut ngx_conf_t) -> Result<(), ConfigurationError> {
    let main = Guard::main_conf_mut(cf).ok_or(ConfigurationError::Missing(OWN_NAME))?;
    header::watch(cf, main)?;
    main.http_upgrade = variables::index(cf, b"http_upgrade");
    // SAFETY: all modules are merged, so all upstreams are initialized.
    unsafe { peer::watch(cf) };
    let levels = mem::take(&mut main.levels);
    for level in &levels {
        // SAFETY: all modules are merged.
        unsafe {
            outbound::prepare(cf, main, *level)?;
            timeouts::prepare(cf, main, *level)?;
        }
        // SAFETY: a level's configuration lives as long as that which is read.
        main.guards |= unsafe { level.conf.as_ref() }.mode().is_guarded();
    }
    // SAFETY: all modules are merged, and these are all levels below `http {}`.
    unsafe { audit::run(cf, main, &levels) };

    let core = NgxHttpCoreModule::main_conf_mut(cf)
        .ok_or(ConfigurationError::Missing("ngx_http_core_module"))?;
    for (phase, number) in core.phases.iter_mut().zip(0..) {
        let handler: ngx_http_handler_pt = match number {
            POST_READ_PHASE => Some(header::handler),
            PREACCESS_PHASE => Some(gate::handler),
            LOG_PHASE => Some(log_phase::handler),
            _ => continue,
        };
        // nginx runs the handlers of a phase from the last to the first. The gate comes after
        // realip, limit_req and limit_conn.
        // SAFETY: the array holds handlers.
        unsafe { push_front(&mut phase.handlers, handler)? };
    }
    Ok(())
}

/// Called after [`postconfiguration`], since the module comes last.
unsafe extern "C" fn install_filter(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: `cf` is live, and nothing else refers to it.
    let cf = unsafe { &mut *cf };
    let guards = Guard::main_conf(cf).map(|main| main.guards);
    if let Some(guards) = guards {
        // SAFETY: this is a postconfiguration.
        unsafe { filter::install(guards) };
    }
    status(cf, guards.map(drop).ok_or(ConfigurationError::Missing(OWN_NAME)))
}

fn status(cf: &mut ngx_conf_t, result: Result<(), ConfigurationError>) -> ngx_int_t {
    match result {
        Ok(()) => Status::NGX_OK.into(),
        Err(error) => {
            error.log(cf);
            Status::NGX_ERROR.into()
        }
    }
}

fn conf_status(cf: &mut ngx_conf_t, result: Result<(), ConfigurationError>) -> *mut c_char {
    match result {
        Ok(()) => NGX_CONF_OK,
        Err(error) => {
            error.log(cf);
            NGX_CONF_ERROR
        }
    }
}
