//! The modules whose locations can pass an upgrade on (proxy, uwsgi, scgi), and where in their
//! configuration the settings are that matter to WebSocket.
//!
//! Their configuration structs are private and differ between versions of nginx, but their
//! command tables are public and hold the offset of each field. A field is used only if its
//! command exists and is read by the setter that this code expects.

use core::ffi::{c_char, c_void};
use core::marker::PhantomData;
use core::mem::offset_of;

use ngx::ffi::{
    ngx_array_t, ngx_command_t, ngx_conf_set_enum_slot, ngx_conf_set_flag_slot,
    ngx_conf_set_keyval_slot, ngx_conf_set_msec_slot, ngx_conf_t, ngx_flag_t,
    ngx_http_core_loc_conf_t, ngx_http_handler_pt, ngx_http_set_predicate_slot,
    ngx_http_upstream_bind_set_slot, ngx_http_upstream_conf_t, ngx_http_upstream_local_t,
    ngx_http_upstream_param_set_slot, ngx_module_t, ngx_msec_t, ngx_uint_t, NGX_LOG_WARN,
};
use ngx::http::{HttpModule, NgxHttpCoreModule};
use ngx::ngx_conf_log_error;

use crate::configuration::foreign::trial;
use crate::nginx::{find_command, find_module, is_unset, ngx_str};

/// A field of type `T` in another module's location configuration.
pub struct Field<T> {
    offset: usize,
    value: PhantomData<T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

/// What a setting can be. nginx marks a setting that was not set with all ones (`NGX_CONF_UNSET`
/// in its variants), an array in some versions also with null.
pub trait Value: Copy {
    fn is_set(self) -> bool;
}

impl Value for ngx_flag_t {
    fn is_set(self) -> bool {
        self != -1
    }
}

/// `ngx_msec_t` and `ngx_uint_t`
impl Value for usize {
    fn is_set(self) -> bool {
        self != usize::MAX
    }
}

impl Value for *mut ngx_array_t {
    fn is_set(self) -> bool {
        !is_unset(self)
    }
}

impl Value for *mut ngx_http_upstream_local_t {
    fn is_set(self) -> bool {
        !is_unset(self)
    }
}

impl<T: Value> Field<T> {
    /// # Safety
    /// `conf` must be a location configuration of the module that this field was found in.
    pub unsafe fn read(self, conf: *const c_void) -> T {
        // SAFETY: nginx itself accesses a `T` at this offset, through the command's setter.
        unsafe { conf.byte_add(self.offset).cast::<T>().read() }
    }

    /// # Safety
    /// `conf` must be a location configuration of the module that this field was found in, and nobody else may hold
    /// a reference to it.
    pub unsafe fn write(self, conf: *mut c_void, value: T) {
        // SAFETY: nginx itself accesses a `T` at this offset, through the command's setter.
        unsafe { conf.byte_add(self.offset).cast::<T>().write(value) }
    }
}

/// A module that can pass an upgrade on.
#[derive(Clone, Copy)]
pub struct ProxyModule {
    ctx_index: usize,
    /// The content handler of a location that has a `proxy_pass`.
    pub handler: ngx_http_handler_pt,
    /// Where the module's `ngx_http_upstream_conf_t` stands in its location configuration.
    upstream: usize,
    pub read_timeout: Field<ngx_msec_t>,
    pub send_timeout: Option<Field<ngx_msec_t>>,
    pub buffering: Option<Field<ngx_flag_t>>,
    pub cache_bypass: Option<Field<*mut ngx_array_t>>,
    pub no_cache: Option<Field<*mut ngx_array_t>>,
    /// `proxy_http_version`, as major * 1000 + minor.
    pub http_version: Option<Field<ngx_uint_t>>,
    /// The `proxy_set_header` list, an array of `ngx_keyval_t`.
    pub headers_source: Option<Field<*mut ngx_array_t>>,
    /// The `uwsgi_param` or `scgi_param` list, an array of `ngx_http_upstream_param_t`.
    pub params_source: Option<Field<*mut ngx_array_t>>,
    /// `proxy_bind`
    pub bind: Option<Field<*mut ngx_http_upstream_local_t>>,
}

/// How many modules can pass an upgrade on.
pub const MODULES: usize = 3;

/// Those of them that this nginx has.
pub type Proxies = [Option<ProxyModule>; MODULES];

/// What their names and their directives begin with.
const PREFIXES: [&str; MODULES] = ["proxy", "uwsgi", "scgi"];

type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

impl ProxyModule {
    /// This module's configuration of a location.
    ///
    /// # Safety
    /// `loc_conf` must be a location's array of configurations (`ngx_http_conf_ctx_t`).
    pub unsafe fn location_conf(&self, loc_conf: *mut *mut c_void) -> *mut c_void {
        // SAFETY: the array has an entry for each HTTP module.
        unsafe { *loc_conf.add(self.ctx_index) }
    }

    /// Whether a location's content handler is that of this module, which tells of a `proxy_pass`
    /// with variables as well.
    ///
    /// # Safety
    /// `loc_conf` must be a location's array of configurations.
    pub unsafe fn handles(&self, loc_conf: *mut *mut c_void) -> bool {
        // SAFETY: the array has a configuration of each HTTP module.
        let handler = unsafe {
            let core = *loc_conf.add(NgxHttpCoreModule::module().ctx_index);
            (*core.cast::<ngx_http_core_loc_conf_t>()).handler
        };
        match (self.handler, handler) {
            (Some(own), Some(handler)) => own as usize == handler as usize,
            _ => false,
        }
    }

