//! Values in a sentence.

use std::fmt::{self, Write};

/// Prints what stands in a configuration between quotes. Unlike what a peer sends
/// ([`Escaped`](crate::text::escape::Escaped)) it is shown as it was written, so that it can be searched for;
/// only what would break the line is replaced, and what is too long is cut.
#[derive(Clone, Copy)]
pub struct Quoted<'a>(pub &'a [u8]);

impl Quoted<'_> {
    /// The longest output, in bytes.
    pub const MAX: usize = 120;

    const CUT: &'static str = "...";
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = Self::MAX - Self::CUT.len();
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                let shown = if character.is_control() { '?' } else { character };
                if shown.len_utf8() > room {
                    return f.write_str(Self::CUT);
                }
                room -= shown.len_utf8();
                f.write_char(shown)?;
            }
            if !chunk.invalid().is_empty() {
                if room == 0 {
                    return f.write_str(Self::CUT);
                }
                room -= 1;
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// Names in a row: `A`, `A and B`, `A, B and C`.
pub struct Listed<'l, T>(pub &'l [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        for (i, item) in self.0.iter().enumerate() {
            match i {
                0 => {}
                i if i == last => f.write_str(" and ")?,
                _ => f.write_str(", ")?,
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stays_readable() {
        assert_eq!(Quoted(br"\.php$").to_string(), r"\.php$");
        assert_eq!(Quoted("/caf\u{e9}".as_bytes()).to_string(), "/caf\u{e9}");
        assert_eq!(Quoted(b"a\nb\xffc\x1b").to_string(), "a?b?c?");
        assert_eq!(Quoted(&[b'a'; 500]).to_string(), "a".repeat(117) + "...");
        assert!(Quoted("\u{20ac}".repeat(99).as_bytes()).to_string().len() <= Quoted::MAX);
        assert!(Quoted(&[0xff; 500]).to_string().len() <= Quoted::MAX);
    }

    #[test]
    fn lists() {
        assert_eq!(Listed::<&str>(&[]).to_string(), "");
        assert_eq!(Listed(&["A"]).to_string(), "A");
        assert_eq!(Listed(&["A", "B", "C"]).to_string(), "A, B and C");
    }
}
