//! Which challenges there are, what their goals ask for, and which goals an event concerns.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// All challenges, as the file of the configuration has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// In the order in which they are listed.
    pub challenges: Vec<Challenge>,
}

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Its id.
    pub challenge_id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// In the order in which they are listed.
    pub goals: Vec<Goal>,
}

/// One goal of a challenge. Its id is its own among all challenges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Goal {
    /// Its id.
    pub goal_id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// How progress is counted.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Which events change its progress.
    pub event_source: Source,
    /// What completes it.
    pub requirement: Requirement,
    /// What it is worth.
    pub reward: Reward,
    /// Goals that come before it.
    #[serde(default)]
    pub prerequisites: Vec<String>,
    /// Whether `initialize` assigns it.
    #[serde(default)]
    pub default_assigned: bool,
}

/// How progress is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is what the last event says.
    Absolute,
}

/// Which events change the progress of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Logins.
    Login,
    /// Changes of a statistic.
    Statistic,
}

/// What completes a goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The statistic.
    pub stat_code: String,
    /// How its value is compared: `>=`.
    pub operator: String,
    /// With what it is compared.
    pub target_value: i32,
}

/// What a goal is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reward {
    /// `WALLET` or `ITEM`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of what.
    pub reward_id: String,
    /// How much of it.
    pub quantity: u32,
}

/// How many challenges there are where no file says otherwise.
pub const CHALLENGES: u32 = 10;
/// How many goals each of them has.
pub const GOALS: u32 = 50;
/// The statistics, and by how much a goal's number is multiplied for its target.
const STATISTICS: [(&str, &str, u32); 5] = [
    ("login_count", "logins", 1),
    ("enemy_kills", "enemies defeated", 10),
    ("games_played", "games played", 2),
    ("headshots", "headshots", 5),
    ("wins", "games won", 1),
];

/// Ten challenges of 50 goals: the statistic goes by the challenge's number, target and reward by the goal's.
impl Default for Catalogue {
    fn default() -> Self {
        Self {
            challenges: (1..=CHALLENGES).map(challenge).collect(),
        }
    }
}

fn challenge(number: u32) -> Challenge {
    let (code, what, factor) = STATISTICS[number as usize % STATISTICS.len()];
    let challenge_id = format!("challenge-{number:03}");
    let goals = (1..=GOALS).map(|goal| {
        let target = goal * factor;
        Goal {
            goal_id: format!("{challenge_id}-goal-{goal:02}"),
            name: format!("Goal {goal} of challenge {number}"),
            description: format!("Reach {target} {what}"),
            kind: Kind::Absolute,
            event_source: if code == "login_count" {
                Source::Login
            } else {
                Source::Statistic
            },
            requirement: Requirement {
                stat_code: code.to_owned(),
                operator: ">=".to_owned(),
                target_value: i32::try_from(target).unwrap_or(i32::MAX),
            },
            reward: reward(number, goal),
            prerequisites: Vec::new(),
            default_assigned: true,
        }
    });
    Challenge {
        name: format!("Challenge {number}"),
        description: format!("Fifty goals that count {what}"),
        goals: goals.collect(),
        challenge_id,
    }
}

fn reward(challenge: u32, goal: u32) -> Reward {
    let of = |kind: &str, id: String, quantity| Reward {
        kind: kind.to_owned(),
        reward_id: id,
        quantity,
    };
    match goal {
        _ if goal.is_multiple_of(10) => of("WALLET", "GEMS".to_owned(), 50 * goal),
        _ if goal.is_multiple_of(5) => of("ITEM", format!("item-{challenge:03}-{goal:02}"), 1),
        _ => of("WALLET", "GEMS".to_owned(), 10 * goal),
    }
}

/// Where a goal stands: its challenge and its own place in it.
pub(crate) type Place = (usize, usize);

/// A catalogue with what is looked up in it again and again.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) catalogue: Catalogue,
    goals: HashMap<String, Place>,
    by_statistic: HashMap<String, Vec<Place>>,
    by_login: Vec<Place>,
}

