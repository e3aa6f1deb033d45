//! Times in a sentence.

use std::fmt;

/// Milliseconds as people say them: `350ms`, `60s`, `1h 5m`.
///
/// What is written in a configuration is shown as it is, `1500ms`; see [`about`](Self::about) for what was
/// measured.
#[derive(Clone, Copy, Debug)]
pub struct Duration(pub u64);

impl Duration {
    /// In whole seconds, from one second on.
    pub fn about(milliseconds: u64) -> Self {
        match milliseconds {
            0..1000 => Self(milliseconds),
            _ => Self(
                (milliseconds / 1000 + u64::from(milliseconds % 1000 >= 500)).saturating_mul(1000),
            ),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];

        let Self(milliseconds) = *self;
        if milliseconds % 1000 != 0 || milliseconds == 0 {
            return write!(f, "{milliseconds}ms");
        }
        let seconds = milliseconds / 1000;
        if seconds < 120 {
            return write!(f, "{seconds}s");
        }
        // The largest unit and the one below it.
        let largest = UNITS.iter().skip_while(|(unit, _)| seconds < *unit).take(2);
        let mut rest = seconds;
        let mut separator = "";
        for (unit, name) in largest {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(f, "{separator}{count}{name}")?;
            }
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured() {
        for (milliseconds, text) in [
            (0, "0ms"),
            (350, "350ms"),
            (1000, "1s"),
            (1499, "1s"),
            (59_999, "60s"),
            (60_000, "60s"),
            (119_000, "119s"),
            (120_000, "2m"),
            (150_000, "2m 30s"),
            (3_600_000, "1h"),
            (3_600_400, "1h"),
            (3_605_000, "1h"),
            (3_900_000, "1h 5m"),
            (86_400_000, "1d"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(Duration::about(milliseconds).to_string(), text);
        }
        assert!(Duration::about(u64::MAX).to_string().len() < 25);
    }

    #[test]
    fn configured() {
        assert_eq!(Duration(60_000).to_string(), "60s");
        assert_eq!(Duration(1500).to_string(), "1500ms");
        assert_eq!(Duration(3_600_000).to_string(), "1h");
        assert!(Duration(u64::MAX).to_string().len() < 25);
    }
}
