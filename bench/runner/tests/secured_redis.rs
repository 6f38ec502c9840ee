//! A Redis with TLS and a user of its own, as people run it: whole runs over it, and what is said where that fails.
//!
//! The server must be built with TLS, as Debian's is and the one of the PyPI wheel is not.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};

use common::{Place, Redis, files, finish, json, k6, root, text, waiting_room};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

const SECRETS: [&str; 3] = ["topsecret%11", "topsecret%2511", "PRIVATE KEY"];

/// A server that speaks TLS for `redis.test` and wants a certificate of the client, and a waiting room that reaches it
/// without.
struct Secured {
    redis: Redis,
    port: u16,
    folder: TempDir,
    services: Child,
    address: String,
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.services.kill();
        let _ = self.services.wait();
    }
}

/// An authority, and certificates for the server and the client, as files.
fn certificates(folder: &Path) {
    let named = |name: &str| {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).expect("written");
    };
    let mut params = named("authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    write("ca.pem", authority.pem());
    for name in ["redis.test", "client"] {
        let key = KeyPair::generate().expect("a key");
        let certificate = named(name).signed_by(&key, &authority).expect("signed");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// The permissions that the guide names.
fn permissions() -> Vec<String> {
    let guide = text(&root().join("docs/how-to/benchmark-your-waiting-room.md"));
    let line = guide
        .lines()
        .find(|line| line.starts_with("ACL SETUSER bench "))
        .expect("the guide has them");
    line.split(' ')
        .skip(1)
        .map(|word| word.replace(">password", ">topsecret%11"))
        .collect()
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certificates(folder.path());
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let redis = Redis::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-ca-cert-file",
            &file("ca.pem"),
            "--tls-cert-file",
            &file("redis.test.pem"),
            "--tls-key-file",
            &file("redis.test.key"),
        ]);
        redis::cmd("ACL")
            .arg(permissions())
            .exec(&mut redis.connect())
            .expect("a user");
        let port_file = folder.path().join("address");
        let (services, address) = common::start_target(
            Command::new(waiting_room())
                .args(["--events", "e1,e2", "--redis"])
                .arg(format!("{}/3", redis.address)),
            &port_file,
        );
        Self {
            redis,
            port,
            folder,
            services,
            address,
        }
    }

    /// The runner with all that the server asks for; the paths are relative.
    fn runner(&self, place: &Place, verb: &str) -> Command {
        let mut command = place.runner();
        let file = self.folder.path().join("bench.env");
        std::fs::write(
            &file,
            "REDIS_USERNAME=bench\nREDIS_PASSWORD='topsecret%11'\n",
        )
        .expect("written");
        command
            .current_dir(self.folder.path())
            .arg(verb)
            .arg(root().join("bench/suites/waiting-room.toml"))
            .args(["--scenario", "custom", "--set", "VUS=10", "--env-file"])
            .arg(file)
            .env("K6_BIN", k6())
            .env("BASE_URL", &self.address)
            .env("EVENT_IDS", "e1,e2")
            .env("REDIS_URL", format!("rediss://127.0.0.1:{}/3", self.port))
            .env("REDIS_TLS_CA", "ca.pem")
            .env("REDIS_TLS_CERT", "client.pem")
            .env("REDIS_TLS_KEY", "client.key")
            .env("REDIS_TLS_SERVER_NAME", "redis.test");
        command
    }
}

