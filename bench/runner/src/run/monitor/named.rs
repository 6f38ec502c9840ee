//! Finding the processes of services that the runner did not start.

use std::collections::BTreeSet;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};

use crate::suite::process::{ALLOWED, By, Named};
use crate::suite::schema::TargetTable;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;

/// A process that was found, which another one of the same id later is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: u32,
    /// When it began, in ticks of the machine's clock.
    pub(super) began: u64,
}

/// Processes that go by one name.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    /// For people: their ids, and what the first of them runs.
    pub(crate) shown: String,
}

/// Finds the processes that are named for a target.
///
/// # Errors
/// A name that is none, or that nothing goes by; the text says what was received and what is allowed.
pub(crate) fn of_target(target: &TargetTable, vars: &Vars) -> anyhow::Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    for entry in &target.processes {
        // An entry whose variable has no value names nothing.
        let Ok(text) = vars.expand(entry.get_ref(), &RunValues::new()) else {
            continue;
        };
        for text in text.split(',').filter(|text| !text.trim().is_empty()) {
            let named = Named::parse(text).map_err(exit::set_up)?;
            if found.iter().any(|other| other.name == named.name) {
                return Err(exit::set_up(format!(
                    "process: received `{}` a second time; give each a name of its own, as in api=port:9000",
                    named.name
                )));
            }
            found.push(find(named).map_err(|why| {
                exit::set_up(format!(
                    "process: received `{}`: {why}; {ALLOWED}",
                    text.trim()
                ))
            })?);
        }
    }
    Ok(found)
}

fn find(named: Named) -> Result<Found, String> {
    let members = match &named.by {
        By::Pid(id) => of_id(*id).map(|member| vec![member]),
        By::Port(port) => listening(*port),
        By::Pattern(parts) => matching(parts),
    }?;
    let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
    let runs = members
        .first()
        .map_or_else(String::new, |member| command_line(member.id));
    let shown = format!("{}: {} ({runs})", named.name, ids.join(", "));
    Ok(Found {
        name: named.name,
        members,
        shown,
    })
}

/// The process with this id, if it is alive.
pub(super) fn alive(id: u32) -> Option<Member> {
    let stat = Process::new(i32::try_from(id).ok()?).ok()?.stat().ok()?;
    // What has ended, and is not fetched by its parent yet.
    (!matches!(stat.state, 'Z' | 'X')).then_some(Member {
        id,
        began: stat.starttime,
    })
}

fn of_id(id: u32) -> Result<Member, String> {
    alive(id).ok_or_else(|| "there is no process with this id on this machine".to_owned())
}

fn listening(port: u16) -> Result<Vec<Member>, String> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let inodes: BTreeSet<u64> = tables
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    if inodes.is_empty() {
        return Err("nobody on this machine listens there".to_owned());
    }
    let members = every(|process| {
        process.fd().is_ok_and(|descriptors| {
            descriptors.flatten().any(
                |descriptor| matches!(descriptor.target, FDTarget::Socket(inode) if inodes.contains(&inode)),
            )
        })
    });
    if members.is_empty() {
        return Err("the process that listens there is another user's or a container's; name it by id or command line".to_owned());
    }
    Ok(members)
}

fn matching(parts: &[String]) -> Result<Vec<Member>, String> {
    // The runner, and the shells that called it, may have the very pattern on their command lines.
    let own = ancestors();
    let members = every(|process| {
        let id = u32::try_from(process.pid).unwrap_or_default();
        !own.contains(&id) && holds(&command_line(id), parts)
    });
    if members.is_empty() {
        return Err("no command line on this machine has that".to_owned());
    }
    Ok(members)
}

/// Whether the text has the parts one after the other.
fn holds(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts
        .iter()
        .all(|part| match rest.split_once(part.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
}

fn every(wanted: impl Fn(&Process) -> bool) -> Vec<Member> {
    let processes = all_processes().into_iter().flatten().flatten();
    let mut members: Vec<Member> = processes
        .filter(wanted)
        .filter_map(|process| alive(u32::try_from(process.pid).ok()?))
        .collect();
    members.sort_by_key(|member| member.id);
    members
}

/// This process and those that started it.
fn ancestors() -> BTreeSet<u32> {
    let mut own = BTreeSet::new();
    let mut id = std::process::id();
    while id > 0 && own.insert(id) {
        let stat = i32::try_from(id)
            .ok()
            .and_then(|id| Process::new(id).ok()?.stat().ok());
        id = stat.map_or(0, |stat| u32::try_from(stat.ppid).unwrap_or_default());
    }
    own
}

fn command_line(id: u32) -> String {
    let words = i32::try_from(id)
        .ok()
        .and_then(|id| Process::new(id).ok()?.cmdline().ok());
    words.unwrap_or_default().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn found(text: &str) -> Result<Vec<u32>, String> {
        let found = find(Named::parse(text)?)?;
        Ok(found.members.iter().map(|member| member.id).collect())
    }

    fn sleeping(mark: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r _", mark, "-Dapp=gateway.jar"]);
        command.stdin(std::process::Stdio::piped());
        command.spawn().expect("a shell")
    }

    fn end(mut child: Child) {
        child
            .kill()
            .and_then(|()| child.wait().map(drop))
            .expect("ended");
    }

    #[test]
    fn each_way_leads_to_the_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        assert_eq!(found(&format!("port:{port}")), Ok(vec![std::process::id()]));
        drop(listener);
        let why = found(&format!("port:{port}")).expect_err("closed");
        assert!(
            why.contains("nobody on this machine listens there"),
            "{why}"
        );

        let mark = format!("mark-{}", std::process::id());
        let child = sleeping(&mark);
        let id = child.id();
        assert_eq!(found(&format!("pid:{id}")), Ok(vec![id]));
        let text = format!("{mark}*-Dapp=gate*.jar");
        // Until the shell has become what its command line says.
        while found(&format!("pattern:{text}")).is_err() {
            assert!(alive(id).is_some());
        }
        assert_eq!(found(&format!("gateway=pattern:{text}")), Ok(vec![id]));
        let why = found(&format!("pattern:-Dapp=gate*{mark}")).expect_err("the other order");
        assert!(why.contains("no command line"), "{why}");
        end(child);
        let why = found(&format!("pid:{id}")).expect_err("gone");
        assert!(why.contains("no process with this id"), "{why}");
    }
}
