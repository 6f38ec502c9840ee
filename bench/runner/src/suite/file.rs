//! Suite files: reading, and messages that name file, line and key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::locate::{locate, root_of};
use super::scenario::ScenarioTable;
use super::schema::{File, TargetTable};
use super::{check, schema1, secrets};
use crate::values::template::variables;
use crate::values::text::suggestion;
use crate::values::value::plain;
use crate::values::{exit, mask};

/// A suite file that has been read and checked.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The file, as it was named.
    pub(crate) path: PathBuf,
    /// The folder that paths in the file are relative to.
    pub(crate) root: PathBuf,
    /// Its content.
    pub(crate) file: File,
    /// Its text.
    pub(crate) text: String,
}

impl Suite {
    /// Finds and reads a suite: a path, or the name of a file in `bench/suites/`.
    ///
    /// # Errors
    /// There is no such file, or it is not a valid suite.
    pub(crate) fn load(name: &str) -> anyhow::Result<Self> {
        let path = locate(name)?;
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let suite = Self::parse(&path, &text)?;
        suite.check_beside()?;
        Ok(suite)
    }

    /// Whether compose files of its targets and templates of its documents hold what they should; stored evidence may lack them.
    fn check_beside(&self) -> anyhow::Result<()> {
        let composed = self.file.target.iter().filter_map(|t| t.compose.as_ref());
        let composed =
            composed.map(|table| (&table.file, table.look(&self.resolve(table.file.get_ref()))));
        let documents = self.file.report.iter().flat_map(|report| &report.document);
        let documents = documents.map(|table| {
            (
                &table.template,
                table.look(&self.resolve(table.template.get_ref())),
            )
        });
        composed.chain(documents).try_for_each(|(place, looked)| {
            looked.map_err(|why| located(&self.path, &self.text, Some(place.span()), &why))
        })
    }

    /// Reads a suite from its text.
    ///
    /// # Errors
    /// The text is not a valid suite.
    pub(crate) fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let mut suite = Self::read(path, text)?;
        if let Err(problem) = check::check(&suite.file) {
            return Err(located(path, text, Some(problem.span), &problem.text));
        }
        if suite.file.scenario.iter().any(ScenarioTable::is_alone) {
            suite.file.target.push(TargetTable::none());
        }
        Ok(suite)
    }

    /// Reads the copy of a suite that lies beside stored evidence, also one of an earlier schema: it was checked when its
    /// plan began.
    ///
    /// # Errors
    /// The text was never a valid suite.
    pub(crate) fn stored(path: &Path, text: &str) -> anyhow::Result<Self> {
        let mut suite = Self::read(path, text)?;
        if *suite.file.suite.schema.get_ref() == schema1::SCHEMA {
            schema1::upgrade(&mut suite.file);
            return Ok(suite);
        }
        Self::parse(path, text)
    }

    fn read(path: &Path, text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let message = explain(error.message());
            let key = error.span().and_then(|span| key_before(text, span.start));
            let message = match key {
                // A key that is not known has no value to be told of, but another one before it.
                Some(key)
                    if !message.starts_with("unknown key")
                        && !message.contains(&format!("`{key}`")) =>
                {
                    format!("`{key}`: {message}")
                }
                _ => message,
            };
            located(path, text, error.span(), &message)
        })?;
        let suite = Self {
            path: path.to_owned(),
            root: root_of(path)?,
            file,
            text: text.to_owned(),
        };
        mask::plain_words(secrets::words(&suite.file, text));
        // A default is a secret too, even where another value takes its place.
        for table in suite.file.env.values().filter(|table| table.secret) {
            if let Some(default) = &table.default {
                mask::register(&plain(default.get_ref()));
            }
        }
        Ok(suite)
    }

    /// The scenario with this id.
    ///
    /// # Errors
    /// There is none; the message lists those there are.
    pub(crate) fn scenario(&self, id: &str) -> anyhow::Result<&ScenarioTable> {
        self.file
            .scenario
            .iter()
            .find(|scenario| scenario.id.get_ref() == id)
            .ok_or_else(|| {
                let known: Vec<&str> = self
                    .file
                    .scenario
                    .iter()
                    .map(|scenario| scenario.id.get_ref().as_str())
                    .collect();
                exit::set_up(format!(
                    "unknown scenario `{id}`{}; allowed: {}",
                    suggestion(id, &known),
                    known.join(", ")
                ))
            })
    }

    /// The scenarios that an environment names, in the variable that the suite has for that.
    pub(crate) fn scenarios_of(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        let text = self.file.suite.scenario.as_ref();
        let name = text.and_then(|text| variables(text.get_ref()).first().copied());
        let value = name.and_then(|name| environment.get(name));
        value.map_or_else(Vec::new, |value| {
            value.split(',').map(str::to_owned).collect()
        })
    }

    /// A path of the file, absolute.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

