//! No origin passes that is not listed, whatever the words and the headers are.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use websocket_guard_core::handshake::origin::{OriginPolicy, Own};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    words: Vec<&'a [u8]>,
    origin: Vec<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    host: &'a [u8],
    subdomain: &'a [u8],
}

fuzz_target!(|input: Input| {
    let own = Own { scheme: input.scheme, host: input.host };
    match OriginPolicy::new(input.words.iter().copied()) {
        Ok(policy) => {
            let allowed = policy.check(input.origin.iter().copied(), &own).is_ok();
            if input.origin.len() > 1 && !policy.is_any() {
                assert!(!allowed);
            }
        }
        Err(error) => assert!(error.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte))),
    }

    // Whatever stands in front of the listed name, the host must end with it, and the rest of the
    // value must not move it out of the place of the host.
    let below = OriginPolicy::new([&b"https://*.example.com"[..]]).expect("a valid word");
    let origin = [b"https://", input.subdomain, b"example.com"].concat();
    if below.check([&origin[..]].into_iter(), &own).is_ok() {
        let (dot, labels) = input.subdomain.split_last().expect("a subdomain");
        assert_eq!(*dot, b'.');
        assert!(!labels.is_empty());
        assert!(!labels.iter().any(|byte| b"/?#@:[]\\ \t\0".contains(byte)));
    }

    let same = OriginPolicy::new([&b"same"[..]]).expect("a valid word");
    if same.check(input.origin.iter().copied(), &own).is_ok() {
        let origin = input.origin.first().expect("an origin");
        assert_eq!(input.origin.len(), 1);
        assert!(origin.windows(3).any(|part| part == b"://"));
    }
});
