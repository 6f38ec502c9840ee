//! Outcomes of a barrier that is over: nothing changes them any more, so that a few bytes each are enough.

use std::collections::HashMap;

use crate::ids::{Participant, Phase, Reason};
use crate::ledger::Answered;
use crate::protocol::Outcome;

/// Every so many outcomes the place of one is known; those between are found by walking.
const STRIDE: usize = 16;

/// One participant's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) outcome: Outcome,
    pub(crate) index: u32,
    pub(crate) phase: Phase,
    /// Whose call it was, of an arrival.
    pub(crate) owner: Option<u64>,
}

impl Kept {
    /// What a repeat is told.
    pub(crate) fn answer(&self) -> Answered {
        Answered {
            outcome: self.outcome.clone(),
            index: self.index,
            phase: self.phase,
            first: false,
        }
    }
}

/// Outcomes by participant, sorted and packed.
#[derive(Debug, Default)]
pub(crate) struct Keepsake {
    /// Of each participant: its id, the kind of its outcome, the reason, the index, the phase, the owner.
    records: Box<[u8]>,
    /// Where every sixteenth record begins.
    marks: Box<[usize]>,
    reasons: Box<[Reason]>,
}

impl Keepsake {
    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        self.records.len() + size_of_val(&*self.marks)
    }

    /// The same with more outcomes.
    pub(crate) fn with(&self, more: impl Iterator<Item = (Participant, Kept)>) -> Self {
        let mut all: Vec<(Participant, Kept)> = self.iter().chain(more).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        let mut reasons = Vec::new();
        let mut numbers: HashMap<Reason, u64> = HashMap::new();
        let mut records = Vec::new();
        let mut marks = Vec::new();
        for (at, (participant, kept)) in all.iter().enumerate() {
            if at % STRIDE == 0 {
                marks.push(records.len());
            }
            let (kind, reason) = match &kept.outcome {
                Outcome::Arrived => (0, 0),
                Outcome::Late => (1, 0),
                Outcome::Left => (2, 0),
                Outcome::Failed(reason) => {
                    let number = *numbers.entry(reason.clone()).or_insert_with(|| {
                        reasons.push(reason.clone());
                        reasons.len() as u64 - 1
                    });
                    (3, number)
                }
            };
            let id = participant.as_str().as_bytes();
            put(&mut records, id.len() as u64);
            records.extend_from_slice(id);
            let owner = kept.owner.map_or(0, |owner| owner.saturating_add(1));
            for number in [kind, reason, kept.index.into(), kept.phase.0.into(), owner] {
                put(&mut records, number);
            }
        }
        Self {
            records: records.into(),
            marks: marks.into(),
            reasons: reasons.into(),
        }
    }

    /// The outcome of a participant.
    pub(crate) fn get(&self, participant: &Participant) -> Option<Kept> {
        let wanted = participant.as_str();
        let id_at = |mark: &usize| Walk::from(self, *mark).id();
        let after = self
            .marks
            .partition_point(|mark| id_at(mark).is_some_and(|id| id <= wanted));
        let mut walk = Walk::from(self, *self.marks.get(after.checked_sub(1)?)?);
        for _ in 0..STRIDE {
            let (id, kept) = walk.next()?;
            if id == wanted {
                return Some(kept);
            }
        }
        None
    }

    fn iter(&self) -> impl Iterator<Item = (Participant, Kept)> {
        Walk::from(self, 0).filter_map(|(id, kept)| Some((Participant::new(id).ok()?, kept)))
    }
}

/// Seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

/// Reads records one after another.
struct Walk<'a> {
    of: &'a Keepsake,
    at: usize,
}

impl<'a> Walk<'a> {
    const fn from(of: &'a Keepsake, at: usize) -> Self {
        Self { of, at }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.of.records.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn id(mut self) -> Option<&'a str> {
        self.text()
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.number()?).ok()?;
        let bytes = self.of.records.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        std::str::from_utf8(bytes).ok()
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a str, Kept);

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.text()?;
        let (kind, reason) = (self.number()?, usize::try_from(self.number()?).ok()?);
        let (index, phase) = (self.number()?, self.number()?);
        let owner = self.number()?;
        let outcome = match kind {
            0 => Outcome::Arrived,
            1 => Outcome::Late,
            2 => Outcome::Left,
            _ => Outcome::Failed(self.of.reasons.get(reason)?.clone()),
        };
        let kept = Kept {
            outcome,
            index: u32::try_from(index).ok()?,
            phase: Phase(u32::try_from(phase).ok()?),
            owner: owner.checked_sub(1),
        };
        Some((id, kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(n: u32) -> Kept {
        let reason = |text| Reason::new("reason", text).expect("valid");
        Kept {
            outcome: match n % 5 {
                0 => Outcome::Failed(reason("login")),
                1 => Outcome::Late,
                2 => Outcome::Left,
                3 => Outcome::Failed(reason("sse")),
                _ => Outcome::Arrived,
            },
            index: n,
            phase: Phase(n % 2),
            owner: (!n.is_multiple_of(3)).then_some(u64::from(n) << 20),
        }
    }

    fn id(n: u32) -> Participant {
        Participant::new(&format!("user-{n}")).expect("valid")
    }

    #[test]
    fn every_outcome_is_found_again_and_no_other() {
        let first = Keepsake::default().with((0..700).map(|n| (id(n), kept(n))));
        let both = first.with((700..1000).map(|n| (id(n), kept(n))));
        for n in 0..1000 {
            assert_eq!(both.get(&id(n)), Some(kept(n)), "{n}");
        }
        for n in 1000..1100 {
            assert_eq!(both.get(&id(n)), None, "{n}");
        }
        assert_eq!(first.get(&id(900)), None);
        assert_eq!(Keepsake::default().get(&id(0)), None);
    }

    #[test]
    fn an_arrival_takes_a_few_bytes() {
        let arrival = |n: u32| Kept {
            outcome: Outcome::Arrived,
            index: n,
            phase: Phase(0),
            owner: Some(n.into()),
        };
        let ids = |n: u32| Participant::new(&n.to_string()).expect("valid");
        let all = Keepsake::default().with((1..=10_000).map(|n| (ids(n), arrival(n))));
        assert!(all.size() < 10_000 * 16, "{} bytes", all.size());
    }
}
