//! What a run keeps apart: the person's settings, other hosts, and runs that only warm up.

mod common;

use std::io::{Read as _, Write as _};

use common::{Place, Redis, ask, finish, json, k6, text};

/// Starts a suite of its own in a place.
fn written(place: &Place, suite: &str, script: &str) -> std::process::Command {
    let folder = place.evidence().with_file_name("project");
    std::fs::create_dir(&folder).expect("folder");
    std::fs::write(folder.join("own.toml"), suite).expect("written");
    std::fs::write(folder.join("own.js"), script).expect("written");
    let mut command = place.runner();
    command
        .args(["run", "own.toml"])
        .current_dir(&folder)
        .env("K6_BIN", k6());
    command
}

const HEAD: &str = "[suite]\nschema = 2\nid = \"own\"\ntitle = \"Own\"\norder = [\"own\"]\nallow_hosts = [\"127.0.0.1\"]\nneeds = [\"k6\"]\n\
    [env.EVIDENCE_ROOT]\ntype = \"string\"\n[env.LISTENER]\ntype = \"url\"\n[env.EVENT_IDS]\ntype = \"list\"\ndefault = \"e1\"\n[each]\nevent = \"${EVENT_IDS}\"\n\
    [evidence]\nroot = \"${EVIDENCE_ROOT}\"\nfolder = \"{timestamp}/run\"\n\
    [[scenario]]\nid = \"own\"\nscript = \"own.js\"\nlimit = \"60s\"\n";

#[test]
fn children_have_a_home_of_their_own() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let target = "[[target]]\nid = \"own\"\nkind = \"process\"\n\
        start = [\"sh\", \"-c\", \"echo target at $HOME; echo ${LISTENER} > \\\"$0\\\"; exec sleep 600\", \"{port_file}\"]\n\
        ready = { tcp = \"{address}\", every = \"10ms\", limit = \"30s\" }\n";
    let script = "export default function () { console.log(`k6 at ${__ENV.HOME} ends`); }\n\
        export function handleSummary(data) { return { 'summary.json': JSON.stringify(data) }; }\n";
    let mut command = written(&place, &format!("{HEAD}{target}"), script);
    let address = listener.local_addr().expect("address");
    let (code, printed) = finish(command.args(["--set", &format!("LISTENER=http://{address}")]));
    assert_eq!(code, 0, "{printed}");
    let run = place.run_folder("run");
    let own = place.evidence().with_file_name("");
    let own = own.to_str().expect("a text").trim_end_matches('/');
    for (file, from) in [("stdout.txt", "k6 at "), ("own.log", "target at ")] {
        let content = text(&run.join(file));
        let home = content.split_once(from).expect("it tells").1;
        let home = home.split([' ', '\n']).next().expect("a folder");
        assert!(
            home.len() > 1 && home != own,
            "{file}: {home} against {own}"
        );
        assert!(
            !std::path::Path::new(home).exists(),
            "{home} goes with the run"
        );
    }
}