    /// Whether this module serves a location, or a block in the location `around`, once all is merged.
    ///
    /// # Safety
    /// `loc_conf` and `around` must be locations' arrays of configurations.
    pub unsafe fn serves(&self, loc_conf: *mut *mut c_void, around: *mut *mut c_void) -> bool {
        // SAFETY: both arrays have a configuration of each HTTP module.
        unsafe {
            // A block without a handler of its own has that of the location around it.
            self.handles(loc_conf)
                || self.handles(around)
                || !(*self.upstream_conf(self.location_conf(loc_conf))).upstream.is_null()
        }
    }

    /// The upstream part of a location configuration of this module.
    ///
    /// # Safety
    /// `conf` must be a location configuration of this module.
    pub unsafe fn upstream_conf(&self, conf: *mut c_void) -> *mut ngx_http_upstream_conf_t {
        // SAFETY: the offset was confirmed by several commands of the module.
        unsafe { conf.byte_add(self.upstream).cast() }
    }
}

/// Finds the modules in the cycle that is being configured. Must run after `http {}` was read, see
/// [`trial::run`].
pub fn find(cf: &mut ngx_conf_t) -> Proxies {
    PREFIXES.map(|prefix| {
        let module = find_module(cf, format!("ngx_http_{prefix}_module").as_bytes())?;
        let mut layout = Layout { cf, module, prefix };
        layout.read()
    })
}

/// Reads the layout of one module's configuration from its command table.
struct Layout<'a> {
    cf: &'a mut ngx_conf_t,
    module: &'static ngx_module_t,
    prefix: &'static str,
}

impl Layout<'_> {
    fn read(&mut self) -> Option<ProxyModule> {
        let read_timeout = self.field("read_timeout", ngx_conf_set_msec_slot)?;
        let upstream =
            read_timeout.offset.checked_sub(offset_of!(ngx_http_upstream_conf_t, read_timeout))?;
        let is_proxy = self.prefix == "proxy";
        let pass = format!("{}_pass", self.prefix);
        let trace = trial::run(self.cf, self.module, &pass, ngx_str(c"$uri"));
        Some(ProxyModule {
            ctx_index: self.module.ctx_index,
            handler: trace.and_then(|trace| trace.handler),
            upstream,
            read_timeout,
            send_timeout: self.upstream_field(
                upstream,
                "send_timeout",
                ngx_conf_set_msec_slot,
                offset_of!(ngx_http_upstream_conf_t, send_timeout),
            ),
            buffering: self.upstream_field(
                upstream,
                "buffering",
                ngx_conf_set_flag_slot,
                offset_of!(ngx_http_upstream_conf_t, buffering),
            ),
            #[cfg(ngx_feature = "http_cache")]
            cache_bypass: self.upstream_field(
                upstream,
                "cache_bypass",
                ngx_http_set_predicate_slot,
                offset_of!(ngx_http_upstream_conf_t, cache_bypass),
            ),
            #[cfg(ngx_feature = "http_cache")]
            no_cache: self.upstream_field(
                upstream,
                "no_cache",
                ngx_http_set_predicate_slot,
                offset_of!(ngx_http_upstream_conf_t, no_cache),
            ),
            #[cfg(not(ngx_feature = "http_cache"))]
            cache_bypass: None,
            #[cfg(not(ngx_feature = "http_cache"))]
            no_cache: None,
            http_version: is_proxy
                .then(|| self.field("http_version", ngx_conf_set_enum_slot))
                .flatten(),
            headers_source: is_proxy
                .then(|| self.field("set_header", ngx_conf_set_keyval_slot))
                .flatten(),
            params_source: (!is_proxy)
                .then(|| self.field("param", ngx_http_upstream_param_set_slot))
                .flatten(),
            bind: match is_proxy {
                true => self.upstream_field(
                    upstream,
                    "bind",
                    ngx_http_upstream_bind_set_slot,
                    offset_of!(ngx_http_upstream_conf_t, local),
                ),
                false => None,
            },
        })
    }

    /// The field that the directive `<prefix>_<name>` sets, if it is read by `setter`.
    fn field<T>(&mut self, name: &str, setter: Setter) -> Option<Field<T>> {
        let directive = format!("{}_{name}", self.prefix);
        let command = find_command(self.module, directive.as_bytes());
        // SAFETY: the command stands in the module's table.
        let command = command.map(|command| unsafe { command.as_ref() });
        match command {
            Some(command) if command.set.is_some_and(|set| set as usize == setter as usize) => {
                Some(Field { offset: command.offset, value: PhantomData })
            }
            _ => self.unexpected(&directive),
        }
    }

    /// The same for a field of the module's `ngx_http_upstream_conf_t`, whose place in that
    /// struct is public and must agree.
    fn upstream_field<T>(
        &mut self,
        upstream: usize,
        name: &str,
        setter: Setter,
        offset: usize,
    ) -> Option<Field<T>> {
        let field = self.field(name, setter)?;
        if field.offset == upstream + offset {
            return Some(field);
        }
        let directive = format!("{}_{name}", self.prefix);
        self.unexpected(&directive)
    }

    fn unexpected<T>(&mut self, directive: &str) -> Option<T> {
        ngx_conf_log_error!(
            NGX_LOG_WARN,
            self.cf,
            "websocket_guard: this nginx handles the \"{}\" directive in a way that the module \
             does not know, the setting is left alone",
            directive
        );
        None
    }
}
