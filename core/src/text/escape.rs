//! Untrusted bytes in a log line.

use std::fmt;

/// Prints what a peer sent so that it can neither break nor forge a log line.
///
/// Quotes, backslashes, control characters and everything outside of ASCII become `\xHH`, as in
/// nginx's access log. At most [`Escaped::MAX`] bytes are written; `...` at the end stands for
/// what was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    /// The longest output, in bytes. nginx cuts a log line at 2048; several values must fit.
    pub const MAX: usize = 200;

    const CUT: &'static str = "...";

    /// How many leading bytes of the value fit into `room` bytes of output.
    fn fitting(&self, room: usize) -> usize {
        self.0
            .iter()
            .scan(0, |used, &byte| {
                *used += width(byte);
                Some(*used)
            })
            .take_while(|&used| used <= room)
            .count()
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fitting(Self::MAX) == self.0.len() {
            return write_escaped(f, self.0);
        }
        let shown = self.fitting(Self::MAX - Self::CUT.len());
        write_escaped(f, self.0.get(..shown).unwrap_or_default())?;
        f.write_str(Self::CUT)
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    use fmt::Write;

    for &byte in bytes {
        if is_plain(byte) {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "\\x{byte:02X}")?;
        }
    }
    Ok(())
}

fn width(byte: u8) -> usize {
    if is_plain(byte) {
        1
    } else {
        4
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        Escaped(bytes).to_string()
    }

    #[test]
    fn plain_text_stays() {
        assert_eq!(escaped(b""), "");
        assert_eq!(escaped(b"https://a.example:81 ~"), "https://a.example:81 ~");
    }

    #[test]
    fn nothing_breaks_the_line() {
        assert_eq!(escaped(b"a\r\n\"\\\0\x7f"), "a\\x0D\\x0A\\x22\\x5C\\x00\\x7F");
        assert_eq!(escaped("\u{e9}".as_bytes()), "\\xC3\\xA9");
        assert_eq!(escaped(b"\x1b[31m"), "\\x1B[31m");
    }

    #[test]
    fn long_values_are_cut_visibly() {
        assert_eq!(escaped(&[b'a'; 200]), "a".repeat(200));
        assert_eq!(escaped(&[b'a'; 201]), "a".repeat(197) + "...");
        assert_eq!(escaped(&[0; 50]), "\\x00".repeat(50));
        // Never within an escape: 49 of them are 196 bytes.
        assert_eq!(escaped(&[0; 51]), "\\x00".repeat(49) + "...");
        assert_eq!(escaped(&[b'a'; 65536]).len(), 200);
    }

    proptest! {
        #[test]
        fn output_is_short_safe_and_reversible(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let output = escaped(&bytes);
            prop_assert!(output.len() <= Escaped::MAX);
            prop_assert!(output.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'));

            let mut rest = output.as_bytes();
            let mut decoded = Vec::new();
            while let [first, after @ ..] = rest {
                rest = after;
                if *first != b'\\' {
                    decoded.push(*first);
                    continue;
                }
                let (hex, after) = after[1..].split_at(2);
                decoded.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
                rest = after;
            }
            if decoded != bytes {
                prop_assert!(decoded.ends_with(b"..."));
                prop_assert!(bytes.starts_with(&decoded[..decoded.len() - 3]));
                prop_assert!(output.len() > Escaped::MAX - 4);
            }
        }
    }
}
