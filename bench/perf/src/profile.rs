//! Profiles of processor time as Go's runtime makes them: `profile.proto` of pprof, compressed.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;

use anyhow::{Context as _, ensure};
use prost::Message;

/// A profile, with the fields that are needed here.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Profile {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    locations: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    functions: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
}

/// A stack, and how much of everything it took. Of processor time: how often it was seen, and its nanoseconds.
#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

/// A place in the program, with the functions that were inlined there.
#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

impl Profile {
    /// Reads what Go's runtime gives.
    ///
    /// # Errors
    /// It is no such profile.
    pub(crate) fn read(compressed: &[u8]) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(compressed)
            .read_to_end(&mut bytes)
            .context("the profile is not compressed as it should be")?;
        Self::decode(bytes.as_slice()).context("the profile cannot be read")
    }

    /// The processor time in it, in s.
    pub(crate) fn seconds(&self) -> f64 {
        self.time(|_| true) / 1e9
    }

    /// The share of the time, from 0 to 1, in which a function was under way whose name begins so.
    ///
    /// # Errors
    /// There is no time in the profile.
    pub(crate) fn share_of(&self, prefix: &str) -> anyhow::Result<f64> {
        let all = self.time(|_| true);
        ensure!(all > 0.0, "the profile has no time in it");
        let named = |index: i64| {
            let index = usize::try_from(index).ok();
            let name = index.and_then(|index| self.strings.get(index));
            name.is_some_and(|name| name.starts_with(prefix))
        };
        let functions: HashMap<u64, bool> = self
            .functions
            .iter()
            .map(|function| (function.id, named(function.name)))
            .collect();
        let of_it = |line: &Line| functions.get(&line.function).is_some_and(|of_it| *of_it);
        let places: HashSet<u64> = self
            .locations
            .iter()
            .filter(|location| location.lines.iter().any(of_it))
            .map(|location| location.id)
            .collect();
        let its = self.time(|sample| sample.locations.iter().any(|id| places.contains(id)));
        Ok(its / all)
    }

    /// The nanoseconds of some samples.
    fn time(&self, which: impl Fn(&Sample) -> bool) -> f64 {
        let samples = self.samples.iter().filter(|sample| which(sample));
        // Far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let time = samples
            .filter_map(|sample| sample.values.last())
            .sum::<i64>() as f64;
        time
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn profile() -> Profile {
        let location = |id, functions: &[u64]| Location {
            id,
            lines: functions
                .iter()
                .map(|function| Line {
                    function: *function,
                })
                .collect(),
        };
        let sample = |locations: &[u64], ns| Sample {
            locations: locations.to_vec(),
            values: vec![1, ns],
        };
        Profile {
            samples: vec![
                sample(&[1, 3], 10_000_000), // of the package, called by another
                sample(&[2], 10_000_000),    // inlined there
                sample(&[3], 50_000_000),
                sample(&[3, 4], 30_000_000), // a name that only holds the prefix
            ],
            locations: vec![
                location(1, &[7]),
                location(2, &[9, 7]),
                location(3, &[9]),
                location(4, &[8]),
            ],
            functions: vec![
                Function { id: 7, name: 1 },
                Function { id: 8, name: 2 },
                Function { id: 9, name: 3 },
            ],
            strings: ["", "a/hdrlog.(*Output).flush", "x/a/hdrlog.f", "main.main"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    #[test]
    fn a_share_is_that_of_stacks_with_the_package() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed
            .write_all(&profile().encode_to_vec())
            .expect("written");
        let read = Profile::read(&packed.finish().expect("packed")).expect("a profile");
        assert_eq!(read, profile());
        assert_eq!(read.share_of("a/hdrlog.").expect("a share"), 0.2);
        assert_eq!(read.seconds(), 0.1);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let error = Profile::read(b"<html>").expect_err("no profile");
        assert!(error.to_string().contains("compressed"), "{error}");
        let error = Profile::default().share_of("a").expect_err("no time");
        assert!(error.to_string().contains("no time"), "{error}");
    }
}
