//! Why a configuration cannot be used.

use core::ffi::CStr;

use ngx::ffi::{ngx_conf_t, ngx_str_t, NGX_LOG_EMERG};
use ngx::ngx_conf_log_error;
use thiserror::Error;
use websocket_guard_core::text::escape::Escaped;

use super::pool::AllocationFailed;

/// What stops the reading of a configuration: a line of the error log, as its operator reads it.
#[derive(Clone, Copy, Debug, Error)]
pub enum ConfigurationError {
    /// Of what nginx asked for, or of what the guard did. nginx has logged it with its size.
    #[error("websocket_guard: memory ran out")]
    Memory,
    /// A text with variables (`ngx_http_compile_complex_value`). nginx has logged what is wrong with it.
    #[error("websocket_guard: nginx cannot compile the value \"{}\"", Escaped(.0.as_bytes()))]
    Value(ngx_str_t),
    /// The name of a variable (`ngx_http_add_variable`, `ngx_http_get_variable_index`). nginx has logged why.
    #[error("websocket_guard: nginx refuses the variable \"${}\"", Escaped(.0.to_bytes()))]
    Variable(&'static CStr),
    /// The hash in which nginx looks up the lines of a request's header (`ngx_hash_init`).
    #[error("websocket_guard: nginx cannot build its table of request headers anew")]
    HeaderTable,
    /// Of `http {}`, for the module of this name.
    #[error("websocket_guard: there is no configuration of {0}")]
    Missing(&'static str),
    /// A level that is merged a second time, or before the one above.
    #[error("websocket_guard: nginx merges its levels in another order than this module knows")]
    MergeOrder,
    /// What the level's own directives ask for and cannot have: this one.
    #[error(
        "\"{0}\" needs the guard's own loop, which \"websocket_guard_tunnel native\" at the same level takes away; \
         remove one of the two"
    )]
    Contradiction(&'static str),
}

impl ConfigurationError {
    /// Tells the operator, with the line of the configuration that `cf` stands at.
    pub fn log(self, cf: &mut ngx_conf_t) {
        ngx_conf_log_error!(NGX_LOG_EMERG, cf, "{self}");
    }
}

impl From<AllocationFailed> for ConfigurationError {
    fn from(_: AllocationFailed) -> Self {
        Self::Memory
    }
}
