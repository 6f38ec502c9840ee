//! The parts that a suite may ask for in its report.

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Section {
    /// Variants against each other.
    Comparison,
    /// A table with every run and its derived values.
    Cells,
    /// Gates of every run, and what was left out.
    Validity,
    /// Outliers, a busy machine, parameters that differ.
    Anomalies,
    /// The levels of each ladder, and its limit.
    Ladders,
    /// What was used at each level, and what gave out first.
    Bottlenecks,
    /// A text file of the evidence, of each place the last one.
    Text(String),
    /// Quantiles of a trend, run by run.
    Distribution(String),
    /// Queue length and promotions over time.
    Queues,
    /// Processor time, memory and connections over time.
    Resources,
    /// What gates judged over time, each with its limit.
    OverTime,
    /// Which alerts fired while a run was watched.
    Alerts,
    /// How all scenarios of the suite stand: a page of its own.
    Board,
}

const PLAIN: &[(&str, Section)] = &[
    ("comparison", Section::Comparison),
    ("cells", Section::Cells),
    ("validity", Section::Validity),
    ("anomalies", Section::Anomalies),
    ("ladders", Section::Ladders),
    ("bottlenecks", Section::Bottlenecks),
    ("queues", Section::Queues),
    ("resources", Section::Resources),
    ("over_time", Section::OverTime),
    ("alerts", Section::Alerts),
    ("board", Section::Board),
];

impl Section {
    /// Reads the name of a section.
    ///
    /// # Errors
    /// A text that says what was received and what is allowed.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, section)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return Ok(section.clone());
        }
        let file = |name: &str| !name.is_empty() && !name.contains('/');
        match name.split_once(':') {
            Some(("distribution", metric)) if !metric.is_empty() => {
                Ok(Self::Distribution(metric.to_owned()))
            }
            Some(("text", name)) if file(name) => Ok(Self::Text(name.to_owned())),
            _ => {
                let names: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "no section `{name}`; allowed: {}, distribution:METRIC, text:FILE",
                    names.join(", ")
                ))
            }
        }
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Distribution(metric) => return write!(f, "distribution:{metric}"),
            Self::Text(name) => return write!(f, "text:{name}"),
            _ => {}
        }
        let known = PLAIN.iter().find(|(_, section)| section == self);
        f.write_str(known.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_names() {
        assert_eq!(Section::parse("cells"), Ok(Section::Cells));
        assert_eq!(
            Section::parse("distribution:open_to_promote_ms"),
            Ok(Section::Distribution("open_to_promote_ms".to_owned()))
        );
        for name in ["validity", "distribution:m", "text:a.txt"] {
            assert_eq!(Section::parse(name).expect(name).to_string(), name);
        }
        for name in ["cell", "distribution:", "text:a/b", ""] {
            assert!(
                Section::parse(name).is_err_and(|text| text.contains("allowed: comparison")),
                "{name}"
            );
        }
    }
}
