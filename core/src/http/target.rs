//! The target of a request, before and after a proxy (RFC 9110 section 7.1).

use std::cmp::Reverse;

/// Whether a proxy has changed more of a target than the beginning of its path: what was encoded is decoded, the
/// query is gone or another, or a blank got into it.
pub fn differs_beyond_prefix(asked: &[u8], sent: &[u8]) -> bool {
    let common = common_end(asked, sent);
    let is_plain_beginning = |target: &[u8]| {
        let beginning = target.get(..target.len().saturating_sub(common));
        beginning.is_some_and(|bytes| bytes.iter().copied().all(is_plain))
    };
    let is_target = sent.iter().all(|byte| byte.is_ascii_graphic());
    !(is_target && is_plain_beginning(asked) && is_plain_beginning(sent))
}

/// Of the names of locations, the one that a URI was meant for most likely: the one that begins like it, in as many
/// folders as possible, and then with as little as possible besides. Of equal ones the last.
pub fn nearest<'a>(names: impl Iterator<Item = &'a [u8]>, uri: &[u8]) -> Option<&'a [u8]> {
    let likeness = |name: &[u8]| {
        let common = || name.iter().zip(uri).take_while(|(a, b)| a == b).map(|(byte, _)| byte);
        let (folders, bytes) = (common().filter(|byte| **byte == b'/').count(), common().count());
        (folders, Reverse(name.len() - bytes), bytes)
    };
    names.reduce(|best, name| if likeness(name) >= likeness(best) { name } else { best })
}

/// How many bytes at the end of both are equal. Digits of what is encoded are the same in any case.
fn common_end(one: &[u8], other: &[u8]) -> usize {
    let encoded = |target: &[u8], from_end: usize| {
        [2, 3].iter().any(|back| {
            let place = target.len().checked_sub(from_end + back);
            place.is_some_and(|place| target.get(place) == Some(&b'%'))
        })
    };
    let pairs = one.iter().rev().zip(other.iter().rev()).enumerate();
    pairs
        .take_while(|(n, (a, b))| {
            a == b || (a.eq_ignore_ascii_case(b) && encoded(one, *n) && encoded(other, *n))
        })
        .count()
}

/// Neither encoded nor the beginning of a query.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'?' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_path() {
        for (asked, sent) in [
            ("/chat", "/chat"),
            ("/chat?a=%20", "/chat?a=%20"),
            ("/ws/chat?a=b", "/chat?a=b"),
            ("/ws/chat", "//chat"),
            ("/chat", "/app/v2/chat"),
            ("/ws/a%20b?c", "/x/a%20b?c"),
            ("/ws/%c3%a4", "/x/%C3%A4"),
            ("/", "/socket"),
            ("/ws", ""),
            ("", ""),
        ] {
            assert!(!differs_beyond_prefix(asked.as_bytes(), sent.as_bytes()), "{asked} {sent}");
        }
    }

    #[test]
    fn the_location_that_was_meant() {
        const NAMES: [&str; 6] =
            ["/ws/", "/grafana/", "/terminal/v2/ws", "/terminal/ws", "/notes/", "^/live"];
        for (uri, name) in [
            ("/terminal/socket", "/terminal/ws"),
            ("/terminal/v2/socket", "/terminal/v2/ws"),
            ("/terminal", "/terminal/ws"),
            ("/grafanas/ws", "/grafana/"),
            ("/note", "/notes/"),
            ("/ws", "/ws/"),
            ("/api/ws", "/ws/"),
            ("/", "/ws/"),
            ("", "/ws/"),
        ] {
            let names = NAMES.iter().map(|name| name.as_bytes());
            assert_eq!(nearest(names, uri.as_bytes()), Some(name.as_bytes()), "{uri}");
        }
        assert_eq!(nearest([].into_iter(), b"/ws"), None);
    }

    #[test]
    fn more_than_that() {
        for (asked, sent) in [
            // The query is gone.
            ("/ws/chat?a=b", "/chat"),
            ("/chat?", "/chat"),
            // It is another.
            ("/chat?a=b", "/chat?a=c"),
            ("/room/7", "/app?room=7"),
            // Decoded.
            ("/c/my%20doc/ws", "/c/my doc/ws"),
            ("/c/a%2Fb/ws", "/c/a/b/ws"),
            ("/c/%C3%A4/ws", "/c/\u{e4}/ws"),
            ("/c/a/ws", "/c/a /ws"),
            ("/c/a", "/c/a\tb"),
            // Encoded once more.
            ("/c/a%20b", "/c/a%2520b"),
            ("/c/%3F", "/c/%3f%3F"),
            // Not hexadecimal digits of one byte.
            ("/c/%41bcX?", "/c/%41bcx?"),
        ] {
            let differs = differs_beyond_prefix(asked.as_bytes(), sent.as_bytes());
            assert!(differs, "{asked} {sent}");
        }
    }
}
