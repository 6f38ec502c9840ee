//! The search for those who are missing, in steps between which the server serves others.

use redis::{FromRedisValue, Script, ScriptInvocation, Value};

use crate::protocol::Missing;

use super::{Fields, Scripts, Unreadable};

/// How many ids are looked at in one step: a few milliseconds of the server's time.
const IDS_AT_ONCE: u32 = 1000;
/// How many in all: every process asks every few seconds while somebody waits.
const IDS_MAX: u32 = 100_000;

pub(super) fn script() -> Script {
    Script::new(include_str!("scripts/missing.lua"))
}

/// A search for those who are missing, in steps that hold nobody up.
#[derive(Debug)]
pub struct Search {
    limit: usize,
    from: Option<u32>,
    missing: Missing,
}

impl Search {
    /// For at most so many ids.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            from: Some(1),
            missing: Missing::default(),
        }
    }

    /// The next call, until there is none.
    #[must_use]
    pub fn next<'a>(&self, scripts: &'a Scripts) -> Option<ScriptInvocation<'a>> {
        let mut call = scripts.missing.prepare_invoke();
        call.key(scripts.keys.state())
            .arg(self.limit - self.missing.ids.len())
            .arg(self.from?)
            .arg(IDS_AT_ONCE);
        Some(call)
    }

    /// Takes its answer.
    ///
    /// # Errors
    /// Where the answer has another shape.
    pub fn take(&mut self, value: Value) -> Result<(), Unreadable> {
        let texts: Vec<String> =
            Vec::from_redis_value(value).map_err(|e| Unreadable(e.to_string()))?;
        let mut fields = Fields {
            texts: texts.iter(),
            at: 0,
        };
        self.missing.count = fields.parse()?;
        let next = fields.text()?;
        self.missing
            .ids
            .extend(fields.texts.map(|t| t.as_str().into()));
        self.from = next.parse().ok();
        let wanted = self.limit.min(self.missing.count as usize);
        if self.missing.ids.len() >= wanted {
            self.from = None;
        } else if self.from.is_some_and(|from| from > IDS_MAX) {
            // Some names and not the others would tell less than the number.
            self.from = None;
            self.missing.ids.clear();
        }
        Ok(())
    }

    /// What was found.
    #[must_use]
    pub fn found(self) -> Missing {
        self.missing
    }
}
