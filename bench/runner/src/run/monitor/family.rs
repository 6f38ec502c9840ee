//! Processes with what they have started.

use std::collections::BTreeSet;

use procfs::process::{Stat, all_processes};

/// These processes and all below them, as of a server that has a process for each task.
pub(super) fn with_descendants(roots: &[i32]) -> Vec<Stat> {
    if roots.is_empty() {
        return Vec::new();
    }
    let all = all_processes().into_iter().flatten().flatten();
    let mut rest: Vec<Stat> = all.filter_map(|process| process.stat().ok()).collect();
    let mut inside: BTreeSet<i32> = roots.iter().copied().collect();
    let mut found = Vec::new();
    loop {
        let (more, others): (Vec<Stat>, Vec<Stat>) = rest
            .into_iter()
            .partition(|stat| inside.contains(&stat.pid) || inside.contains(&stat.ppid));
        if more.is_empty() {
            return found;
        }
        inside.extend(more.iter().map(|stat| stat.pid));
        (found, rest) = ([found, more].concat(), others);
    }
}
