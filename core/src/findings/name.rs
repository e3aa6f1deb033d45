//! Findings by name.

use super::table::Finding;

impl Finding {
    /// Its name.
    pub fn slug(self) -> &'static str {
        self.entry().slug
    }

    /// The finding of that name, as the argument of `websocket_guard_ignore` spells it.
    pub fn from_slug(slug: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|finding| finding.slug().as_bytes() == slug)
    }

    /// The finding whose name is closest to a misspelt one, if any is close enough to be meant.
    pub fn nearest(name: &[u8]) -> Option<Self> {
        let longest = Self::ALL.iter().map(|finding| finding.slug().len()).max().unwrap_or(0);
        if name.len() > 2 * longest {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .map(|finding| (strsim::levenshtein(&name, finding.slug()), finding))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, finding)| 3 * distance <= finding.slug().len().max(name.len()))
            .map(|(_, finding)| finding)
    }
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
}
