//! Ladders: which level is run next, and what the answer is.
//!
//! A ladder is climbed from its lowest level on. A level that fails is repeated; one that fails each time ends the climb. Where the
//! suite asks for it, the gap below is halved. Then the highest level that passed is repeated too, so that the limit lies between
//! two levels that were both seen more than once. What was found decides what is run: nothing here knows processes or files.

use serde::{Deserialize, Serialize};

use crate::suite::scenario::LadderTable;

/// Place of a run in the ladder of its scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rung {
    /// Number of its level among all of the ladder, those between declared ones included, the lowest being 0.
    pub(crate) level: usize,
    /// 0 for the first run at the level, then the number of the repetition.
    pub(crate) repeat: u32,
    /// The suite does not list the level: it lies between two that it does.
    pub(crate) between: bool,
}

impl Rung {
    /// Whether it is run only where the ladder asks for it.
    pub(crate) fn is_spare(self) -> bool {
        self.repeat > 0 || self.between
    }
}

/// What became of a run, as far as a ladder goes by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Objectives were missed: the gates that say so.
    Failed(Vec<String>),
    /// The generator measured itself, and why: it says nothing about the target, and a higher level would say no more.
    GaveOut(String),
    /// There is no evidence to go by, and why: the level has to be run again.
    Unsound(String),
}

impl Outcome {
    /// Whether there is evidence to go by; anything else is run again when the plan is gone on with.
    pub(crate) fn is_sound(&self) -> bool {
        !matches!(self, Self::Unsound(_))
    }
}

/// What follows from the runs so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Run(Rung),
    Ended(Answer),
}

/// What a ladder found. Levels are numbers of levels, as in [`Rung`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The highest level that passed as often as it had to, below all that ended the ladder.
    pub(crate) holds: Option<usize>,
    /// Why there is nothing above.
    pub(crate) end: End,
    /// Levels that passed, and failed or were beyond the generator when they were repeated.
    pub(crate) unsettled: Vec<usize>,
}

/// What ended a ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// This level failed as often as it had to, by these gates: the limit is below.
    Failed { level: usize, gates: Vec<String> },
    /// The highest level passed: the limit was not reached.
    Top,
    /// The generator gave out at this level: the limit was not reached.
    GaveOut { level: usize, why: String },
    /// The evidence of this level is not good enough, so nobody knows.
    Unsound { level: usize, why: String },
}

/// A level and what became of its runs, in their order.
#[derive(Debug, Clone)]
struct Level {
    between: bool,
    outcomes: Vec<Outcome>,
}

/// What the climb makes of a level.
enum Climb {
    On,
    Run(u32),
    Stop(End),
}

/// A ladder and what became of its runs so far.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    table: LadderTable,
    levels: Vec<Level>,
}

impl Ladder {
    /// A ladder of which nothing was run. `rungs`: all that the plan holds of it.
    pub(crate) fn new(table: LadderTable, rungs: impl Iterator<Item = Rung>) -> Self {
        let mut levels = Vec::new();
        for rung in rungs {
            let empty = Level {
                between: true,
                outcomes: Vec::new(),
            };
            if levels.len() <= rung.level {
                levels.resize(rung.level + 1, empty);
            }
            levels[rung.level].between = rung.between;
        }
        Self { table, levels }
    }

    /// Takes note of what became of a run, and tells whether it did: runs of a level come in their order.
    pub(crate) fn note(&mut self, rung: Rung, outcome: Outcome) -> bool {
        let level = self.levels.get_mut(rung.level);
        let next = level.filter(|level| level.outcomes.len() == rung.repeat as usize);
        next.map(|level| level.outcomes.push(outcome)).is_some()
    }

    /// What became of the runs of a level.
    pub(crate) fn outcomes(&self, level: usize) -> &[Outcome] {
        self.levels
            .get(level)
            .map_or(&[], |level| level.outcomes.as_slice())
    }

    /// Which run is next, or what was found.
    pub(crate) fn next(&self) -> Step {
        let (mut below, mut end) = (None, End::Top);
        for (number, level) in self.declared() {
            match self.climb(number, level) {
                Climb::On => below = Some(number),
                Climb::Run(repeat) => return self.run(number, repeat),
                Climb::Stop(stop) => {
                    end = stop;
                    break;
                }
            }
        }
        if let (Some(low), End::Failed { .. }) = (below, &end) {
            match self.halve(low, end) {
                Ok(halved) => end = halved,
                Err(next) => return next,
            }
        }
        self.confirm(end)
    }

    fn declared(&self) -> impl Iterator<Item = (usize, &Level)> {
        let levels = self.levels.iter().enumerate();
        levels.filter(|(_, level)| !level.between)
    }

    fn run(&self, level: usize, repeat: u32) -> Step {
        Step::Run(Rung {
            level,
            repeat,
            between: self.levels[level].between,
        })
    }

