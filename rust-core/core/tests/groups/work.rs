//! What an operation costs the server of others: what the script reads and writes, counted, does not grow with those who wait.

use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{Item, Op, Request};
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
}

impl<'a> Process<'a> {
    fn opens(server: &'a RedisServer) -> Self {
        let json = br#"{"name":"work","size":1000,"store":"redis://127.0.0.1","runId":"r","onTimeout":"release"}"#;
        let options = GroupOptions::from_json(json).expect("valid options");
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
        };
        let value = process.script.invocation(&process.request);
        let value = value.invoke(&mut process.connection).expect("opens");
        process.request.incarnation = decode(value).expect("an answer").incarnation;
        process
    }

    /// How many bytes that took.
    fn says(&mut self, items: impl Iterator<Item = Item>) -> i64 {
        let _: String = self.server.ask(&["SET", "counted", "0"]);
        self.asks(Op::Items(items.collect()));
        let counted: String = self.server.ask(&["GET", "counted"]);
        counted.parse().expect("a number")
    }

    fn asks(&mut self, op: Op) {
        self.request.number += 1;
        self.request.op = op;
        let value = self.script.invocation(&self.request);
        let value = value.invoke(&mut self.connection).expect("answers");
        let reply = decode(value).expect("an answer");
        assert!(reply.settling, "a group forms");
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
    let mut one = Process::opens(&server);
    let mut slow = Process::opens(&server);
    let mut round = |first: u64| {
        // It is waited for, since it speaks.
        slow.asks(Op::Beat { closing: false });
        let users = first..first + u64::from(AT_ONCE);
        let joins = one.says(users.clone().map(join));
        let again = one.says(users.clone().map(join));
        let expires = one.says(users.clone().map(|n| {
            let (join, participant) = user(n);
            Item::Expire { join, participant }
        }));
        let leaves = one.says(users.clone().step_by(2).map(|n| {
            let (join, participant) = user(n);
            Item::Leave { join, participant }
        }));
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