#[test]
fn a_run_over_tls_with_a_user_of_its_own_leaves_whole_evidence() {
    let secured = Secured::start();
    let mut connection = secured.redis.connect();
    redis::pipe()
        .cmd("SELECT")
        .arg(3)
        .cmd("ZADD")
        .arg("WAITING:e1")
        .arg(1)
        .arg("left over")
        .exec(&mut connection)
        .expect("the test's own server");
    let place = Place::new();
    let (code, printed) = finish(&mut secured.runner(&place, "run"));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("verdict  PASS"), "{printed}");
    let cleanup = files(&place.evidence())
        .into_iter()
        .find(|path| path.ends_with("cleanup.txt"))
        .expect("a run");
    let folder = cleanup.parent().expect("its folder");
    assert!(text(&folder.join("cleanup.txt")).contains("> DEL WAITING:e1\n< (integer) 1"));
    let meta = json(&folder.join("meta.json"));
    assert!(meta["redisServer"]["version"].is_string(), "{meta}");
    assert!(meta["openAtMs"].is_i64(), "{meta}");
    let samples = text(&folder.join("monitor-queues.jsonl"));
    assert!(
        samples.contains("\"WAITING:e1\":") && !samples.contains("error"),
        "{samples}"
    );
    for path in files(&place.evidence()) {
        let content = text(&path);
        for secret in SECRETS {
            assert!(!content.contains(secret), "{}: {secret}", path.display());
        }
    }
    assert!(
        !SECRETS.iter().any(|secret| printed.contains(secret)),
        "{printed}"
    );
}

#[test]
fn what_is_missing_is_named_by_its_variable() {
    let secured = Secured::start();
    let place = Place::new();
    let mut connection = secured.redis.connect();
    let open = redis::pipe()
        .cmd("SELECT")
        .arg(3)
        .cmd("HSET")
        .arg(&["event_statuses", "e1", "OPEN", "e2", "CLOSED"])
        .exec(&mut connection);
    open.expect("the test's own server");
    let doctor = |change: &dyn Fn(&mut Command)| {
        let mut command = secured.runner(&place, "doctor");
        change(&mut command);
        finish(&mut command)
    };
    let (code, printed) = doctor(&|_| {});
    assert!(
        code == 0
            && printed.contains("ok       Redis ")
            && printed
                .contains("ok       gateway, events: all 2 events can be read, opened and closed")
            && printed.contains("ok       gateway, slots: 50 slots in event e1, as SEATS says"),
        "{printed}"
    );
    let status: String = common::ask(&mut connection, "HGET event_statuses e1");
    assert_eq!(status, "OPEN", "as it was");
    for (variable, value, expected) in [
        (
            "REDIS_TLS_CA",
            "",
            "give the authority of its certificate as REDIS_TLS_CA",
        ),
        ("REDIS_TLS_CA", "other.pem", "other.pem: No such file"),
        (
            "REDIS_TLS_SERVER_NAME",
            "",
            "for another name: give that as REDIS_TLS_SERVER_NAME",
        ),
        (
            "REDIS_PASSWORD",
            "topsecret",
            "mend user and password in REDIS_URL, or REDIS_USERNAME",
        ),
        (
            "REDIS_URL",
            &secured.redis.address,
            "REDIS_URL must begin with rediss://",
        ),
    ] {
        let (code, printed) = doctor(&|command| {
            command.env(variable, value);
        });
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
        assert!(
            !SECRETS.iter().any(|secret| printed.contains(secret)),
            "{printed}"
        );
    }
    let without = |url: &str, names: &[&str]| {
        let (code, printed) = doctor(&|command| {
            command.env("REDIS_URL", url);
            names.iter().for_each(|name| {
                command.env_remove(name);
            });
        });
        assert_eq!(code, 2, "{printed}");
        printed
    };
    let client = ["REDIS_TLS_CERT", "REDIS_TLS_KEY"];
    let url = format!("rediss://127.0.0.1:{}/3", secured.port);
    let printed = without(&url, &client);
    assert!(
        printed.contains("REDIS_TLS_CERT and REDIS_TLS_KEY"),
        "{printed}"
    );
    let all = [&client[..], &["REDIS_TLS_CA", "REDIS_TLS_SERVER_NAME"]].concat();
    let printed = without(&url.replace("rediss:", "redis:"), &all);
    assert!(
        printed.contains("where it wants TLS, use rediss://"),
        "{printed}"
    );
}
