//! Regular expressions, where the regex crate takes them for the same as PCRE does.

use regex::bytes::{Regex, RegexBuilder};

/// A case-sensitive regular expression, if the regex crate takes it for the same as PCRE.
pub fn plain_regex(pattern: &[u8]) -> Option<Regex> {
    compile(pattern, false)
}

/// The same, of either kind.
pub(super) fn compile(pattern: &[u8], caseless: bool) -> Option<Regex> {
    let pattern = std::str::from_utf8(pattern).ok().filter(|pattern| is_common(pattern))?;
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(caseless)
        .size_limit(1 << 18)
        .build()
        .ok()
}

/// Whether there is nothing in a pattern that means one thing to the regex crate and another to
/// PCRE. What the crate does not know it refuses by itself.
fn is_common(pattern: &str) -> bool {
    let mut rest = pattern.as_bytes();
    let mut repeated = false;
    loop {
        let was_repeated = std::mem::replace(&mut repeated, false);
        rest = match rest {
            [] => return true,
            [b'\\', b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'b' | b'B', rest @ ..]
            | [b'\\', b'A' | b'z' | b't' | b'n' | b'r', rest @ ..] => rest,
            // To the crate `\<` and `\>` are the ends of a word.
            [b'\\', b'<' | b'>', ..] => return false,
            [b'\\', byte, rest @ ..] if byte.is_ascii_punctuation() => rest,
            [b'\\', ..] => return false,
            [b'[', rest @ ..] => match after_class(rest) {
                Some(rest) => rest,
                None => return false,
            },
            // `a*+` is possessive in PCRE.
            [b'+', ..] if was_repeated => return false,
            [b'*' | b'+' | b'?' | b'}', rest @ ..] => {
                repeated = true;
                rest
            }
            [b'(', b'?', b':', rest @ ..] | [b'(', b'?', b'i', b':' | b')', rest @ ..] => rest,
            [b'(', b'?', ..] => return false,
            [byte, rest @ ..] if byte.is_ascii() => rest,
            _ => return false,
        };
    }
}

/// What stands behind a plain character class whose `[` was read. To the crate there are sets in
/// sets.
fn after_class(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"^").unwrap_or(text);
    let end = text.iter().position(|&byte| byte == b']').filter(|&end| end > 0)?;
    let (class, rest) = text.split_at_checked(end)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" ,-./:=_".contains(byte);
    let plain = class.iter().all(plain) && !class.windows(2).any(|pair| pair == b"--");
    plain.then_some(rest.get(1..)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_the_two_libraries_read_differently_are_refused() {
        for pattern in [
            "",
            "^websocket$",
            "a|b",
            "(a)?b*c+",
            "a.*?b",
            "[a-z0-9_.-]+",
            "[^a]",
            "\\d\\/\\.",
            "a{2,3}",
            "(?:a)(?i)b",
            "\\bwebsocket\\b",
        ] {
            assert!(compile(pattern.as_bytes(), false).is_some(), "{pattern}");
        }
        for pattern in [
            "a*+", "a{2}+", "a?+", "[[a]]", "[a&&b]", "[a--b]", "[]a]", "[^]a]", "[\\d]", "\\<a",
            "\\Qa", "(?=a)", "(?x) a", "(?<n>a)", "(?R)", "\u{e4}", "(", "\\1", "\\", "[a",
            "(*UTF8)a",
        ] {
            assert!(compile(pattern.as_bytes(), false).is_none(), "{pattern}");
        }
    }
}
