//! The data that load scripts need: users, their tokens, and the challenges.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use crate::Catalogue;

/// How many users there are.
pub const USERS: u32 = 10_000;

/// A file of data. The same call makes the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Fixture {
    /// `users.json`: a list of 10,000 objects with `id` and `namespace`
    Users,
    /// `challenges.json`: 10 challenges of 50 goals, as service and handler read them
    Challenges,
    /// `tokens.json`: a list of 10,000 tokens of mock mode, in the order of the users
    Tokens,
}

impl Fixture {
    /// All of them, each after what it depends on.
    pub const ALL: [Self; 3] = [Self::Users, Self::Challenges, Self::Tokens];

    /// The name of its file.
    pub fn file(self) -> &'static str {
        match self {
            Self::Users => "users.json",
            Self::Challenges => "challenges.json",
            Self::Tokens => "tokens.json",
        }
    }

    /// What the file says.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON.
    pub fn text(self) -> serde_json::Result<String> {
        let users = (1..=USERS).map(|number| format!("user-{number:06}"));
        let mut text = match self {
            // A line for each: that is easier to look into.
            Self::Users => {
                list(users.map(|id| format!("{{\"id\": \"{id}\", \"namespace\": \"test\"}}")))
            }
            Self::Tokens => list(users.map(|id| format!("\"mock-jwt-token-for-{id}\""))),
            Self::Challenges => pretty(&Catalogue::default())?,
        };
        text.push('\n');
        Ok(text)
    }

    /// Writes the file into a folder. Returns its path.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to.
    pub fn write(self, folder: &Path) -> anyhow::Result<PathBuf> {
        let file = folder.join(self.file());
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        // Readers see the old file or the new one.
        let draft = folder.join(format!(".{}.{}", self.file(), std::process::id()));
        fs::write(&draft, self.text()?).with_context(|| format!("writing {}", draft.display()))?;
        fs::rename(&draft, &file).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }

    /// Looks whether the file in a folder is what it should be. Returns its path.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or differs: with the first line that does.
    pub fn check(self, folder: &Path) -> anyhow::Result<PathBuf> {
        let file = folder.join(self.file());
        let shown = file.display();
        let found = fs::read_to_string(&file).with_context(|| format!("reading {shown}"))?;
        let expected = self.text()?;
        if found != expected {
            let lines = expected.lines().zip(found.lines());
            let number = 1 + lines.take_while(|(right, got)| right == got).count();
            let line = |text: &str| {
                text.lines()
                    .nth(number - 1)
                    .unwrap_or("(its end)")
                    .to_owned()
            };
            anyhow::bail!(
                "{shown}: line {number} is {:?}; expected {:?}",
                line(&found),
                line(&expected)
            );
        }
        Ok(file)
    }
}

fn list(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {line}")).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_size_that_scripts_of_others_make() {
        let text = |fixture: Fixture| fixture.text().expect("it is JSON");
        assert_eq!(text(Fixture::Users).len(), 460_003);
        assert_eq!(text(Fixture::Tokens).len(), 360_003);
        let users: Vec<serde_json::Value> =
            serde_json::from_str(&text(Fixture::Users)).expect("it is JSON");
        let tokens: Vec<String> = serde_json::from_str(&text(Fixture::Tokens)).expect("it is JSON");
        assert_eq!((users.len(), tokens.len()), (10_000, 10_000));
        assert_eq!(users[9_999]["id"], "user-010000");
        assert_eq!(tokens[41], "mock-jwt-token-for-user-000042");
    }

    #[test]
    fn what_was_written_is_what_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        for fixture in Fixture::ALL {
            fixture.write(folder.path()).expect("it is written");
            let file = fixture.check(folder.path()).expect("it is right");
            let changed = fs::read_to_string(&file)
                .expect("it is there")
                .replacen("01", "02", 1);
            fs::write(&file, changed).expect("it is changed");
            let error = fixture
                .check(folder.path())
                .expect_err("it is wrong")
                .to_string();
            assert!(error.contains("expected"), "{error}");
        }
        let read: Catalogue = serde_json::from_str(&Fixture::Challenges.text().expect("JSON"))
            .expect("service and handler read it");
        assert_eq!(read, Catalogue::default());
    }
}
