//! The parameters of a guarded location that uwsgi or scgi serves: a value of HTTP_UPGRADE that is made of
//! variables is sent only as far as it is allowed.

use core::ptr::NonNull;

use ngx::ffi::{ngx_array_t, ngx_conf_t, ngx_http_upstream_param_t, ngx_str_t};
use once_cell::unsync::OnceCell;

use crate::configuration::recipe::headers::{may_be_the_clients, OwnUpgrade};
use crate::nginx::{array_of, compile, elements, ConfigurationError};

/// A list and, if the guard has a say in it, the operator's value of Upgrade.
type Guarded = (NonNull<ngx_array_t>, Option<OwnUpgrade>);

/// A list of `uwsgi_param` or `scgi_param` as it stands in the configuration, at some level.
pub struct ParamList {
    source: NonNull<ngx_array_t>,
    /// The list for guarded locations, once it was asked for.
    guarded: OnceCell<Guarded>,
}

impl ParamList {
    /// `source` is the value of a field that `ngx_http_upstream_param_set_slot` sets.
    pub fn new(source: NonNull<ngx_array_t>) -> Self {
        Self { source, guarded: OnceCell::new() }
    }

    /// The list as it stands.
    pub fn plain(&self) -> NonNull<ngx_array_t> {
        self.source
    }

    /// The list for a guarded location; `variable` stands for the value of Upgrade that is checked.
    pub fn guarded(
        &self,
        cf: &mut ngx_conf_t,
        variable: ngx_str_t,
    ) -> Result<Guarded, ConfigurationError> {
        let guarded = self.guarded.get_or_try_init(|| {
            // SAFETY: the list was filled by nginx, and is not changed after its level was read.
            let params: &[ngx_http_upstream_param_t] = unsafe { elements(self.source.as_ptr()) };
            let is_checked = |param: &ngx_http_upstream_param_t| {
                param.key.as_bytes().eq_ignore_ascii_case(b"HTTP_UPGRADE")
                    && may_be_the_clients(param.value)
            };
            let Some(first) = params.iter().find(|param| is_checked(param)) else {
                return Ok((self.source, None));
            };
            let own = compile(cf, first.value)?;
            let checked = ngx_http_upstream_param_t { value: variable, ..*first };
            let others = params.iter().filter(|param| !is_checked(param)).copied();
            let list: Vec<_> = others.chain([checked]).collect();
            Ok((array_of(cf, list.into_iter())?, Some(own)))
        });
        guarded.copied()
    }
}