#[test]
fn no_step_reaches_a_host_that_the_suite_does_not_allow() {
    let target = |ready: &str, start: &str| {
        format!(
            "[[target]]\nid = \"own\"\nkind = \"process\"\nstart = [\"sleep\", \"9\", \"{start}\"]\nready = {{ tcp = \"{ready}\", every = \"1s\", limit = \"1s\" }}\n"
        )
    };
    let fine = target("{address}", "");
    let redis = "[env.REDIS_URL]\ntype = \"string\"\ndefault = \"redis://db.example\"\n";
    for (more, what) in [
        (target("http://db.example:1", ""), "target own"),
        (
            target("{address}", "--redis=redis://db.example:6379"),
            "target own",
        ),
        // Without a scheme, and in arguments that come later.
        (
            target("{address}", "--broker=127.0.0.1:1,db.example:9092"),
            "target own",
        ),
        (target("{address}", "--redis-host=db.example"), "target own"),
        // With a value that is known only once the target runs.
        (target("http://db.example:1/?{address}", ""), "target own"),
        (
            format!(
                "{fine}[[record]]\nid = \"at\"\nkind = \"redis\"\nsource = \"redis://db.example\"\nstatement = \"GET a\"\n"
            ),
            "record at",
        ),
        (
            format!("{fine}faults = \"--peer http://db.example/x\"\n"),
            "target own",
        ),
        (
            format!(
                "{fine}[env.BROKERS]\ntype = \"list\"\ndefault = \"127.0.0.1:1,db.example:9092\"\n"
            ),
            "BROKERS",
        ),
        // By its own name, by a port alone, and as a client of gRPC is told it.
        (
            format!("{fine}[env.DB_HOST]\ntype = \"string\"\ndefault = \"db.example\"\n"),
            "DB_HOST",
        ),
        (
            format!("{fine}[env.PEER]\ntype = \"string\"\ndefault = \"dns:///db.example\"\n"),
            "PEER",
        ),
        (format!("{fine}{redis}"), "REDIS_URL"),
        (
            format!(
                "{fine}{}",
                redis.replace("db.example", "127.0.0.1:1,db.example:2")
            ),
            "REDIS_URL",
        ),
        (
            format!(
                "{fine}[[clean]]\nid = \"keys\"\nkind = \"redis\"\nwhen = \"before_run\"\ntarget = \"redis://db.example\"\nscope = [\"A:{{event}}\"]\n"
            ),
            "clean keys",
        ),
        (
            format!(
                "{fine}[[monitor]]\nid = \"queues\"\nkind = \"redis\"\nevery = \"1s\"\nsource = \"redis://db.example\"\nof = [\"A:{{event}}\"]\n"
            ),
            "monitor queues",
        ),
        // Known only once it is computed.
        (
            format!(
                "{fine}[computed]\nserver = \"'db' ~ '.example'\"\n[[clean]]\nid = \"keys\"\nkind = \"redis\"\nwhen = \"before_run\"\ntarget = \"redis://{{server}}\"\nscope = [\"A:{{event}}\"]\n"
            ),
            "clean keys",
        ),
    ] {
        let place = Place::new();
        let suite = format!("{HEAD}{more}");
        let (code, printed) = finish(written(&place, &suite, "").arg("--dry-run"));
        assert_eq!(code, 2, "{what}: {printed}");
        let expected = format!("{what}: the host db.example is not allowed; allowed: 127.0.0.1");
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
}

#[test]
fn an_address_whose_host_cannot_be_told_is_refused() {
    let place = Place::new();
    let target = "[[target]]\nid = \"own\"\nkind = \"process\"\nstart = [\"sleep\", \"9\", \"--to=http://[db.example\"]\n\
        ready = { tcp = \"{address}\", every = \"1s\", limit = \"1s\" }\n";
    let (code, printed) = finish(written(&place, &format!("{HEAD}{target}"), "").arg("--dry-run"));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("target own: the host of an address cannot be told"),
        "{printed}"
    );
}

#[test]
fn a_target_that_sends_elsewhere_is_not_followed() {
    let place = Place::new();
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let (listener, other) = (listen(), listen());
    let [address, elsewhere] = [&listener, &other].map(|one| one.local_addr().expect("address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\n");
            // The runner may have gone.
            let _ = write!(
                stream,
                "{head}content-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    });
    let target = "[[target]]\nid = \"own\"\nkind = \"external\"\n\
        ready = { url = \"${LISTENER}/health\", status = 200, every = \"10ms\", limit = \"1s\" }\n";
    let mut command = written(&place, &format!("{HEAD}{target}"), "");
    let (code, printed) = finish(command.args(["--set", &format!("LISTENER=http://{address}")]));
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("status 302, expected 200"), "{printed}");
    other.set_nonblocking(true).expect("set");
    assert!(other.accept().is_err(), "nobody came: {printed}");
}

#[test]
fn a_target_that_tells_another_host_is_not_used() {
    let place = Place::new();
    let target = "[[target]]\nid = \"own\"\nkind = \"process\"\n\
        start = [\"sh\", \"-c\", \"echo http:/\"\"/db.example:1 > \\\"$0\\\"; exec sleep 600\", \"{port_file}\"]\n\
        ready = { tcp = \"{address}\", every = \"10ms\", limit = \"30s\" }\n";
    let target = target
        .replace("/\"\"/", "//")
        // Nobody sees it in the arguments.
        .replace("http://db.example", "http:'/'/db.exam''ple");
    let (code, printed) = finish(&mut written(&place, &format!("{HEAD}{target}"), ""));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("the address that target own tells: the host db.example is not allowed"),
        "{printed}"
    );
}

