//! A 101 passes only with the accept value of the key that was sent.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use websocket_guard_core::handshake::accept::accept;
use websocket_guard_core::handshake::switch::{Offer, Switch};
use websocket_guard_core::http::token::{contains_token, trim};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    sent_upgrade: &'a [u8],
    key: Vec<&'a [u8]>,
    subprotocols: Vec<&'a [u8]>,
    offered: Vec<&'a [u8]>,
    upgrade: Option<Vec<&'a [u8]>>,
    connection: Option<Vec<&'a [u8]>>,
    /// `None` for the right value, which no fuzzer finds.
    accept: Option<Vec<&'a [u8]>>,
    subprotocol: Vec<&'a [u8]>,
    extensions: Vec<&'a [u8]>,
}

fuzz_target!(|input: Input| {
    let right = accept(trim(input.key.first().copied().unwrap_or_default()));
    let upgrade = input.upgrade.unwrap_or_else(|| vec![b"websocket"]);
    let connection = input.connection.unwrap_or_else(|| vec![b"upgrade"]);
    let accepts = input.accept.unwrap_or_else(|| vec![&right]);
    let answer = Switch {
        upgrade: upgrade.iter().copied(),
        connection: connection.iter().copied(),
        accept: accepts.iter().copied(),
        subprotocol: input.subprotocol.iter().copied(),
        extensions: input.extensions.iter().copied(),
    };

    for sent_upgrade in [input.sent_upgrade, b"websocket"] {
        let sent_lines = [sent_upgrade];
        let sent = Offer {
            upgrade: sent_lines.iter().copied(),
            allowed: None,
            key: input.key.iter().copied(),
            subprotocols: input.subprotocols.iter().copied(),
            extensions: input.offered.iter().copied(),
        };
        let verified = answer.verify(&sent);
        if verified.is_err_and(|fault| fault.is_fatal()) {
            continue;
        }
        assert!(contains_token(connection.iter().copied(), b"upgrade"));
        if contains_token(upgrade.iter().copied(), b"websocket") {
            assert!(contains_token(sent_lines.into_iter(), b"websocket"));
            assert!(!input.key.is_empty() && !accepts.is_empty());
            assert!(accepts
                .iter()
                .all(|value| { input.key.iter().any(|key| accept(trim(key)) == trim(value)) }));
        }
        if verified.is_ok() && sent_upgrade == b"websocket" {
            assert!(input.subprotocol.len() <= 1);
        }
    }
});