fn located(path: &Path, text: &str, span: Option<Range<usize>>, message: &str) -> anyhow::Error {
    let place = span.map_or_else(String::new, |span| {
        let before = &text[..span.start.min(text.len())];
        format!(":{}", before.matches('\n').count() + 1)
    });
    exit::set_up(format!("{}{place}: {message}", path.display()))
}

/// The key whose value is at a place of the text.
fn key_before(text: &str, place: usize) -> Option<&str> {
    let line = text.get(..place)?.rsplit('\n').next()?;
    let (before, _) = line.rsplit_once('=')?;
    let key = before.trim_end().rsplit([' ', '{', ',']).next()?;
    Some(key).filter(|key| !key.is_empty())
}

/// Turns the parser's message about an unknown key into one that proposes the nearest known key.
fn explain(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match (message.starts_with("unknown field"), names.split_first()) {
        (true, Some((unknown, known))) => {
            format!(
                "unknown key `{unknown}`{}; allowed here: {}",
                suggestion(unknown, known),
                known.join(", ")
            )
        }
        // Of a closed list of values.
        (false, Some((unknown, known)))
            if message.starts_with("unknown variant") && !known.is_empty() =>
        {
            format!(
                "`{unknown}` is not known here{}; allowed: {}",
                suggestion(unknown, known),
                known.join(", ")
            )
        }
        _ => message.trim().to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::suite::schema::Role;

    const HEAD: &str = "[suite]\nschema = 2\nid = \"t\"\ntitle = \"T\"\norder = [\"smoke\"]\n\
        [evidence]\nroot = \"evidence\"\nfolder = \"{timestamp}/{branch}/{scenario}\"\n";

    /// A suite made of a fixed head and the given rest; the rest starts at line 9.
    pub(crate) fn suite(rest: &str) -> anyhow::Result<Suite> {
        Suite::parse(Path::new("suites/t.toml"), &format!("{HEAD}{rest}"))
    }

    const SCENARIO: &str = "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

    fn refused(rest: &str) -> String {
        suite(rest).expect_err("refused").to_string()
    }

    #[test]
    fn unknown_keys_and_tables_are_located() {
        let text = refused("[[scenario]]\nid = \"smoke\"\nscrpt = \"s.js\"\nlimit = \"30s\"\n");
        assert!(
            text.starts_with("suites/t.toml:11: unknown key `scrpt`, did you mean `script`?"),
            "{text}"
        );
        let text = refused(&format!("{SCENARIO}[[gates]]\nid = \"x\"\n"));
        assert!(
            text.starts_with("suites/t.toml:13: unknown key `gates`, did you mean `gate`?"),
            "{text}"
        );
        assert!(text.contains("allowed here: suite, env"), "{text}");
    }

    #[test]
    fn values_of_another_type_are_located_with_their_key() {
        for (more, line, expected) in [
            (
                "cycles = \"three\"\n",
                13,
                "`cycles`: invalid type: string \"three\"",
            ),
            ("cooldown = \"3\"\n", 13, "`cooldown`: not a duration: `3`"),
            (
                "plan = \"product\"\naxis = [{ env = \"VUS\", levels = 3 }]\n",
                14,
                "`levels`: invalid type: integer `3`",
            ),
            (
                "plan = \"stairs\"\n",
                13,
                "`plan`: `stairs` is not known here; allowed: single",
            ),
        ] {
            let text = refused(&format!("{SCENARIO}{more}"));
            assert!(
                text.starts_with(&format!("suites/t.toml:{line}: {expected}")),
                "{text}"
            );
        }
        let text = refused("[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"soon\"\n");
        assert!(
            text.starts_with("suites/t.toml:12: `limit`: not a duration: `soon`"),
            "{text}"
        );
    }

    #[test]
    fn references_are_checked() {
        let gate = |keys: &str| {
            format!("{SCENARIO}[[gate]]\nid = \"g\"\nclass = \"slo\"\nop = \"<\"\n{keys}")
        };
        let text = refused(&gate(
            "scenarios = [\"smok\"]\nmetric = \"m\"\nstat = \"count\"\nlimit = 1\n",
        ));
        assert!(
            text.starts_with("suites/t.toml:17:") && text.contains("`smok`, did you mean `smoke`?"),
            "{text}"
        );
        let text = refused(&gate(
            "metric = \"http_req_failed\"\nstat = \"avg\"\nlimit = 1\n",
        ));
        assert!(
            text.starts_with("suites/t.toml:18:") && text.contains("a rate has no `avg`"),
            "{text}"
        );
        let text = refused(&gate(
            "metric = \"m\"\nstat = \"count\"\nlimit = \"${NOPE}\"\n",
        ));
        assert!(
            text.starts_with("suites/t.toml:19:") && text.contains("NOPE"),
            "{text}"
        );
        for (keys, line, expected) in [
            (
                "metric = \"m\"\nstat = \"count\"\nlimit = \"fast\"\n",
                19,
                "`fast` is not a number",
            ),
            (
                "metric = \"m\"\nstat = \"count\"\nlimit = nan\n",
                19,
                "must be a number",
            ),
            (
                "metric = \"m\"\nstat = \"count\"\nlimit = 1\nmin_samples = 0\n",
                20,
                "at least 1",
            ),
            (
                "metric = \"m\"\nstat = \"count\"\nlimit = \"${NAME}\"\n[env.NAME]\ntype = \"string\"\n",
                19,
                "NAME holds no number",
            ),
            (
                "metric = \"d\"\nstat = \"value\"\nlimit = 1\nabsent = 0\n[[derive]]\nid = \"d\"\nhow = \"copy\"\nfrom = [\"summary.state.x\"]\n",
                17,
                "takes no `absent`",
            ),
            (
                "metric = \"d\"\nstat = \"value\"\nlimit = 1\n[[derive]]\nid = \"d\"\nhow = \"copy\"\nfrom = [\"machine.heat\"]\n",
                23,
                "nothing measures machine.heat",
            ),
        ] {
            let text = refused(&gate(keys));
            assert!(
                text.starts_with(&format!("suites/t.toml:{line}:")) && text.contains(expected),
                "{expected}: {text}"
            );
        }
        for metric in [
            "http_req_failed{step:login}",
            "http_req_ours",
            "checks{a:b}",
        ] {
            suite(&gate(&format!(
                "metric = \"{metric}\"\nstat = \"rate\"\nlimit = 1\n"
            )))
            .expect("a rate, by tag as well");
        }
        let text = refused("[[scenario]]\nid = \"other\"\nscript = \"s.js\"\nlimit = \"30s\"\n");
        assert!(
            text.starts_with("suites/t.toml:5:") && text.contains("smoke"),
            "{text}"
        );
        let text = refused(&format!("{SCENARIO}set = {{ VUS = 1 }}\n"));
        assert!(
            text.starts_with("suites/t.toml:13:") && text.contains("VUS"),
            "{text}"
        );
    }

    #[test]
    fn cleaning_cannot_leave_its_events() {
        let clean = |scope: &str| {
            format!(
                "{SCENARIO}[env.IDS]\ntype = \"list\"\n[each]\nevent = \"${{IDS}}\"\n[[clean]]\nid = \"c\"\nkind = \"redis\"\nwhen = \"before_run\"\ntarget = \"redis://h\"\nscope = [\"{scope}\"]\n"
            )
        };
        for scope in [
            "WAITING",
            "WAITING_QUEUE_IDX[x]",
            "WAITING:*",
            "A[{event}",
            "{event}",
            "A:{earlier_run}:{event}",
            "A[{earlier_run}]",
            "A[{event}]={earlier_run}",
            "A:{scenario}",
        ] {
            let text = refused(&clean(scope));
            assert!(text.starts_with("suites/t.toml:22:"), "{scope}: {text}");
        }
        for scope in ["WAITING:{event}", "IDX[{event}]", "SLOTS[{event}]=5"] {
            suite(&clean(scope)).expect(scope);
        }
        let statement = clean("A:{event}") + "statements = [\"FLUSHALL\"]\n";
        assert!(refused(&statement).contains("FLUSHALL"));
    }

    #[test]
    fn another_schema_is_refused_and_the_one_before_says_what_has_changed() {
        for (schema, expected) in [
            (3, "schema 3 is not known; allowed: 2"),
            (
                1,
                "schema 1 is of an earlier runner; allowed: 2; a suite now says itself",
            ),
        ] {
            let text = HEAD.replace("schema = 2", &format!("schema = {schema}"));
            let told = Suite::parse(Path::new("t.toml"), &text)
                .expect_err("refused")
                .to_string();
            assert!(told.starts_with(&format!("t.toml:2: {expected}")), "{told}");
        }
    }

    #[test]
    fn a_stored_suite_of_the_schema_before_has_its_places() {
        let text = format!("{HEAD}{SCENARIO}[report]\nformats = []\nsections = []\n")
            .replace("schema = 2", "schema = 1")
            .replace("root = \"evidence\"", "root = \"${ROOT}\"");
        let variables = "[env.ROOT]\ntype = \"string\"\n[env.BASE_URL]\ntype = \"url\"\n[env.REDIS_USERNAME]\ntype = \"string\"\n\
            [env.PASSWORD]\ntype = \"string\"\nsecret = true\n[env.USERS]\ntype = \"int\"\n";
        let text = format!("{text}{variables}");
        let suite = Suite::stored(Path::new("t.toml"), &text).expect("a stored suite");
        let parameters = suite
            .file
            .env
            .iter()
            .filter(|(_, table)| table.role == Role::Parameter);
        let parameters: Vec<&str> = parameters
            .map(|(name, _)| name.get_ref().as_str())
            .collect();
        assert_eq!(parameters, ["USERS"]);
        let since = suite.file.since().expect("what charts count from");
        assert_eq!(since.id.get_ref(), "openAtMs");
    }

    #[test]
    fn values_have_names_that_can_be_computed_in_the_order_of_the_file() {
        let env = "[env.A]\ntype = \"int\"\ndefault = \"{b}\"\n[env.LIST]\ntype = \"list\"\n";
        for (rest, line, expected) in [
            ("[computed]\nx = \"1 +\"\n", 19, "syntax error"),
            (
                "[computed]\nx = \"LSIT|length\"\n",
                19,
                "`LSIT`, did you mean `LIST`?",
            ),
            (
                "[computed]\nx = \"y\"\ny = \"1\"\n",
                19,
                "`y` is not computed before it",
            ),
            (
                "[computed]\nx = \"x + 1\"\n",
                19,
                "`x` is not computed before it",
            ),
            (
                "[computed]\nb = \"A + 1\"\n",
                19,
                "`b` takes A, which may need {b}",
            ),
            (
                "[computed]\nUp = \"1\"\n",
                19,
                "a computed value has a lower-case name",
            ),
            (
                "[computed]\nlabel = \"1\"\n",
                19,
                "`label` has another meaning",
            ),
            (
                "[[require]]\nthat = \"C > 1\"\nsay = \"\"\n",
                19,
                "no variable, run value or computed value `C`",
            ),
            (
                "[[require]]\nthat = \"A > 1\"\nsay = \"{c}\"\n",
                20,
                "no run value `{c}` here",
            ),
            (
                "[env.C]\ntype = \"int\"\nbecomes = \"A\"\n[computed]\nb = \"1\"\n",
                20,
                "`becomes` takes A, which may need {b}",
            ),
            (
                "[env.C]\ntype = \"url\"\nbecomes = \"C\"\n",
                20,
                "a secret or an address stays as it is",
            ),
            ("[each]\nitem = \"${A}\"\n", 19, "A is not of type list"),
            (
                "[each]\nitem = \"x${LIST}\"\n",
                19,
                "one variable, as in \"${NAME}\"",
            ),
            ("[preset.p]\nA = 1\n", 18, "nothing chooses a preset"),
            (
                "[[record]]\nid = \"r\"\nkind = \"redis\"\nsource = \"redis://h\"\nstatement = \"DEL x\"\n",
                22,
                "only commands that read",
            ),
            (
                "[[meta]]\nid = \"verdict\"\ntext = \"PASS\"\n",
                19,
                "`verdict` is a field that the runner writes itself",
            ),
            (
                "[[meta]]\nid = \"m\"\n",
                19,
                "needs either `text` or `value`",
            ),
        ] {
            // A needs a value that the case may lack.
            let b = if rest.contains("b = ") {
                ""
            } else {
                "[computed]\nb = \"1\"\n"
            };
            let merged = match rest.strip_prefix("[computed]\n") {
                Some(more) if b.is_empty() => format!("[computed]\n{more}"),
                Some(more) => format!("[computed]\n{more}b = \"1\"\n"),
                None => format!("{rest}{b}"),
            };
            let text = refused(&format!("{SCENARIO}{env}{merged}"));
            assert!(
                text.starts_with(&format!("suites/t.toml:{line}: ")) && text.contains(expected),
                "{rest}: {text}"
            );
        }
    }

    #[test]
    fn a_preset_gives_values_that_its_variables_may_have() {
        let env =
            "[env.KIND]\ntype = \"string\"\nallowed = [\"big\"]\n[env.USERS]\ntype = \"int\"\n";
        let choosing = |rest: &str| {
            let head = HEAD.replace("[evidence]", "preset = \"${KIND}\"\n[evidence]");
            Suite::parse(Path::new("t.toml"), &format!("{head}{SCENARIO}{env}{rest}"))
                .map(drop)
                .map_err(|error| error.to_string())
        };
        choosing("[preset.big]\nUSERS = 5\n").expect("valid");
        for (rest, expected) in [
            ("[preset.bigg]\nUSERS = 5\n", "did you mean `big`?"),
            (
                "[preset.big]\nUSERS = \"many\"\n",
                "allowed: a whole number",
            ),
            (
                "[preset.big]\nUSRES = 5\n",
                "no table [env.USRES], did you mean `USERS`?",
            ),
            ("[preset.big]\nKIND = \"big\"\n", "cannot be in one"),
        ] {
            let text = choosing(rest).expect_err("refused");
            assert!(text.contains(expected), "{rest}: {text}");
        }
    }
}