#[test]
fn a_warm_up_that_fails_stops_nothing_and_colours_no_exit_code() {
    let place = Place::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let folder = place.evidence().with_file_name("project");
    std::fs::create_dir(&folder).expect("folder");
    let suite = text(&std::path::Path::new(fixtures).join("suites/matrix.toml"));
    let suite = suite.replace("on_fail = \"next_run\"", "on_fail = \"stop\"");
    std::fs::write(folder.join("matrix.toml"), suite).expect("written");
    let script = text(&std::path::Path::new(fixtures).join("probe.js"));
    std::fs::write(folder.join("probe.js"), script).expect("written");
    std::fs::write(folder.join("modes"), "few pass").expect("written");
    let redis = Redis::start(&[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let (code, printed) = finish(
        place
            .runner()
            .args(["run", "matrix.toml", "--variant", "a", "--level", "LEVEL=1"])
            .args(["--cycles", "1", "--discard", "1"])
            .current_dir(&folder)
            .env("MODE_FILE", folder.join("modes"))
            .env(
                "LISTENER",
                format!("http://{}", listener.local_addr().expect("address")),
            )
            .env("REDIS_URL", &redis.address)
            .env("K6_BIN", k6()),
    );
    assert_eq!(code, 0, "{printed}");
    let verdict = |name: &str| {
        let run = place.run_folder(&format!("a/matrix/1/{name}"));
        json(&run.join("verdict.json"))["verdict"].clone()
    };
    assert_eq!(verdict("warmup-01"), "INVALID");
    assert_eq!(verdict("cycle-01"), "PASS");
    let run = place.run_folder("a/matrix/1/cycle-01");
    let plan = run
        .ancestors()
        .find(|above| above.join("plan.json").is_file());
    let plan = plan.expect("the folder of the plan");
    let (code, printed) = finish(place.runner().arg("judge").arg(plan));
    assert_eq!(code, 0, "judged again it colours none either: {printed}");
}

#[test]
fn what_was_preset_is_taken_back_where_the_target_does_not_start() {
    let (place, redis) = (Place::new(), Redis::start(&[]));
    let clean = |id: &str, when: &str, scope: &str| {
        format!(
            "[[clean]]\nid = \"{id}\"\nkind = \"redis\"\nwhen = \"{when}\"\ntarget = \"${{REDIS_URL}}\"\nscope = [\"{scope}\"]\n"
        )
    };
    let suite = format!(
        "{HEAD}[env.REDIS_URL]\ntype = \"url\"\n[[target]]\nid = \"own\"\nkind = \"process\"\nstart = [\"sh\", \"-c\", \"exit 7\"]\n\
         ready = {{ tcp = \"{{address}}\", every = \"10ms\", limit = \"30s\" }}\n{}{}",
        clean("preset", "before_run", "SLOTS[{event}]=9"),
        clean("taken-back", "after_run", "SLOTS[{event}]")
    );
    let mut command = written(&place, &suite, "export default function () {}\n");
    let (code, printed) = finish(command.env("REDIS_URL", &redis.address));
    assert_ne!(code, 0, "{printed}");
    let cleanup = text(&place.run_folder("run").join("cleanup.txt"));
    assert!(
        cleanup.contains("> HSET SLOTS e1 9")
            && cleanup.matches("[cleanup] the run is over").count() == 1,
        "{cleanup}"
    );
    let left: i64 = ask(&mut redis.connect(), "EXISTS SLOTS");
    assert_eq!(left, 0, "{cleanup}");
}
