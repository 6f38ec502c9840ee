//! Variables of a run: typed, checked, with a known origin.
//!
//! `${NAME}` in a suite file takes a variable, `{name}` takes a run value (something the runner knows or computes).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::expression::{self, Failure};
use super::given::Given;
use super::scenario::ScenarioTable;
use super::schema::{EnvTable, File, TargetTable};
use crate::values::exit;
use crate::values::mask;
use crate::values::template::{Part, parts, variables};
use crate::values::text::suggestion;
use crate::values::value::{parse, plain};

pub(crate) use crate::values::template::RunValues;
pub(crate) use crate::values::value::{Kind, Value};

/// Where a value comes from; a later one of this list never replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    CommandLine,
    /// A point of the plan.
    Point,
    Scenario,
    /// The preset that the suite's chooser names.
    Preset,
    Environment,
    EnvFile,
    Default,
    /// Computed from other variables.
    Computed,
    /// Supplied by a part that the runner started.
    Started,
}

/// The variables of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars {
    values: BTreeMap<String, (Value, Origin)>,
    secret: BTreeSet<String>,
    /// Texts that wait for what they take.
    pending: BTreeMap<String, (String, Declared, Origin)>,
    /// What the runner knows of the run and what the suite computes, for `{name}`.
    known: RunValues,
    /// Those that the point, the scenario or a preset gives, whatever outranks it.
    fixed: BTreeSet<String>,
}

/// What the suite says of a variable's values.
#[derive(Debug, Clone)]
struct Declared {
    kind: Kind,
    allowed: Option<Vec<String>>,
}

/// The values that a point of a plan gives to variables, in the order of the suite file.
pub(crate) type Point = Vec<(String, String)>;

impl Vars {
    /// Resolves the declared variables for a point of a scenario: command line, point, scenario, preset, environment,
    /// environment file, default. An empty value counts as not given.
    ///
    /// # Errors
    /// An unknown `--set` name, one that the point sets, a value of the wrong type, or one that is not allowed.
    pub(crate) fn resolve(
        file: &File,
        scenario: &ScenarioTable,
        point: &Point,
        given: &Given,
    ) -> anyhow::Result<Self> {
        for name in given.set.keys() {
            if !file.env.contains_key(name.as_str()) {
                let known: Vec<&str> = file.env.keys().map(|key| key.get_ref().as_str()).collect();
                return Err(exit::set_up(format!(
                    "--set {name}: the suite declares no such variable{}; declared: {}",
                    suggestion(name, &known),
                    known.join(", ")
                )));
            }
            if point.iter().any(|(axis, _)| axis == name) {
                return Err(exit::set_up(format!(
                    "--set {name}: scenario {} runs with several values of it; choose among them with --level {name}=VALUE",
                    scenario.id.get_ref()
                )));
            }
        }
        // The one that chooses a preset comes first, and is itself in none.
        let chooser = file
            .suite
            .preset
            .as_ref()
            .map(|text| text.get_ref().as_str());
        let choosing = variables(chooser.unwrap_or_default());
        let mut vars = Self::default();
        let sources = |preset| Sources {
            scenario,
            point,
            given,
            preset,
        };
        for (name, table) in &file.env {
            if choosing.contains(&name.get_ref().as_str()) {
                vars.resolve_one(name.get_ref(), table, &sources(None))?;
            }
        }
        let preset = chooser
            .and_then(|text| vars.expand(text, &RunValues::new()).ok())
            .and_then(|name| file.preset.get(name.as_str()));
        for (name, table) in &file.env {
            if !choosing.contains(&name.get_ref().as_str()) {
                vars.resolve_one(name.get_ref(), table, &sources(preset))?;
            }
        }
        Ok(vars)
    }

    /// The variables of a run whose evidence holds them.
    ///
    /// # Errors
    /// A stored value is not of the type that the suite declares.
    pub(crate) fn restore<'a>(
        file: &File,
        stored: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> anyhow::Result<Self> {
        let mut vars = Self::default();
        for (name, text) in stored {
            if let Some(table) = file.env.get(name) {
                // A masked secret is as good as another text: no gate looks at it.
                let kind = if text.contains(mask::MASK) {
                    Kind::String
                } else {
                    table.kind
                };
                let value = parse(name, kind, text)?;
                vars.values
                    .insert(name.to_owned(), (value, Origin::Environment));
            }
        }
        Ok(vars)
    }

    fn resolve_one(
        &mut self,
        name: &str,
        table: &EnvTable,
        sources: &Sources<'_>,
    ) -> anyhow::Result<()> {
        if table.secret {
            self.secret.insert(name.to_owned());
        }
        if sources.fix(name) {
            self.fixed.insert(name.to_owned());
        }
        let Some((text, origin)) = sources.first(name, table) else {
            return Ok(());
        };
        let allowed = table.allowed.as_ref();
        let declared = Declared {
            kind: table.kind,
            allowed: allowed.map(|values| values.iter().map(plain).collect()),
        };
        let written = matches!(origin, Origin::Default | Origin::Scenario | Origin::Preset);
        if written && text.contains('{') {
            // A value with placeholders is counted as computed, a scenario's own outranks all but the command line.
            let origin = if origin == Origin::Default {
                Origin::Computed
            } else {
                origin
            };
            self.pending
                .insert(name.to_owned(), (text, declared, origin));
            return Ok(());
        }
        self.put(name, &declared, &text, origin)
    }

