//! Who is missing, and what is kept of that when the barrier is over.

use std::collections::HashMap;

use crate::ids::{Participant, Phase};
use crate::protocol::{Missing, StoreTime};

use super::{MemoryStore, Record};

/// Of a barrier that is over, so many missing ones are named at most, out of so many ids: nobody may wait for the search.
const MISSED_KEPT: usize = 1000;
const MISSED_LOOKED_AT: u32 = 100_000;

impl MemoryStore {
    /// Who has no outcome in the open phase and has not left: how many, and the first `limit` where they can be named.
    #[must_use]
    pub fn missing(&self, limit: usize) -> Missing {
        let mut missing = Missing::default();
        let mut from = Some(1);
        while let Some(first) = from {
            from = self.missing_from(first, limit, u32::MAX, &mut missing);
        }
        missing
    }

    /// The same in steps: looks at so many ids from the first one, and says where to go on. What changes in between shows in
    /// the ids that are looked at later.
    pub fn missing_from(
        &self,
        first: u32,
        limit: usize,
        looked_at: u32,
        missing: &mut Missing,
    ) -> Option<u32> {
        let record = self.record.as_ref()?;
        let Some(parties) = record.options.parties.fixed() else {
            missing.count = record.owing(StoreTime(0));
            return None; // nobody knows here who runs
        };
        missing.count = parties.saturating_sub(record.counts.accounted());
        // After the end of a one-shot barrier its own phase is spoken of, not one that never comes.
        let phase = record.spoken_of();
        if record.unnameable {
            missing.ids.clear();
            return None;
        }
        if let Some(missed) = &record.missed {
            let ids = missed.iter().map(u32::to_string);
            let missed = ids.filter(|id| record.is_missed(id, phase));
            missing.ids.clear(); // of the steps before it retired
            missing.ids.extend(missed.take(limit).map(Into::into));
            return None;
        }
        let last = parties.min(first.saturating_add(looked_at - 1));
        for n in first..=last {
            if missing.ids.len() >= limit.min(missing.count as usize) {
                return None;
            }
            let id = n.to_string();
            if record.is_missed(&id, phase) {
                missing.ids.push(id.into());
            }
        }
        (last < parties).then(|| last + 1)
    }

    /// The barrier is over: forgets its participants, whose ledger answers for them, but for some who were missing.
    pub fn retire(&mut self) {
        let mut missing = Missing::default();
        self.missing_from(1, MISSED_KEPT, MISSED_LOOKED_AT, &mut missing);
        if let Some(record) = &mut self.record {
            record.missed = Some(
                missing
                    .ids
                    .iter()
                    .filter_map(|id| id.parse().ok())
                    .collect(),
            );
            record.participants = HashMap::new();
            record.leaves = HashMap::new();
        }
    }
}

impl Record {
    fn is_missed(&self, id: &str, phase: Phase) -> bool {
        Participant::new(id).is_ok_and(|id| !self.is_accounted_for(&id, phase))
    }
}
