//! Trial runs of other modules' directives on scratch configurations.
//!
//! Some of what nginx keeps is a private function: the content handler that `proxy_pass` sets, the
//! initializer that `keepalive` puts into an upstream. Running the directive once shows which
//! function it is, and then it can be recognized elsewhere.

use core::ffi::c_void;
use core::mem::zeroed;
use core::ptr;

use ngx::ffi::{
    ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_module,
    ngx_http_handler_pt, ngx_http_max_module, ngx_http_module_t, ngx_http_upstream_init_pt,
    ngx_http_upstream_module, ngx_http_upstream_srv_conf_t, ngx_module_t, ngx_pcalloc, ngx_str_t,
};

use crate::nginx::find_command;
use crate::nginx::{array_of, AllocationFailed};

/// What a directive leaves behind.
#[derive(Clone, Copy, Default)]
pub struct Trace {
    /// The content handler of its location.
    pub handler: ngx_http_handler_pt,
    /// The initializer of its upstream.
    pub init_upstream: ngx_http_upstream_init_pt,
}

/// Runs the `directive` of `module` with one `argument`; nothing of it stays in the real
/// configuration.
///
/// Must run after `http {}` was read and before its variables are complete
/// (`ngx_http_variables_init_vars`), since the argument may name one.
pub fn run(
    cf: &mut ngx_conf_t,
    module: &ngx_module_t,
    directive: &str,
    argument: ngx_str_t,
) -> Option<Trace> {
    let command = find_command(module, directive.as_bytes())?;
    let ctx = module.ctx.cast::<ngx_http_module_t>();
    // SAFETY: every pointer handed to nginx here is live for the call: the scratch arrays have a
    // place for each HTTP module, and the directive reads only the configurations of its own, the
    // core and the upstream module. `cf` is put back as it was.
    unsafe {
        let command = command.as_ptr();
        let real = *cf.ctx.cast::<ngx_http_conf_ctx_t>();
        let srv_conf = scratch_array(cf)?;
        let loc_conf = scratch_array(cf)?;

        let core_context = (*ptr::addr_of!(ngx_http_core_module)).ctx.cast::<ngx_http_module_t>();
        let core = (*core_context).create_loc_conf?(cf).cast::<ngx_http_core_loc_conf_t>();
        *loc_conf.add((*ptr::addr_of!(ngx_http_core_module)).ctx_index) = core.cast();
        if let Some(create) = (*ctx).create_loc_conf {
            *loc_conf.add(module.ctx_index) = create(cf);
        }

        let mut upstream: ngx_http_upstream_srv_conf_t = zeroed();
        *srv_conf.add((*ptr::addr_of!(ngx_http_upstream_module)).ctx_index) =
            ptr::addr_of_mut!(upstream).cast();
        if let Some(create) = (*ctx).create_srv_conf {
            *srv_conf.add(module.ctx_index) = create(cf);
        }

        let mut scratch = ngx_http_conf_ctx_t { main_conf: real.main_conf, srv_conf, loc_conf };
        let ok = call(cf, command, module, &mut scratch, argument).ok()?;
        (ok && !core.is_null())
            .then(|| Trace { handler: (*core).handler, init_upstream: upstream.peer.init_upstream })
    }
}

/// # Safety
/// As in [`run`].
unsafe fn call(
    cf: &mut ngx_conf_t,
    command: *mut ngx_command_t,
    module: &ngx_module_t,
    scratch: &mut ngx_http_conf_ctx_t,
    argument: ngx_str_t,
) -> Result<bool, AllocationFailed> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let args = array_of(cf, [(*command).name, argument].into_iter())?;
        let saved = (cf.ctx, cf.args);
        cf.ctx = ptr::from_mut(scratch).cast();
        cf.args = args.as_ptr();

        // The place of the module's configuration, found as nginx does (`ngx_conf_handler`).
        let confs = *ptr::from_mut(scratch).byte_add((*command).conf).cast::<*mut *mut c_void>();
        let conf = *confs.add(module.ctx_index);
        let ok = match (*command).set {
            Some(set) if !conf.is_null() => set(cf, command, conf).is_null(),
            _ => false,
        };

        (cf.ctx, cf.args) = saved;
        Ok(ok)
    }
}

/// # Safety
/// `cf` must be in use for reading `http {}`.
unsafe fn scratch_array(cf: &ngx_conf_t) -> Option<*mut *mut c_void> {
    // SAFETY: the temporary pool lives until the configuration is read.
    let array =
        unsafe { ngx_pcalloc(cf.temp_pool, ngx_http_max_module * size_of::<*mut c_void>()) };
    (!array.is_null()).then_some(array.cast())
}
