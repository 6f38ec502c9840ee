//! TLS to a real server and a real cluster: whom the core trusts, what it shows, and what it says where that fails.
//!
//! The server must be built with TLS, as Debian's is and the one of the PyPI wheel is not.

#[path = "engine/host.rs"]
#[allow(dead_code)] // a part of it
mod host;
#[path = "support/cluster.rs"]
mod redis_cluster;
mod support;

use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use barrier_core::engine::CounterOptions;
use barrier_core::error::Error;
use barrier_core::ids::Phase;
use host::Process;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use redis_cluster::RedisCluster;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use support::{RedisServer, free_port};

/// An authority, and what it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::default();
        let name = format!("authority {}", NAMES.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for the name, and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        // Another one than the authority's, which would make it its own issuer.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// The arguments of a server for `localhost` alone.
    fn arguments(&self, folder: &Path) -> Vec<String> {
        let (certificate, key) = self.issue("localhost");
        let mut arguments = Vec::new();
        for (option, text) in [
            ("tls-ca-cert-file", self.pem()),
            ("tls-cert-file", certificate),
            ("tls-key-file", key),
        ] {
            let file = folder.join(option);
            std::fs::write(&file, text).expect("written");
            arguments.extend([format!("--{option}"), file.display().to_string()]);
        }
        arguments
    }
}

struct SecureServer {
    authority: Authority,
    port: u16,
    plain: RedisServer,
    _folder: tempfile::TempDir,
}

impl SecureServer {
    fn start(more: &[&str]) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("temporary folder");
        let port = free_port();
        let port_text = port.to_string();
        let arguments = authority.arguments(folder.path());
        let mut all = vec!["--tls-port", &port_text];
        all.extend(arguments.iter().map(String::as_str));
        all.extend(more);
        let plain = RedisServer::start_with_arguments(&support::binary(), &all);
        Self {
            authority,
            port,
            plain,
            _folder: folder,
        }
    }

    fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }
}

/// One arrives at a barrier of one, and a queue is counted.
fn meet(url: &str, tls: &Value) -> Result<(), Error> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = format!("tls-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let process = Process::start();
    let options = json!({ "store": url, "tls": tls, "runId": run, "name": "d", "parties": 1 });
    let barrier = process.open(&options.to_string())?;
    process.arrive(&barrier, 1)?;
    process.released(&barrier, 0);
    assert_eq!(barrier.release_info(Phase(0)).expect("released").arrived, 1);
    let options = json!({ "redis": url, "tls": tls, "keys": ["none"] }).to_string();
    let token = process.fresh_token();
    let counter = process
        .engine
        .counter(CounterOptions::from_json(options.as_bytes())?)?;
    counter.counts(token);
    assert_eq!(process.text(token)?, r#"{"counts":[0]}"#);
    Ok(())
}

fn refused(url: &str, tls: &Value) -> String {
    meet(url, tls).expect_err("refused").to_string()
}

#[test]
fn a_run_meets_over_tls() {
    let server = SecureServer::start(&["--tls-auth-clients", "no"]);
    meet(&server.url(), &json!({ "ca": server.authority.pem() })).expect("trusted");
    // The certificate is for localhost, not for the address.
    let by_address = server.url().replace("localhost", "127.0.0.1");
    let error = refused(&by_address, &json!({ "ca": server.authority.pem() }));
    assert!(
        error.contains("its certificate is for another name: give that as tls.serverName"),
        "{error}"
    );
    meet(
        &by_address,
        &json!({ "ca": server.authority.pem(), "serverName": "localhost" }),
    )
    .expect("the right name");
    meet(&by_address, &json!({ "insecure": true })).expect("nothing is checked");
}

#[test]
fn a_client_shows_its_certificate() {
    let server = SecureServer::start(&["--tls-auth-clients", "yes"]);
    let ca = server.authority.pem();
    let (cert, key) = server.authority.issue("client");
    meet(
        &server.url(),
        &json!({ "ca": ca, "cert": cert, "key": key }),
    )
    .expect("trusted");

    let error = refused(&server.url(), &json!({ "ca": ca }));
    assert!(
        error.contains("it may want a certificate of the client: give tls.cert and tls.key"),
        "{error}"
    );
    let (cert, key) = Authority::new().issue("client");
    let error = refused(
        &server.url(),
        &json!({ "ca": ca, "cert": cert, "key": key }),
    );
    assert!(
        error.contains("it does not trust the certificate of the client: see tls.cert"),
        "{error}"
    );
    assert!(!error.contains("PRIVATE KEY"), "{error}");
}

#[test]
fn whom_not_to_trust_is_said() {
    let server = SecureServer::start(&["--tls-auth-clients", "no"]);
    for tls in [json!({}), json!({ "ca": Authority::new().pem() })] {
        let error = refused(&server.url(), &tls);
        assert!(
            error.contains("an authority that is not trusted: give that as tls.ca"),
            "{error}"
        );
        assert!(
            error.contains(&format!("localhost:{}", server.port)),
            "{error}"
        );
    }
    // TLS to the plain port, and the reverse.
    let error = refused(
        &format!("rediss://localhost:{}", server.plain.port()),
        &json!({}),
    );
    assert!(
        error.contains("where it does not speak TLS, use redis:// or its port for TLS"),
        "{error}"
    );
    let error = refused(&server.url().replace("rediss", "redis"), &Value::Null);
    assert!(
        error.contains("where it wants TLS, use rediss://"),
        "{error}"
    );
}

#[test]
fn certificates_and_keys_must_belong_together() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("client");
    let (_, other) = authority.issue("client");
    let refused = |tls: Value| match meet("rediss://localhost:1", &tls).expect_err("refused") {
        Error::Option(e) => e,
        other => panic!("{other}"),
    };
    let e = refused(json!({ "cert": cert, "key": other }));
    assert_eq!(
        (e.option.as_str(), e.got.as_str()),
        ("tls.key", "the key of another certificate")
    );
    let e = refused(json!({ "cert": cert, "key": cert }));
    assert_eq!(
        (e.option.as_str(), e.got.as_str()),
        ("tls.key", "a text without such a key")
    );
    let e = refused(json!({ "cert": key, "key": key }));
    assert_eq!(
        (e.option.as_str(), e.got.as_str()),
        ("tls.cert", "a text without a certificate")
    );
    let e = refused(json!({ "ca": key }));
    assert_eq!(
        (e.option.as_str(), e.got.as_str()),
        ("tls.ca", "a text without a certificate")
    );
}

