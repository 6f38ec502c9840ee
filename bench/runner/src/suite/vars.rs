//! Variables of a run: typed, checked, with a known origin.
//!
//! `${NAME}` in a suite file takes a variable, `{name}` takes a run value (something the runner knows or computes).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Suite;
use super::given::Given;
use super::scenario::ScenarioTable;
use super::schema::{EnvTable, Kind};
use crate::values::exit;
use crate::values::mask;

/// A typed value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

/// As the harness reads it: lists are joined by commas.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// Where a value comes from; a later one of this list never replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    CommandLine,
    /// A point of the plan.
    Point,
    Scenario,
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
    /// Defaults that wait for run values.
    pending: BTreeMap<String, (String, Kind, Origin)>,
}

/// Values by lower-case name for `{name}`.
pub(crate) type RunValues = BTreeMap<&'static str, String>;

/// The values that a point of a plan gives to variables, in the order of the suite file.
pub(crate) type Point = Vec<(String, String)>;

impl Vars {
    /// Resolves the declared variables for a point of a scenario: command line, point, scenario, environment, environment
    /// file, default. An empty value counts as not given.
    ///
    /// # Errors
    /// An unknown `--set` name, one that the point sets, a value of the wrong type, or one that is not allowed.
    pub(crate) fn resolve(
        suite: &Suite,
        scenario: &ScenarioTable,
        point: &Point,
        given: &Given,
    ) -> anyhow::Result<Self> {
        for name in given.set.keys() {
            if !suite.file.env.contains_key(name.as_str()) {
                let known: Vec<&str> = suite
                    .file
                    .env
                    .keys()
                    .map(|key| key.get_ref().as_str())
                    .collect();
                return Err(exit::set_up(format!(
                    "--set {name}: the suite declares no such variable{}; declared: {}",
                    super::suggestion(name, &known),
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
        let mut vars = Self::default();
        for (name, table) in &suite.file.env {
            let name = name.get_ref();
            if table.secret {
                vars.secret.insert(name.clone());
            }
            let of_point = point.iter().find(|(axis, _)| axis == name);
            let [set, environment, file] = given.text(name);
            let found = [
                (set.cloned(), Origin::CommandLine),
                (of_point.map(|(_, text)| text.clone()), Origin::Point),
                (scenario.set.get(name.as_str()).map(plain), Origin::Scenario),
                (environment.cloned(), Origin::Environment),
                (file.cloned(), Origin::EnvFile),
                (
                    table.default.as_ref().map(|value| plain(value.get_ref())),
                    Origin::Default,
                ),
            ];
            let first = found
                .into_iter()
                .find_map(|(text, origin)| Some((text?, origin)));
            if let Some((text, origin)) = first {
                vars.resolve_one(name, table, text, origin)?;
            }
        }
        Ok(vars)
    }

    /// The variables of a run whose evidence holds them.
    ///
    /// # Errors
    /// A stored value is not of the type that the suite declares.
    pub(crate) fn restore<'a>(
        suite: &Suite,
        stored: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> anyhow::Result<Self> {
        let mut vars = Self::default();
        for (name, text) in stored {
            if let Some(table) = suite.file.env.get(name) {
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
        text: String,
        origin: Origin,
    ) -> anyhow::Result<()> {
        let written = matches!(origin, Origin::Default | Origin::Scenario);
        if written && text.contains('{') {
            // A value with placeholders is counted as computed, a scenario's own outranks all but the command line.
            let origin = if origin == Origin::Default {
                Origin::Computed
            } else {
                origin
            };
            self.pending
                .insert(name.to_owned(), (text, table.kind, origin));
            return Ok(());
        }
        if self.secret.contains(name) {
            mask::register(&text);
        }
        let value = parse(name, table.kind, &text)?;
        if let Some(allowed) = &table.allowed {
            let allowed: Vec<String> = allowed.iter().map(plain).collect();
            if !allowed.contains(&value.to_string()) {
                return Err(exit::set_up(format!(
                    "{name}={value} is not allowed; allowed: {}",
                    allowed.join(", ")
                )));
            }
        }
        if let (Kind::Url, Ok(address)) = (table.kind, url::Url::parse(&text))
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
        self.values
            .entry(name.to_owned())
            .or_insert((value, origin));
    }

    /// Gives a variable another value, whoever gave the one it has.
    pub(crate) fn replace(&mut self, name: &str, value: Value) {
        self.values
            .insert(name.to_owned(), (value, Origin::Computed));
    }

    /// Fills the defaults that take run values, as far as these are known.
    ///
    /// # Errors
    /// The filled text has the wrong type.
    pub(crate) fn fill(&mut self, run: &RunValues) -> anyhow::Result<()> {
        for (name, (text, kind, origin)) in std::mem::take(&mut self.pending) {
            match self.expand(&text, run) {
                Ok(filled) => {
                    let value = parse(&name, kind, &filled)?;
                    self.values.insert(name, (value, origin));
                }
                Err(_) => {
                    self.pending.insert(name, (text, kind, origin));
                }
            }
        }
        Ok(())
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

    /// Replaces `${NAME}` and `{name}`.
    ///
    /// # Errors
    /// A name has no value, or a brace is not closed.
    pub(crate) fn expand(&self, text: &str, run: &RunValues) -> anyhow::Result<String> {
        let mut out = String::new();
        for part in parts(text).map_err(exit::set_up)? {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(name) => {
                    out.push_str(&self.text(name).ok_or_else(|| missing(name))?);
                }
                Part::RunValue(name) => {
                    let value = run.get(name).ok_or_else(|| {
                        exit::set_up(format!("the run value {{{name}}} is not known here"))
                    })?;
                    out.push_str(value);
                }
            }
        }
        Ok(out)
    }
}

fn missing(name: &str) -> anyhow::Error {
    exit::set_up(format!(
        "{name} is missing; give --set {name}=… or the environment variable {name}"
    ))
}

/// A piece of a text with placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
    RunValue(&'a str),
}

/// Splits a text at its placeholders.
///
/// # Errors
/// A brace is not closed or holds no name.
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest[open..]
            .find('}')
            .ok_or_else(|| format!("`{text}`: a brace is not closed"))?
            + open;
        let name = &rest[open + 1..close];
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{text}`: `{{{name}}}` holds no name"));
        }
        let variable = rest[..open].ends_with('$');
        let before = &rest[..if variable { open - 1 } else { open }];
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(if variable {
            Part::Variable(name)
        } else {
            Part::RunValue(name)
        });
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// A TOML value as it would be typed by hand.
pub(crate) fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Reads a value of a type.
///
/// # Errors
/// The text is not of that type; the message names the variable and, unless it may hold a password, the text.
pub(crate) fn parse(name: &str, kind: Kind, text: &str) -> anyhow::Result<Value> {
    let text = text.trim();
    let wrong = |shown: &str, allowed: &str| {
        exit::set_up(format!("{name}: received `{shown}`; allowed: {allowed}"))
    };
    Ok(match kind {
        Kind::Int => Value::Int(text.parse().map_err(|_| wrong(text, "a whole number"))?),
        Kind::Float => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            Value::Float(number.ok_or_else(|| wrong(text, "a number"))?)
        }
        Kind::String => Value::Text(text.to_owned()),
        Kind::Url => match url::Url::parse(text) {
            Ok(address) if address.has_host() => Value::Text(text.trim_end_matches('/').to_owned()),
            _ => {
                return Err(wrong(
                    &mask::masked_address(text),
                    "an address with scheme and one host, as in http://localhost:8080",
                ));
            }
        },
        Kind::Path => Value::Text(
            std::path::absolute(text)
                .map_err(|_| wrong(text, "the path of a file"))?
                .display()
                .to_string(),
        ),
        Kind::List => {
            let mut items: Vec<String> = Vec::new();
            for item in text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
            {
                if !items.iter().any(|known| known == item) {
                    items.push(item.to_owned());
                }
            }
            Value::List(items)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    fn resolve(
        env: &str,
        scenario: &str,
        set: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Vars> {
        let suite = suite(&format!("{env}\n{scenario}")).expect("suite");
        let own = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let given = Given {
            set: own(set),
            environment: own(environment),
            file: BTreeMap::new(),
        };
        Vars::resolve(&suite, &suite.file.scenario[0], &Point::new(), &given)
    }

    const SCENARIO: &str = "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

    #[test]
    fn command_line_wins_then_scenario_then_environment_then_default() {
        let env = "[env.VUS]\ntype = \"int\"\ndefault = 1";
        let with_set = format!("{SCENARIO}set = {{ VUS = 3 }}");
        let value = |scenario: &str, set: &[(&str, &str)], environment: &[(&str, &str)]| {
            let vars = resolve(env, scenario, set, environment).expect("vars");
            (
                vars.int("VUS").expect("int"),
                vars.origin("VUS").expect("origin"),
            )
        };
        assert_eq!(
            value(&with_set, &[("VUS", "4")], &[("VUS", "2")]),
            (4, Origin::CommandLine)
        );
        assert_eq!(
            value(&with_set, &[], &[("VUS", "2")]),
            (3, Origin::Scenario)
        );
        assert_eq!(
            value(SCENARIO, &[], &[("VUS", "2")]),
            (2, Origin::Environment)
        );
        assert_eq!(value(SCENARIO, &[], &[("VUS", " ")]), (1, Origin::Default));
    }

    #[test]
    fn wrong_values_name_the_variable_and_what_is_allowed() {
        let text = |env: &str, set: (&str, &str)| {
            resolve(env, SCENARIO, &[set], &[])
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            text("[env.VUS]\ntype = \"int\"", ("VUS", "many")),
            "VUS: received `many`; allowed: a whole number"
        );
        let clean = "[env.AGGRESSIVE_CLEAN]\ntype = \"int\"\nallowed = [0]";
        assert_eq!(
            text(clean, ("AGGRESSIVE_CLEAN", "1")),
            "AGGRESSIVE_CLEAN=1 is not allowed; allowed: 0"
        );
        let unknown = text("[env.VUS]\ntype = \"int\"", ("VSU", "1"));
        assert!(
            unknown.contains("--set VSU") && unknown.contains("did you mean `VUS`?"),
            "{unknown}"
        );
        let address = text(
            "[env.REDIS_URL]\ntype = \"url\"",
            ("REDIS_URL", "redis://a:pw@[x"),
        );
        assert!(
            !address.contains("pw") && address.contains("REDIS_URL"),
            "{address}"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let env =
            "[env.REDIS_URL]\ntype = \"url\"\n[env.PASSWORD]\ntype = \"string\"\nsecret = true";
        let vars = resolve(
            env,
            SCENARIO,
            &[
                ("REDIS_URL", "redis://u:topsecret1@h:1/2"),
                ("PASSWORD", "topsecret2"),
            ],
            &[],
        )
        .expect("vars");
        assert_eq!(
            vars.shown("REDIS_URL").as_deref(),
            Some("redis://u:***@h:1/2")
        );
        assert_eq!(vars.shown("PASSWORD").as_deref(), Some("***"));
        assert!(vars.is_secret("REDIS_URL"));
    }

    #[test]
    fn lists_are_trimmed_and_unique() {
        let vars = resolve(
            "[env.EVENT_IDS]\ntype = \"list\"",
            SCENARIO,
            &[("EVENT_IDS", " a ,,b,a ")],
            &[],
        )
        .expect("vars");
        assert_eq!(vars.list("EVENT_IDS").expect("list"), ["a", "b"]);
        let empty = resolve(
            "[env.EVENT_IDS]\ntype = \"list\"",
            SCENARIO,
            &[],
            &[("EVENT_IDS", "")],
        )
        .expect("vars");
        assert!(
            empty
                .list("EVENT_IDS")
                .expect_err("missing")
                .to_string()
                .contains("EVENT_IDS")
        );
    }

    #[test]
    fn computed_defaults_wait_for_run_values() {
        let env = "[env.A]\ntype = \"int\"\ndefault = \"{sse_timeout_ms}\"";
        let mut vars = resolve(env, SCENARIO, &[], &[]).expect("vars");
        assert_eq!(vars.get("A"), None);
        vars.fill(&RunValues::from([("sse_timeout_ms", "7".to_owned())]))
            .expect("fill");
        assert_eq!(
            (vars.get("A"), vars.origin("A")),
            (Some(&Value::Int(7)), Some(Origin::Computed))
        );
    }

    #[test]
    fn placeholders_are_split() {
        let expected = vec![
            Part::Text("a/"),
            Part::RunValue("b"),
            Part::Text("-"),
            Part::Variable("C_1"),
        ];
        assert_eq!(parts("a/{b}-${C_1}"), Ok(expected));
        assert!(parts("{open").is_err());
        assert!(parts("{}").is_err());
    }
}
