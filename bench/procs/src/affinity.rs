//! On which processors this thread, and whatever it starts, may run.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds the calling thread, and every process and thread that it starts meanwhile, to some processors. Dropped on that thread, it
/// gives it back those that it had before; what was started keeps its own.
#[derive(Debug)]
pub struct Bound {
    before: CpuSet,
}

impl Bound {
    /// Binds the calling thread to these processors, by their numbers from 0.
    ///
    /// # Errors
    /// None of them is one that this thread may run on, or the system refuses.
    pub fn to(processors: &[u32]) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut some = CpuSet::new();
        let own = processors
            .iter()
            .filter_map(|&number| usize::try_from(number).ok());
        own.filter(|&number| number < CpuSet::MAX_CPU)
            .for_each(|number| some.set(number));
        sched_setaffinity(None, &some)?;
        Ok(Self { before })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // They were allowed a moment ago; where one has gone meanwhile, the others stay.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// The processors that the calling thread may run on, by their numbers from 0 on, ascending.
///
/// # Errors
/// The system refuses.
pub fn allowed_processors() -> io::Result<Vec<u32>> {
    let all = sched_getaffinity(None)?;
    let numbers = (0..CpuSet::MAX_CPU).filter(|&number| all.is_set(number));
    Ok(numbers
        .filter_map(|number| u32::try_from(number).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_started_meanwhile_is_bound_and_the_thread_only_until_then() {
        let all = allowed_processors().expect("some");
        let first = &all[..1];
        let bound = Bound::to(first).expect("bound");
        assert_eq!(allowed_processors().expect("one"), first);
        let child = Command::new("sh")
            .args(["-c", "grep Cpus_allowed_list /proc/self/status"])
            .output()
            .expect("a shell");
        let said = String::from_utf8(child.stdout).expect("a text");
        assert_eq!(
            said.split_whitespace().last(),
            Some(first[0].to_string().as_str())
        );
        drop(bound);
        assert_eq!(allowed_processors().expect("all"), all);
        Bound::to(&[]).expect_err("none at all");
    }
}
