//! The files that containers are made of, as far as they can be looked at without an engine: what is pinned, who can reach it,
//! who it runs as.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use common::{Place, files, finish, root, text};
use serde_json::Value as Json;

fn compose() -> Json {
    serde_saphyr::from_str(&text(&root().join("compose.yaml"))).expect("YAML")
}

fn object(value: &Json) -> impl Iterator<Item = (&String, &Json)> {
    value.as_object().expect("a table").iter()
}

/// The instructions of the Dockerfile, each with its words.
fn dockerfile() -> Vec<(String, String)> {
    let text = text(&root().join("Dockerfile")).replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, words) = line.split_once(' ').expect("an instruction");
            (name.to_owned(), words.trim().to_owned())
        })
        .collect()
}

#[test]
fn services_are_pinned_labelled_and_reached_from_this_machine_alone() {
    let compose = compose();
    let services: Vec<_> = object(&compose["services"]).collect();
    let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
    for expected in [
        "k6-websocket-streaming",
        "k6-health-check",
        "k6-comprehensive",
        "chat",
        "prometheus",
        "grafana",
    ] {
        assert!(names.contains(&expected), "{expected}: {names:?}");
    }
    for (name, service) in services {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        let built = service["build"].is_string();
        assert!(
            built || tag.is_some_and(|tag| tag.chars().any(|c| c.is_ascii_digit())),
            "{name}: {image}"
        );
        assert_eq!(service["labels"]["io.k6-barrier.suite"], "chat", "{name}");
        assert!(
            service["profiles"].is_array(),
            "{name} starts on request alone"
        );
        assert!(
            service["network_mode"].is_null() && service["privileged"].is_null(),
            "{name}"
        );
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().expect("a port");
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
    for kind in ["networks", "volumes"] {
        for (name, table) in object(&compose[kind]) {
            assert_eq!(table["labels"]["io.k6-barrier.suite"], "chat", "{name}");
        }
    }
}

#[test]
fn passwords_are_given_and_never_written_down() {
    let compose = compose();
    let variables: BTreeMap<&String, &Json> = object(&compose["services"])
        .filter_map(|(_, service)| service["environment"].as_object())
        .flatten()
        .filter(|(name, _)| name.contains("PASSWORD"))
        .collect();
    assert!(!variables.is_empty());
    for (name, value) in variables {
        let value = value.as_str().expect("a text");
        // A variable that compose requires is required whichever profile is started.
        assert!(
            value.starts_with("${") && value.ends_with(":-}"),
            "{name} has no default: {value}"
        );
    }
    let begin = compose["services"]["grafana"]["entrypoint"].as_array();
    let words = begin.expect("words").iter().filter_map(Json::as_str);
    let words: Vec<String> = words.map(|word| word.replace("$$", "$")).collect();
    let mut without = Command::new(&words[0]);
    without
        .args(&words[1..])
        .env("GF_SECURITY_ADMIN_PASSWORD", "");
    let (code, told) = finish(&mut without);
    assert!(
        code == 2 && told.contains("GRAFANA_PASSWORD is missing"),
        "{told}"
    );
}

#[test]
fn what_the_containers_run_is_what_the_suite_has() {
    let compose = compose();
    let suite = text(&root().join("bench/suites/chat.toml"));
    for (name, service) in object(&compose["services"]) {
        let command = service["command"].as_array().into_iter().flatten();
        let words: Vec<&str> = command.filter_map(Json::as_str).collect();
        for scenario in words
            .iter()
            .skip_while(|word| **word != "--scenario")
            .skip(1)
            .take(1)
        {
            assert!(
                suite.contains(&format!("id = \"{scenario}\"")),
                "{name}: {scenario}"
            );
        }
        if name.starts_with("k6-") {
            let settings = &service["environment"];
            for (variable, _) in object(settings) {
                assert!(
                    variable.starts_with("K6_PROMETHEUS_RW_")
                        || suite.contains(&format!("[env.{variable}]")),
                    "{name}: {variable}"
                );
            }
            // What is not named here would be lost without a word. Evidence goes to the volume, wherever it goes on this machine.
            let declared = suite.lines().filter_map(|line| line.strip_prefix("[env."));
            let declared = declared.filter_map(|line| line.strip_suffix(']'));
            for variable in declared.filter(|variable| *variable != "EVIDENCE_ROOT") {
                assert!(
                    settings.get(variable).is_some(),
                    "{name} lacks {variable} of the suite"
                );
            }
        }
    }
}

/// Whoever says no address means the service on this machine's usual ports. A container that tested its own would vouch for it.
#[test]
fn without_an_address_the_containers_test_the_service_of_this_machine() {
    let compose = compose();
    for (name, service) in object(&compose["services"]) {
        let settings = &service["environment"];
        if name.starts_with("k6-") {
            for (variable, expected) in [
                ("BASE_URL", "${BASE_URL:-http://host.docker.internal:4000}"),
                ("WS_URL", "${WS_URL:-ws://host.docker.internal:8080}"),
            ] {
                assert_eq!(settings[variable], expected, "{name}: {variable}");
            }
        }
    }

    let instructions = dockerfile();
    let command = instructions.iter().find(|(name, _)| name == "CMD");
    let command = &command.expect("a command").1;
    let words: Vec<String> = serde_json::from_str(command).expect("words");
    // A variable of the environment would be that of the other suites as well, and an argument would win over `--env`.
    let [run, suite, option, file] = &words[..] else {
        panic!("{words:?}");
    };
    assert_eq!([run, suite, option], ["run", "chat", "--env-file"]);
    let kept = file.strip_prefix("/opt/k6-barrier/");
    let kept = format!(" >/out/app/{}", kept.expect("what the image has"));
    let steps = instructions.iter().filter(|(name, _)| name == "RUN");
    let mut steps = steps.map(|(_, words)| words);
    let written = steps.find_map(|words| {
        let before = words
            .split(" && ")
            .find_map(|step| step.strip_suffix(&kept));
        before?.strip_prefix("echo ").map(str::to_owned)
    });
    let settings = written.expect("a step that writes the file");

    let place = Place::new();
    let file = place.evidence().with_file_name("settings");
    std::fs::write(&file, settings).expect("a file");
    let run = |address: &str| {
        let mut command = place.runner();
        command
            .args(["run", "chat", "--dry-run", "--env-file"])
            .arg(&file)
            .env("BASE_URL", address);
        let (code, told) = finish(&mut command);
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("target    service\n"), "{told}");
        told
    };
    let told = run("");
    for expected in [
        "BASE_URL=http://localhost:4000 ",
        "WS_URL=ws://localhost:8080",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let told = run("http://chat.internal:4000");
    assert!(
        told.contains("BASE_URL=http://chat.internal:4000 "),
        "{told}"
    );
}

/// A mount's path on this machine, and the one inside; named volumes have no path here.
fn mounts(service: &Json) -> impl Iterator<Item = (String, String)> {
    let all = service["volumes"].as_array().into_iter().flatten();
    let texts = all.map(|mount| {
        mount
            .as_str()
            .expect("a text")
            .replace("${SCRAPE:-chat}", "chat")
    });
    texts.filter(|mount| mount.starts_with("./")).map(|mount| {
        let (from, to) = mount.split_once(':').expect("two paths");
        let to = to.strip_suffix(":ro").expect("nothing here is written");
        (from.to_owned(), to.to_owned())
    })
}

#[test]
fn prometheus_has_the_alerts_of_the_suite_and_takes_what_it_is_given() {
    let compose = compose();
    let prometheus = &compose["services"]["prometheus"];
    let inside = tempfile::tempdir().expect("a folder");
    for (from, to) in mounts(prometheus) {
        let name = to.strip_prefix("/etc/prometheus/").expect("its own folder");
        std::fs::copy(root().join(&from), inside.path().join(name)).expect(&from);
    }
    for place in ["chat", "host"] {
        let file = root().join(format!("bench/monitoring/prometheus/targets-{place}.yml"));
        let targets: Json = serde_saphyr::from_str(&text(&file)).expect("YAML");
        assert!(targets[0]["targets"][0].is_string(), "{targets}");
    }
    let config = inside.path().join("prometheus.yml");
    let (code, told) = finish(
        Command::new(promtool())
            .args(["check", "config"])
            .arg(&config),
    );
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("rules found"), "{told}");
    let words: Json = serde_saphyr::from_str(&text(&config)).expect("YAML");
    assert_eq!(words["scrape_configs"][0]["job_name"], "service");

    let place = Place::new();
    let (code, rules) = finish(
        place
            .runner()
            .args(["monitor", "chat", "rules", "--limits"]),
    );
    assert_eq!(code, 0, "{rules}");
    assert_eq!(
        rules.trim(),
        text(&inside.path().join("alerting-rules.yml")).trim(),
        "write it anew: barrier-bench monitor chat rules --limits >bench/monitoring/prometheus/alerting-rules.yml"
    );
}

