//! Sets of findings.

use super::table::Finding;

/// A set of findings, as `websocket_guard_ignore` collects them. All zeroes is the empty set.
// Words of 64 bits, not a u128: nginx's pools align to 8 bytes only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct FindingSet([u64; 2]);

const _: () = assert!(Finding::ALL.len() <= 128);

impl FindingSet {
    /// Adds a finding.
    pub fn insert(&mut self, finding: impl Into<Finding>) {
        let FindingSet([low, high]) = self;
        let index = finding.into() as u32;
        if index < 64 {
            *low |= 1 << index;
        } else {
            *high |= 1 << (index - 64);
        }
    }

    /// Whether the finding was added.
    pub fn contains(&self, finding: impl Into<Finding>) -> bool {
        let FindingSet([low, high]) = *self;
        let index = finding.into() as u32;
        if index < 64 {
            low >> index & 1 == 1
        } else {
            high >> (index - 64) & 1 == 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
