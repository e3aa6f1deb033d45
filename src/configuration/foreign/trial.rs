//! Trial runs of other modules' directives on scratch configurations.
//!
//! Some of what nginx keeps is a private function: the content handler that `proxy_pass` sets, the
//! initializer that `keepalive` puts into an upstream. Running the directive once shows which
//! function it is, and then it can be recognized elsewhere.

use core::ffi::c_void;
use core::mem::zeroed;
use core::ptr::{self, NonNull};

use ngx::ffi::{
    ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_handler_pt,
    ngx_http_max_module, ngx_http_module_t, ngx_http_upstream_init_pt,
    ngx_http_upstream_srv_conf_t, ngx_module_t, ngx_str_t, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_SRV_CONF_OFFSET,
};
use ngx::http::{HttpModule, NgxHttpCoreModule, NgxHttpUpstreamModule};

use crate::nginx::{array_of, find_command, place_in};

/// What a directive leaves behind.
#[derive(Clone, Copy, Default)]
pub struct Trace {
    /// The content handler of its location.
    pub handler: ngx_http_handler_pt,
    /// The initializer of its upstream.
    pub init_upstream: ngx_http_upstream_init_pt,
}

/// Runs the `directive` of `module` with one `argument`; nothing of it stays in the real
/// configuration. `None` if there is no such directive, or it does not take the argument.
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
    let mut scratch = Scratch::new(cf, module)?;
    scratch.call(cf, module, command, argument)?;
    // SAFETY: both were made for the scratch configurations, and nothing else refers to them.
    let (core, upstream) = unsafe { (scratch.core.as_ref(), scratch.upstream.as_ref()) };
    Some(Trace { handler: core.handler, init_upstream: upstream.peer.init_upstream })
}

/// A server and a location that are not in the configuration.
struct Scratch {
    /// The configuration of each HTTP module; null but for those that a directive looks at.
    srv_conf: Vec<*mut c_void>,
    /// The same of the location.
    loc_conf: Vec<*mut c_void>,
    /// That of the core module.
    core: NonNull<ngx_http_core_loc_conf_t>,
    /// That of the upstream module, as if the server was an upstream.
    upstream: NonNull<ngx_http_upstream_srv_conf_t>,
}

impl Scratch {
    fn new(cf: &mut ngx_conf_t, module: &ngx_module_t) -> Option<Self> {
        // SAFETY: the pool lives until the configuration is read; all zeroes are a value of this C type.
        let upstream: NonNull<ngx_http_upstream_srv_conf_t> =
            unsafe { place_in(cf.temp_pool, zeroed()).ok()? };
        let core_module = NgxHttpCoreModule::module();
        let core = NonNull::new(create(cf, context(core_module)?.create_loc_conf))?;
        // SAFETY: nginx sets the number of modules before it reads `http {}`.
        let nothing = vec![ptr::null_mut(); unsafe { ngx_http_max_module }];
        let (srv_conf, loc_conf) = (nothing.clone(), nothing);
        let mut scratch = Self { srv_conf, loc_conf, core: core.cast(), upstream };
        let context = context(module)?;
        *scratch.srv_conf.get_mut(NgxHttpUpstreamModule::module().ctx_index)? =
            upstream.as_ptr().cast();
        *scratch.srv_conf.get_mut(module.ctx_index)? = create(cf, context.create_srv_conf);
        *scratch.loc_conf.get_mut(core_module.ctx_index)? = core.as_ptr();
        *scratch.loc_conf.get_mut(module.ctx_index)? = create(cf, context.create_loc_conf);
        Some(scratch)
    }

    /// Runs a command as nginx does (`ngx_conf_handler`). `None` if it refuses the argument.
    fn call(
        &mut self,
        cf: &mut ngx_conf_t,
        module: &ngx_module_t,
        command: NonNull<ngx_command_t>,
        argument: ngx_str_t,
    ) -> Option<()> {
        // SAFETY: it stands in the module's table.
        let ngx_command_t { name, set, conf: level, .. } = unsafe { command.read() };
        let confs = match level {
            NGX_HTTP_SRV_CONF_OFFSET => &self.srv_conf,
            NGX_HTTP_LOC_CONF_OFFSET => &self.loc_conf,
            _ => return None,
        };
        let (set, conf) = (set?, NonNull::new(*confs.get(module.ctx_index)?)?);
        let args = array_of(cf, [name, argument].into_iter()).ok()?;
        // SAFETY: behind `http {}`, `cf` has its context.
        let main_conf = unsafe { (*cf.ctx.cast::<ngx_http_conf_ctx_t>()).main_conf };
        let mut context = ngx_http_conf_ctx_t {
            main_conf,
            srv_conf: self.srv_conf.as_mut_ptr(),
            loc_conf: self.loc_conf.as_mut_ptr(),
        };
        let saved = (cf.ctx, cf.args);
        (cf.ctx, cf.args) = (ptr::from_mut(&mut context).cast(), args.as_ptr());
        // SAFETY: these are the arguments that nginx calls a setter with: the line's words and the context are in
        // `cf`, and `conf` was created by the module. It looks at no configurations but its own, the core's and the
        // upstream module's, and keeps none of the context.
        let error = unsafe { set(cf, command.as_ptr(), conf.as_ptr()) };
        (cf.ctx, cf.args) = saved;
        error.is_null().then_some(())
    }
}

/// The functions that create the configurations of a module.
fn context(module: &ngx_module_t) -> Option<&ngx_http_module_t> {
    // SAFETY: it is called for HTTP modules, whose `ctx` is of this type and as static as they are.
    unsafe { module.ctx.cast::<ngx_http_module_t>().as_ref() }
}

type Create = unsafe extern "C" fn(*mut ngx_conf_t) -> *mut c_void;

/// Null where a module has no configuration of that level, or memory runs out.
fn create(cf: &mut ngx_conf_t, create: Option<Create>) -> *mut c_void {
    // SAFETY: a module's own function, called with what nginx calls it with.
    create.map_or(ptr::null_mut(), |create| unsafe { create(cf) })
}
