//! Why a backend sends a handshake from http to https: what it was told of the scheme that the client used.

use crate::handshake::origin::{is_same, Own};

use super::facts::{BackendFacts, Facts, Handler, Sent};
use super::redirect::{is_https, is_https_of};

/// What the backend knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    /// A proxy in front said https, and nginx says something else.
    Replaced {
        /// What is sent in its place.
        sent: &'a [u8],
        /// Whether `websocket_guard_forwarded on` does that.
        by_guard: bool,
    },
    /// A proxy in front said https in its own way.
    OtherHeader {
        /// How.
        header: &'a [u8],
    },
    /// TLS ends in this nginx, which does not say so.
    Nothing {
        /// What the location says, if it says anything.
        sent: Option<&'a [u8]>,
    },
    /// It was told https.
    Https,
    /// Nobody said that the client uses TLS.
    NoTls,
}

/// `None` if that is not what the redirect is about, or if it cannot be known what was sent.
pub(super) fn told<'a>(facts: &Facts<'a>) -> Option<Told<'a>> {
    let upstream = facts.upstream.filter(|_| facts.handler == Handler::Proxy)?;
    let BackendFacts { redirect, host, uri, proto, proto_by_guard: by_guard, .. } = upstream;
    let hosts = [facts.host, host.unwrap_or_default()];
    if !is_https_of(redirect?, &hosts, &[facts.uri, uri]) {
        return None;
    }
    let sent = match proto {
        Sent::Unknown => return None,
        Sent::Nothing => None,
        Sent::Value(sent) => Some(sent),
    };
    Some(match (sent, facts.tls_in_front) {
        (Some(sent), _) if is_https(sent) => Told::Https,
        (Some(sent), Some((b"X-Forwarded-Proto", _))) => Told::Replaced { sent, by_guard },
        (_, Some((header, _))) => Told::OtherHeader { header },
        (sent, None) if facts.scheme == b"https" => Told::Nothing { sent },
        (_, None) => Told::NoTls,
    })
}

/// The origin that this would be, were the proxy in front believed that TLS ends there: `websocket_guard_origin same`
/// refused it for that.
pub(super) fn is_own_but_for_tls(facts: &Facts, origin: &[u8]) -> bool {
    let own = Own { scheme: Some(b"https"), host: facts.host };
    facts.scheme == b"http" && is_same(origin, &own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_backend_was_told() {
        let told_with = |proto, tls_in_front, scheme| {
            let upstream = BackendFacts {
                proto,
                redirect: Some(b"https://app.example.com/chat"),
                uri: b"/chat",
                ..BackendFacts::default()
            };
            told(&Facts {
                handler: Handler::Proxy,
                host: b"app.example.com",
                uri: b"/chat",
                scheme,
                tls_in_front,
                upstream: Some(upstream),
                ..Facts::default()
            })
        };
        let proto = Some((&b"X-Forwarded-Proto"[..], &b"https"[..]));
        let other = Some((&b"X-Forwarded-Ssl"[..], &b"on"[..]));
        let (http, https) = (&b"http"[..], &b"https"[..]);
        let replaced = Told::Replaced { sent: http, by_guard: false };
        for (sent, in_front, scheme, expected) in [
            (Sent::Value(http), proto, http, replaced),
            (Sent::Value(http), proto, https, replaced),
            (Sent::Value(https), proto, http, Told::Https),
            (Sent::Value(b"https, http"), None, http, Told::Https),
            (Sent::Nothing, other, http, Told::OtherHeader { header: b"X-Forwarded-Ssl" }),
            (Sent::Value(http), other, http, Told::OtherHeader { header: b"X-Forwarded-Ssl" }),
            (Sent::Nothing, None, https, Told::Nothing { sent: None }),
            (Sent::Value(http), None, https, Told::Nothing { sent: Some(http) }),
            (Sent::Nothing, None, http, Told::NoTls),
            (Sent::Value(http), None, http, Told::NoTls),
        ] {
            assert_eq!(told_with(sent, in_front, scheme), Some(expected));
        }
        assert_eq!(told_with(Sent::Unknown, proto, http), None);
    }
}
