//! What the backend was told of the client's scheme, and `websocket_guard_origin same` behind a proxy that ends TLS.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Facts, Gate};
use crate::diagnosis::scheme::{is_own_but_for_tls, told, Told};
use crate::handshake::origin::Denied;
use crate::text::escape::Escaped;

/// Goes on with the sentence about a redirect of the backend.
pub fn redirect(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    match told(facts) {
        Some(Told::Replaced { sent, .. }) => {
            let came = facts.tls_in_front.map_or(&b""[..], |(_, value)| value);
            let (sent, came) = (Escaped(sent), Escaped(came));
            write!(
                f,
                "; it was sent X-Forwarded-Proto \"{sent}\" in place of \"{came}\", which came"
            )
        }
        Some(Told::OtherHeader { header }) => {
            let header = Escaped(header);
            write!(f, "; that the client uses TLS was said by {header}, and X-Forwarded-Proto was not \"https\"")
        }
        Some(Told::Nothing { sent: None }) => {
            f.write_str("; the client uses TLS, and no X-Forwarded-Proto was sent")
        }
        Some(Told::Nothing { sent: Some(sent) }) => {
            let sent = Escaped(sent);
            write!(f, "; the client uses TLS, and X-Forwarded-Proto \"{sent}\" was sent")
        }
        Some(Told::Https) => f.write_str("; it was sent X-Forwarded-Proto \"https\""),
        Some(Told::NoTls) | None => Ok(()),
    }
}

/// What to do about it; `None` where nothing better than the catalogue's is known.
pub fn fix_of_redirect(facts: &Facts) -> Option<&'static str> {
    Some(match told(facts)? {
        Told::Replaced { by_guard: true, .. } => {
            "set \"websocket_guard_forwarded host;\" in the location, which passes X-Forwarded-Proto on as it came, or \
             have realip trust the proxy in front (set_real_ip_from)"
        }
        Told::Replaced { .. } => {
            "send what came: \"proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;\""
        }
        Told::OtherHeader { .. } => {
            "say it so that the backend knows it: \"proxy_set_header X-Forwarded-Proto https;\""
        }
        Told::Nothing { sent: None } if facts.mode.is_guarded() => {
            "add \"websocket_guard_forwarded on;\" to the location"
        }
        Told::Nothing { .. } => {
            "say so: \"proxy_set_header X-Forwarded-Proto $scheme;\""
        }
        Told::Https => {
            "have the application believe it of this nginx (its setting for trusted proxies)"
        }
        Told::NoTls => {
            "use wss:// in the client; if TLS ends in front of this nginx, have the proxy there send \
             X-Forwarded-Proto, and pass it on with \
             \"proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;\""
        }
    })
}

/// Tells which origin `same` stands for in this request.
pub fn own_origin(f: &mut Formatter, facts: &Facts, allowed: &str) -> fmt::Result {
    if !allowed.split(' ').any(|word| word == "same") {
        return Ok(());
    }
    let (scheme, host) = (Escaped(facts.scheme), Escaped(facts.host));
    write!(f, ", which is \"{scheme}://{host}\" here")
}

/// What to do about an origin that is the request's own but for the TLS that ends in front; `None` for another one.
pub fn fix_of_origin(f: &mut Formatter, facts: &Facts) -> Option<fmt::Result> {
    let Gate::OriginDenied { denied: Denied::NotListed(origin), allowed } = facts.gate else {
        return None;
    };
    if !allowed.split(' ').any(|word| word == "same") || !is_own_but_for_tls(facts, origin) {
        return None;
    }
    Some(match (facts.tls_in_front, facts.address_header) {
        (Some((b"X-Forwarded-Proto", _)), Some(address)) => write!(
            f,
            "trust the X-Forwarded-Proto of the proxy in front with \"set_real_ip_from {}; real_ip_header {address};\", \
             or add that origin to websocket_guard_origin",
            Escaped(facts.peer)
        ),
        _ => f.write_str(
            "if TLS ends in front of this nginx, add that origin to websocket_guard_origin",
        ),
    })
}
