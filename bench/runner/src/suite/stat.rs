//! Statistics that a gate may ask for, and which of them a value has.

use super::schema::MetricKind;

/// A statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stat {
    /// How many, or how much in all.
    Count,
    /// Of a counter its growth per second, of a rate the share that was true.
    Rate,
    /// The last one.
    Value,
    Avg,
    Min,
    Max,
    /// A share of the samples, from 0 to 1, is not above it.
    Quantile(f64),
    /// The share of the seconds, or of a monitor's samples, inside the band.
    ShareInBand,
    /// The longest time in seconds without an increase, or without a sample.
    LongestGap,
}

/// Share in band, as suites write it.
pub(crate) const SHARE_IN_BAND: &str = "share_in_band";
/// Longest gap, as suites write it.
pub(crate) const LONGEST_GAP: &str = "longest_gap";

impl Stat {
    /// Reads a statistic as suites write it; `None` if there is none of that name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "count" => Self::Count,
            "rate" => Self::Rate,
            "value" => Self::Value,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "med" => Self::Quantile(0.5),
            "max" => Self::Max,
            SHARE_IN_BAND => Self::ShareInBand,
            LONGEST_GAP => Self::LongestGap,
            other => {
                let percent: f64 = other.strip_prefix("p(")?.strip_suffix(')')?.parse().ok()?;
                (0.0..=100.0)
                    .contains(&percent)
                    .then_some(Self::Quantile(percent / 100.0))?
            }
        })
    }
}

/// What a value is taken from, as far as its statistics depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A derived value.
    Derived,
    /// k6's summary; its type if that is known.
    Summary(Option<MetricKind>),
    /// k6's values over time; its type if that is known.
    Series(Option<MetricKind>),
    /// A monitor's samples.
    Monitor(MetricKind),
}

impl Of {
    /// The names of its statistics; `p(N)` stands for every percentile.
    pub(super) fn stats(self) -> Vec<&'static str> {
        use MetricKind::{Counter, Gauge, Rate, Trend};
        match self {
            Self::Derived => vec!["value"],
            Self::Summary(Some(Counter)) => vec!["count", "rate"],
            Self::Summary(Some(Gauge)) => vec!["value", "min", "max"],
            Self::Summary(Some(Rate)) => vec!["rate"],
            Self::Summary(Some(Trend)) => vec!["avg", "min", "med", "max", "count", "p(N)"],
            Self::Summary(None) => {
                vec!["count", "rate", "value", "avg", "min", "med", "max", "p(N)"]
            }
            Self::Series(Some(Counter)) | Self::Monitor(Counter) => {
                vec!["count", "rate", SHARE_IN_BAND, LONGEST_GAP]
            }
            Self::Series(Some(Gauge)) => {
                vec!["value", "avg", "min", "max", SHARE_IN_BAND, LONGEST_GAP]
            }
            Self::Series(Some(Rate)) => vec!["rate", SHARE_IN_BAND],
            Self::Series(Some(Trend)) => {
                let of_trend = ["avg", "min", "med", "max", "count", "p(N)", SHARE_IN_BAND];
                of_trend.to_vec()
            }
            Self::Series(None) => {
                let mut all = Self::Summary(None).stats();
                all.push(SHARE_IN_BAND);
                all
            }
            Self::Monitor(_) => vec![
                "value",
                "avg",
                "min",
                "med",
                "max",
                "p(N)",
                SHARE_IN_BAND,
                LONGEST_GAP,
            ],
        }
    }

    /// Whether it has the statistic.
    pub(super) fn has(self, stat: &str) -> bool {
        let percentile = stat.starts_with("p(") && Stat::parse(stat).is_some();
        let stats = self.stats();
        let mut names = stats.iter();
        names.any(|&name| name == stat || (name == "p(N)" && percentile))
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Derived => "a derived value",
            Self::Monitor(MetricKind::Counter) => "a monitor's counter",
            Self::Monitor(_) => "a monitor's value",
            Self::Summary(kind) | Self::Series(kind) => match kind {
                Some(MetricKind::Counter) => "a counter",
                Some(MetricKind::Gauge) => "a gauge",
                Some(MetricKind::Rate) => "a rate",
                Some(MetricKind::Trend) => "a trend",
                None => "a metric",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_between_none_and_all() {
        assert_eq!(Stat::parse("p(95)"), Some(Stat::Quantile(0.95)));
        assert_eq!(Stat::parse("med"), Some(Stat::Quantile(0.5)));
        for text in ["p(101)", "p(-1)", "p(x)", "p95", "", "p(NaN)"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }
}
