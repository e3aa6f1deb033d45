//! Verification of a backend's 101 (RFC 6455 section 4.1).

use crate::handshake::accept::{accept, Accept};
use crate::handshake::upgrade::{Protocols, WEBSOCKET};
use crate::http::token::{contains_token, elements, same, trim, Lines};

/// What was sent to the backend.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'p, L> {
    /// The Upgrade lines.
    pub upgrade: L,
    /// The protocols among them that may be upgraded to; `None` for all.
    pub allowed: Option<&'p Protocols>,
    /// The Sec-WebSocket-Key lines.
    pub key: L,
    /// The Sec-WebSocket-Protocol lines: the subprotocols offered.
    pub subprotocols: L,
    /// The Sec-WebSocket-Extensions lines: the extensions offered.
    pub extensions: L,
}

/// What the backend's 101 says.
#[derive(Clone, Copy, Debug)]
pub struct Switch<L> {
    /// The Upgrade lines.
    pub upgrade: L,
    /// The Connection lines.
    pub connection: L,
    /// The Sec-WebSocket-Accept lines.
    pub accept: L,
    /// The Sec-WebSocket-Protocol lines: the subprotocol chosen.
    pub subprotocol: L,
    /// The Sec-WebSocket-Extensions lines: the extensions chosen.
    pub extensions: L,
}

impl<'s, L: Lines<'s>> Offer<'_, L> {
    /// Whether no protocol was sent that may be upgraded to.
    pub fn offers_nothing(&self) -> bool {
        match self.allowed {
            Some(allowed) => allowed.select(self.upgrade.clone()).is_empty(),
            None => elements(self.upgrade.clone()).next().is_none(),
        }
    }

    fn offers(&self, protocol: &[u8]) -> bool {
        self.allowed.map_or(true, |allowed| allowed.named(protocol).is_some())
            && contains_token(self.upgrade.clone(), protocol)
    }
}

impl<'a, L: Lines<'a>> Switch<L> {
    /// Checks the answer against what was sent.
    ///
    /// A header that a backend repeats with values which are all right is a fault, but no fatal one: there is
    /// no danger in it, and a client that minds can close, as browsers do.
    pub fn verify<'s, S: Lines<'s>>(&self, sent: &Offer<'_, S>) -> Result<(), Fault<'a>> {
        let websocket = self.verify_upgrade(sent)?;
        if !websocket {
            return Ok(());
        }
        self.verify_accept(sent.key.clone())?;
        self.verify_single()?;
        self.verify_subprotocol(sent.subprotocols.clone())?;
        self.verify_extensions(sent.extensions.clone())
    }

    /// Checks the 101 that the client gets, by which a client of RFC 6455 decides, against that of the backend and the
    /// client's handshake. Its Connection header is nginx's own (`ngx_http_header_filter`).
    ///
    /// `answered` are the keys that were sent to the backend, whose answer to one of them is known to be right: an
    /// answer that came through unchanged is not computed again.
    pub fn verify_delivered<'s, 'b, S: Lines<'s>, B: Lines<'b>>(
        &self,
        backends: &Switch<B>,
        asked: &Offer<'_, S>,
        answered: impl Lines<'s>,
    ) -> Result<(), Fault<'a>> {
        let [upgrade, accept, subprotocol, extensions] = self.single();
        let lines = [upgrade, accept, subprotocol, extensions].into_iter().zip(backends.single());
        let hidden = lines.zip(SINGLE).find(|((delivered, backends), _)| {
            (*delivered).clone().next().is_none() && (*backends).clone().next().is_some()
        });
        if let Some((_, header)) = hidden {
            return Err(Fault::Hidden { header });
        }
        let upgrades = elements(self.upgrade.clone());
        if let Some(other) = upgrades.into_iter().find(|name| !same(name, WEBSOCKET.as_bytes())) {
            return Err(Fault::BadSwitch(BadSwitch::OtherProtocol(other)));
        }
        // Where malformed handshakes are forwarded there may be none, or several.
        let one_key = asked.key.clone().next().is_some() && asked.key.clone().nth(1).is_none();
        let is_verified = same_lines(answered, asked.key.clone())
            && same_lines(self.accept.clone(), backends.accept.clone());
        if one_key && !is_verified {
            self.verify_accept(asked.key.clone())?;
        }
        self.verify_single()?;
        self.verify_subprotocol(asked.subprotocols.clone())?;
        self.verify_extensions(asked.extensions.clone())
    }

