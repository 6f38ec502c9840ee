//! Which processors k6 and the services run on where a limit is sought: apart, so that neither takes what the other is measured by.

use barrier_procs::{Bound, allowed_processors};
use serde_json::{Value as Json, json};

use crate::plan::PlannedRun;
use crate::suite::schema::TargetKind;

/// The processors of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    generator: Vec<u32>,
    services: Vec<u32>,
}

impl Split {
    /// Half of the processors each, k6 the larger one; `None` where no limit is sought. Where the two cannot be kept apart, the error
    /// says why: there is one processor alone, or a service is not the runner's own process.
    pub(crate) fn of(run: &PlannedRun<'_>) -> Option<Result<Self, String>> {
        run.rung?;
        let own = |kind| matches!(kind, TargetKind::Builtin | TargetKind::Process);
        let targets = run.targets();
        if let Some(other) = targets.iter().find(|target| !own(target.kind)) {
            return Some(Err(format!(
                "{} is no process that the runner starts",
                other.id
            )));
        }
        let all = allowed_processors();
        Some(match all {
            Ok(all) => Self::halves(&all),
            Err(error) => Err(format!("the processors are not known: {error}")),
        })
    }

    fn halves(all: &[u32]) -> Result<Self, String> {
        if all.len() < 2 {
            return Err("there is one processor alone".to_owned());
        }
        let (generator, services) = all.split_at(all.len().div_ceil(2));
        Ok(Self {
            generator: generator.to_vec(),
            services: services.to_vec(),
        })
    }

    /// What is started meanwhile is a service.
    pub(crate) fn services(&self) -> anyhow::Result<Bound> {
        Ok(Bound::to(&self.services)?)
    }

    /// What is started meanwhile is k6.
    pub(super) fn generator(&self) -> anyhow::Result<Bound> {
        Ok(Bound::to(&self.generator)?)
    }

    /// How many k6 has.
    pub(super) fn of_generator(&self) -> usize {
        self.generator.len()
    }

    /// As `meta.json` holds it.
    pub(super) fn record(&self) -> Json {
        json!({ "k6": self.generator, "services": self.services })
    }
}

/// What a verdict is to be read with where k6 and the services are not apart.
pub(super) fn label(why: &str) -> String {
    format!("k6 and the services may run on the same processors: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k6_has_the_larger_half() {
        let halves = |all: &[u32]| {
            let split = Split::halves(all).expect("two halves");
            (split.generator, split.services)
        };
        assert_eq!(halves(&[0, 1]), (vec![0], vec![1]));
        assert_eq!(halves(&[2, 3, 6]), (vec![2, 3], vec![6]));
        let why = Split::halves(&[4]).expect_err("one alone");
        assert!(why.contains("one processor alone"), "{why}");
    }
}
