//! What became of the faults that were injected while a run went on, and what follows from that.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::evidence::Folder;
use crate::series::window::Window;
use crate::suite::chaos::{After, ChaosTable, Kind};

/// The file with what became of them.
pub(crate) const FILE: &str = "chaos.json";

/// Why a fault was taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum End {
    /// It was never injected.
    #[default]
    Never,
    /// Its time was over.
    Held,
    /// The run was.
    RunEnded,
    /// A signal reached the runner.
    Interrupted,
    /// It could not be injected.
    Failed,
}

/// A fault, as it went. Instants are epoch ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// The instant that it was reckoned from.
    #[serde(default)]
    pub(crate) began_ms: Option<i64>,
    /// So long after that it was to begin, and so long to stay.
    #[serde(default)]
    pub(crate) at_ms: Option<i64>,
    #[serde(default)]
    pub(crate) hold_ms: Option<i64>,
    /// When the injection began, and when it was confirmed.
    pub(crate) inject_ms: Option<i64>,
    pub(crate) injected_ms: Option<i64>,
    /// When it began to be taken back, and when that was confirmed.
    pub(crate) undo_ms: Option<i64>,
    pub(crate) undone_ms: Option<i64>,
    /// So long after that the time still belongs to its window.
    pub(crate) settle_ms: i64,
    pub(crate) end: End,
    /// What went wrong.
    pub(crate) error: Option<String>,
    #[serde(flatten)]
    pub(crate) expected: Option<Expected>,
}

/// What became of what was expected.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Expected {
    pub(crate) first_after: After,
    /// From the instant that it is reckoned from to the first good answer, ms.
    pub(crate) first_good_ms: Option<f64>,
    /// To the last bad one; 0 where there was none.
    pub(crate) last_bad_ms: Option<f64>,
    pub(crate) asked: u64,
    pub(crate) bad: u64,
}

impl Fault {
    /// One that nothing has happened to yet.
    pub(crate) fn new(table: &ChaosTable, settle_ms: i64) -> Self {
        Self {
            id: table.id.get_ref().clone(),
            kind: table.kind,
            began_ms: None,
            at_ms: None,
            hold_ms: None,
            inject_ms: None,
            injected_ms: None,
            undo_ms: None,
            undone_ms: None,
            settle_ms,
            end: End::Never,
            error: None,
            expected: None,
        }
    }

    /// While it was there; `to_ms`: the end of the run, for one that has no end.
    fn window(&self, to_ms: i64) -> Option<Window> {
        let end = self.undone_ms.map(|undone| undone + self.settle_ms);
        Some(Window {
            from_ms: self.inject_ms?,
            to_ms: end.unwrap_or(to_ms).min(to_ms),
        })
    }
}

/// All faults of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// Those of stored evidence; none where there is no file.
    pub(crate) fn read(folder: &Folder) -> Self {
        let record = folder.json(FILE);
        let faults = record.and_then(|record| {
            let faults = record.get("faults")?.clone();
            serde_json::from_value(faults).ok()
        });
        Self(faults.unwrap_or_default())
    }

    /// As the file holds them.
    pub(crate) fn record(&self) -> Json {
        json!({ "schemaVersion": 1, "faults": self.0 })
    }

    /// The fault with this id.
    pub(crate) fn of(&self, id: &str) -> Option<&Fault> {
        self.0.iter().find(|fault| fault.id == id)
    }

    /// While each that was injected was there, with its id; `to_ms`: the end of the run.
    pub(crate) fn windows(&self, to_ms: i64) -> Vec<(&str, Window)> {
        let faults = self.0.iter();
        faults
            .filter_map(|fault| Some((fault.id.as_str(), fault.window(to_ms)?)))
            .collect()
    }

    /// What `chaos.ID.NAME` of a derived value takes.
    pub(crate) fn value(&self, path: &str) -> Option<f64> {
        let (id, name) = path.rsplit_once('.')?;
        let expected = self.of(id)?.expected.as_ref()?;
        match name {
            "firstGoodMs" => expected.first_good_ms,
            "lastBadMs" => expected.last_bad_ms,
            _ => None,
        }
    }
}
