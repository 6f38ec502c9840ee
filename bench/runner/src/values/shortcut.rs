//! k6's options for one load in a few words. They replace the scenarios of a script, and k6 says nothing about it.

/// Variables of the environment by which k6 takes them.
pub(crate) const VARIABLES: [&str; 4] = ["K6_DURATION", "K6_ITERATIONS", "K6_STAGES", "K6_VUS"];

const ARGUMENTS: [&str; 8] = [
    "--duration",
    "--iterations",
    "--stage",
    "--vus",
    "-d",
    "-i",
    "-s",
    "-u",
];

/// The first argument of a text that is such an option, with its value if that is part of it.
pub(crate) fn argument(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| {
        let name = word.split_once('=').map_or(*word, |(name, _)| name);
        let short = word.starts_with('-') && !word.starts_with("--");
        // A short option may have its value behind it, as in `-u10`.
        ARGUMENTS.contains(&name)
            || (short && word.get(..2).is_some_and(|own| ARGUMENTS.contains(&own)))
    })
}

/// Why an argument is refused.
pub(crate) fn of_argument(word: &str) -> String {
    format!(
        "`{word}` would replace the declared loads, and k6 would say nothing about it; leave it out, or change `load` of the scenario"
    )
}

/// Why a variable is refused.
pub(crate) fn of_variable(name: &str, scenario: &str) -> String {
    format!(
        "{name} would replace the declared loads of scenario {scenario}; unset it, or change what the loads take, as by --set"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_each_form() {
        for (text, expected) in [
            ("--vus 10", Some("--vus")),
            ("--tag a=b --duration=5m", Some("--duration=5m")),
            ("-u10", Some("-u10")),
            ("--no-summary -i 3", Some("-i")),
            ("--stage 5s:10", Some("--stage")),
            ("--tag vus=10 --verbose -v", None),
            ("--vus-of=1 -q", None),
            ("", None),
        ] {
            assert_eq!(argument(text), expected, "{text}");
        }
    }
}
