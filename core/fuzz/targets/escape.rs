//! Whatever is logged stays short, printable and within its quotes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use websocket_guard_core::text::escape::Escaped;

fuzz_target!(|bytes: &[u8]| {
    let printed = Escaped(bytes).to_string();
    assert!(printed.len() <= Escaped::MAX);
    assert!(printed.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'));
    if bytes.len() > Escaped::MAX {
        assert!(printed.ends_with("..."));
    }

    // A backslash only ever begins an escape.
    for after in printed.split('\\').skip(1) {
        let hex = after.strip_prefix('x').and_then(|digits| digits.get(..2));
        assert!(hex.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())));
    }
});
