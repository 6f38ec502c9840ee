//! Limits on what a target takes: recorded, and where they could not be applied as they are declared, told.

use barrier_procs::{Applied as How, Limited, Limits};
use serde_json::{Value as Json, json};

use crate::suite::schema::TargetTable;
use crate::values::exit;

/// The limits of a target that runs.
#[derive(Debug)]
pub(crate) struct Applied {
    target: String,
    wanted: Limits,
    limited: Limited,
}

/// Applies what the suite declares for a target whose program has just started.
///
/// # Errors
/// A limit is none; `validate` has seen that before.
pub(super) fn apply(table: &TargetTable, id: u32) -> anyhow::Result<Option<Applied>> {
    let Some(limits) = &table.limits else {
        return Ok(None);
    };
    let wanted = Limits {
        cpu_percent: limits.cpu_percent().map_err(exit::set_up)?,
        memory_bytes: limits.memory_bytes().map_err(exit::set_up)?,
    };
    Ok(Some(Applied {
        target: table.id.clone(),
        wanted,
        limited: Limited::apply(id, &table.id, wanted),
    }))
}

impl Applied {
    /// As `meta.json` holds it.
    pub(super) fn record(&self) -> Json {
        let by = |how: Option<&How>| how.map(words);
        json!({
            "cpuPercent": self.wanted.cpu_percent,
            "cpuBy": by(self.limited.cpu()),
            "memoryBytes": self.wanted.memory_bytes,
            "memoryBy": by(self.limited.memory()),
        })
    }

    /// What is not as it was declared.
    pub(super) fn labels(&self) -> Vec<String> {
        let target = &self.target;
        let cpu = self.limited.cpu().zip(self.wanted.cpu_percent);
        let cpu = cpu.filter(|(how, percent)| match how {
            How::Group => false,
            How::Processors(count) => count * 100 != *percent,
            _ => true,
        });
        let cpu = cpu.map(|(how, percent)| {
            format!(
                "target {target}: {percent} % of a processor was not applied as declared: {}",
                words(how)
            )
        });
        let memory = self.limited.memory();
        let memory = memory.filter(|how| matches!(how, How::Not(_)));
        let memory = memory.map(|how| {
            format!(
                "target {target}: the limit on its memory was not applied: {}",
                words(how)
            )
        });
        cpu.into_iter().chain(memory).collect()
    }
}

fn words(how: &How) -> String {
    match how {
        How::Group => "control group".to_owned(),
        How::Processors(1) => "1 whole processor".to_owned(),
        How::Processors(count) => format!("{count} whole processors"),
        How::Data => "size of the data of each process (RLIMIT_DATA)".to_owned(),
        How::Not(why) => format!("not applied: {why}"),
        _ => "unknown".to_owned(),
    }
}
