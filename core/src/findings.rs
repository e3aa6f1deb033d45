//! Everything the guard can report, by name: one table, one row for each finding.
//!
//! The log texts, `docs/findings.md`, `websocket_guard_ignore` and the tests all read this table. To
//! add a finding, add a row to `findings/table.rs`; its rule goes to the audit (load time) or to
//! [`crate::diagnosis`] (run time and tunnel ends).

mod page;
mod table;

pub use page::page;
pub use table::Finding;

/// When a finding is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By the audit, at `nginx -t`, start and reload.
    Load,
    /// When an upgrade attempt did not end in a tunnel.
    Run,
    /// When a tunnel was cut.
    TunnelEnd,
}

/// The log level of a report; nginx's levels of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// WebSocket cannot work, or a tunnel was lost.
    Error,
    /// It works, but will hurt.
    Warn,
    /// Worth knowing, and normally logged.
    Notice,
    /// Worth knowing, normally not logged.
    Info,
    /// The level that `websocket_guard_log` sets.
    Configured,
}

/// One row of the catalogue. All texts are lower-case sentences without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name: what stands in brackets at the end of a line.
    pub slug: &'static str,
    /// When it is reported, and at which level then.
    pub reports: &'static [(Kind, Level)],
    /// What is wrong, in one short sentence.
    pub title: &'static str,
    /// Why that breaks or hurts a WebSocket.
    pub cause: &'static str,
    /// What to do about it: the clause that ends a log line.
    pub fix: &'static str,
    /// How a user meets it: in the browser, in wscat, in the logs.
    pub symptom: &'static str,
    /// Load time: a configuration before and after. Else the line in the log.
    pub example: &'static str,
}

impl Finding {
    /// The finding of that name, as the argument of `websocket_guard_ignore` spells it.
    pub fn from_slug(slug: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|finding| finding.slug().as_bytes() == slug)
    }

    /// The finding whose name is closest to a misspelt one, if any is close enough to be meant.
    pub fn nearest(name: &[u8]) -> Option<Self> {
        let longest = Self::ALL.iter().map(|f| f.slug().len()).max().unwrap_or(0);
        if name.len() > 2 * longest {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        Self::ALL
            .iter()
            .map(|finding| (edit_distance(&lower, finding.slug().as_bytes()), *finding))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, finding)| 3 * distance <= finding.slug().len().max(lower.len()))
            .map(|(_, finding)| finding)
    }

    /// Its name.
    pub fn slug(self) -> &'static str {
        self.entry().slug
    }

    /// The level of this finding as a report of that kind; `None` if it never is one.
    pub fn level(self, kind: Kind) -> Option<Level> {
        self.entry().reports.iter().find(|(k, _)| *k == kind).map(|(_, level)| *level)
    }
}

/// A set of findings, as `websocket_guard_ignore` collects them. All zeroes is the empty set.
// Words of 64 bits, not a u128: nginx's pools align to 8 bytes only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct FindingSet([u64; 2]);

const _: () = assert!(Finding::ALL.len() <= 128);

impl FindingSet {
    /// Adds a finding.
    pub fn insert(&mut self, finding: Finding) {
        let FindingSet([low, high]) = self;
        let index = finding as u32;
        if index < 64 {
            *low |= 1 << index;
        } else {
            *high |= 1 << (index - 64);
        }
    }

    /// Whether the finding was added.
    pub fn contains(&self, finding: Finding) -> bool {
        let FindingSet([low, high]) = *self;
        let index = finding as u32;
        if index < 64 {
            low >> index & 1 == 1
        } else {
            high >> (index - 64) & 1 == 1
        }
    }
}

/// Levenshtein distance.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = substituted.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_plain_words_found_by_name() {
        for finding in Finding::ALL {
            let slug = finding.slug();
            assert!(
                slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{slug}"
            );
            assert_eq!(Finding::from_slug(slug.as_bytes()), Some(finding), "{slug}");
        }
        assert_eq!(Finding::from_slug(b"missing-"), None);
        assert_eq!(Finding::from_slug(b"Missing-Upgrade"), None);
    }

    #[test]
    fn every_row_is_complete() {
        for finding in Finding::ALL {
            let entry = finding.entry();
            assert!(!entry.reports.is_empty(), "{}", entry.slug);
            for text in [entry.title, entry.cause, entry.fix, entry.symptom] {
                assert!(text.len() > 10, "{}: {text}", entry.slug);
                assert!(!text.ends_with('.'), "{}: {text}", entry.slug);
                assert!(!text.contains('\n'), "{}: {text}", entry.slug);
            }
            assert!(!entry.example.is_empty(), "{}", entry.slug);
            assert!(entry.title.len() <= 100, "{}", entry.title);
            // it ends a log line of at most 2048 bytes that also carries values
            assert!(entry.fix.len() <= 200, "{}", entry.fix);
        }
    }

    #[test]
    fn configured_level_is_for_run_time_only() {
        for finding in Finding::ALL {
            assert_ne!(finding.level(Kind::Load), Some(Level::Configured));
            assert_ne!(finding.level(Kind::TunnelEnd), Some(Level::Configured));
        }
        assert_eq!(Finding::MissingUpgrade.level(Kind::Load), Some(Level::Error));
        assert_eq!(Finding::MissingUpgrade.level(Kind::Run), None);
        assert_eq!(Finding::NotWebsocket.level(Kind::Run), Some(Level::Info));
        assert_eq!(Finding::SubrequestUpgrade.level(Kind::Load), Some(Level::Warn));
        assert_eq!(Finding::SubrequestUpgrade.level(Kind::Run), Some(Level::Configured));
    }

    #[test]
    fn nearest_name() {
        let nearest = |name: &str| Finding::nearest(name.as_bytes()).map(Finding::slug);
        assert_eq!(nearest("missing-upgrad"), Some("missing-upgrade"));
        assert_eq!(nearest("lb_no_affinity"), Some("lb-no-affinity"));
        assert_eq!(nearest("Missing-Upgrade"), Some("missing-upgrade"));
        assert_eq!(nearest("backend-org1n"), Some("backend-origin"));
        assert_eq!(nearest("tunnel-idel"), Some("tunnel-idle"));
        assert_eq!(nearest("something-else-entirely"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(Finding::nearest(&[b'x'; 100_000]), None);
    }

    #[test]
    fn edit_distances() {
        assert_eq!(edit_distance(b"", b""), 0);
        assert_eq!(edit_distance(b"", b"abc"), 3);
        assert_eq!(edit_distance(b"abc", b""), 3);
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
        assert_eq!(edit_distance(b"flaw", b"lawn"), 2);
    }

    #[test]
    fn sets() {
        for finding in Finding::ALL {
            let mut set = FindingSet::default();
            set.insert(finding);
            for other in Finding::ALL {
                assert_eq!(set.contains(other), other == finding);
            }
        }
    }
}
