//! Options of k6 that replace the scenarios of a script, and k6 says nothing about it: those for one load in a few words, and
//! the variable by which a harness gets its loads.

/// The variable by which a harness gets the declared loads.
pub(crate) const LOAD: &str = "LOAD";

/// Variables of the environment by which k6 takes one load.
pub(crate) const VARIABLES: [&str; 4] = ["K6_DURATION", "K6_ITERATIONS", "K6_STAGES", "K6_VUS"];

const ARGUMENTS: [&str; 4] = ["--duration", "--iterations", "--stage", "--vus"];

/// The same in a letter.
const LETTERS: [char; 4] = ['d', 'i', 's', 'u'];

/// All letters of `k6 run` behind which a value stands.
const WITH_VALUE: [char; 9] = ['a', 'c', 'd', 'e', 'i', 'o', 's', 't', 'u'];

/// The first argument of a text that is such an option, with its value if that is part of it.
pub(crate) fn argument(text: &str) -> Option<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let of_load = |(_, pair): &(usize, &str)| pair.split('=').next() == Some(LOAD);
    let loads = variables_in(&words).into_iter().find(of_load);
    let shortcut = words.iter().position(|word| {
        let name = word.split_once('=').map_or(*word, |(name, _)| name);
        ARGUMENTS.contains(&name)
            || with_value(word).is_some_and(|(letter, _)| LETTERS.contains(&letter))
    });
    let places = loads.map(|(place, _)| place).into_iter().chain(shortcut);
    places.min().map(|place| words[place])
}

/// The variables that arguments give to a harness, as `NAME=VALUE`.
pub(crate) fn variables_of(arguments: &[String]) -> Vec<&str> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pairs = variables_in(&words).into_iter();
    pairs.map(|(_, pair)| pair).collect()
}

/// Each with the place of the word that it ends.
fn variables_in<'a>(words: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (place, &word) in words.iter().enumerate() {
        let value = match with_value(word) {
            Some(('e', value)) => Some(value),
            Some(_) => None,
            None if word == "--env" => Some(""),
            None => word.strip_prefix("--env="),
        };
        match value {
            Some("") => found.extend(words.get(place + 1).map(|next| (place + 1, *next))),
            Some(value) => found.push((place, value)),
            None => {}
        }
    }
    found
}

/// Of a word of short options, as `-qu10`, the one that takes a value, and what of it stands behind the letter.
fn with_value(word: &str) -> Option<(char, &str)> {
    let letters = word
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    let mut letters = letters.char_indices();
    let (place, letter) = letters.find(|(_, letter)| WITH_VALUE.contains(letter))?;
    let behind = &word[1 + place + letter.len_utf8()..];
    Some((letter, behind.strip_prefix('=').unwrap_or(behind)))
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
            ("-u=10", Some("-u=10")),
            ("-qu3", Some("-qu3")),
            ("-vqi 3", Some("-vqi")),
            ("--no-summary -i 3", Some("-i")),
            ("--stage 5s:10", Some("--stage")),
            ("-e LOAD={}", Some("LOAD={}")),
            ("-qeLOAD=", Some("-qeLOAD=")),
            ("--env LOAD", Some("LOAD")),
            ("-q --env=LOAD={} -u1", Some("--env=LOAD={}")),
            ("--tag vus=10 --verbose -v", None),
            ("--vus-of=1 -q", None),
            // All of it is the value of an option.
            ("-ojson=u3 -qeDUST=1 -tjs -e LOADS=1", None),
            ("- -é -w", None),
            ("", None),
        ] {
            assert_eq!(argument(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_found_in_each_form() {
        let arguments = "-e A=1 -qeB=2 --env C=3 --env=D=4 -o e=5 --tag F=6 -e".split(' ');
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        assert_eq!(variables_of(&arguments), ["A=1", "B=2", "C=3", "D=4"]);
    }
}
