//! Samples and how they are told: medians and percentiles, never means.

use std::time::Duration;

/// Measurements of one thing, in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Durations in milliseconds.
    pub(crate) fn of_millis(durations: impl IntoIterator<Item = Duration>) -> Self {
        durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3).collect()
    }

    /// The value below which the share `part` (0 to 1) of all lies, by nearest rank; NaN of nothing.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// The middle.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Median and range, for samples of a few runs: `12.3 (11.9-14.0)`.
    pub(crate) fn spread(&self, digits: usize) -> String {
        let (median, least, most) = (self.median(), self.quantile(0.0), self.quantile(1.0));
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }

    /// p50, p99 and the largest, for samples of many events.
    pub(crate) fn tail(&self) -> String {
        let (p50, p99, most) = (self.median(), self.quantile(0.99), self.quantile(1.0));
        format!("p50 {p50:8.2}   p99 {p99:8.2}   max {most:8.2}")
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let sample: Sample = (1..=100).rev().map(f64::from).collect();
        assert_eq!((sample.quantile(0.0), sample.median(), sample.quantile(0.99)), (1.0, 50.0, 99.0));
        assert_eq!(sample.quantile(1.0), 100.0);
        assert!(Sample::default().median().is_nan());
    }

    #[test]
    fn a_few_runs_are_told_with_their_range() {
        let sample: Sample = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(sample.spread(1), "2.0 (1.0-3.0)");
    }
}
