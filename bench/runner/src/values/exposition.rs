//! The text format of Prometheus, as a `/metrics` answers it: version 0.0.4, and as much of OpenMetrics as shares its form.

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, String)>,
    /// May be no number, or infinite.
    pub(crate) value: f64,
}

/// So many signs of a line are told, at most.
const TOLD: usize = 100;

/// Reads the samples of a text whose names are wanted. Of all other lines only the form is looked at, so that a long text with
/// a few wanted samples costs little.
///
/// # Errors
/// The first line that is none, with its number; or that there is none at all.
pub(crate) fn samples<'a>(
    text: &'a str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Sample<'a>>, String> {
    let (mut found, mut any) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        any = true;
        let read = name(line, ':').and_then(|(name, _)| {
            if wanted(name) {
                sample(line).map(|sample| found.push(sample))
            } else {
                ends_in_number(line)
            }
        });
        read.map_err(|why| format!("line {number} is no sample: {why}: `{}`", short(line)))?;
    }
    if any {
        Ok(found)
    } else {
        Err("it holds no samples".to_owned())
    }
}

/// As every sample does, whether or not it has a time stamp or an example.
fn ends_in_number(line: &str) -> Result<(), String> {
    match line.rsplit(char::is_whitespace).next() {
        Some(last) if last.len() < line.len() && last.parse::<f64>().is_ok() => Ok(()),
        _ => Err("it has no value".to_owned()),
    }
}

/// The beginning of a text.
fn short(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
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
    let number = |text: &str| {
        let none = |_| format!("`{}` is no number", short(text));
        text.parse().map_err(none)
    };
    let value: f64 = number(figures.next().ok_or("it has no value")?)?;
    if let Some(time) = figures.next() {
        let _: f64 = number(time)?;
    }
    if let Some(more) = figures.next() {
        return Err(format!("`{}` stands behind its time", short(more)));
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

    /// The name of the samples that it may mean.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The value of the one sample that is meant; `None` if there is none.
    ///
    /// # Errors
    /// There are several, or it is no finite number.
    pub(crate) fn value(&self, samples: &[Sample<'_>]) -> Result<Option<f64>, String> {
        let is_meant = |sample: &&Sample<'_>| {
            let has = |(label, value): &(String, String)| {
                let mut labels = sample.labels.iter();
                labels.any(|(own, is)| own == label && is == value)
            };
            sample.name == self.name && self.labels.iter().all(has)
        };
        let found: Vec<&Sample<'_>> = samples.iter().filter(is_meant).collect();
        match found.as_slice() {
            [] => Ok(None),
            [one] if one.value.is_finite() => Ok(Some(one.value)),
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
        let selector = Selector::parse(what)?;
        let samples = samples(TEXT, |name| name == selector.name())?;
        let value = selector.value(&samples)?;
        value.ok_or_else(|| "no such sample".to_owned())
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
            let told = samples(&format!("\nup 1\n{line}\n"), |_| true).expect_err(line);
            assert!(
                told.starts_with("line 3 is no sample: ") && told.contains(why),
                "{told}"
            );
        }
    }
    #[test]
    fn a_wrong_page_is_told_in_a_few_words() {
        let page = format!("<html>{}", "é".repeat(5_000));
        for (text, wanted) in [(page.as_str(), true), (&page, false)] {
            let told = samples(text, |_| wanted).expect_err("no samples");
            assert!(
                told.starts_with("line 1 is no sample: a name is missing: `<html>é"),
                "{told}"
            );
            assert!(told.chars().count() < 200, "{told}");
        }
        let line = format!("up {}", "x".repeat(5_000));
        let told = samples(&line, |_| true).expect_err("no number");
        assert!(told.len() < 400, "{told}");
        for text in ["", "# only a comment\n"] {
            let told = samples(text, |_| true).expect_err("nothing");
            assert_eq!(told, "it holds no samples");
        }
    }

    #[test]
    fn only_wanted_lines_are_read() {
        let read = |text: &str| {
            samples(text, |name| name == "up")
                .map(|found| found.iter().map(|one| one.value).collect::<Vec<_>>())
        };
        // The labels of the first have no end.
        assert_eq!(read("other{a=\"1\" 2\nup 1\n"), Ok(vec![1.0]));
        assert_eq!(read("other 2\n"), Ok(vec![]));
        // A text of another kind is none of this form.
        for text in ["down for maintenance", "{\"up\": 1}", "busy", "12"] {
            read(text).expect_err(text);
        }
    }
}
