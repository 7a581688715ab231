//! Whether a figure really grows, and how fast: the median of the slopes between all pairs of points (Theil and Sen), which a
//! clean-up, a peak or a gap does not mislead. Knows nothing of storages.

/// How a figure changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    pub per_day: f64,
    /// Of all pairs of points how many rise, less those that fall: from -1 to 1.
    pub steadiness: f64,
    /// Days from the first point to the last.
    pub days: f64,
}

const DAY: f64 = 86_400.0;
/// Points are put together that are of the same quarter of a day: a month makes 120.
const BUCKET: u64 = 21_600;
/// Fewer say nothing.
const BUCKETS: usize = 12;

impl Trend {
    /// From times (Unix) and values; nothing where they are too few.
    pub fn of(points: &[(u64, f64)]) -> Option<Self> {
        let points = buckets(points);
        let (first, last) = (points.first()?, points.last()?);
        if points.len() < BUCKETS {
            return None;
        }
        let mut slopes = Vec::new();
        for (at, (time, value)) in points.iter().enumerate() {
            slopes.extend(points[at + 1..].iter().map(|(later, more)| (more - value) / (later - time) * DAY));
        }
        let sign = |slope: &f64| if *slope == 0.0 { 0.0 } else { slope.signum() };
        let steadiness = slopes.iter().map(sign).sum::<f64>() / slopes.len() as f64;
        slopes.sort_by(f64::total_cmp);
        let per_day = *slopes.get(slopes.len() / 2)?;
        Some(Self { per_day, steadiness, days: (last.0 - first.0) / DAY })
    }

    /// Whether something of this size is really filling: steadily, and by more than what comes and goes.
    pub fn is_growth(&self, total: f64) -> bool {
        /// Of what was there to be filled.
        const NOTICEABLE: f64 = 0.005;
        const STEADY: f64 = 0.6;
        self.per_day > 0.0 && self.steadiness >= STEADY && self.per_day * self.days >= total * NOTICEABLE
    }
}

/// The mean time and value of each bucket.
fn buckets(points: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<(u64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    points.sort_by_key(|(time, _)| *time);
    let mean = |points: &[(u64, f64)]| {
        let count = points.len() as f64;
        let sum =
            points.iter().fold((0.0, 0.0), |(times, values), (time, value)| (times + *time as f64, values + value));
        (sum.0 / count, sum.1 / count)
    };
    points.chunk_by(|a, b| a.0 / BUCKET == b.0 / BUCKET).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value each half hour.
    fn month(value: impl Fn(f64) -> Option<f64>) -> Option<Trend> {
        let points: Vec<(u64, f64)> =
            (0..1440).filter_map(|n| Some((1_800_000_000 + n * 1800, value(n as f64 / 48.0)?))).collect();
        Trend::of(&points)
    }

    fn grows(value: impl Fn(f64) -> Option<f64>) -> bool {
        month(value).is_some_and(|trend| trend.is_growth(1000.0))
    }

    #[test]
    fn steady_growth_is_measured_across_gaps_and_peaks() {
        let noisy = |day: f64| {
            let peak = if (9.0..9.3).contains(&day) { 400.0 } else { 0.0 };
            let wobble = (day * 37.0).sin() * 3.0;
            (!(12.0..16.0).contains(&day)).then_some(300.0 + 10.0 * day + wobble + peak)
        };
        let rate = month(noisy).map(|trend| trend.per_day).unwrap_or_default();
        assert!((9.8..10.2).contains(&rate), "{rate}");
        assert!(grows(noisy));
    }

    #[test]
    fn what_comes_and_goes_or_was_put_there_once_does_not_grow() {
        assert!(!grows(|day| Some(300.0 + day % 7.0 * 20.0)), "backups, pruned each week");
        assert!(!grows(|day| Some(if day < 15.0 { 300.0 } else { 700.0 })), "one big disk");
        assert!(!grows(|day| Some(900.0 - 10.0 * day)), "it shrinks");
        assert!(!grows(|day| Some(300.0 + day * 0.01)), "next to nothing");
        assert!(!grows(|_| Some(300.0)), "nothing");
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert_eq!(month(|day| (day < 2.0).then_some(day)), None);
        assert_eq!(month(|_| None), None);
    }
}