    /// The lines of the headers of [`SINGLE`].
    fn single(&self) -> [&L; 4] {
        [&self.upgrade, &self.accept, &self.subprotocol, &self.extensions]
    }

    /// Checks what was chosen against what the client offered, which may be less than what was sent: then the
    /// client closes.
    pub fn verify_choice<'s>(
        &self,
        subprotocols: impl Lines<'s>,
        extensions: impl Lines<'s>,
    ) -> Result<(), Fault<'a>> {
        if !contains_token(self.upgrade.clone(), WEBSOCKET.as_bytes()) {
            return Ok(());
        }
        self.verify_subprotocol(subprotocols)?;
        self.verify_extensions(extensions)
    }

    /// Whether `websocket` is among the protocols, if these are all right.
    fn verify_upgrade<'s, S: Lines<'s>>(&self, sent: &Offer<'_, S>) -> Result<bool, Fault<'a>> {
        let mut protocols = elements(self.upgrade.clone()).enumerate().peekable();
        if protocols.peek().is_none() {
            return Err(Fault::BadSwitch(BadSwitch::NoUpgrade));
        }
        let mut websocket = false;
        for (n, protocol) in protocols {
            // The limit keeps two long lists from being compared at the cost of their product.
            if n == MAX_CHOSEN || !sent.offers(protocol) {
                return Err(Fault::BadSwitch(BadSwitch::OtherProtocol(protocol)));
            }
            websocket |= same(protocol, WEBSOCKET.as_bytes());
        }
        if !contains_token(self.connection.clone(), b"Upgrade") {
            let line = self.connection.clone().next();
            return Err(Fault::BadSwitch(BadSwitch::Connection(line)));
        }
        Ok(websocket)
    }

    fn verify_accept<'s>(&self, mut keys: impl Lines<'s>) -> Result<(), Fault<'a>> {
        let Some(first_key) = keys.next() else {
            return Err(Fault::BadAccept(BadAccept::NoKey));
        };
        let expected = accept(trim(first_key));
        let mut lines = self.accept.clone().map(trim);
        let Some(received) = lines.next() else {
            return Err(Fault::BadAccept(BadAccept::Missing { expected }));
        };
        // There are several keys only where a malformed handshake is forwarded. Any of them may be the one that
        // the backend has taken.
        if expected != received && !keys.any(|key| accept(trim(key)) == received) {
            return Err(Fault::BadAccept(BadAccept::Wrong { received, expected }));
        }
        if let Some(received) = lines.find(|&other| other != received) {
            return Err(Fault::BadAccept(BadAccept::Wrong { received, expected }));
        }
        Ok(())
    }

    fn verify_single(&self) -> Result<(), Fault<'a>> {
        let mut first_two = self.single().into_iter().zip(SINGLE).take(2);
        match first_two.find(|(lines, _)| (*lines).clone().nth(1).is_some()) {
            Some((_, header)) => Err(Fault::Repeated { header }),
            None => Ok(()),
        }
    }

    fn verify_subprotocol<'s>(&self, offered: impl Lines<'s>) -> Result<(), Fault<'a>> {
        let mut lines = self.subprotocol.clone().map(trim);
        let Some(chosen) = lines.next() else {
            return Ok(());
        };
        if let Some(second) = lines.next() {
            return Err(Fault::SubprotocolMismatch { chosen: second });
        }
        if !elements(offered).any(|subprotocol| subprotocol == chosen) {
            return Err(Fault::SubprotocolMismatch { chosen });
        }
        Ok(())
    }

    fn verify_extensions<'s>(&self, offered: impl Lines<'s>) -> Result<(), Fault<'a>> {
        // Nobody agrees on more than MAX_CHOSEN extensions. The rest goes unchecked, rather than
        // cause a finding that might be wrong.
        let mismatch = extension_names(self.extensions.clone())
            .take(MAX_CHOSEN)
            .find(|&chosen| !extension_names(offered.clone()).any(|name| name == chosen));
        match mismatch {
            Some(chosen) => Err(Fault::ExtensionMismatch { chosen }),
            None => Ok(()),
        }
    }
}

fn same_lines<'a, 'b>(some: impl Lines<'a>, others: impl Lines<'b>) -> bool {
    some.map(trim).eq(others.map(trim))
}

