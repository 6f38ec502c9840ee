//! One value that a server is asked for: of Redis, PostgreSQL, or an address.

use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;

use crate::run::page::Page;
use crate::run::redis::access::Access;
use crate::run::redis::client::Server;
use crate::run::sql::client::{Database, Pause};
use crate::suite::Suite;
use crate::suite::asked::{AskedKind, DrainTable};
use crate::suite::schema::RecordTable;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exposition::{Selector, samples};
use crate::values::number::as_written;
use crate::values::place::at;

/// For a statement that ought to be answered at once.
const LIMIT: Duration = Duration::from_secs(30);

/// Who is asked for what, as a suite says it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// Who asks, for errors.
    what: &'a str,
    kind: AskedKind,
    source: &'a Spanned<String>,
    statement: &'a Spanned<String>,
}

impl<'a> From<&'a DrainTable> for Question<'a> {
    fn from(table: &'a DrainTable) -> Self {
        Self {
            what: table.id.get_ref(),
            kind: table.kind,
            source: &table.source,
            statement: &table.statement,
        }
    }
}

impl<'a> From<&'a RecordTable> for Question<'a> {
    fn from(table: &'a RecordTable) -> Self {
        Self {
            what: table.id.get_ref(),
            kind: *table.kind.get_ref(),
            source: &table.source,
            statement: &table.statement,
        }
    }
}

impl Question<'_> {
    /// The answer; `None` where there is no such value. `run`: what only this run knows.
    ///
    /// # Errors
    /// A variable is missing, the suite does not allow the server, it does not answer, or `pause` fails.
    pub(super) fn ask(
        self,
        suite: &Suite,
        vars: &Vars,
        run: &RunValues,
        pause: Pause<'_>,
    ) -> anyhow::Result<Option<Json>> {
        let mut known = run.clone();
        if let Some(address) = vars.text("BASE_URL") {
            known.insert("address", address);
        }
        let source = vars.expand(self.source.get_ref(), &known)?;
        suite.allow_now(self.what, &source)?;
        let text = || vars.expand(self.statement.get_ref(), &known);
        match self.kind {
            AskedKind::Redis => {
                let mut server = Server::connect(&Access::new(&source, vars)?)?;
                let text = text()?;
                let words: Vec<&str> = text.split_whitespace().collect();
                let reply = server.ask(&words, &mut Vec::new())?;
                let number = reply.parse::<i64>().map(Json::from);
                Ok((reply != "(nil)").then(|| number.unwrap_or_else(|_| reply.into())))
            }
            AskedKind::Sql => {
                let database = Database::new(suite, self.what, &source)?;
                one(&database.rows(&text()?, LIMIT, pause)?)
            }
            AskedKind::Http => {
                let page = Page::new(source);
                let text = of(&page, 200..300)?;
                let answer: Json = serde_json::from_str(&text)
                    .map_err(|why| anyhow::anyhow!("GET {}: no JSON: {why}", page.address()))?;
                let found = at(&answer, &vars.expand(self.statement.get_ref(), &known)?);
                Ok(found.filter(|found| !found.is_null()).cloned())
            }
            AskedKind::Prom => {
                let page = Page::new(source);
                let text = of(&page, 200..201)?;
                let told = |why: String| anyhow::anyhow!("GET {}: {why}", page.address());
                let selector = Selector::parse(self.statement.get_ref()).map_err(told)?;
                let samples = samples(&text, |name| name == selector.name()).map_err(told)?;
                Ok(selector.value(&samples).map_err(told)?.map(as_written))
            }
        }
    }
}

/// The text of an address that answers with one of these.
fn of(page: &Page, good: std::ops::Range<u16>) -> anyhow::Result<String> {
    let (status, text) = page.read().map_err(anyhow::Error::msg)?;
    anyhow::ensure!(
        good.contains(&status),
        "GET {}: status {status}, expected {}",
        page.address(),
        if good.len() == 1 { "200" } else { "200 to 299" }
    );
    Ok(text)
}

/// The one value of the one row.
fn one(rows: &[Json]) -> anyhow::Result<Option<Json>> {
    let columns = rows.first().and_then(Json::as_object);
    match (rows, columns) {
        ([], _) => Ok(None),
        ([_], Some(columns)) if columns.len() == 1 => {
            let value = columns.values().next().cloned();
            Ok(value.filter(|value| !value.is_null()))
        }
        _ => anyhow::bail!(
            "the answer has {} rows of {} columns; allowed: one row with one column",
            rows.len(),
            columns.map_or(0, serde_json::Map::len)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_value() {
        let rows = |text: &str| serde_json::from_str::<Vec<Json>>(text).expect("rows");
        for (text, expected) in [
            ("[]", None),
            (r#"[{"n":null}]"#, None),
            (r#"[{"n":3}]"#, Some(Json::from(3))),
        ] {
            assert_eq!(one(&rows(text)).expect("one"), expected, "{text}");
        }
        for text in [r#"[{"a":1,"b":2}]"#, r#"[{"a":1},{"a":2}]"#] {
            let why = one(&rows(text)).expect_err(text).to_string();
            assert!(why.contains("allowed: one row with one column"), "{why}");
        }
    }
}