    /// A level that passes at once is climbed over. Its later repetitions are none of the climb.
    fn climb(&self, number: usize, level: &Level) -> Climb {
        let mut failed = 0;
        for outcome in &level.outcomes {
            match outcome {
                Outcome::Passed => return Climb::On,
                Outcome::Failed(gates) => {
                    failed += 1;
                    if failed > self.table.confirm {
                        let gates = gates.clone();
                        return Climb::Stop(End::Failed {
                            level: number,
                            gates,
                        });
                    }
                }
                Outcome::GaveOut(why) => {
                    let why = why.clone();
                    return Climb::Stop(End::GaveOut { level: number, why });
                }
                Outcome::Unsound(why) => {
                    let why = why.clone();
                    return Climb::Stop(End::Unsound { level: number, why });
                }
            }
        }
        Climb::Run(failed)
    }

    /// Halves the gap between a level that passed and the one that ended the climb; what is to be run for that is the error.
    fn halve(&self, mut low: usize, mut end: End) -> Result<End, Step> {
        for _ in 0..self.table.refine {
            let End::Failed { level: high, .. } = end else {
                break;
            };
            let middle = low.midpoint(high);
            if middle == low {
                break;
            }
            match self.climb(middle, &self.levels[middle]) {
                Climb::On => low = middle,
                Climb::Run(repeat) => return Err(self.run(middle, repeat)),
                Climb::Stop(stop @ (End::Failed { .. } | End::Unsound { .. })) => end = stop,
                // The limit was found already, if less exactly.
                Climb::Stop(_) => break,
            }
        }
        Ok(end)
    }

    /// Repeats the highest level below the end that has only passed so far; where it then fails, the one below that.
    fn confirm(&self, mut end: End) -> Step {
        let top = match end {
            End::Top => self.levels.len(),
            End::Failed { level, .. } | End::GaveOut { level, .. } | End::Unsound { level, .. } => {
                level
            }
        };
        let mut holds = None;
        // Where something could not be judged, nothing more is run: the call that goes on will.
        let mut stopped = matches!(end, End::Unsound { .. });
        for (number, level) in self.levels[..top].iter().enumerate().rev() {
            let unsound = level.outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Unsound(why) => Some(why),
                _ => None,
            });
            if let (Some(why), false) = (unsound, stopped) {
                // Whether this one holds is not known, so the limit is not.
                let why = why.clone();
                end = End::Unsound { level: number, why };
                stopped = true;
            }
            let passes = |outcome: &Outcome| *outcome == Outcome::Passed;
            if level.outcomes.is_empty() || !level.outcomes.iter().all(passes) {
                continue;
            }
            let runs = u32::try_from(level.outcomes.len()).unwrap_or(u32::MAX);
            if runs <= self.table.confirm && !stopped {
                return self.run(number, runs);
            }
            if runs > self.table.confirm {
                holds = Some(number);
                break;
            }
        }
        let mixed = |level: &Level| {
            let has = |which: fn(&Outcome) -> bool| level.outcomes.iter().any(which);
            has(|outcome| *outcome == Outcome::Passed)
                && has(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::GaveOut(_)))
        };
        let levels = self.levels.iter().enumerate();
        let unsettled = levels.filter(|(_, level)| mixed(level));
        Step::Ended(Answer {
            holds,
            end,
            unsettled: unsettled.map(|(number, _)| number).collect(),
        })
    }
}

impl Answer {
    /// Whether both sides of the limit are known.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.end, End::Failed { .. })
    }

    /// In words. `name`: of a level by its number.
    pub(crate) fn told(&self, name: impl Fn(usize) -> String) -> String {
        let least = match self.holds {
            Some(level) => format!("at least {}", name(level)),
            None => "no level is known to hold".to_owned(),
        };
        let text = match (&self.end, self.holds) {
            (End::Failed { level, gates }, holds) => {
                let (high, gates) = (name(*level), gates.join(", "));
                match holds {
                    Some(low) => {
                        format!("{} holds, {high} does not ({gates})", name(low))
                    }
                    None if *level == 0 => {
                        format!("below {high}, the lowest level, which does not hold ({gates})")
                    }
                    None => format!("below {high}, which does not hold ({gates}); {least}"),
                }
            }
            (End::Top, _) => {
                format!("{least}, limit not reached: there is no higher level")
            }
            (End::GaveOut { level, why }, _) => format!(
                "{least}, limit not reached: at {} the generator gave out ({why})",
                name(*level)
            ),
            (End::Unsound { level, why }, _) => format!(
                "{least}, limit not known: the evidence of {} is not good enough ({why})",
                name(*level)
            ),
        };
        let unsettled: Vec<String> = self.unsettled.iter().map(|level| name(*level)).collect();
        if unsettled.is_empty() {
            return text;
        }
        format!("{text}; not settled: {}", unsettled.join(", "))
    }
}
