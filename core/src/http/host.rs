//! The Host header (RFC 9110 section 7.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether no site can be meant by the Host that `proxy_pass` stands for: an address, this machine, or, where
/// `is_block` says so, the name of an `upstream {}` without a dot in it. A backend knows itself by another name.
///
/// The name of a Unix socket is `localhost` there (`ngx_http_proxy_set_vars`).
pub fn names_no_site(host: &[u8], is_block: impl FnOnce() -> bool) -> bool {
    let name = without_port(host);
    is_address(name)
        || name.eq_ignore_ascii_case(b"localhost")
        || (!name.contains(&b'.') && is_block())
}

/// Most hosts are none by their first byte.
fn is_address(name: &[u8]) -> bool {
    matches!(name, [b'[' | b'0'..=b'9', ..])
        && std::str::from_utf8(name).is_ok_and(|name| {
            match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
                Some(address) => address.parse::<Ipv6Addr>().is_ok(),
                None => name.parse::<Ipv4Addr>().is_ok(),
            }
        })
}

/// A host without its port.
pub fn without_port(host: &[u8]) -> &[u8] {
    // An IPv6 address has colons of its own.
    let end = match host {
        [b'[', ..] => host.iter().position(|byte| *byte == b']').map(|bracket| bracket + 1),
        _ => host.iter().position(|byte| *byte == b':'),
    };
    let end = end.unwrap_or(host.len());
    host.get(..end).unwrap_or(host)
}

/// The host in a request line with its port, if there is one: whatever the Host header says, it counts (RFC 9112
/// section 3.2.2).
pub fn in_request_line(line: &[u8]) -> Option<&[u8]> {
    let is_blank = |byte: &u8| *byte == b' ';
    let target = line.get(line.iter().position(is_blank)?..)?.trim_ascii_start();
    if target.starts_with(b"/") {
        return None;
    }
    let path = target.iter().position(|byte| *byte == b'/')?;
    let (scheme, rest) = target.split_at_checked(path)?;
    if !scheme.ends_with(b":") {
        return None;
    }
    let rest = rest.strip_prefix(b"//")?;
    let end = rest.iter().position(|byte| b"/?# ".contains(byte)).unwrap_or(rest.len());
    rest.get(..end).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_request_line() {
        let host = |line: &'static str| in_request_line(line.as_bytes());
        for (line, expected) in [
            ("GET http://app.example.com:81/x HTTP/1.1", "app.example.com:81"),
            ("GET   HTTPS://[::1]:8443 HTTP/1.1", "[::1]:8443"),
            ("GET http://a?x=/ HTTP/1.1", "a"),
            ("GET http://a", "a"),
        ] {
            assert_eq!(host(line), Some(expected.as_bytes()), "{line}");
        }
        for line in [
            "",
            "GET",
            "GET ",
            "GET /x HTTP/1.1",
            "GET /?u=http://x/ HTTP/1.1",
            "GET http:/// HTTP/1.1",
            "GET * HTTP/1.1",
        ] {
            assert_eq!(host(line), None, "{line}");
        }
    }

    #[test]
    fn addresses_and_this_machine() {
        for host in
            ["127.0.0.1", "10.0.0.7:8080", "[::1]", "[fe80::1]:81", "localhost", "LocalHost:3000"]
        {
            assert!(names_no_site(host.as_bytes(), || false), "{host}");
        }
        for host in ["", "1.2.3", "1.2.3.4.5", "[x]", "[::1", "localhost.example", "app", "app:80"]
        {
            assert!(!names_no_site(host.as_bytes(), || false), "{host}");
        }
    }

    #[test]
    fn blocks() {
        for name in ["app", "chat_app", "app-1"] {
            assert!(names_no_site(name.as_bytes(), || true), "{name}");
        }
        for domain in ["app.internal", "chat.example.com", "chat.example.com:81"] {
            assert!(!names_no_site(domain.as_bytes(), || true), "{domain}");
        }
    }
}
