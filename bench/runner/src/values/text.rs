//! Values in words: for messages, the terminal and reports.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the line with the core's build id begins with, below what k6 says of its version.
pub(crate) const CORE: &str = "core ";

/// A duration for people: `45 s`, `3 min`, `2 h 05 min`.
pub(crate) fn words(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil();
    let minutes = (seconds / 60.0).round();
    if seconds < 100.0 {
        format!("{seconds} s")
    } else if minutes < 60.0 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// A path for the terminal: relative where that is shorter.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// A path as seen from the current folder, absolute.
pub(crate) fn from_here(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// `, did you mean …?` if a known name is near enough to be a slip of the finger.
pub(crate) fn suggestion(name: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| {
            format!(", did you mean `{candidate}`?")
        })
}

/// `1 run`, `2 runs`.
pub(crate) fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A figure for people: thousands separated, no more digits than one can use.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        size if size >= 1000.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{size:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (seconds, text) in [
            (0, "0 s"),
            (45, "45 s"),
            (130, "2 min"),
            (3600, "1 h 00 min"),
            (7500, "2 h 05 min"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }
}