    /// Gives a variable the value of a text that is whole, and keeps its secrets.
    fn put(
        &mut self,
        name: &str,
        declared: &Declared,
        text: &str,
        origin: Origin,
    ) -> anyhow::Result<()> {
        if self.secret.contains(name) {
            mask::register(text);
        }
        let value = parse(name, declared.kind, text)?;
        if let Some(allowed) = &declared.allowed
            && !allowed.contains(&value.to_string())
        {
            return Err(exit::set_up(format!(
                "{name}={value} is not allowed; allowed: {}",
                allowed.join(", ")
            )));
        }
        if let (Kind::Url, Ok(address)) = (declared.kind, url::Url::parse(text))
            && mask::register_url(&address)
        {
            self.secret.insert(name.to_owned());
        }
        self.values.insert(name.to_owned(), (value, origin));
        Ok(())
    }

    /// Gives a variable a value that the runner knows; one that the user gave stays.
    pub(crate) fn supply(&mut self, name: &str, value: Value, origin: Origin) {
        self.pending.remove(name);
        if self.values.contains_key(name) {
            return;
        }
        // A server that was started may have a password.
        if let Value::Text(text) = &value
            && let Ok(address) = url::Url::parse(text)
            && mask::register_url(&address)
        {
            self.secret.insert(name.to_owned());
        }
        self.values.insert(name.to_owned(), (value, origin));
    }

    /// Gives the variables that have no value those that come with a target.
    ///
    /// # Errors
    /// A value is not of the type that the suite declares.
    pub(crate) fn complete(&mut self, file: &File, target: &TargetTable) -> anyhow::Result<()> {
        for (name, value) in &target.defaults {
            let name = name.get_ref().as_str();
            let Some(table) = file.env.get(name) else {
                continue;
            };
            if !self.pending.contains_key(name) {
                self.supply(
                    name,
                    parse(name, table.kind, &plain(value))?,
                    Origin::Default,
                );
            }
        }
        Ok(())
    }

    /// Gives a variable another value, whoever gave the one it has.
    pub(crate) fn replace(&mut self, name: &str, value: Value) {
        self.values
            .insert(name.to_owned(), (value, Origin::Computed));
    }

    /// The same with a value of something that the runner has started.
    pub(crate) fn take_over(&mut self, name: &str, value: Value) {
        self.pending.remove(name);
        self.values
            .insert(name.to_owned(), (value, Origin::Started));
    }

    /// Makes a value known for `{name}` in texts and as `name` in expressions.
    pub(crate) fn know(&mut self, name: &str, value: impl Into<Json>) {
        self.known.insert(name, value);
    }

    /// What is known for `{name}`.
    pub(crate) fn known(&self) -> &RunValues {
        &self.known
    }

    /// Fills the texts that wait for what they take, as far as that is known.
    ///
    /// # Errors
    /// The filled text has the wrong type.
    pub(crate) fn fill(&mut self) -> anyhow::Result<()> {
        let mut before = usize::MAX;
        while self.pending.len() < before {
            before = self.pending.len();
            for (name, (text, declared, origin)) in std::mem::take(&mut self.pending) {
                let Ok(filled) = self.expand(&text, &RunValues::new()) else {
                    self.pending.insert(name, (text, declared, origin));
                    continue;
                };
                // What holds a secret is one.
                if variables(&text).iter().any(|part| self.is_secret(part)) {
                    self.secret.insert(name.clone());
                }
                self.put(&name, &declared, &filled, origin)?;
            }
        }
        Ok(())
    }

    /// Computes an expression over the variables, secrets masked, and what is known.
    ///
    /// # Errors
    /// A variable has no value, or a value is of a type that does not fit.
    pub(crate) fn evaluate(&self, text: &str) -> anyhow::Result<Json> {
        self.try_evaluate(text).map_err(|failure| match failure {
            Failure::Missing(name) => missing(&name),
            Failure::Wrong(why) => exit::set_up(format!("`{text}`: {why}")),
        })
    }

