//! What a server listens on.

use crate::audit::model::{Listener, Server, Site};
use crate::audit::problem::Problem;
use crate::text::quoted::Quoted;
use crate::words::SetAt;

/// From this version on, a listener without TLS tells HTTP/1.1 and HTTP/2 apart.
const BOTH_VERSIONS: u32 = 1_025_001;

pub fn cleartext_h2_listener<'a>(site: &Site<'a>, server: &Server<'a>) -> Option<Problem<'a>> {
    if site.nginx_version >= BOTH_VERSIONS {
        return None;
    }
    // A server that also listens for HTTP/1.1 has the other listener for peers that speak HTTP/2, such as a proxy
    // that chooses by ALPN.
    let only_http2 = |listener: &Listener| listener.http2 && !listener.ssl;
    let listener = server.listeners.first().filter(|_| server.listeners.iter().all(only_http2))?;
    Some(
        Problem::new(format!(
            "speaks only HTTP/2 on \"{}\" (http2 without ssl), and WebSocket clients speak HTTP/1.1",
            Quoted(listener.address)
        ))
        .at(SetAt::Here(listener.place)),
    )
}

#[cfg(test)]
mod tests {
    use crate::audit::model::{Listener, Server, Site};
    use crate::audit::testing::*;

    #[test]
    fn http2_without_tls() {
        let reported = |version, ssl, http2| {
            let locations = [on("/a"), on("/b")];
            let listeners =
                [Listener { address: b"127.0.0.1:80", ssl, http2, ..Listener::default() }];
            let servers = [Server { listeners: &listeners, ..server(&locations) }];
            lines_in(&Site { nginx_version: version, ..site(&servers) })
        };
        assert_eq!(
            reported(1_025_000, false, true),
            ["websocket_guard: server \"example.com\" speaks only HTTP/2 on \"127.0.0.1:80\" \
              (http2 without ssl), and WebSocket clients speak HTTP/1.1; remove http2 from that \
              listen [cleartext-h2-listener] in nginx.conf:2"]
        );
        assert!(reported(1_025_001, false, true).is_empty());
        assert!(reported(1_022_001, true, true).is_empty());
        assert!(reported(1_022_001, false, false).is_empty());
    }

    #[test]
    fn beside_one_for_http1() {
        let locations = [on("/a")];
        let http2 = Listener { http2: true, place: Some(at(4)), ..Listener::default() };
        let reported = |listeners: &[Listener<'static>]| {
            lines_in(&site(&[Server { listeners, ..server(&locations) }]))
        };
        assert!(reported(&[http2, Listener::default()]).is_empty());
        assert!(reported(&[]).is_empty());
        let lines = reported(&[http2, http2]);
        assert!(lines[0].ends_with(" in nginx.conf:4") && lines.len() == 1, "{lines:?}");
    }

    #[test]
    fn only_of_servers_that_are_audited() {
        let listeners = [Listener { http2: true, ..Listener::default() }];
        let ignoring = |ignored: bool| {
            let mut location = on("/a");
            if ignored {
                location.ignore.insert(crate::findings::Finding::CleartextH2Listener);
            }
            let locations = [location];
            names_in(&site(&[Server { listeners: &listeners, ..server(&locations) }]))
        };
        assert_eq!(ignoring(false), ["cleartext-h2-listener"]);
        assert!(ignoring(true).is_empty());
        let locations = [location("/")];
        assert!(
            names_in(&site(&[Server { listeners: &listeners, ..server(&locations) }])).is_empty()
        );
    }
}
