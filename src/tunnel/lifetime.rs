//! The longest life of a tunnel.

use core::str;

use ngx::ffi::ngx_msec_t;
use websocket_guard_core::diagnosis::End;

use super::clock::up_to;
use super::end::observe;
use crate::configuration::tunnels::{Lifetime, Limit};
use crate::nginx::{bytes, evaluate};
use crate::request::view::Request;

/// A number of seconds that is larger is a Unix time.
const YEAR: i64 = 365 * 24 * 60 * 60;

impl Lifetime {
    /// How many milliseconds a tunnel that begins now may live, if its variable sets a limit.
    pub fn of(&self, request: &Request) -> Option<ngx_msec_t> {
        let limit = match self.limit {
            Limit::After(limit) => limit,
            Limit::Variable(_) => match left(self.written(request)?)? {
                Ok(limit) => limit,
                Err(NoNumber) => {
                    observe(request, End::LifetimeUnknown);
                    return None;
                }
            },
        };
        Some(limit.saturating_sub(up_to(self.jitter.min(limit))))
    }

    /// What the variable says, if there is one.
    pub fn written<'r>(&self, request: &'r Request) -> Option<&'r [u8]> {
        let Limit::Variable(value) = self.limit else { return None };
        // SAFETY: the value was compiled for the configuration of the request, which is live; what it is evaluated to
        // lives as long as the request.
        Some(bytes(unsafe { evaluate(request.as_ptr(), value)? }))
    }
}

/// What is to be a number is none.
struct NoNumber;

/// What a variable says is left, in milliseconds; `None` if it is empty.
fn left(value: &[u8]) -> Option<Result<ngx_msec_t, NoNumber>> {
    let text = value.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let Some(seconds) = str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()) else {
        return Some(Err(NoNumber));
    };
    let seconds = if seconds > YEAR { seconds.saturating_sub(unix_time()) } else { seconds };
    Some(Ok(ngx_msec_t::try_from(seconds).unwrap_or(0).saturating_mul(1000)))
}

fn unix_time() -> i64 {
    // SAFETY: nginx has set its cached time, and changes it between two events only.
    unsafe { (*ngx::ffi::ngx_cached_time).sec }
}
