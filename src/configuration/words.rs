//! The words of directives that only nginx's side knows.

use ngx::ffi::{
    NGX_LOG_ALERT, NGX_LOG_CRIT, NGX_LOG_DEBUG, NGX_LOG_EMERG, NGX_LOG_ERR, NGX_LOG_INFO,
    NGX_LOG_NOTICE, NGX_LOG_WARN,
};
use websocket_guard_core::findings;

/// The level of the run-time diagnoses that have none of their own; nginx's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Off,
    Level(u32),
}

impl LogLevel {
    /// The words of the directive.
    pub const WORDS: [(&'static str, LogLevel); 9] = [
        ("off", LogLevel::Off),
        ("debug", LogLevel::Level(NGX_LOG_DEBUG)),
        ("info", LogLevel::Level(NGX_LOG_INFO)),
        ("notice", LogLevel::Level(NGX_LOG_NOTICE)),
        ("warn", LogLevel::Level(NGX_LOG_WARN)),
        ("error", LogLevel::Level(NGX_LOG_ERR)),
        ("crit", LogLevel::Level(NGX_LOG_CRIT)),
        ("alert", LogLevel::Level(NGX_LOG_ALERT)),
        ("emerg", LogLevel::Level(NGX_LOG_EMERG)),
    ];
}

impl Default for LogLevel {
    /// Visible in a stock nginx, whose error_log has this level.
    fn default() -> Self {
        LogLevel::Level(NGX_LOG_ERR)
    }
}

/// The number of a level.
pub fn nginx_level(level: findings::Level) -> u32 {
    match level {
        findings::Level::Error => NGX_LOG_ERR,
        findings::Level::Warn => NGX_LOG_WARN,
        findings::Level::Notice => NGX_LOG_NOTICE,
        findings::Level::Info => NGX_LOG_INFO,
    }
}

/// Who moves a tunnel's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TunnelLoop {
    /// The guard, in the locations that it applies to.
    #[default]
    Pump,
    /// nginx.
    Native,
}

impl TunnelLoop {
    /// The words of the directive.
    pub const WORDS: [(&'static str, TunnelLoop); 2] =
        [("pump", TunnelLoop::Pump), ("native", TunnelLoop::Native)];
}

/// What the backend is told of the client and of what it asked for, where the location says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    Off,
    /// The Host, to a backend whose name in `proxy_pass` is none that it can know.
    Host,
    /// The Host to any backend, the client's address and its scheme.
    On,
}

impl Forwarded {
    /// The words of the directive.
    pub const WORDS: [(&'static str, Forwarded); 3] =
        [("off", Forwarded::Off), ("host", Forwarded::Host), ("on", Forwarded::On)];
}
