//! What a level asks of the guard.

use crate::config::Node;

use super::model::Asked;

/// The directives that have no effect where `websocket_guard` is `off` or `check`, and the word with which each of them
/// asks for what is so there anyway.
///
/// Not among them: `websocket_guard_log` and `websocket_guard_ignore`, which are about diagnoses, and
/// `websocket_guard_upgrade`, which diagnoses and `$websocket_guard_upgrade` go by in any location.
const DIRECTIVES: [(&str, Option<&str>); 13] = [
    ("websocket_guard_timeout", None),
    ("websocket_guard_handshake", Some("lenient")),
    ("websocket_guard_origin", Some("any")),
    ("websocket_guard_forwarded", Some("off")),
    ("websocket_guard_tunnel", Some("native")),
    ("websocket_guard_buffer_size", None),
    ("websocket_guard_close", Some("off")),
    ("websocket_guard_frames", None),
    ("websocket_guard_ping", Some("off")),
    ("websocket_guard_max_message", Some("off")),
    ("websocket_guard_message_rate", Some("off")),
    ("websocket_guard_lifetime", Some("off")),
    ("websocket_guard_drain", Some("off")),
];

/// What stands in a block itself, in its order.
pub fn asked(node: Node<'_>) -> impl Iterator<Item = Asked<'_>> {
    node.children().filter_map(|directive| {
        let (name, idle) =
            DIRECTIVES.iter().find(|(name, _)| name.as_bytes() == directive.name())?;
        let first = directive.arg(0).unwrap_or_default();
        let asks = idle.map_or(true, |idle| !first.eq_ignore_ascii_case(idle.as_bytes()));
        asks.then_some(Asked { directive: name, place: directive.place() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Files, Tree};

    struct NoFiles;

    impl Files for NoFiles {
        fn read(&mut self, _: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
            None
        }
    }

    #[test]
    fn what_asks_for_something() {
        let tree = Tree::parse(
            b"nginx.conf",
            "http {
                websocket_guard_drain 1m wait=1s;
                websocket_guard check;
                websocket_guard_log off;
                websocket_guard_ignore capacity;
                websocket_guard_upgrade websocket tcp;
                websocket_guard_frames check;
                websocket_guard_ping OFF;
                websocket_guard_origin any;
                websocket_guard_tunnel native;
                server { websocket_guard_timeout 1m; }
            }"
            .into(),
            &mut NoFiles,
        );
        let http = tree.http().unwrap();
        let found: Vec<_> = asked(http).map(|it| (it.directive, it.place.line)).collect();
        assert_eq!(found, [("websocket_guard_drain", 2), ("websocket_guard_frames", 7)]);
        let server = http.blocks().next().unwrap();
        assert_eq!(asked(server).count(), 1);
    }
}
