//! What the user gave for the variables of a suite, before types are looked at.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::schema::File;
use crate::values::exit;
use crate::values::mask;
use crate::values::value::Kind;

/// Texts by name of the variable, by where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Given {
    /// `--set NAME=VALUE`
    pub(crate) set: BTreeMap<String, String>,
    /// The environment of the runner.
    pub(crate) environment: BTreeMap<String, String>,
    /// `--env-file`
    pub(crate) file: BTreeMap<String, String>,
}

impl Given {
    /// Reads `--set` arguments, an environment file, and this process's environment.
    ///
    /// # Errors
    /// An argument is not `NAME=VALUE`, a name is given twice, or the file cannot be read or has a line that is neither.
    pub(crate) fn new(set: &[String], file: Option<&Path>) -> anyhow::Result<Self> {
        let mut given = Self {
            set: BTreeMap::new(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            file: file.map(read_file).transpose()?.unwrap_or_default(),
        };
        for item in set {
            let Some((name, value)) = item.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                return Err(exit::set_up(format!(
                    "--set {item}: not of the form NAME=VALUE"
                )));
            };
            if given
                .set
                .insert(name.to_owned(), value.to_owned())
                .is_some()
            {
                return Err(exit::set_up(format!("--set {name}: given twice")));
            }
        }
        Ok(given)
    }

    /// The text for a variable, by order of rank: command line, environment, file. An empty text counts as not given.
    pub(super) fn text(&self, name: &str) -> [Option<&String>; 3] {
        [&self.set, &self.environment, &self.file]
            .map(|place| place.get(name).filter(|text| !text.trim().is_empty()))
    }

    /// The text for a variable that counts.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let texts = self.text(name).into_iter();
        texts.flatten().next().map(String::as_str)
    }

    /// What a plan keeps, so that it can be gone on with: the declared variables without secrets, and the names of the
    /// secrets that were given.
    pub(crate) fn kept(&self, suite: &File) -> (Self, Vec<String>) {
        let mut kept = Self::default();
        let mut secrets = Vec::new();
        for (name, table) in &suite.env {
            let name = name.get_ref();
            let texts = self.text(name);
            let secret = |text: &String| {
                table.secret
                    // What is masked on the disk could not be gone on with.
                    || mask::masked(text) != **text
                    || (table.kind == Kind::Url
                        && url::Url::parse(text)
                            .map_or(text.contains('@'), |address| address.password().is_some()))
            };
            if texts.iter().flatten().any(|text| secret(text)) {
                secrets.push(name.clone());
                continue;
            }
            let places = [&mut kept.set, &mut kept.environment, &mut kept.file];
            for (place, text) in places.into_iter().zip(texts) {
                if let Some(text) = text {
                    place.insert(name.clone(), text.clone());
                }
            }
        }
        (kept, secrets)
    }

    /// The kept values with secrets from `now`; nothing else of `now` counts.
    ///
    /// # Errors
    /// A secret is not given again, or `now` sets something else by hand.
    pub(crate) fn with_secrets(mut self, now: &Self, secrets: &[String]) -> anyhow::Result<Self> {
        if let Some(name) = now.set.keys().find(|name| !secrets.contains(name)) {
            return Err(exit::set_up(format!(
                "--set {name}: the plan keeps its values; only a secret is given again"
            )));
        }
        for name in secrets {
            let [set, environment, file] = now.text(name);
            if set.or(environment).or(file).is_none() {
                return Err(exit::set_up(format!(
                    "{name} was given when the plan began and is a secret, so it was not kept; give it again by the environment, --env-file or --set"
                )));
            }
            let places = [&mut self.set, &mut self.environment, &mut self.file];
            for (place, text) in places.into_iter().zip([set, environment, file]) {
                if let Some(text) = text {
                    place.insert(name.clone(), text.clone());
                }
            }
        }
        Ok(self)
    }
}

/// Reads `NAME=VALUE` lines; empty lines and those that begin with `#` are passed over, `export ` before a name and
/// quotes around a value are taken off.
fn read_file(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| exit::set_up(format!("--env-file {shown}: {error}")))?;
    let mut values = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        // The line itself may hold a password, so it is not shown.
        let Some((name, value)) = line
            .split_once('=')
            .filter(|(name, _)| is_name(name.trim()))
        else {
            return Err(exit::set_up(format!(
                "{shown}:{}: not of the form NAME=VALUE",
                number + 1
            )));
        };
        let (name, value) = (name.trim(), value.trim());
        let bare = ['"', '\'']
            .iter()
            .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote))
            .unwrap_or(value);
        if values.insert(name.to_owned(), bare.to_owned()).is_some() {
            return Err(exit::set_up(format!(
                "{shown}:{}: {name} is given twice",
                number + 1
            )));
        }
    }
    Ok(values)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    fn file(content: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("bench.env");
        std::fs::write(&path, content).expect("written");
        read_file(&path)
    }

    #[test]
    fn an_environment_file_is_read_as_a_shell_would() {
        let values =
            file("# comment\n\nexport A=1\nB = two words \nC=\"quoted # text\"\nD='x=y'\nE=\n")
                .expect("read");
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "quoted # text"),
            ("D", "x=y"),
            ("E", ""),
        ];
        assert_eq!(
            values,
            expected
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into_iter()
                .collect()
        );
    }

    #[test]
    fn a_wrong_line_is_located_and_not_shown() {
        for content in ["A=1\ntopsecret\n", "A=1\nA=topsecret\n"] {
            let text = file(content).expect_err("refused").to_string();
            assert!(
                text.contains("bench.env:2: ") && !text.contains("topsecret"),
                "{text}"
            );
        }
    }

    const ENV: &str = "[env.VUS]\ntype = \"int\"\n[env.REDIS_URL]\ntype = \"url\"\n[env.PASSWORD]\ntype = \"string\"\nsecret = true\n\
        [[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn secrets_are_not_kept_and_have_to_be_given_again() {
        let suite = suite(ENV).expect("suite");
        let given = Given {
            set: map(&[("VUS", "5")]),
            environment: map(&[
                ("HOME", "/root"),
                ("PASSWORD", "topsecret"),
                ("REDIS_URL", "redis://u:topsecret@h"),
            ]),
            file: BTreeMap::new(),
        };
        let (kept, secrets) = given.kept(&suite.file);
        assert_eq!(
            (&kept.set, kept.environment.len()),
            (&map(&[("VUS", "5")]), 0)
        );
        assert_eq!(secrets, ["PASSWORD", "REDIS_URL"]);

        let again = Given {
            environment: map(&[
                ("VUS", "9"),
                ("PASSWORD", "topsecret"),
                ("REDIS_URL", "redis://u:topsecret@h"),
            ]),
            ..Given::default()
        };
        let whole = kept
            .clone()
            .with_secrets(&again, &secrets)
            .expect("complete");
        assert_eq!(whole.set, map(&[("VUS", "5")]));
        assert_eq!(
            whole.environment.get("PASSWORD").map(String::as_str),
            Some("topsecret")
        );
        assert!(!whole.environment.contains_key("VUS"));

        let text = kept
            .clone()
            .with_secrets(&Given::default(), &secrets)
            .expect_err("refused")
            .to_string();
        assert!(text.starts_with("PASSWORD was given"), "{text}");
        let other = Given {
            set: map(&[("VUS", "6")]),
            ..again
        };
        assert!(kept.with_secrets(&other, &secrets).is_err());
    }
}