/// The one that comes with the Prometheus of the tests.
fn promtool() -> PathBuf {
    let prometheus = std::env::var_os("PROMETHEUS_BIN").map(PathBuf::from);
    let prometheus = prometheus.expect("PROMETHEUS_BIN, as scripts/ensure-prometheus.sh prints it");
    let real = prometheus.canonicalize().expect("a program");
    let mut beside = [prometheus, real]
        .into_iter()
        .map(|path| path.with_file_name("promtool"));
    beside
        .find(|path| path.is_file())
        .expect("promtool beside it")
}

#[test]
fn grafana_has_its_data_source_and_its_dashboard() {
    let compose = compose();
    let grafana = &compose["services"]["grafana"];
    let found: BTreeMap<String, String> = mounts(grafana).map(|(from, to)| (to, from)).collect();
    for (inside, file) in [
        ("/etc/grafana/provisioning", "datasources/prometheus.yml"),
        ("/etc/grafana/provisioning", "dashboards/files.yml"),
        ("/etc/grafana/dashboards", "testing.json"),
    ] {
        let folder = found.get(inside).expect(inside);
        assert!(root().join(folder).join(file).is_file(), "{file}");
    }
    // Each variable that the files take, and where the dashboards lie.
    let environment = &grafana["environment"];
    assert_eq!(environment["DASHBOARDS_FOLDER"], "/etc/grafana/dashboards");
    assert_eq!(environment["PROMETHEUS_URL"], "http://prometheus:9090");
    let provision = root().join("bench/monitoring/grafana-provisioning");
    for path in files(&provision) {
        for (_, rest) in text(&path)
            .lines()
            .filter_map(|line| line.split_once(": $"))
        {
            assert!(
                environment[rest.trim()].is_string(),
                "{}: {rest}",
                path.display()
            );
        }
    }
    // One version, whoever starts it.
    let image = grafana["image"].as_str().expect("an image");
    let runner = text(&root().join("bench/runner/src/monitoring/grafana.rs"));
    assert!(runner.contains(&format!("\"{image}\"")), "{image}");
}

