//! What nginx calls while it reads and merges a configuration.
//!
//! It calls each function of the tables below in its one thread, with pointers that are live for the call: a
//! `cf` of the configuration that is being read, its context that of the level, and configurations that
//! `create_*_conf` of the same table has made. The SAFETY lines refer to this.

use core::ffi::{c_char, c_void};
use core::mem;
use core::ptr::{self, NonNull};

use ngx::core::{Pool, Status, NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ffi::{
    ngx_conf_t, ngx_cycle_t, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_phases_NGX_HTTP_LOG_PHASE as LOG_PHASE,
    ngx_http_phases_NGX_HTTP_PREACCESS_PHASE as PREACCESS_PHASE, ngx_int_t, NGX_HTTP_MODULE,
};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule};
use websocket_guard_core::handshake::upgrade::Protocols;

use crate::audit;
use crate::configuration::conf::{Guard, LevelConf, LocationConf, MainConf, ServerConf};
use crate::configuration::directives;
use crate::configuration::foreign::{keepalive, proxies};
use crate::configuration::recipe::{merge as recipe, timeouts};
use crate::configuration::written::{Opening, Written};
use crate::handshake::{filter, gate, header, log_phase, outbound, peer, variables};
use crate::nginx::find_module;
use crate::nginx::{at_line, place, push_front, ConfigurationError};
use crate::report::journal;
use crate::tunnel;

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
pub unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // Without worker processes the configuration before ends here, and what was counted refers to it.
    journal::flush();
    // SAFETY: nginx passes the new cycle.
    if let Some(cycle) = unsafe { cycle.as_ref() } {
        if let Some(main) = Guard::main_conf_mut(cycle) {
            // SAFETY: the cycle's logs are open.
            unsafe { mem::take(&mut main.reports).repeat(cycle) };
        }
    }
    Status::NGX_OK.into()
}

/// Called when a worker exits.
pub unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: nginx passes the cycle of the worker.
    if let Some(cycle) = unsafe { cycle.as_ref() } {
        tunnel::stop(cycle);
    }
    journal::flush();
}

/// # Safety
/// Called by nginx, as all that follow: see the head of this file.
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: as the head of this file says.
    let Some(cf) = (unsafe { cf.as_mut() }) else { return Status::NGX_ERROR.into() };
    let result = variables::register(cf);
    status(cf, result)
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the pool is live, and drops the value with the configuration.
    unsafe { Pool::from_ngx_pool((*cf).pool).allocate(MainConf::default()).cast() }
}

unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: as the head of this file says.
    let conf = unsafe { cf.as_ref() }.and_then(|cf| place(cf, ServerConf::default()).ok());
    conf.map_or(ptr::null_mut(), |conf| conf.as_ptr().cast())
}

unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: as the head of this file says; the name of the file lives as long as the configuration.
    let conf = unsafe { cf.as_ref() }.and_then(|cf| {
        let mut written = Written::default();
        // When the configurations of `http {}` itself are created, its context is not yet in place.
        let inside = cf.module_type == NGX_HTTP_MODULE as usize;
        if let Some(main) = inside.then(|| Guard::main_conf_mut(cf)).flatten() {
            main.created += 1;
            written.number = main.created;
        }
        // nginx has just read the line that opens the level.
        // SAFETY: as above.
        if let Some(file) = unsafe { cf.conf_file.as_ref() } {
            let line = u32::try_from(file.line).unwrap_or(u32::MAX);
            written.opened = Opening { file: file.file.name, line };
        }
        place(cf, LevelConf::Written(written)).ok()
    });
    conf.map_or(ptr::null_mut(), |conf| conf.as_ptr().cast())
}

