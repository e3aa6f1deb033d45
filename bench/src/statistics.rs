//! Medians, and how far they can be trusted.

use fastrand::Rng;

const RESAMPLES: usize = 4000;

/// A median with its 95 % confidence interval.
#[derive(Clone, Copy)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    /// Of a figure that is counted, not sampled.
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }

    /// The interval is that of the percentile bootstrap.
    pub fn of(samples: &[f64]) -> Self {
        let mut random = Rng::with_seed(samples.len() as u64);
        let medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let resample: Vec<f64> =
                    samples.iter().filter_map(|_| random.choice(samples).copied()).collect();
                median(&resample)
            })
            .collect();
        Self {
            value: median(samples),
            low: quantile(&medians, 0.025),
            high: quantile(&medians, 0.975),
        }
    }

    /// Of the ratios of two series that were measured round by round.
    pub fn ratio(of: &[f64], to: &[f64]) -> Self {
        let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
        Self::of(&ratios)
    }
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    match middle.checked_sub(1).and_then(|lower| sorted.get(lower)) {
        Some(lower) if sorted.len() % 2 == 0 => (lower + upper) / 2.0,
        _ => upper,
    }
}

/// The smallest sample that at least this part of all samples does not exceed.
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// 0 .. length in an order of chance.
pub fn order(random: &mut Rng, length: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    random.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), 99.0);
        assert_eq!(quantile(&hundred, 1.0), 100.0);
    }

    #[test]
    fn interval_holds_the_median() {
        let samples: Vec<f64> = (0..25).map(|at| 1.0 + f64::from(at % 5) / 100.0).collect();
        let estimate = Estimate::of(&samples);
        assert!(1.0 <= estimate.low && estimate.low <= estimate.value);
        assert!(estimate.value <= estimate.high && estimate.high <= 1.04);
        let same = Estimate::of(&[2.0; 9]);
        assert_eq!((same.value, same.low, same.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn order_holds_each_once() {
        let mut order = order(&mut Rng::with_seed(7), 9);
        order.sort_unstable();
        assert_eq!(order, (0..9).collect::<Vec<_>>());
    }
}