#[test]
fn the_image_is_built_from_pinned_bases_and_runs_as_nobody_in_particular() {
    let instructions = dockerfile();
    let of = |name: &str| -> Vec<&str> {
        let own = instructions.iter().filter(|(own, _)| own == name);
        own.map(|(_, words)| words.as_str()).collect()
    };
    // The base is pinned by its tag, and the archive is that of this version.
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let archive = format!("dist/{version}/k6-barrier-{version}-linux-amd64.tar.gz");
    for argument in of("ARG") {
        let (name, value) = argument.split_once('=').expect("a default");
        if name == "ARCHIVE" {
            assert_eq!(value, archive);
            continue;
        }
        let (_, tag) = value.rsplit_once(':').expect("a tag");
        assert!(tag.chars().any(|c| c.is_ascii_digit()), "{value}");
    }
    assert!(
        of("FROM").iter().all(|from| from.starts_with("${")),
        "each base is an argument"
    );
    let user = of("USER");
    let id = user
        .first()
        .and_then(|user| user.split(':').next()?.parse::<u32>().ok());
    assert!(user.len() == 1 && id.is_some_and(|id| id > 0), "{user:?}");
    assert_eq!(of("ENTRYPOINT"), ["[\"barrier-bench\"]"]);
    assert_eq!(of("VOLUME"), ["/evidence"]);
    // The last stage runs nothing, so that any base will do.
    let last = instructions.iter().rposition(|(name, _)| name == "FROM");
    let last = &instructions[last.expect("a stage")..];
    assert!(last.iter().all(|(name, _)| name != "RUN" && name != "ADD"));
}
