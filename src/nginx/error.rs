//! Why a configuration cannot be used.

use core::ffi::CStr;

use ngx::ffi::{ngx_conf_t, ngx_str_t, NGX_LOG_EMERG};
use ngx::ngx_conf_log_error;
use thiserror::Error;
use websocket_guard_core::text::escape::Escaped;

use super::pool::AllocationFailed;

/// What stops the reading of a configuration, in the words that its operator reads.
#[derive(Clone, Copy, Debug, Error)]
pub enum ConfigurationError {
    /// Of what nginx asked for, or of what the guard did. nginx has logged it with its size.
    #[error("memory ran out")]
    Memory,
    /// A text with variables (`ngx_http_compile_complex_value`). nginx has logged what is wrong with it.
    #[error("nginx cannot compile the value \"{}\"", Escaped(.0.as_bytes()))]
    Value(ngx_str_t),
    /// The name of a variable (`ngx_http_add_variable`, `ngx_http_get_variable_index`). nginx has logged why.
    #[error("nginx refuses the variable \"${}\"", Escaped(.0.to_bytes()))]
    Variable(&'static CStr),
    /// The hash in which nginx looks up the lines of a request's header (`ngx_hash_init`).
    #[error("nginx cannot build its table of request headers anew")]
    HeaderTable,
    /// A module without a configuration of `http {}`.
    #[error("{0} has no configuration")]
    Missing(&'static str),
}

impl ConfigurationError {
    /// Tells the operator.
    pub fn log(self, cf: &mut ngx_conf_t) {
        ngx_conf_log_error!(NGX_LOG_EMERG, cf, "websocket_guard: {self}");
    }
}

impl From<AllocationFailed> for ConfigurationError {
    fn from(_: AllocationFailed) -> Self {
        Self::Memory
    }
}
