//! What the processors of the machine did over time, and what its host did with them meanwhile.

use procfs::{CurrentSI as _, KernelStats};
use serde_json::Value as Json;

use super::process::{Processes, percent};
use super::sampler::{self, Values};
use super::services::{Services, contention};
use crate::suite::monitor::Pick;

pub(super) struct Sampler {
    picks: Vec<Pick>,
    services: Services,
    before: Option<Spent>,
}

/// Time of all processors so far, in clock ticks.
#[derive(Debug, Clone, Copy)]
struct Spent {
    all: u64,
    /// At work, for whomever, and stolen.
    busy: u64,
    /// When the machine had work for a processor, and its host gave that to another machine.
    stolen: u64,
}

impl Spent {
    fn now() -> Result<Self, String> {
        let stats = KernelStats::current().map_err(|error| format!("/proc/stat: {error}"))?;
        let total = stats.total;
        let optional = [total.irq, total.softirq, total.steal].map(Option::unwrap_or_default);
        let [irq, softirq, stolen] = optional;
        let busy = total.user + total.nice + total.system + irq + softirq + stolen;
        let all = busy + total.idle + total.iowait.unwrap_or_default();
        Ok(Self { all, busy, stolen })
    }

    /// Percent of the time since then, by the names that suites have for them; `None` if there was none. `services`: what those of
    /// the run used of it, in ticks.
    fn since(self, before: Self, services: u64) -> Option<[(&'static str, f64); 3]> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let share = |now: u64, then: u64| percent(now.saturating_sub(then), all);
        Some([
            ("busy_percent", share(self.busy, before.busy)),
            ("steal_percent", share(self.stolen, before.stolen)),
            (
                "contention_percent",
                contention(all, self.busy.saturating_sub(before.busy), services),
            ),
        ])
    }
}

impl Sampler {
    /// From now on.
    pub(super) fn new(picks: Vec<Pick>, processes: Processes) -> Self {
        let mut services = Services::new(processes, None);
        services.used();
        let before = Spent::now().ok();
        Self {
            picks,
            services,
            before,
        }
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        let mut values = Values::default();
        let services = self.services.used();
        match Spent::now() {
            Ok(now) => {
                let shares = self
                    .before
                    .replace(now)
                    .and_then(|then| now.since(then, services));
                for pick in &self.picks {
                    let share = shares.iter().flatten().find(|(name, _)| *name == pick.what);
                    if let Some((_, share)) = share {
                        values.add(&pick.name, *share);
                    }
                }
            }
            Err(why) => values.miss(why),
        }
        values.line()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::monitor::MACHINE;

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let spent = |all, busy, stolen| Spent { all, busy, stolen };
        let before = spent(1000, 500, 100);
        let shares = spent(1200, 600, 130).since(before, 70);
        let shares = shares.expect("time went by");
        let expected = [
            ("busy_percent", 50.0),
            ("steal_percent", 15.0),
            ("contention_percent", 30.0),
        ];
        assert_eq!(shares, expected);
        assert_eq!(shares.map(|(name, _)| name), MACHINE);
        assert!(before.since(before, 0).is_none(), "no time, no share");
    }
}
