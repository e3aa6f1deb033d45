//! The Host header (RFC 9110 section 7.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether no site can be meant by the Host that `proxy_pass` stands for: an address, this machine, or, where
/// `is_block` says so, the name of an `upstream {}` without a dot in it. A backend knows itself by another name.
///
/// The name of a Unix socket is `localhost` there (`ngx_http_proxy_set_vars`).
pub fn names_no_site(host: &[u8], is_block: impl FnOnce() -> bool) -> bool {
    let name = without_port(host);
    let is_address = std::str::from_utf8(name).is_ok_and(|name| {
        let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        bracketed.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || name.parse::<Ipv4Addr>().is_ok()
    });
    is_address || name.eq_ignore_ascii_case(b"localhost") || (!name.contains(&b'.') && is_block())
}

/// A host without its port.
pub fn without_port(host: &[u8]) -> &[u8] {
    let end = match host.iter().position(|byte| *byte == b']') {
        Some(bracket) => bracket + 1,
        None => host.iter().position(|byte| *byte == b':').unwrap_or(host.len()),
    };
    host.get(..end).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

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
