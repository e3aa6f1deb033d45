//! Why nginx redirected a handshake.

use super::facts::Facts;

/// What a redirect comes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirect<'a> {
    /// auth_request refused the request, and an error_page sends it to the sign-in.
    SignIn,
    /// The same URL with https, though the client uses that already: TLS ends in front.
    HttpsAlready {
        /// What says so.
        header: &'a [u8],
        /// What it says.
        value: &'a [u8],
    },
    /// The same URL with https.
    ToHttps,
    /// Another URL.
    Elsewhere,
}

pub(super) fn cause<'a>(facts: &Facts<'a>) -> Redirect<'a> {
    if facts.auth_refused() {
        return Redirect::SignIn;
    }
    if !is_same_with_https(facts) {
        return Redirect::Elsewhere;
    }
    match facts.tls_in_front {
        Some((header, value)) => Redirect::HttpsAlready { header, value },
        None => Redirect::ToHttps,
    }
}

/// Whether it leads to the URL that the client asked for, but for the scheme and the port.
fn is_same_with_https(facts: &Facts) -> bool {
    facts.redirect.is_some_and(|target| is_https_of(target, &[facts.host], &[facts.uri]))
}

/// Whether a redirect leads to one of these URIs of one of these hosts, with https.
pub(super) fn is_https_of(target: &[u8], hosts: &[&[u8]], uris: &[&[u8]]) -> bool {
    let rest = [&b"https://"[..], b"wss://"].iter().find_map(|scheme| target.strip_prefix(*scheme));
    let Some(rest) = rest else { return false };
    let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (host, uri) = rest.split_at(slash);
    let is_host = |own: &&&[u8]| {
        !own.is_empty() && without_port(host).eq_ignore_ascii_case(without_port(own))
    };
    hosts.iter().find(is_host).is_some() && uris.iter().any(|own| path(uri) == path(own))
}

fn without_port(host: &[u8]) -> &[u8] {
    let end = host.iter().rposition(|byte| *byte == b':');
    match end {
        // An IPv6 address has colons of its own.
        Some(colon) if !host.ends_with(b"]") => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

/// A rule may drop the query.
fn path(uri: &[u8]) -> &[u8] {
    uri.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// Whether a request header, set by a proxy in front of nginx, says that the client uses TLS.
pub fn tells_tls(name: &str, value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    match name {
        // The first is what the client used; proxies add theirs behind it.
        "X-Forwarded-Proto" | "X-Forwarded-Scheme" | "CloudFront-Forwarded-Proto" => {
            is_https(&value)
        }
        "X-Forwarded-Ssl" | "Front-End-Https" => value == b"on",
        "Forwarded" => value.windows(11).any(|part| part == b"proto=https"),
        _ => false,
    }
}

/// Whether the value of X-Forwarded-Proto says that the client used TLS.
pub(super) fn is_https(proto: &[u8]) -> bool {
    let first = proto.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    [&b"https"[..], b"wss"].iter().any(|scheme| first.eq_ignore_ascii_case(scheme))
}

/// The headers that [`tells_tls`] knows.
pub const TLS_IN_FRONT: [&str; 6] = [
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "Front-End-Https",
    "CloudFront-Forwarded-Proto",
    "Forwarded",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cause_of(redirect: &'static [u8]) -> Redirect<'static> {
        cause(&Facts {
            redirect: Some(redirect),
            host: b"Example.com:8080",
            uri: b"/chat?a=b",
            tls_in_front: Some((b"X-Forwarded-Proto", b"https")),
            ..Facts::default()
        })
    }

    #[test]
    fn the_same_url_with_https() {
        let already = Redirect::HttpsAlready { header: b"X-Forwarded-Proto", value: b"https" };
        for same in [&b"https://example.com/chat?a=b"[..], b"wss://EXAMPLE.com:443/chat"] {
            assert_eq!(cause_of(same), already);
        }
        for other in [
            &b"http://example.com/chat"[..],
            b"https://example.com/",
            b"https://www.example.com/chat",
            b"/chat",
            b"https://",
        ] {
            assert_eq!(cause_of(other), Redirect::Elsewhere);
        }
    }

    #[test]
    fn what_a_proxy_says_of_tls() {
        for (name, value) in [
            ("X-Forwarded-Proto", &b"HTTPS, http"[..]),
            ("X-Forwarded-Ssl", b"on"),
            ("Forwarded", b"for=10.0.0.1;proto=https;by=x"),
        ] {
            assert!(tells_tls(name, value), "{name}");
        }
        for (name, value) in [
            ("X-Forwarded-Proto", &b"http, https"[..]),
            ("X-Forwarded-Ssl", b"off"),
            ("Forwarded", b"proto=http"),
            ("X-Other", b"https"),
        ] {
            assert!(!tells_tls(name, value), "{name}");
        }
    }
}
