//! What an operation costs the server of others: what the script reads and writes, counted, does not grow with those who wait.

use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{Item, Op, Reply, Request};
use barrier_core::group::redis::{GroupScript, SCRIPT, decode};
use barrier_core::ids::{Incarnation, Participant, ProcessId};

use crate::support::RedisServer;

/// Counts the bytes that all commands of the script are given and answer, in a key of its own.
const COUNTING: &str = "
local real = redis
local redis = { error_reply = real.error_reply }
local function bytes(value)
  if type(value) == 'table' then
    local n = 0
    for _, v in ipairs(value) do n = n + bytes(v) end
    return n
  end
  return value and #tostring(value) or 0
end
function redis.call(...)
  local answer = real.call(...)
  real.call('INCRBY', 'counted', bytes({ ... }) + bytes(answer))
  return answer
end
";

struct Process<'a> {
    server: &'a RedisServer,
    connection: redis::Connection,
    script: GroupScript,
    request: Request,
    reply: Option<Reply>,
}

impl<'a> Process<'a> {
    fn opens(server: &'a RedisServer, size: u32) -> Self {
        let json = format!(
            r#"{{"name":"work","size":{size},"store":"redis://127.0.0.1","runId":"r","onTimeout":"release"}}"#
        );
        let options = GroupOptions::from_json(json.as_bytes()).expect("valid options");
        let script = GroupScript::with_source(&options, &format!("{COUNTING}{SCRIPT}"));
        let request = Request {
            process: ProcessId::random(),
            incarnation: None,
            epoch: 1,
            number: 0,
            floor: 0,
            op: Op::Open {
                new_incarnation: Incarnation::random(),
                options: options.shared.canonical(),
                expected: 0,
                acknowledged: (0, 0),
            },
        };
        let connection = server.connection();
        let mut process = Self {
            server,
            connection,
            script,
            request,
            reply: None,
        };
        let value = process.script.invocation(&process.request);
        let value = value.invoke(&mut process.connection).expect("opens");
        process.request.incarnation = decode(value).expect("an answer").incarnation;
        process
    }

    /// How many bytes that took.
    fn says(&mut self, items: impl Iterator<Item = Item>) -> i64 {
        let _: String = self.server.ask(&["SET", "counted", "0"]);
        self.reply = Some(self.asks(Op::Items(items.collect())));
        let counted: String = self.server.ask(&["GET", "counted"]);
        counted.parse().expect("a number")
    }

    fn asks(&mut self, op: Op) -> Reply {
        self.request.number += 1;
        self.request.op = op;
        let value = self.script.invocation(&self.request);
        let value = value.invoke(&mut self.connection).expect("answers");
        decode(value).expect("an answer")
    }
}

fn user(n: u64) -> (u64, Participant) {
    // Ids of one length: what is counted is what differs.
    let id = format!("{:06}", 100_000 + n);
    (100_000 + n, Participant::new(&id).expect("valid"))
}

fn join(n: u64) -> Item {
    let (join, participant) = user(n);
    Item::Join {
        join,
        participant,
        payload: None,
    }
}

#[test]
fn what_an_operation_touches_does_not_grow_with_those_who_wait() {
    const AT_ONCE: u8 = 100;
    const CROWD: u64 = 6000;
    let server = RedisServer::start();
    let mut one = Process::opens(&server, 1000);
    let mut slow = Process::opens(&server, 1000);
    let mut round = |first: u64| {
        // It is waited for, since it speaks.
        assert!(slow.asks(Op::Beat { closing: false }).settling);
        let users = first..first + u64::from(AT_ONCE);
        let joins = one.says(users.clone().map(join));
        let again = one.says(users.clone().map(join));
        let expires = one.says(users.clone().map(|n| {
            let (join, participant) = user(n);
            Item::Expire { join, participant }
        }));
        let leaves = one.says(users.clone().step_by(2).map(leave));
        [joins, again, expires, leaves]
    };
    let alone = round(0);
    for first in (AT_ONCE.into()..CROWD).step_by(AT_ONCE.into()) {
        round(first);
    }
    let crowded = round(CROWD);
    println!(
        "joins, joins again, time-outs, leaves: {alone:?} bytes alone, {crowded:?} in a crowd"
    );
    for (alone, crowded) in alone.into_iter().zip(crowded) {
        // Numbers have a few digits more.
        assert!(
            crowded <= alone * 5 / 4,
            "{alone} bytes alone, {crowded} in a crowd"
        );
    }
}

fn leave(n: u64) -> Item {
    let (join, participant) = user(n);
    Item::Leave { join, participant }
}

/// How many bytes it takes to form a group when so many have come and gone between the first who waits and the second.
fn to_form_a_group_after(gone: u64) -> i64 {
    let server = RedisServer::start();
    let mut one = Process::opens(&server, 4);
    one.says([join(0), join(1)].into_iter());
    for n in 1..=gone {
        // Somebody always waits behind the place that becomes free.
        one.says([join(n + 1), leave(n)].into_iter());
    }
    one.says([join(gone + 2)].into_iter());
    let bytes = one.says([join(gone + 3)].into_iter());
    let reply = one.reply.expect("an answer");
    let members = reply.formed.iter().map(|f| f.members.len());
    assert_eq!(members.collect::<Vec<_>>(), [4], "{gone} have gone");
    bytes
}

#[test]
fn a_group_costs_the_same_however_many_have_come_and_gone() {
    let (few, many) = (to_form_a_group_after(10), to_form_a_group_after(2000));
    println!("{few} bytes after 10, {many} after 2,000");
    assert!(
        many <= few * 5 / 4,
        "{few} bytes after 10, {many} after 2,000"
    );
}

#[test]
fn what_a_process_that_has_gone_leaves_is_cleared_away_bit_by_bit() {
    const CROWD: u64 = 900;
    let server = RedisServer::start();
    let mut stays = Process::opens(&server, 1000);
    let fields = |process: &Process| -> u64 { server.ask(&["HLEN", process.script.key()]) };
    let mut goes = Process::opens(&server, 1000);
    let before = fields(&goes);
    stays.says([join(CROWD), Item::Said].into_iter());
    goes.says((0..CROWD).map(join).chain([Item::Said]));
    // With holes, and one that has come to another process since.
    goes.says((0..CROWD).step_by(3).map(leave));
    let crowded = fields(&goes);
    assert!(crowded > before + CROWD, "{crowded}");
    goes.asks(Op::Beat { closing: true });
    stays.says([join(1)].into_iter());
    for _ in 0..CROWD / 100 {
        let cleared = fields(&stays);
        stays.asks(Op::Beat { closing: false });
        assert!(cleared - fields(&stays) <= 1000, "too much at once");
    }
    // Two wait, with two fields each.
    assert_eq!(fields(&stays), before + 4);
    assert_eq!(stays.asks(Op::Beat { closing: false }).waiting, 2);
}
