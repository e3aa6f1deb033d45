//! Keeps a log from being flooded: counts what is written in a window of time, and what is not.
//!
//! Each key has [`LINES`] lines in a window, and a sum of what comes after. Nobody gets more by having many
//! keys: beyond the first line of each, there are [`MORE_LINES`] for all of them together, and when the places
//! of the table are taken, all other keys are one. So a window has at most
//! `(PLACES + 1) * 2 + MORE_LINES` lines, sums included, and each event is in exactly one line or one sum.
//!
//! The table is as large as it will ever be, and an event looks at [`TRIES`] of its places at most.

/// How many lines of one key are written in a window.
pub const LINES: u32 = 10;

/// How many lines of all keys are written in a window, the first of each not counted.
pub const MORE_LINES: u32 = 500;

/// How many keys have a count of their own.
pub const PLACES: usize = 512;

/// In how many places a key can be.
const TRIES: usize = 64;

/// What was counted in a window; `S` is what a sum is about.
#[derive(Debug)]
pub struct Flood<S> {
    places: [Option<Count<S>>; PLACES],
    /// All keys that have no place.
    others: Option<Count<S>>,
    more_lines: u32,
}

/// The events of one key.
#[derive(Clone, Copy, Debug)]
struct Count<S> {
    key: u64,
    rank: u32,
    subject: S,
    written: u32,
    suppressed: u32,
}

/// What was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum<S> {
    /// How many events.
    pub events: u32,
    /// What they are about.
    pub subject: S,
    /// Whether they are of several keys, and the subject is only one of those with the lowest rank.
    pub of_others: bool,
}

impl<S: Copy> Flood<S> {
    /// A window in which nothing has happened yet.
    pub const fn new() -> Self {
        Self { places: [None; PLACES], others: None, more_lines: 0 }
    }

    /// Counts an event. True if it may be written.
    ///
    /// Of the events that share a sum, that with the lowest rank is its subject.
    pub fn admit(&mut self, key: u64, rank: u32, subject: S) -> bool {
        let new = Count { key, rank, subject, written: 0, suppressed: 0 };
        let count = match find(&mut self.places, key) {
            Some(place) => place.get_or_insert(new),
            None => {
                let others = self.others.get_or_insert(new);
                if rank < others.rank {
                    (others.rank, others.subject) = (rank, subject);
                }
                others
            }
        };
        let first = count.written == 0;
        let admitted = count.written < LINES && (first || self.more_lines < MORE_LINES);
        if admitted {
            count.written += 1;
            self.more_lines += u32::from(!first);
        } else {
            count.suppressed = count.suppressed.saturating_add(1);
        }
        admitted
    }

    /// Ends the window: tells each sum, and forgets everything.
    pub fn end(&mut self, mut tell: impl FnMut(Sum<S>)) {
        self.more_lines = 0;
        let keys = self.places.iter_mut().map(|place| (place, false));
        for (place, of_others) in keys.chain([(&mut self.others, true)]) {
            let Some(Count { suppressed: events @ 1.., subject, .. }) = place.take() else {
                continue;
            };
            tell(Sum { events, subject, of_others });
        }
    }
}

/// The place that the key has, or can have.
fn find<S>(places: &mut [Option<Count<S>>], key: u64) -> Option<&mut Option<Count<S>>> {
    // Fibonacci hashing: the high bits depend on all bits of the key.
    let start = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
    let is_its = |place: &Option<Count<S>>| !matches!(place, Some(count) if count.key != key);
    let mut tries = (0..TRIES).map(|n| start.wrapping_add(n) % PLACES);
    let index = tries.find(|index| places.get(*index).is_some_and(is_its))?;
    places.get_mut(index)
}

impl<S: Copy> Default for Flood<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Admits the events, and ends the window: how often each was written, and the sums.
    fn window(
        flood: &mut Flood<u64>,
        keys: impl IntoIterator<Item = u64>,
    ) -> (HashMap<u64, u32>, Vec<Sum<u64>>) {
        let mut written = HashMap::new();
        for key in keys {
            if flood.admit(key, (key % 7) as u32, key) {
                *written.entry(key).or_default() += 1;
            }
        }
        let mut sums = Vec::new();
        flood.end(|sum| sums.push(sum));
        (written, sums)
    }

    fn total(written: &HashMap<u64, u32>, sums: &[Sum<u64>]) -> u32 {
        written.values().sum::<u32>() + sums.iter().map(|sum| sum.events).sum::<u32>()
    }

    #[test]
    fn ten_of_each_and_a_sum() {
        let mut flood = Flood::new();
        for _ in 0..3 {
            let keys = [(1, 15), (2, 10), (3, 11)].iter().flat_map(|(key, n)| vec![*key; *n]);
            let (written, mut sums) = window(&mut flood, keys);
            assert_eq!(written, HashMap::from([(1, 10), (2, 10), (3, 10)]));
            sums.sort_by_key(|sum| sum.subject);
            let sum = |events, subject| Sum { events, subject, of_others: false };
            assert_eq!(sums, [sum(5, 1), sum(1, 3)]);
        }
    }

    #[test]
    fn many_keys_have_one_line_each_then_none() {
        // As addresses are, in turns, as an attacker would have it.
        let keys = (0..30).flat_map(|_| (0..5000).map(|n| 0x5555_0000_0000 + n * 48));
        let (written, sums) = window(&mut Flood::new(), keys);
        assert_eq!(total(&written, &sums), 150_000);
        let lines = written.values().sum::<u32>();
        assert!(lines <= PLACES as u32 + 1 + MORE_LINES, "{lines}");
        assert!(written.len() > PLACES / 2, "{}", written.len());
        let others: Vec<_> = sums.iter().filter(|sum| sum.of_others).collect();
        assert!(matches!(others[..], [Sum { events: 100_000.., .. }]), "{others:?}");
        assert!(sums.len() <= PLACES + 1);
    }

    #[test]
    fn a_late_key_still_has_its_first_line() {
        let many = (0..200).flat_map(|key| vec![key; 50]);
        let (written, sums) = window(&mut Flood::new(), many.chain([1000, 1000]));
        assert_eq!(written.get(&1000), Some(&1));
        assert!(sums.contains(&Sum { events: 1, subject: 1000, of_others: false }));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(keys in prop::collection::vec(0..2000_u64, 0..5000), scale in 1..1_000_000_u64) {
            let (written, sums) = window(&mut Flood::new(), keys.iter().map(|key| key * scale));
            prop_assert_eq!(total(&written, &sums) as usize, keys.len());
            for sum in sums.iter().filter(|sum| !sum.of_others) {
                let events = keys.iter().filter(|key| **key * scale == sum.subject).count() as u32;
                prop_assert_eq!(sum.events + written.get(&sum.subject).copied().unwrap_or(0), events);
            }
            // The others are summed up under the worst of them.
            if let Some(others) = sums.iter().find(|sum| sum.of_others) {
                prop_assert!(keys.contains(&(others.subject / scale)));
            }
        }
    }
}