/// The headers of a 101 of which a client wants to see what the backend has sent.
pub const SINGLE: [&str; 4] =
    ["Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];

/// What is wrong with a 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// It does not switch to the protocol that was asked for.
    BadSwitch(BadSwitch<'a>),
    /// It does not prove that the backend read the handshake.
    BadAccept(BadAccept<'a>),
    /// A header that the backend has sent does not reach the client.
    Hidden {
        /// Its name, one of [`SINGLE`].
        header: &'static str,
    },
    /// It has a header twice, both times with a right value.
    Repeated {
        /// Its name.
        header: &'static str,
    },
    /// It names a subprotocol that was not offered, or several.
    SubprotocolMismatch {
        /// The value that cannot be; empty if the header is there without a value.
        chosen: &'a [u8],
    },
    /// It names an extension that was not offered.
    ExtensionMismatch {
        /// The name of the extension.
        chosen: &'a [u8],
    },
}

impl Fault<'_> {
    /// Whether no tunnel may come of it. The other faults endanger nobody: the client closes.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::BadSwitch(_) | Self::BadAccept(_) => true,
            Self::Hidden { .. }
            | Self::Repeated { .. }
            | Self::SubprotocolMismatch { .. }
            | Self::ExtensionMismatch { .. } => false,
        }
    }
}

/// Why a 101 does not switch to the protocol that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSwitch<'a> {
    /// It has no Upgrade header, or an empty one.
    NoUpgrade,
    /// Its Upgrade header names this protocol, which was not forwarded.
    OtherProtocol(&'a [u8]),
    /// Its Connection header lacks the token `upgrade`; the first line.
    Connection(Option<&'a [u8]>),
}

/// Why a Sec-WebSocket-Accept header proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAccept<'a> {
    /// No key was sent that it could be the answer to.
    NoKey,
    /// There is none.
    Missing {
        /// The value for the key that was sent.
        expected: Accept,
    },
    /// It is not the one for the key that was sent.
    Wrong {
        /// The value in the answer.
        received: &'a [u8],
        /// The value for the key that was sent.
        expected: Accept,
    },
}

const MAX_CHOSEN: usize = 16;

