//! Suites of schema 1, as stored plans hold them: enough of them is read to judge and compare their runs.

use toml::Spanned;

use super::asked::AskedKind;
use super::schema::{File, RecordTable, Role};
use crate::values::template;
use crate::values::value::Kind;

/// The schema before this one.
pub(super) const SCHEMA: u32 = 1;

/// Says in the words of today what the runner of that time had built in.
pub(super) fn upgrade(file: &mut File) {
    let root = template::variables(file.evidence.root.get_ref())
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    for (name, table) in &mut file.env {
        let name = name.get_ref();
        // Addresses, files, what is secret and what belongs to an address, and the folder of the evidence.
        let place = matches!(table.kind, Kind::Url | Kind::Path)
            || table.secret
            || name.starts_with("REDIS_")
            || root.contains(name);
        if place {
            table.role = Role::Place;
        }
    }
    let word = |text: &str| Spanned::new(0..0, text.to_owned());
    if let Some(report) = &mut file.report {
        report.since = Some(word("openAtMs"));
        file.record.push(RecordTable {
            id: word("openAtMs"),
            kind: Spanned::new(0..0, AskedKind::Redis),
            source: word(""),
            statement: word(""),
            grows: false,
            title: Some("OPEN".to_owned()),
        });
    }
}
