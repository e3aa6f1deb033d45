//! `proxy_cache_bypass` and `proxy_no_cache` of a guarded location: as they stand, and for
//! upgrades. A cached answer to the same URI would otherwise answer the handshake.

use core::ptr::NonNull;

use ngx::ffi::{ngx_array_t, ngx_conf_t, ngx_http_complex_value_t};
use once_cell::unsync::OnceCell;

use crate::nginx::{array_of, compile, elements, ngx_str, ConfigurationError};

/// A list of conditions as it stands in the configuration, at some level.
pub struct ConditionList {
    source: *mut ngx_array_t,
    /// The list with the guard's condition, once it was asked for.
    guarded: OnceCell<NonNull<ngx_array_t>>,
}

impl ConditionList {
    /// `source` is the value of a field that `ngx_http_set_predicate_slot` sets; null where there
    /// are no conditions.
    pub fn new(source: *mut ngx_array_t) -> Self {
        Self { source, guarded: OnceCell::new() }
    }

    /// The list as it stands.
    pub fn plain(&self) -> *mut ngx_array_t {
        self.source
    }

    /// The list with the condition that the request is being upgraded.
    pub fn guarded(&self, cf: &mut ngx_conf_t) -> Result<NonNull<ngx_array_t>, ConfigurationError> {
        let list = self.guarded.get_or_try_init(|| {
            let upgrade = compile(cf, ngx_str(c"$websocket_guard_upgrade"))?;
            // SAFETY: the list was filled by nginx, the new value just compiled.
            let conditions: Vec<ngx_http_complex_value_t> =
                unsafe { elements(self.source).iter().copied().chain([upgrade.read()]).collect() };
            Ok(array_of(cf, conditions.into_iter())?)
        });
        list.copied()
    }
}
