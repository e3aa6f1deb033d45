//! How often one side may send a message: a bucket, out of which each message takes its share and which
//! time fills again. (nginx counts requests in the same way, `ngx_http_limit_req_lookup`.)

use core::fmt;
use core::num::NonZeroU32;

/// So many messages in a time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    period: Period,
    burst: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
}

/// The share of a message: that of a millisecond is a whole number at every rate.
const MESSAGE: i64 = 60_000;

impl Rate {
    /// What `10r/s` or `30r/m` says; one message at once.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (count, period) = match text.strip_suffix(b"r/s") {
            Some(count) => (count, Period::Second),
            None => (text.strip_suffix(b"r/m")?, Period::Minute),
        };
        Some(Self { count: parse_count(count)?, period, burst: NonZeroU32::MIN })
    }

    /// The same rate with so many messages at once.
    pub fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// What comes into the bucket in so many milliseconds.
    fn share(self, milliseconds: u64) -> i64 {
        let per_millisecond = i64::from(self.count.get()) * self.period.factor();
        let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        per_millisecond.saturating_mul(milliseconds)
    }

    /// What a full bucket holds.
    fn capacity(self) -> i64 {
        i64::from(self.burst.get()) * MESSAGE
    }
}

/// A number of messages, from one on.
pub fn parse_count(text: &[u8]) -> Option<NonZeroU32> {
    // `parse` takes a sign, too.
    let digits = text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

impl Period {
    /// How much of a message comes in a millisecond at one message in this time.
    const fn factor(self) -> i64 {
        match self {
            Self::Second => MESSAGE / 1000,
            Self::Minute => MESSAGE / 60_000,
        }
    }
}

/// As it is written in a configuration.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            Period::Second => 's',
            Period::Minute => 'm',
        };
        write!(f, "{}r/{period} burst={}", self.count, self.burst)
    }
}

/// How much of its rate a side has used up.
///
/// Moments are in milliseconds, and none is before the one that was told last.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// What a full bucket has more. Less than nothing where messages wait and nobody looked in time.
    missing: i64,
    /// When that was so.
    at: u64,
    /// Whether a message waits.
    waits: bool,
}

impl Bucket {
    /// How late one may look for messages that wait, in milliseconds: those behind them are made up for.
    pub const LATE: u64 = 100;

    /// Nothing was sent yet.
    pub fn new(now: u64) -> Self {
        Self { missing: 0, at: now, waits: false }
    }

    /// Whether a message may pass now. If not, it waits from now on.
    pub fn has_room(&mut self, rate: Rate, now: u64) -> bool {
        let share = rate.share(now.saturating_sub(self.at));
        // The moment at which a message is due lies up to a millisecond after there was room.
        let least = if self.waits { -rate.share(Self::LATE + 1) } else { 0 };
        self.missing = self.missing.saturating_sub(share).max(least);
        self.at = self.at.max(now);
        let has_room = self.excess(rate) <= 0;
        self.waits |= !has_room;
        has_room
    }

    /// Takes the share of a message that passes.
    pub fn take(&mut self) {
        self.missing = self.missing.saturating_add(MESSAGE);
    }

    /// No message waits any more.
    pub fn rest(&mut self) {
        self.waits = false;
    }

    /// The first moment at which a message may pass.
    pub fn due(&self, rate: Rate) -> u64 {
        let excess = self.excess(rate).max(0).unsigned_abs();
        self.at.saturating_add(excess.div_ceil(rate.share(1).unsigned_abs()))
    }

