//! What to do about an origin that the backend refused.

use crate::diagnosis::facts::Facts;
use crate::diagnosis::origin::{compare, Comparison};

/// Where nothing is guarded, beside the lines that forward the upgrade: a line elsewhere would end their inheritance.
pub const HOST: &str = "set \"proxy_set_header Host $http_host;\" where Upgrade is set";

pub const HOST_GUARDED: &str =
    "add \"websocket_guard_forwarded on;\" or \"proxy_set_header Host $http_host;\"";

pub const SCHEME: &str =
    "have X-Forwarded-Proto say https, also where TLS ends in front of this nginx";

/// For the case that it was something else.
pub fn otherwise(facts: &Facts) -> &'static str {
    match facts.upstream.unwrap_or_default().status {
        401 => ", else see that cookies or tokens reach it",
        404 => ", else correct the path in the client",
        _ => "",
    }
}

/// What to do about the origin.
pub fn fix(facts: &Facts, usual: &'static str) -> &'static str {
    match compare(facts) {
        Comparison::OtherHost { asked_is_same: false, .. } => {
            "allow that origin in the backend: it is not the host that the client asked for"
        }
        Comparison::OtherHost { .. } if facts.mode.is_guarded() => usual,
        Comparison::OtherHost { .. } => {
            "set \"proxy_set_header Host $http_host;\" where Upgrade is set, or allow the origin in the \
             backend"
        }
        Comparison::OtherScheme | Comparison::Same | Comparison::Nothing => {
            "have X-Forwarded-Proto say https, also where TLS ends in front of this nginx, or allow the \
             origin in the backend"
        }
    }
}
