//! Numbers of things.

use std::fmt;

/// Prints `1 worker`, `2 workers`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(number, thing) = self;
        write!(f, "{number} {thing}{}", if *number == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn one_is_none_too_many() {
        let shown = [0, 1, 2].map(|number| Count(number, "worker").to_string());
        assert_eq!(shown, ["0 workers", "1 worker", "2 workers"]);
    }
}
