//! The longest life of a tunnel.

use core::str;

use ngx::ffi::{ngx_msec_t, NGX_LOG_ERR};
use ngx::ngx_log_error;
use websocket_guard_core::text::escape::Escaped;

use super::clock::up_to;
use crate::configuration::tunnels::{Lifetime, Limit};
use crate::nginx::evaluate;
use crate::request::view::Request;

/// A number of seconds that is larger is a Unix time.
const YEAR: i64 = 365 * 24 * 60 * 60;

impl Lifetime {
    /// How many milliseconds a tunnel that begins now may live, if its variable sets a limit.
    pub fn of(&self, request: &Request) -> Option<ngx_msec_t> {
        let limit = match self.limit {
            Limit::After(limit) => limit,
            // SAFETY: the value was compiled for the configuration of the request, which is live.
            Limit::Variable(value) => unsafe {
                left(request, evaluate(request.as_ptr(), value)?.as_bytes())?
            },
        };
        Some(limit.saturating_sub(up_to(self.jitter.min(limit))))
    }
}

/// What a variable says is left, in milliseconds.
fn left(request: &Request, value: &[u8]) -> Option<ngx_msec_t> {
    let text = value.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let Some(seconds) = str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()) else {
        ngx_log_error!(
            NGX_LOG_ERR,
            request.connection().log,
            "websocket_guard: \"{}\" in websocket_guard_lifetime is no number of seconds; the tunnel has no limit",
            Escaped(value)
        );
        return None;
    };
    let seconds = if seconds > YEAR { seconds.saturating_sub(unix_time()) } else { seconds };
    Some(ngx_msec_t::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

fn unix_time() -> i64 {
    // SAFETY: nginx has set its cached time, and changes it between two events only.
    unsafe { (*ngx::ffi::ngx_cached_time).sec }
}
