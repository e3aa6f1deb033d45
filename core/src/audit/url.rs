//! The hosts of the URLs that requests are passed on to.

use std::net::{IpAddr, Ipv6Addr};

use crate::http::host::without_port;

use super::model::Target;

/// The host that a target with variables has for an upgrade request, if that is known.
pub fn variable_host<'a>(target: &Target<'a>) -> Option<&'a [u8]> {
    if !target.variable {
        return None;
    }
    if let Some(value) = target.value {
        return Some(host_of(value));
    }

    let authority = authority(target.text?);
    let Some(dollar) = authority.iter().position(|byte| *byte == b'$') else {
        return Some(host(authority));
    };
    let (constant, variable) = authority.split_at(dollar);
    if authority.starts_with(b"unix:") {
        return Some(constant);
    }
    if constant.starts_with(b"[") && !constant.contains(&b']') {
        return None;
    }
    if host(constant).len() < constant.len() {
        // Only the port varies.
        return Some(host(constant));
    }
    // What these yield begins with a slash.
    const URIS: [&[u8]; 3] = [b"request_uri", b"uri", b"document_uri"];
    let name = variable.iter().filter(|byte| !b"${}".contains(byte));
    let is_uri = URIS.iter().any(|uri| {
        let mut rest = name.clone();
        uri.iter().all(|byte| rest.next() == Some(byte))
            && !rest.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    });
    (is_uri && !constant.is_empty()).then_some(constant)
}

/// The host of a URL.
pub fn host_of(url: &[u8]) -> &[u8] {
    host(authority(url))
}

/// Host and port of a URL; all of what has no scheme, as with `uwsgi_pass`.
fn authority(url: &[u8]) -> &[u8] {
    let scheme = url.windows(3).position(|window| window == b"://");
    let rest = scheme.and_then(|scheme| url.get(scheme + 3..)).unwrap_or(url);
    if rest.starts_with(b"unix:") {
        return rest;
    }
    rest.split(|byte| matches!(byte, b'/' | b'?')).next().unwrap_or_default()
}

/// Without the port.
pub fn host(authority: &[u8]) -> &[u8] {
    if authority.starts_with(b"unix:") {
        return authority;
    }
    without_port(authority)
}

/// Whether this is no name that could be resolved: an address, or the path of a socket.
pub fn is_address(name: &[u8]) -> bool {
    if name.starts_with(b"unix:") {
        return true;
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let unbracketed = |text: &str| -> Option<Ipv6Addr> {
        text.strip_prefix('[')?.split(']').next()?.parse().ok()
    };
    name.parse::<IpAddr>().is_ok()
        || unbracketed(name).is_some()
        || name.split(':').next().is_some_and(|host| host.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for address in ["127.0.0.1", "127.0.0.1:80", "::1", "[::1]", "[::1]:80", "unix:/a"] {
            assert!(is_address(address.as_bytes()), "{address}");
        }
        for name in ["localhost", "a.b:80", "", "1.2.3", "[x]"] {
            assert!(!is_address(name.as_bytes()), "{name}");
        }
    }
}
