//! What directives ask of a location's tunnels.

use core::ptr::NonNull;

use ngx::ffi::{ngx_http_complex_value_t, ngx_msec_t};
use websocket_guard_core::frame::rate::Rate;
use websocket_guard_core::frame::CloseCode;

/// `websocket_guard_ping`
#[derive(Clone, Copy)]
pub struct PingConf {
    /// How long a side may be silent before it is asked.
    pub interval: ngx_msec_t,
    pub client: bool,
    pub backend: bool,
    /// How long it may be silent after that.
    pub timeout: Option<ngx_msec_t>,
}

/// `websocket_guard_drain`
#[derive(Clone, Copy)]
pub struct Drain {
    /// Each tunnel is closed at a random moment within this time.
    pub spread: ngx_msec_t,
    pub code: CloseCode,
    /// How long both sides have, once the client was told.
    pub wait: ngx_msec_t,
}

/// `websocket_guard_max_message`
#[derive(Clone, Copy)]
pub struct MaxMessage {
    /// How large a message may be, in bytes of payload as it is sent.
    pub size: u64,
    pub client: bool,
    pub backend: bool,
}

/// `websocket_guard_message_rate`
#[derive(Clone, Copy)]
pub struct MessageRate {
    /// How often the client may send one.
    pub rate: Rate,
    /// Whether one that comes too early ends the tunnel; else it waits.
    pub closes: bool,
}

/// `websocket_guard_lifetime`
#[derive(Clone, Copy)]
pub struct Lifetime {
    pub limit: Limit,
    /// How much shorter a life may be, at random.
    pub jitter: ngx_msec_t,
}

/// Where the time comes from.
#[derive(Clone, Copy)]
pub enum Limit {
    After(ngx_msec_t),
    /// A number of seconds, or the Unix time at which it is over.
    Variable(NonNull<ngx_http_complex_value_t>),
}
