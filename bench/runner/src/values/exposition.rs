//! The text format of Prometheus, as a `/metrics` answers it: version 0.0.4, and as much of OpenMetrics as shares its form.

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, String)>,
    /// May be no number, or infinite.
    pub(crate) value: f64,
}

/// Reads every sample of a text.
///
/// # Errors
/// The first line that is none, with its number.
pub(crate) fn samples(text: &str) -> Result<Vec<Sample<'_>>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| (number + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(number, line)| {
        sample(line).map_err(|why| format!("line {number} is no sample: {why}: `{line}`"))
    };
    lines.map(read).collect()
}

fn sample(line: &str) -> Result<Sample<'_>, String> {
    let (name, rest) = name(line, ':')?;
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    // Behind the value there may be a time stamp, and behind a `#` an example of the values.
    let (figures, _) = rest.split_once(" # ").unwrap_or((rest, ""));
    let mut figures = figures.split_whitespace();
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number"));
    let value: f64 = number(figures.next().ok_or("it has no value")?)?;
    if let Some(time) = figures.next() {
        let _: f64 = number(time)?;
    }
    if let Some(more) = figures.next() {
        return Err(format!("`{more}` stands behind its time"));
    }
    Ok(Sample {
        name,
        labels,
        value,
    })
}

/// A name at the beginning of a text, and the rest. `also`: a sign that it may have, beside letters, digits and `_`.
fn name(text: &str, also: char) -> Result<(&str, &str), String> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == also;
    let end = text.find(|c| !of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a name is missing".to_owned());
    }
    Ok((name, rest))
}

type Labels<'a> = Vec<(&'a str, String)>;

/// The labels up to the closing brace, and the rest.
fn labels(text: &str) -> Result<(Labels<'_>, &str), String> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        // A name of a label has no colon.
        let (label, behind) = name(rest, '_')?;
        let behind = behind.trim_start().strip_prefix('=');
        let behind = behind.and_then(|behind| behind.trim_start().strip_prefix('"'));
        let (value, behind) =
            quoted(behind.ok_or_else(|| format!("the label {label} has no value in quotes"))?)?;
        labels.push((label, value));
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.starts_with('}') => {}
            None => return Err("its labels have no end".to_owned()),
        }
    }
}

/// The text up to the closing quote, and the rest.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, letter @ ('\\' | '"'))) => value.push(letter),
                _ => return Err("a backslash stands before neither \\ nor \" nor n".to_owned()),
            },
            letter => value.push(letter),
        }
    }
    Err("a quote is not closed".to_owned())
}

/// One sample of a text, by its name and by labels that it has at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

impl Selector {
    /// Reads `name` or `name{label="value",…}`.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: String| format!("{why}; allowed: NAME or NAME{{label=\"value\"}}");
        let (name, rest) = name(text.trim(), ':').map_err(refused)?;
        let (found, rest) = match rest.trim_start().strip_prefix('{') {
            Some(inside) => labels(inside).map_err(refused)?,
            None => (Vec::new(), rest),
        };
        if !rest.is_empty() {
            return Err(refused(format!("`{rest}` is no part of a name")));
        }
        let found = found.into_iter();
        Ok(Self {
            name: name.to_owned(),
            labels: found
                .map(|(label, value)| (label.to_owned(), value))
                .collect(),
        })
    }

    /// The value of the one sample that is meant.
    ///
    /// # Errors
    /// There is none, there are several, or it is no finite number.
    pub(crate) fn value(&self, samples: &[Sample<'_>]) -> Result<f64, String> {
        let is_meant = |sample: &&Sample<'_>| {
            let has = |(label, value): &(String, String)| {
                let mut labels = sample.labels.iter();
                labels.any(|(own, is)| own == label && is == value)
            };
            sample.name == self.name && self.labels.iter().all(has)
        };
        let found: Vec<&Sample<'_>> = samples.iter().filter(is_meant).collect();
        match found.as_slice() {
            [] => Err("no such sample".to_owned()),
            [one] if one.value.is_finite() => Ok(one.value),
            [one] => Err(format!("{} is no finite number", one.value)),
            several => Err(format!(
                "{} samples have this name; tell one by its labels",
                several.len()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP loop_hz Pace.
# TYPE loop_hz gauge
loop_hz 99.5
loop_ticks_total{loop="a",say="x\"}, \\ \n"} 1e3 1700000000000
loop_ticks_total{ loop = "b" , } 7
age_seconds NaN

requests_total 12 # {trace="1"} 0.5 1700000000.1
# EOF
"#;

    fn value(what: &str) -> Result<f64, String> {
        Selector::parse(what)?.value(&samples(TEXT)?)
    }

    #[test]
    fn a_sample_is_told_by_its_name_and_labels() {
        assert_eq!(value("loop_hz"), Ok(99.5));
        assert_eq!(value("loop_ticks_total{loop=\"a\"}"), Ok(1000.0));
        assert_eq!(value(r#"loop_ticks_total{say="x\"}, \\ \n"}"#), Ok(1000.0));
        assert_eq!(value("loop_ticks_total{loop=\"b\"}"), Ok(7.0));
        assert_eq!(value("requests_total"), Ok(12.0));
        for (what, why) in [
            ("loop", "no such sample"),
            ("loop_hz{loop=\"a\"}", "no such sample"),
            ("loop_ticks_total", "2 samples"),
            ("age_seconds", "no finite number"),
            ("loop-hz", "is no part of a name; allowed: NAME"),
            ("", "a name is missing"),
            ("x{a=1}", "no value in quotes"),
        ] {
            let told = value(what).expect_err(what);
            assert!(told.contains(why), "{what}: {told}");
        }
    }

    #[test]
    fn a_line_that_is_no_sample_is_told_with_its_number() {
        for (line, why) in [
            ("loop_hz", "it has no value"),
            ("loop_hz fast", "`fast` is no number"),
            ("loop_hz 1 soon", "`soon` is no number"),
            ("loop_hz 1 2 3", "`3` stands behind its time"),
            ("x{a=\"1\" 2", "its labels have no end"),
            ("x{a=\"1", "a quote is not closed"),
            ("x{a=\"\\x\"} 1", "a backslash"),
            ("<html>", "a name is missing"),
        ] {
            let told = samples(&format!("\nup 1\n{line}\n")).expect_err(line);
            assert!(
                told.starts_with("line 3 is no sample: ") && told.contains(why),
                "{told}"
            );
        }
    }
}