/// The names in Sec-WebSocket-Extensions lines (RFC 6455 section 9.1), without their parameters.
///
/// The value of a parameter is a token, even in quotes, so that no comma stands in one.
fn extension_names<'a>(lines: impl Lines<'a>) -> impl Lines<'a> {
    elements(lines).filter_map(|extension| extension.split(|&byte| byte == b';').next().map(trim))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    type TestLines<'a> = std::iter::Copied<std::slice::Iter<'a, &'a [u8]>>;

    fn lines<'a>(lines: &'a [&'a [u8]]) -> TestLines<'a> {
        lines.iter().copied()
    }

    /// The request of RFC 6455 section 1.3.
    fn sent<'a>() -> Offer<'a, TestLines<'a>> {
        Offer {
            upgrade: lines(&[b"websocket"]),
            allowed: None,
            key: lines(&[KEY]),
            subprotocols: lines(&[b"chat, superchat"]),
            extensions: lines(&[]),
        }
    }

    /// The answer of RFC 6455 section 1.3.
    fn good<'a>() -> Switch<TestLines<'a>> {
        Switch {
            upgrade: lines(&[b"websocket"]),
            connection: lines(&[b"Upgrade"]),
            accept: lines(&[ACCEPT]),
            subprotocol: lines(&[b"chat"]),
            extensions: lines(&[]),
        }
    }

    fn expected() -> Accept {
        ACCEPT.try_into().unwrap()
    }

    #[test]
    fn example_of_rfc_6455_section_1_3() {
        assert_eq!(good().verify(&sent()), Ok(()));
    }

    #[test]
    fn upgrade_names_what_was_sent() {
        let verify = |upgrade, sent_upgrade: &'static [u8]| {
            Switch { upgrade: lines(upgrade), ..good() }
                .verify(&Offer { upgrade: lines(&[sent_upgrade]), ..sent() })
        };
        let other = |name| Err(Fault::BadSwitch(BadSwitch::OtherProtocol(name)));
        let none = Err(Fault::BadSwitch(BadSwitch::NoUpgrade));

        assert_eq!(verify(&[b"WebSocket"], b"websocket"), Ok(()));
        assert_eq!(verify(&[b"websocket"], b"foo/2, WEBSOCKET"), Ok(()));
        let twice = Err(Fault::Repeated { header: "Upgrade" });
        assert_eq!(verify(&[b"websocket", b"websocket"], b"websocket"), twice);
        assert_eq!(verify(&[b"websocket, websocket"], b"websocket"), Ok(()));
        assert_eq!(verify(&[], b"websocket"), none);
        assert_eq!(verify(&[b" , "], b"websocket"), none);
        assert_eq!(verify(&[b"h2c"], b"websocket"), other(b"h2c"));
        assert_eq!(verify(&[b"websocket, h2c"], b"websocket"), other(b"h2c"));
        assert_eq!(verify(&[b"websocket"], b"foo"), other(b"websocket"));
        assert_eq!(verify(&[b"websocket"], b""), other(b"websocket"));
        assert_eq!(verify(&[b"websocket\0"], b"websocket"), other(b"websocket\0"));
    }

    #[test]
    fn upgrade_names_what_is_allowed() {
        let allowed = Protocols::default();
        let upgrade = lines(&[b"h2c", b"foo, WebSocket"]);
        let sent = Offer { upgrade, allowed: Some(&allowed), ..sent() };
        let verify = |upgrade| Switch { upgrade: lines(upgrade), ..good() }.verify(&sent);
        let other = |name| Err(Fault::BadSwitch(BadSwitch::OtherProtocol(name)));

        assert!(!sent.offers_nothing());
        assert_eq!(verify(&[b"websocket"]), Ok(()));
        assert_eq!(verify(&[b"websocket", b"h2c"]), other(b"h2c"));
        assert_eq!(verify(&[b"foo, websocket"]), other(b"foo"));
    }

    #[test]
    fn nothing_was_offered() {
        let allowed = Protocols::default();
        for upgrade in [&[][..], &[&b""[..]], &[b" , ", b""]] {
            assert!(Offer { upgrade: lines(upgrade), ..sent() }.offers_nothing());
        }
        assert!(!sent().offers_nothing());
        let upgrade = lines(&[b"h2c", b"foo"]);
        assert!(Offer { upgrade, allowed: Some(&allowed), ..sent() }.offers_nothing());
    }

    #[test]
    fn long_lists_are_not_multiplied() {
        let list = b"a,".repeat(32768);
        let many = [&list[..]];
        let answer = Switch { upgrade: lines(&many), extensions: lines(&many), ..good() };
        assert_eq!(
            answer.verify(&Offer { upgrade: lines(&many), ..sent() }),
            Err(Fault::BadSwitch(BadSwitch::OtherProtocol(b"a")))
        );
        let answer = Switch { upgrade: lines(&[b"websocket"]), ..answer };
        let offer = Offer { extensions: lines(&many), ..sent() };
        assert_eq!(answer.verify(&offer), Ok(()));

        // What stands behind the limit goes unchecked.
        let list = [&b"a,".repeat(MAX_CHOSEN)[..], b"b"].concat();
        let many = [&list[..]];
        let answer = Switch { extensions: lines(&many), ..good() };
        let offer = Offer { extensions: lines(&[b"a"]), ..sent() };
        assert_eq!(answer.verify(&offer), Ok(()));
    }

    #[test]
    fn connection_says_upgrade() {
        let verify =
            |connection| Switch { connection: lines(connection), ..good() }.verify(&sent());
        let bad = |line| Err(Fault::BadSwitch(BadSwitch::Connection(line)));

        assert_eq!(verify(&[b"keep-alive", b"upgrade"]), Ok(()));
        assert_eq!(verify(&[]), bad(None));
        assert_eq!(verify(&[b"keep-alive"]), bad(Some(b"keep-alive")));
    }

    #[test]
    fn accept_is_for_the_key() {
        let verify = |accept, key| {
            Switch { accept: lines(accept), ..good() }.verify(&Offer { key: lines(key), ..sent() })
        };
        let wrong =
            |received| Err(Fault::BadAccept(BadAccept::Wrong { received, expected: expected() }));

        assert_eq!(verify(&[b" s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\t"], &[KEY]), Ok(()));
        assert_eq!(verify(&[ACCEPT], &[b" dGhlIHNhbXBsZSBub25jZQ== "]), Ok(()));
        let twice = Err(Fault::Repeated { header: "Sec-WebSocket-Accept" });
        assert_eq!(verify(&[ACCEPT, ACCEPT], &[KEY]), twice);
        assert_eq!(verify(&[ACCEPT], &[b"other", KEY]), Ok(()));
        assert_eq!(
            verify(&[], &[KEY]),
            Err(Fault::BadAccept(BadAccept::Missing { expected: expected() }))
        );
        assert_eq!(verify(&[ACCEPT], &[]), Err(Fault::BadAccept(BadAccept::NoKey)));
        assert_eq!(verify(&[b""], &[KEY]), wrong(b""));
        assert_eq!(verify(&[KEY], &[KEY]), wrong(KEY));
        assert_eq!(
            verify(&[b"S3PPLMBITXAQ9KYGZZHZRBK+XOO="], &[KEY]),
            wrong(b"S3PPLMBITXAQ9KYGZZHZRBK+XOO=")
        );
        assert_eq!(verify(&[ACCEPT, b"x"], &[KEY]), wrong(b"x"));
        assert_eq!(verify(&[b"x", ACCEPT], &[KEY]), wrong(b"x"));
    }

    #[test]
    fn subprotocol_was_offered() {
        let verify =
            |subprotocol| Switch { subprotocol: lines(subprotocol), ..good() }.verify(&sent());
        let mismatch = |chosen| Err(Fault::SubprotocolMismatch { chosen });

        assert_eq!(verify(&[]), Ok(()));
        assert_eq!(verify(&[b"superchat "]), Ok(()));
        assert_eq!(verify(&[b""]), mismatch(b""));
        assert_eq!(verify(&[b"mqtt"]), mismatch(b"mqtt"));
        assert_eq!(verify(&[b"Chat"]), mismatch(b"Chat"));
        assert_eq!(verify(&[b"chat, superchat"]), mismatch(b"chat, superchat"));
        assert_eq!(verify(&[b"chat", b"superchat"]), mismatch(b"superchat"));
        let answer = good();
        let none_offered = Offer { subprotocols: lines(&[]), ..sent() };
        assert_eq!(answer.verify(&none_offered), mismatch(b"chat"));
    }

    #[test]
    fn extensions_were_offered() {
        let verify = |extensions, offered| {
            Switch { extensions: lines(extensions), ..good() }
                .verify(&Offer { extensions: lines(offered), ..sent() })
        };
        let mismatch = |chosen| Err(Fault::ExtensionMismatch { chosen });

        // RFC 6455 section 9.1: these two offers mean the same.
        let two_lines = [&b"foo"[..], b"bar; baz=2"];
        for offered in [&two_lines[..], &[b"foo, bar; baz=2"]] {
            assert_eq!(verify(&[], offered), Ok(()));
            assert_eq!(verify(&[b"foo", b"bar;baz=\"2\""], offered), Ok(()));
            assert_eq!(verify(&[b"bar ; baz=2, foo"], offered), Ok(()));
            assert_eq!(verify(&[b"foo, baz"], offered), mismatch(b"baz"));
            assert_eq!(verify(&[b"Foo"], offered), mismatch(b"Foo"));
        }
        // RFC 7692 section 7.1.3.
        assert_eq!(
            verify(
                &[b"permessage-deflate"],
                &[b"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits"]
            ),
            Ok(())
        );
        assert_eq!(
            verify(&[b"permessage-deflate; server_no_context_takeover"], &[]),
            mismatch(b"permessage-deflate")
        );
        assert_eq!(verify(&[b";"], &[b"foo"]), mismatch(b""));
        assert_eq!(verify(&[b", ,"], &[]), Ok(()));
    }

    #[test]
    fn other_protocols_prove_nothing() {
        let answer = Switch { upgrade: lines(&[b"foo/2"]), accept: lines(&[]), ..good() };
        let upgrade = lines(&[b"websocket", b"foo/2"]);
        let sent = Offer { upgrade, subprotocols: lines(&[]), ..sent() };
        assert_eq!(answer.verify(&sent), Ok(()));
    }

    #[test]
    fn what_the_client_gets() {
        let extensions = lines(&[b"x"]);
        let backends = Switch { extensions, ..good() };
        let asked = Offer { extensions: lines(&[b"x"]), ..sent() };
        let key = asked.key.clone();
        let verify = |answer: Switch<TestLines<'static>>| {
            answer.verify_delivered(&backends, &asked, key.clone())
        };
        // nginx writes Connection itself.
        let good = || Switch { connection: lines(&[]), ..backends.clone() };
        assert_eq!(verify(good()), Ok(()));
        let hidden = |header| Err(Fault::Hidden { header });
        let none = || lines(&[]);
        assert_eq!(verify(Switch { upgrade: none(), ..good() }), hidden("Upgrade"));
        assert_eq!(verify(Switch { accept: none(), ..good() }), hidden("Sec-WebSocket-Accept"));
        let hidden_protocol = Switch { subprotocol: none(), ..good() };
        assert_eq!(verify(hidden_protocol.clone()), hidden("Sec-WebSocket-Protocol"));
        // None was chosen.
        assert_eq!(hidden_protocol.verify_delivered(&hidden_protocol, &asked, key.clone()), Ok(()));
        assert_eq!(
            verify(Switch { extensions: none(), ..good() }),
            hidden("Sec-WebSocket-Extensions")
        );
        let other = Err(Fault::BadSwitch(BadSwitch::OtherProtocol(b"h2c")));
        assert_eq!(verify(Switch { upgrade: lines(&[b"websocket", b"h2c"]), ..good() }), other);
        let twice = |header| Err(Fault::Repeated { header });
        assert_eq!(
            verify(Switch { accept: lines(&[ACCEPT, ACCEPT]), ..good() }),
            twice("Sec-WebSocket-Accept")
        );
        let upgrade = lines(&[b"websocket", b"websocket"]);
        assert_eq!(verify(Switch { upgrade, ..good() }), twice("Upgrade"));
        let mismatch = Err(Fault::SubprotocolMismatch { chosen: b"mqtt" });
        assert_eq!(verify(Switch { subprotocol: lines(&[b"mqtt"]), ..good() }), mismatch);
        let mismatch = Err(Fault::ExtensionMismatch { chosen: b"y" });
        assert_eq!(verify(Switch { extensions: lines(&[b"x, y"]), ..good() }), mismatch);
        let wrong = BadAccept::Wrong { received: b"z", expected: expected() };
        let added = Switch { accept: lines(&[ACCEPT, b"z"]), ..good() };
        assert_eq!(verify(added), Err(Fault::BadAccept(wrong)));
        // A handshake without a key, or with two, that is forwarded all the same.
        for key in [&[][..], &[&b"other"[..], b"another"]] {
            let asked = Offer { key: lines(key), ..asked.clone() };
            assert_eq!(good().verify_delivered(&backends, &asked, lines(key)), Ok(()));
        }
        // The backend was sent another key than the client's, or another one as well: its answer may be to that one.
        let to_others = || Switch { accept: lines(&[b"z"]), ..good() };
        let backends = to_others();
        let wrong = Err(Fault::BadAccept(wrong));
        for sent in [&[][..], &[&b"other"[..]], &[KEY, b"other"], &[b"other", KEY]] {
            assert_eq!(to_others().verify_delivered(&backends, &asked, lines(sent)), wrong);
        }
        // It was sent the client's, and is known to have answered it.
        assert_eq!(to_others().verify_delivered(&backends, &asked, lines(&[KEY])), Ok(()));
    }

    #[test]
    fn only_what_endangers_somebody_is_fatal() {
        assert!(Fault::BadSwitch(BadSwitch::NoUpgrade).is_fatal());
        assert!(Fault::BadAccept(BadAccept::NoKey).is_fatal());
        assert!(!Fault::Repeated { header: "Upgrade" }.is_fatal());
        assert!(!Fault::SubprotocolMismatch { chosen: b"" }.is_fatal());
        assert!(!Fault::ExtensionMismatch { chosen: b"" }.is_fatal());
    }

    proptest! {
        #[test]
        fn only_the_right_accept_passes(
            key in prop::collection::vec(any::<u8>(), 0..40),
            position in 0..28_usize,
            bit in 0..8_u32,
        ) {
            let mut value = accept(trim(&key));
            let key = [&key[..]];
            let verify = |value: &Accept| {
                let value = [&value[..]];
                Switch { accept: lines(&value), ..good() }
                    .verify(&Offer { key: lines(&key), ..sent() })
                    .is_ok()
            };
            prop_assert!(verify(&value));
            value[position] ^= 1 << bit;
            prop_assert!(!verify(&value));
        }

        #[test]
        fn extensions_as_by_sets(
            chosen in prop::collection::vec("[a-d]", 0..4),
            offered in prop::collection::vec("[a-d]", 0..4),
        ) {
            let chosen_line = chosen.join("; x=1,");
            let offered_line = offered.join(" ,");
            let chosen_lines = [chosen_line.as_bytes()];
            let offered_lines = [offered_line.as_bytes()];
            let verified = Switch { extensions: lines(&chosen_lines), ..good() }
                .verify(&Offer { extensions: lines(&offered_lines), ..sent() });
            let expected = chosen.iter().find(|name| !offered.contains(name));
            prop_assert_eq!(
                verified,
                match expected {
                    Some(name) => Err(Fault::ExtensionMismatch { chosen: name.as_bytes() }),
                    None => Ok(()),
                }
            );
        }
    }
}