/// Called when all of `http {}` is read, before anything is merged.
unsafe extern "C" fn init_main_conf(cf: *mut ngx_conf_t, main: *mut c_void) -> *mut c_char {
    // SAFETY: as the head of this file says; `main` was made by `create_main_conf`.
    let (cf, main) = unsafe { (cf.as_mut(), main.cast::<MainConf>().as_mut()) };
    let (Some(cf), Some(main)) = (cf, main) else { return NGX_CONF_ERROR };
    // SAFETY: as in `create_main_conf`.
    let protocols = unsafe { Pool::from_ngx_pool(cf.pool).allocate(Protocols::default()) };
    let (Some(http), Some(protocols)) = (Guard::location_conf_mut(cf), NonNull::new(protocols))
    else {
        return NGX_CONF_ERROR;
    };
    let Some((written, http)) = http.merge(&LocationConf::new(protocols)) else {
        return NGX_CONF_ERROR;
    };
    if refuses(cf, &written, http) {
        return NGX_CONF_ERROR;
    }
    main.proxies = proxies::find(cf);
    main.keepalive = keepalive::initializer(cf);
    main.ssl = find_module(cf, b"ngx_http_ssl_module").map(|module| module.ctx_index);
    if let [Some(_), ..] = main.proxies {
        match variables::use_indexed(cf, c"proxy_host") {
            Ok(index) => main.proxy_host = Some(index),
            Err(error) => return conf_status(cf, Err(error)),
        }
    }
    // SAFETY: `cf` has the context of `http {}`.
    let result = unsafe { recipe::start(cf, main, &written, http) };
    conf_status(cf, result)
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: as the head of this file says; both configurations were made by `create_loc_conf`.
    let (cf, parent, conf) = unsafe {
        (cf.as_mut(), parent.cast::<LevelConf>().as_ref(), conf.cast::<LevelConf>().as_mut())
    };
    let (Some(cf), Some(conf)) = (cf, conf) else { return NGX_CONF_ERROR };
    let (Some(main), Some(parent)) = (Guard::main_conf_mut(cf), parent.and_then(LevelConf::merged))
    else {
        return NGX_CONF_ERROR;
    };
    let Some((written, conf)) = conf.merge(parent) else { return NGX_CONF_ERROR };
    if refuses(cf, &written, conf) {
        return NGX_CONF_ERROR;
    }
    // SAFETY: called from nginx's merge.
    let result = unsafe { recipe::merge(cf, main, &written, parent, conf) };
    at_line(cf, written.opened.file, written.opened.line, |cf| conf_status(cf, result))
}

/// Refuses a guarded level whose own directives contradict each other; its mode may be that of a level above.
fn refuses(cf: &mut ngx_conf_t, written: &Written, merged: &LocationConf) -> bool {
    let contradiction = written.contradiction().filter(|_| merged.mode().is_guarded());
    if let Some(contradiction) = contradiction {
        directives::refuse_contradiction(cf, written.opened, contradiction);
    }
    contradiction.is_some()
}

/// Called when all modules are merged.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: as the head of this file says.
    let Some(cf) = (unsafe { cf.as_mut() }) else { return Status::NGX_ERROR.into() };
    let result = finish(cf);
    status(cf, result)
}

fn finish(cf: &mut ngx_conf_t) -> Result<(), ConfigurationError> {
    let main = Guard::main_conf_mut(cf).ok_or(ConfigurationError::Missing("websocket_guard"))?;
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
        // SAFETY: the configuration is live.
        main.guards |= unsafe { level.conf.as_ref() }.mode().is_guarded();
    }
    // SAFETY: as above.
    unsafe { audit::run(cf, main, &levels) };

    let core = NgxHttpCoreModule::main_conf_mut(cf)
        .ok_or(ConfigurationError::Missing("ngx_http_core_module"))?;
    for (phase, number) in core.phases.iter_mut().zip(0..) {
        let handler: ngx_http_handler_pt = match number {
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
    // SAFETY: as the head of this file says; filters are installed in postconfiguration.
    unsafe {
        let Some(main) = cf.as_ref().and_then(|cf| Guard::main_conf(cf)) else {
            return Status::NGX_ERROR.into();
        };
        filter::install(main.guards);
    }
    Status::NGX_OK.into()
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
