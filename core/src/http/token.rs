//! Tokens and comma-separated lists (RFC 9110 sections 5.6.1 and 5.6.2).

/// The values of one header, line by line, in the order received.
///
/// Implemented by every cloneable iterator over byte strings: the checks may walk the lines more
/// than once.
pub trait Lines<'a>: Iterator<Item = &'a [u8]> + Clone {}

impl<'a, T: Iterator<Item = &'a [u8]> + Clone> Lines<'a> for T {}

/// The elements of a list header that may stand in several lines, without the white space around
/// them and without the empty ones that RFC 9110 section 5.6.1.2 tells a recipient to ignore.
///
/// The elements are whatever stands between the commas; a caller compares them with a token, or
/// asks [`is_token`].
pub fn elements<'a>(lines: impl Lines<'a>) -> impl Lines<'a> {
    Elements { lines, rest: None }
}

#[derive(Clone)]
struct Elements<'a, L> {
    lines: L,
    /// What follows the last comma that was seen.
    rest: Option<&'a [u8]>,
}

impl<'a, L: Lines<'a>> Iterator for Elements<'a, L> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = match self.rest.take() {
                Some(rest) => rest,
                None => self.lines.next()?,
            };
            let mut parts = line.splitn(2, |&byte| byte == b',');
            let element = parts.next().map(trim).unwrap_or_default();
            self.rest = parts.next();
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Whether the list in `lines` has the element `token`, in any case.
pub fn contains_token<'a>(mut lines: impl Lines<'a>, token: &[u8]) -> bool {
    // Most lists have one element.
    lines.any(|line| same(line, token) || elements([line].into_iter()).any(|it| same(it, token)))
}

/// Whether two tokens are the same but for the case of letters.
#[inline]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    // Most are in the usual spelling.
    a == b || a.eq_ignore_ascii_case(b)
}

/// The only line of a header that must not be a list.
///
/// `Err` holds the second line of a header that was repeated.
pub fn only_line<'a>(mut lines: impl Lines<'a>) -> Result<Option<&'a [u8]>, &'a [u8]> {
    let first = lines.next();
    match lines.next() {
        None => Ok(first.map(trim)),
        Some(second) => Err(trim(second)),
    }
}

/// Whether `bytes` is a token: at least one character, none of them a delimiter.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_char(byte))
}

/// `bytes` without the optional white space (OWS) at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    while let [before @ .., b' ' | b'\t'] = rest {
        rest = before;
    }
    rest
}

pub(crate) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list<'a>(lines: &[&'a [u8]]) -> Vec<&'a [u8]> {
        elements(lines.iter().copied()).collect()
    }

    #[test]
    fn lists_of_rfc_9110() {
        // Section 5.6.1.2: the valid values of 1#example-list-elmt.
        assert_eq!(list(&[b"foo,bar"]), [b"foo", b"bar"]);
        assert_eq!(list(&[b"foo ,bar,"]), [b"foo", b"bar"]);
        assert_eq!(list(&[b"foo , ,bar,charlie"]), [&b"foo"[..], b"bar", b"charlie"]);

        // And the ones without an element.
        for empty in [&b""[..], b",", b",   ,", b" \t"] {
            assert!(list(&[empty]).is_empty());
        }
        assert!(list(&[]).is_empty());
    }

    #[test]
    fn lines_are_one_list() {
        assert_eq!(list(&[b"a,", b"", b"\tb , c"]), [b"a", b"b", b"c"]);
    }

    #[test]
    fn a_token_is_found_in_any_case_and_only_whole() {
        let has = |line: &[u8]| contains_token([line].into_iter(), b"upgrade");
        assert!(has(b"Upgrade"));
        assert!(has(b"keep-alive, UPGRADE"));
        assert!(has(b"keep-alive\t,\tupgrade\t"));
        assert!(!has(b"upgraded"));
        assert!(!has(b"keep-alive upgrade"));
        assert!(!has(b"\"upgrade\""));
        assert!(!has(b"upgrade\0"));
        assert!(!has(b"upgrade;q=1"));
        assert!(!has(b"\xd5pgrade"));
    }

    #[test]
    fn a_repeated_header_is_no_single_value() {
        assert_eq!(only_line([].into_iter()), Ok(None));
        assert_eq!(only_line([&b" a\t"[..]].into_iter()), Ok(Some(&b"a"[..])));
        assert_eq!(only_line([&b"a"[..], b" b "].into_iter()), Err(&b"b"[..]));
    }

    #[test]
    fn token_characters() {
        let delimiters = b"\"(),/:;<=>?@[\\]{}";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_graphic() && !delimiters.contains(&byte);
            assert_eq!(is_token(&[byte]), expected, "{byte:#04x}");
        }
        assert!(!is_token(b""));
    }

    proptest! {
        #[test]
        fn elements_as_by_a_naive_parser(
            lines in prop::collection::vec("[a, \t\u{e9}]{0,12}", 0..4),
        ) {
            let joined = lines.join(",");
            let expected: Vec<&[u8]> = joined
                .split(',')
                .map(|element| element.trim_matches([' ', '\t']).as_bytes())
                .filter(|element| !element.is_empty())
                .collect();
            let found: Vec<&[u8]> = elements(lines.iter().map(|line| line.as_bytes())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