    /// As [`Vars::evaluate`], for those who do without a value.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn try_evaluate(&self, text: &str) -> Result<Json, Failure> {
        let known = self.known.iter();
        let known = known.map(|(name, value)| (name.to_owned(), value.clone()));
        let variables = self.values.iter().map(|(name, (value, _))| {
            let value = match value {
                Value::Int(number) => Json::from(*number),
                Value::Float(number) => Json::from(*number),
                Value::List(items) => Json::from(items.clone()),
                Value::Text(_) => Json::from(self.shown(name)),
            };
            (name.clone(), value)
        });
        expression::evaluate(text, known.chain(variables).collect())
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }

    /// The value of a variable as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(ToString::to_string)
    }

    /// A whole number.
    ///
    /// # Errors
    /// The variable has no value, or another type.
    pub(crate) fn int(&self, name: &str) -> anyhow::Result<i64> {
        match self.get(name) {
            Some(Value::Int(number)) => Ok(*number),
            Some(other) => Err(exit::set_up(format!(
                "{name}={other} is not a whole number"
            ))),
            None => Err(missing(name)),
        }
    }

    /// The items of a list.
    ///
    /// # Errors
    /// The variable has no value, or no item is left of it.
    pub(crate) fn list(&self, name: &str) -> anyhow::Result<&[String]> {
        match self.get(name) {
            Some(Value::List(items)) if !items.is_empty() => Ok(items),
            _ => Err(exit::set_up(format!(
                "{name} is missing or empty; give a comma-separated list: --set {name}=id-1,id-2 or the environment variable"
            ))),
        }
    }

    /// Where the value comes from.
    #[cfg(test)]
    pub(crate) fn origin(&self, name: &str) -> Option<Origin> {
        self.values.get(name).map(|(_, origin)| *origin)
    }

    /// Whether the value must not be shown.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.secret.contains(name)
    }

    /// The variables that the plan itself gives a value, so that the environment does not count for them.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = &str> {
        self.fixed.iter().map(String::as_str)
    }

    /// All variables that have a value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value, Origin)> {
        self.values
            .iter()
            .map(|(name, (value, origin))| (name.as_str(), value, *origin))
    }

    /// The value for display: passwords of addresses and secrets are replaced.
    pub(crate) fn shown(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        Some(match (self.is_secret(name), self.get(name)) {
            (true, Some(Value::Text(text))) if text.contains("://") => mask::masked_address(text),
            (true, _) => mask::MASK.to_owned(),
            (false, _) => text,
        })
    }

    /// Replaces `${NAME}` and `{name}`; `run` holds what is known at this place alone.
    ///
    /// # Errors
    /// A name has no value, or a brace is not closed.
    pub(crate) fn expand(&self, text: &str, run: &RunValues) -> anyhow::Result<String> {
        self.expand_by(text, run, |name| self.text(name))
    }

    /// As [`Vars::expand`], for people: secrets are masked, and a variable without a value is empty.
    ///
    /// # Errors
    /// A brace is not closed, or a run value is not known.
    pub(crate) fn expand_shown(&self, text: &str) -> anyhow::Result<String> {
        self.expand_by(text, &RunValues::new(), |name| {
            Some(self.shown(name).unwrap_or_default())
        })
    }

    fn expand_by(
        &self,
        text: &str,
        run: &RunValues,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<String> {
        let mut out = String::new();
        for part in parts(text).map_err(exit::set_up)? {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(name) => {
                    out.push_str(&variable(name).ok_or_else(|| missing(name))?);
                }
                Part::RunValue(name) => {
                    let value = run.text(name).or_else(|| self.known.text(name));
                    out.push_str(&value.ok_or_else(|| {
                        exit::set_up(format!("the run value {{{name}}} is not known here"))
                    })?);
                }
            }
        }
        Ok(out)
    }
}

/// Where a variable may have its value from, but for its own table.
struct Sources<'a> {
    scenario: &'a ScenarioTable,
    point: &'a Point,
    given: &'a Given,
    preset: Option<&'a BTreeMap<toml::Spanned<String>, toml::Value>>,
}

impl Sources<'_> {
    /// Whether the plan itself gives a value.
    fn fix(&self, name: &str) -> bool {
        self.point.iter().any(|(axis, _)| axis == name)
            || self.scenario.set.contains_key(name)
            || self.preset.is_some_and(|preset| preset.contains_key(name))
    }

    /// The value of the highest rank.
    fn first(&self, name: &str, table: &EnvTable) -> Option<(String, Origin)> {
        let of_point = self.point.iter().find(|(axis, _)| axis == name);
        let [set, environment, file] = self.given.text(name);
        let default = table.default.as_ref().map(|value| plain(value.get_ref()));
        let found = [
            (set.cloned(), Origin::CommandLine),
            (of_point.map(|(_, text)| text.clone()), Origin::Point),
            (self.scenario.set.get(name).map(plain), Origin::Scenario),
            (
                self.preset.and_then(|preset| preset.get(name).map(plain)),
                Origin::Preset,
            ),
            (environment.cloned(), Origin::Environment),
            (file.cloned(), Origin::EnvFile),
            (self.scenario.defaults.get(name).map(plain), Origin::Default),
            (default, Origin::Default),
        ];
        found
            .into_iter()
            .find_map(|(text, origin)| Some((text?, origin)))
    }
}

fn missing(name: &str) -> anyhow::Error {
    exit::set_up(format!(
        "{name} is missing; give --set {name}=… or the environment variable {name}"
    ))
}