#[test]
fn a_run_meets_on_a_cluster_over_tls() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut arguments = authority.arguments(folder.path());
    let more = ["--tls-cluster", "yes", "--tls-auth-clients", "optional"];
    arguments.extend(more.map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = RedisCluster::secure(&arguments);
    let run = cluster.run_on(2, "tls");
    let tls = json!({ "ca": authority.pem(), "serverName": "localhost" });
    let url = cluster.secure_url(&[0]);
    let processes = [Process::start(), Process::start()];
    let options =
        json!({ "store": url, "tls": tls, "runId": run, "name": "d", "parties": 10 }).to_string();
    let barriers = processes
        .each_ref()
        .map(|p| p.open(&options).expect("open"));
    for n in 1..=10 {
        let at = n as usize % 2;
        processes[at].arrive(&barriers[at], n).expect("recorded");
    }
    for (process, barrier) in processes.iter().zip(&barriers) {
        process.released(barrier, 0);
    }
}

/// Where a system has its authorities, as whoever runs the tests may have said too.
const AUTHORITIES: &str = "SSL_CERT_FILE";
/// The pipe from which the process reads them that runs the test again: reading takes as long as the test wants.
const PIPE: &str = "K6_BARRIER_TEST_AUTHORITIES";

/// The engine has one thread, which serves others meanwhile. A pipe without a writer would not be read a second time.
#[test]
fn the_systems_authorities_are_read_once_beside_everything_else() {
    let this = "the_systems_authorities_are_read_once_beside_everything_else";
    let Some(authorities) = std::env::var_os(PIPE) else {
        let folder = tempfile::tempdir().expect("temporary folder");
        let pipe = folder.path().join("authorities");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        let ended = Command::new("timeout")
            .arg("120")
            .arg(std::env::current_exe().expect("its own path"))
            .args(["--exact", this, "--nocapture"])
            .env(AUTHORITIES, &pipe)
            .env(PIPE, &pipe)
            .env_remove("SSL_CERT_DIR")
            .status()
            .expect("the same program");
        assert!(ended.success(), "{ended}");
        return;
    };
    let kind = std::fs::metadata(&authorities)
        .expect("it is there")
        .file_type();
    assert!(
        kind.is_fifo(),
        "{authorities:?} is written to: it must be a pipe, not {kind:?}"
    );
    let server = SecureServer::start(&["--tls-auth-clients", "no"]);
    let process = Process::start();
    let options = |run: &str, url: &str| {
        let options = json!({ "store": url, "runId": run, "name": "d", "parties": 1, "connectTimeoutMs": 60_000 });
        barrier_core::options::BarrierOptions::from_json(options.to_string().as_bytes())
            .expect("valid")
    };
    let open = |run: &str, url: &str| {
        let barrier = process
            .engine
            .barrier(options(run, url))
            .expect("a barrier");
        barrier.handle_or_init(|| process.fresh_token());
        let token = process.fresh_token();
        drop(barrier.open(token));
        token
    };
    let secure = open("first", &server.url());
    // This opens when somebody reads.
    let mut pipe = std::fs::OpenOptions::new()
        .write(true)
        .open(authorities)
        .expect("a reader");
    let other = open("plain", &server.plain.url());
    process.done(other).expect("open meanwhile");
    assert!(process.silent(secure), "nobody is trusted yet");
    pipe.write_all(server.authority.pem().as_bytes())
        .expect("written");
    drop(pipe);
    process.done(secure).expect("trusted");
    let database = format!("{}/1", server.url());
    let again = open("again", &database);
    process.done(again).expect("trusted without another look");
}
