//! What a server that expects TLS says to plain HTTP.

/// Whether a body says so. Servers word it differently: an HTTP request was sent to an HTTPS server or port,
/// somebody speaks plain HTTP to an SSL-enabled port, the port requires TLS.
pub(super) fn says_tls_is_wanted(body: &[u8]) -> bool {
    let has = |words: &[&str]| {
        let is_word = |word: &[u8]| words.iter().any(|it| word.eq_ignore_ascii_case(it.as_bytes()));
        body.split(|byte| !byte.is_ascii_alphanumeric()).any(is_word)
    };
    let names_tls = has(&["https", "tls", "ssl"]);
    let names_plain = has(&["http"]) && has(&["plain", "sent", "speaking", "received"]);
    let names_socket = has(&["port", "server"]);
    names_tls && names_socket && (names_plain || has(&["requires", "expects", "needs"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_expect_tls() {
        for body in [
            "Client sent an HTTP request to an HTTPS server.\n",
            "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
            "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n",
            "Bad Request\r\nThis combination of host and port requires TLS.\r\n",
        ] {
            assert!(says_tls_is_wanted(body.as_bytes()), "{body}");
        }
        for body in [
            "",
            "Bad Request",
            "HTTPS required",
            "This page is served by HTTPS only, see https://example.com/",
            "Client sent an HTTP/1.0 request to an HTTP/1.1 server",
            "Session ID unknown: the server was restarted",
            "<html><head><title>400 Bad Request</title></head><body>The server sent HTTP</body></html>",
        ] {
            assert!(!says_tls_is_wanted(body.as_bytes()), "{body}");
        }
    }
}