    /// How much of the next message does not fit.
    fn excess(&self, rate: Rate) -> i64 {
        self.missing.saturating_sub(rate.capacity() - MESSAGE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str, burst: u32) -> Rate {
        Rate::parse(text.as_bytes()).unwrap().with_burst(NonZeroU32::new(burst).unwrap())
    }

    #[test]
    fn words() {
        for (text, printed) in
            [("10r/s", "10r/s burst=1"), ("4294967295r/m", "4294967295r/m burst=1")]
        {
            assert_eq!(Rate::parse(text.as_bytes()).unwrap().to_string(), printed);
        }
        assert_eq!(rate("1r/m", 7).to_string(), "1r/m burst=7");
        for text in [
            "",
            "10",
            "r/s",
            "0r/s",
            "10r/h",
            "10r/",
            "-1r/s",
            "+1r/s",
            " 1r/s",
            "1 r/s",
            "1.5r/s",
            "4294967296r/s",
            "10R/S",
            "10r/s ",
            "\u{661}r/s",
        ] {
            assert_eq!(Rate::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn so_many_at_once_and_then_one_by_one() {
        for (text, burst, interval) in [("10r/s", 1, 100), ("10r/s", 5, 100), ("30r/m", 2, 2000)] {
            let rate = rate(text, burst);
            let mut bucket = Bucket::new(1000);
            for _ in 0..burst {
                assert!(bucket.has_room(rate, 1000));
                bucket.take();
            }
            assert!(!bucket.has_room(rate, 1000));
            for n in 1..10 {
                let due = 1000 + n * interval;
                assert_eq!(bucket.due(rate), due);
                assert!(!bucket.has_room(rate, due - 1));
                assert!(bucket.has_room(rate, due));
                bucket.take();
            }
        }
    }

    #[test]
    fn who_was_idle_has_no_more_than_the_burst() {
        for waited in [false, true] {
            let rate = rate("10r/s", 3);
            let mut bucket = Bucket::new(0);
            bucket.take();
            if waited {
                (0..3).for_each(|_| bucket.take());
                assert!(!bucket.has_room(rate, 0));
                assert!(bucket.has_room(rate, 10_000));
                bucket.take();
                bucket.rest();
            }
            let passed = (0..10).filter(|_| {
                bucket.has_room(rate, 1_000_000) && {
                    bucket.take();
                    true
                }
            });
            assert_eq!(passed.count(), 3);
        }
    }

    #[test]
    fn extremes() {
        let rate = rate("4294967295r/s", u32::MAX);
        let mut bucket = Bucket::new(u64::MAX);
        for now in [0, u64::MAX, 1, u64::MAX] {
            assert!(bucket.has_room(rate, now));
            bucket.take();
        }
        let mut bucket = Bucket::new(0);
        (0..3).for_each(|_| bucket.take());
        let slow = super::tests::rate("1r/m", 1);
        assert_eq!(bucket.due(slow), 180_000);
        assert!(bucket.has_room(slow, u64::MAX));
    }

    fn any_rate() -> impl Strategy<Value = Rate> {
        (1u32..2000, any::<bool>(), 1u32..50).prop_map(|(count, minute, burst)| {
            rate(&format!("{count}r/{}", if minute { 'm' } else { 's' }), burst)
        })
    }

    /// How many messages there are of a rate in so many milliseconds.
    fn of(rate: Rate, milliseconds: u64) -> u64 {
        rate.share(milliseconds).unsigned_abs() / MESSAGE.unsigned_abs()
    }

    proptest! {
        // Messages come at these times, and what waits is looked at so much later.
        #[test]
        fn no_more_than_the_rate_in_any_time(
            rate in any_rate(),
            pauses in prop::collection::vec(prop_oneof![Just(0u64), 0u64..5, 0u64..3000], 1..200),
        ) {
            let mut bucket = Bucket::new(0);
            let (mut now, mut passed) = (0, Vec::new());
            for pause in pauses {
                now += pause;
                if bucket.has_room(rate, now) {
                    bucket.take();
                    passed.push(now);
                } else {
                    prop_assert!(bucket.due(rate) > now);
                }
            }
            for (first, begin) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let most = of(rate, end - begin + Bucket::LATE + 1) + u64::from(rate.burst.get()) + 1;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }

        // A sender that always has one more gets all of its rate, however late it is looked at.
        #[test]
        fn nothing_of_the_rate_is_lost(
            rate in any_rate(),
            lateness in prop::collection::vec(0..=Bucket::LATE, 20),
        ) {
            let mut bucket = Bucket::new(0);
            let (mut now, mut count) = (0, 0);
            for late in lateness {
                while bucket.has_room(rate, now) {
                    bucket.take();
                    count += 1;
                }
                prop_assert_eq!(count, u64::from(rate.burst.get()) + of(rate, now));
                now = bucket.due(rate) + late;
            }
        }
    }
}