impl Index {
    /// The catalogue of a file, or the usual one.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else {
            return Self::new(Catalogue::default());
        };
        let shown = file.display();
        let text = fs::read_to_string(file)
            .with_context(|| format!("--challenges: cannot read {shown}"))?;
        let catalogue = serde_json::from_str(&text)
            .with_context(|| format!("--challenges: {shown} is no list of challenges"))?;
        Self::new(catalogue).with_context(|| format!("--challenges: {shown}"))
    }

    pub(crate) fn new(catalogue: Catalogue) -> anyhow::Result<Self> {
        let mut index = Self {
            goals: HashMap::new(),
            by_statistic: HashMap::new(),
            by_login: Vec::new(),
            catalogue,
        };
        for (c, challenge) in index.catalogue.challenges.iter().enumerate() {
            let id = &challenge.challenge_id;
            anyhow::ensure!(!id.is_empty(), "challenge {c}: its id is empty");
            for (g, goal) in challenge.goals.iter().enumerate() {
                let id = &goal.goal_id;
                anyhow::ensure!(!id.is_empty(), "goal {g} of challenge {c}: its id is empty");
                let twice = index.goals.insert(id.clone(), (c, g)).is_some();
                anyhow::ensure!(!twice, "there are two goals {id:?}");
                let operator = &goal.requirement.operator;
                anyhow::ensure!(
                    operator == ">=",
                    "goal {id:?}: got the operator {operator:?}; >= is allowed"
                );
                let list = match goal.event_source {
                    Source::Login => &mut index.by_login,
                    Source::Statistic => {
                        let code = goal.requirement.stat_code.clone();
                        index.by_statistic.entry(code).or_default()
                    }
                };
                list.push((c, g));
            }
        }
        Ok(index)
    }

    pub(crate) fn goal(&self, (challenge, goal): Place) -> (&Challenge, &Goal) {
        let challenge = &self.catalogue.challenges[challenge];
        (challenge, &challenge.goals[goal])
    }

    /// A goal by its id.
    pub(crate) fn place(&self, goal: &str) -> Option<Place> {
        self.goals.get(goal).copied()
    }

    /// A challenge by its id.
    pub(crate) fn challenge(&self, id: &str) -> Option<&Challenge> {
        let mut challenges = self.catalogue.challenges.iter();
        challenges.find(|challenge| challenge.challenge_id == id)
    }

    /// A goal of a challenge.
    pub(crate) fn goal_of(&self, challenge: &str, goal: &str) -> Option<(&Challenge, &Goal)> {
        let found = self.goal(self.place(goal)?);
        (found.0.challenge_id == challenge).then_some(found)
    }

    /// The goals whose progress a login changes.
    pub(crate) fn of_logins(&self) -> &[Place] {
        &self.by_login
    }

    /// The goals whose progress a change of this statistic changes; none for one that no goal asks for.
    pub(crate) fn of_statistic(&self, code: &str) -> &[Place] {
        self.by_statistic.get(code).map_or(&[], Vec::as_slice)
    }

    /// All goals with their challenges.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Challenge, &Goal)> {
        let challenges = self.catalogue.challenges.iter();
        challenges.flat_map(|challenge| challenge.goals.iter().map(move |goal| (challenge, goal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_concerns_a_hundred_goals() {
        let index = Index::new(Catalogue::default()).expect("it is usable");
        assert_eq!(index.all().count(), 500);
        assert_eq!(index.of_logins().len(), 100);
        for code in ["enemy_kills", "games_played", "headshots", "wins"] {
            assert_eq!(index.of_statistic(code).len(), 100, "{code}");
        }
        // That one counts by logins alone.
        assert_eq!(index.of_statistic("login_count").len(), 0);
    }

    #[test]
    fn a_catalogue_that_would_mislead_is_refused() {
        let mut twice = Catalogue::default();
        twice.challenges[1].goals[0].goal_id = "challenge-001-goal-01".to_owned();
        let error = Index::new(twice).expect_err("it is refused").to_string();
        assert_eq!(error, "there are two goals \"challenge-001-goal-01\"");
        let mut empty = Catalogue::default();
        empty.challenges[2].challenge_id.clear();
        let error = Index::new(empty).expect_err("it is refused").to_string();
        assert_eq!(error, "challenge 2: its id is empty");
    }
}
