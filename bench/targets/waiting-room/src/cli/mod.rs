//! The command line.

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use target_kit::{FaultArgs, ListenArgs, Percent, Share};

use crate::{Config, DEFAULT_EVENT_IDS, Faults, QueueKind, Transport};
use life::LifeArgs;

mod life;

/// A ticketing waiting room with server-sent events over a real Redis.
///
/// Reference target of the barrier benchmark: gateway, authentication, event service, broker and dispatcher in one
/// process. Logs go to stderr (level by RUST_LOG). Stops on SIGINT and SIGTERM and leaves what it wrote to Redis.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// Where it listens
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Redis that holds the queues: redis://[user:password@]host[:port][/database]
    #[arg(
        long,
        value_name = "URL",
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    redis: String,

    /// Data structure of the queues, with the work pattern that goes with it
    #[arg(long, value_enum, default_value_t = QueueKind::Zset)]
    queue: QueueKind,

    /// Events that exist, separated by commas
    #[arg(long, value_name = "ID,…", value_delimiter = ',', default_values = DEFAULT_EVENT_IDS)]
    events: Vec<String>,

    /// Seats of each event; its slots are set to this at the first join
    #[arg(long, value_name = "N", default_value_t = 50)]
    seats: u32,

    /// Users that exist: user1@… to userN@…, password "password123"
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    users: u32,

    /// Part after the @ of the users' addresses
    #[arg(long, value_name = "DOMAIN", default_value = "example.com")]
    email_domain: String,

    /// Address of the manager, same password
    #[arg(long, value_name = "EMAIL", default_value = "admin@example.com")]
    admin_email: String,

    /// Milliseconds without a byte after which a stream is cut
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    cut_after_silence_ms: u64,

    /// How users hear of their place: on a stream, or by asking again and again
    #[arg(long, value_enum, default_value_t = Transport::Sse, overrides_with = "transport")]
    transport: Transport,

    /// Milliseconds after which a request that gets no connection (see --connections) is answered with 500
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    connection_wait_ms: u64,

    /// Serve GET /ticks?seconds=N too: streams with one event at each full second, to see how many a machine carries
    #[arg(long)]
    ticks: bool,

    #[command(flatten)]
    life: LifeArgs,

    #[command(flatten)]
    named_faults: NamedFaults,

    #[command(flatten)]
    faults: FaultArgs,
}

/// Faults that have an option of their own.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct NamedFaults {
    /// Answer logins of some users with 401, at every attempt
    ///
    /// N: users 1 to N. P%: spread evenly, so that of the users 1 to n exactly n × P ÷ 100, rounded down, are hit; 6%
    /// hits users 17, 34, 50, 67, 84, 100 and so on.
    #[arg(long, value_name = "N|P%")]
    fail_logins: Option<Share>,

    /// Answer waiting calls of some users with 503, before they join; users as in --fail-logins
    #[arg(long, value_name = "N|P%")]
    fail_streams: Option<Share>,

    /// Hold every answer below /api back for so long (not the messages of open streams)
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,

    /// So long after the first event was set OPEN: no byte on any stream, no position or promotion rounds
    ///
    /// Streams stay open and are not cut either; other requests are still answered.
    #[arg(long, value_name = "MS")]
    silent_after_ms: Option<u64>,

    /// The same after N messages, counted over all streams, heartbeats and greetings included
    #[arg(long, value_name = "N")]
    silent_after_messages: Option<u64>,

    /// Wrap the JSON of messages in a JSON string and prefix it once more with "data:"
    #[arg(long)]
    double_encode: bool,

    /// Lengthen the interval of promotion rounds, so that a comparison has a difference to find
    #[arg(long, value_name = "P%", default_value_t)]
    promotion_slowdown: Percent,

    /// Requests and streams that the gateway carries at once; more wait for a connection, and are then answered with 500
    #[arg(long, value_name = "N")]
    connections: Option<u64>,
}

impl Cli {
    /// The configuration that these arguments describe.
    ///
    /// # Errors
    ///
    /// If the Redis address, the list of events or a fault is not usable.
    pub fn config(&self) -> anyhow::Result<Config> {
        // Parsed here, not by clap, which would repeat a wrong address with the password in it.
        let mut config = Config::new(self.redis.parse().context("--redis")?);
        config.events = self
            .events
            .iter()
            .map(|event| event.trim().to_owned())
            .collect();
        anyhow::ensure!(
            config.events.iter().all(|event| !event.is_empty()),
            "--events: got an empty id; allowed are ids separated by single commas"
        );
        config.queue = self.queue;
        config.seats = self.seats;
        config.users = self.users;
        config.email_domain.clone_from(&self.email_domain);
        config.admin_email.clone_from(&self.admin_email);
        config.cut_after_silence = Duration::from_millis(self.cut_after_silence_ms);
        config.transport = self.transport;
        config.connection_wait = Duration::from_millis(self.connection_wait_ms);
        config.life = self.life.life();
        config.ticks = self.ticks;
        config.faults = self
            .faults
            .applied_to(&self.named_faults.faults())
            .context("--fault")?;
        Ok(config)
    }
}

impl NamedFaults {
    fn faults(&self) -> Faults {
        Faults {
            fail_logins: self.fail_logins.unwrap_or_default(),
            fail_streams: self.fail_streams.unwrap_or_default(),
            delay: Duration::from_millis(self.delay_ms),
            silent_after: self.silent_after_ms.map(Duration::from_millis),
            silent_after_messages: self.silent_after_messages,
            double_encode: self.double_encode,
            promotion_slowdown: self.promotion_slowdown,
            connections: self.connections,
            ..Faults::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::{NonZeroU32, NonZeroUsize};

    use serde_json::Value;

    use super::*;
    use crate::{Hop, Life};

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["waiting-room"].iter().chain(arguments))
    }

    #[test]
    fn definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let config = parse(&["--redis", "redis://127.0.0.1"])
            .expect("arguments are valid")
            .config();
        let library = Config::new("redis://127.0.0.1".parse().expect("address is valid"));
        assert_eq!(
            format!("{:?}", config.expect("configuration is valid")),
            format!("{library:?}")
        );
    }

    #[test]
    fn profile_gives_defaults_that_switches_replace() {
        let life = |arguments: &[&str]| {
            let config = parse(arguments).expect("arguments are valid").config();
            config.expect("configuration is valid").life
        };
        assert_eq!(life(&["--like=fast"]), Life::fast());
        assert_eq!(life(&["--like=real"]), Life::real());
        let mut expected = Life::real();
        expected.pipeline = NonZeroUsize::MIN.saturating_add(49);
        expected.index_records = false;
        expected.chunks = false;
        expected.hop = Hop::Memory;
        expected.greeting = "hello".to_owned();
        let arguments = "--like=real --pipeline=50 --index-records=false --chunks=1 --hop=memory --greeting=hello";
        let arguments: Vec<&str> = arguments.split(' ').collect();
        assert_eq!(life(&arguments), expected);
        let mut expected = Life::fast();
        expected.index_records = true;
        expected.chunks = true;
        expected.login = Duration::from_millis(1);
        expected.join = Duration::from_millis(2);
        expected.gateway = Duration::from_millis(3);
        expected.late_rounds = Duration::from_millis(4);
        expected.brokers = NonZeroU32::MIN.saturating_add(4);
        expected.round = Duration::from_millis(100);
        let arguments = "--index-records --chunks=3 --login-ms=1 --join-ms=2 --gateway-ms=3 --late-rounds-ms=4 --brokers=5 --round-ms=100";
        let arguments: Vec<&str> = arguments.split(' ').collect();
        assert_eq!(life(&arguments), expected);
    }

    #[test]
    fn the_page_names_each_switch_with_its_default() {
        let page = include_str!("../../README.md").replace("\\|", "/");
        let cells = |row: &str| -> Vec<String> {
            let cells = row.split('|').map(|cell| cell.trim().replace('`', ""));
            cells.collect()
        };
        let mut rows: BTreeMap<String, Vec<String>> = page
            .lines()
            .filter(|line| line.starts_with("| `--"))
            .map(cells)
            .map(|cells| {
                let name = cells[1].split(' ').next().unwrap_or_default();
                (name.trim_start_matches("--").to_owned(), cells)
            })
            .collect();
        let profile = |life: Life| serde_json::to_value(life).expect("life can be written");
        let (fast, real) = (profile(Life::fast()), profile(Life::real()));
        // As it is given: the switch tells how many chunks there are, the room whether there is more than one.
        let given = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let command = <Cli as clap::CommandFactory>::command();
        for switch in command.get_arguments() {
            let name = switch.get_long().expect("all have a long name");
            if switch.get_help_heading() == Some("Faults") {
                // That of all faults is told in words.
                let also = format!("Also `--{name}`");
                assert!(name == "fault" || page.contains(&also), "{also}");
                continue;
            }
            if name == "like" {
                assert!(page.contains("`--like fast`, the default"));
                continue;
            }
            let row = rows
                .remove(name)
                .unwrap_or_else(|| panic!("no row has --{name}"));
            if let (Some(fast), Some(real)) = (fast.get(name), real.get(name)) {
                let expected = match name {
                    "chunks" => ["1".to_owned(), "3".to_owned()],
                    _ => [given(fast), given(real)],
                };
                assert_eq!(row[2..4], expected, "--{name}");
                continue;
            }
            let defaults: Vec<_> = switch.get_default_values().iter().collect();
            let expected = match (name, &defaults[..]) {
                ("ticks", _) => "off".to_owned(),
                ("events", [_, _, _, _, _]) => "the five fixed ids".to_owned(),
                (_, []) => String::new(),
                (_, defaults) => defaults[0].to_string_lossy().into_owned(),
            };
            assert_eq!(row[2], expected, "--{name}");
        }
        assert!(rows.is_empty(), "no such switches: {rows:?}");
    }

    #[test]
    fn faults_are_taken_over() {
        let config = parse(&[
            "--fail-logins=3",
            "--fail-streams=6%",
            "--delay-ms=5",
            "--silent-after-ms=7",
            "--silent-after-messages=9",
            "--double-encode",
            "--promotion-slowdown=30%",
            "--fault=promotion-slowdown=20%",
            "--queue=hash",
            "--events=a, b",
        ]);
        let config = config
            .expect("arguments are valid")
            .config()
            .expect("configuration is valid");
        assert_eq!(config.events, ["a", "b"]);
        assert_eq!(config.queue, QueueKind::Hash);
        let faults = config.faults;
        assert_eq!(faults.fail_logins, Share::First(3));
        assert!(faults.fail_streams.hits(17));
        assert_eq!(faults.delay, Duration::from_millis(5));
        assert_eq!(faults.silent_after, Some(Duration::from_millis(7)));
        assert_eq!(faults.silent_after_messages, Some(9));
        assert!(faults.double_encode);
        assert_eq!(faults.promotion_slowdown.to_string(), "20.00%");
    }

    #[test]
    fn errors_name_the_option_and_keep_the_password() {
        let cli = parse(&["--redis", "redis://:s3cret@host:x"]).expect("clap takes any text");
        let error = format!("{:#}", cli.config().expect_err("address is not usable"));
        assert!(
            error.contains("--redis") && !error.contains("s3cret"),
            "{error}"
        );
        let error = parse(&["--fail-logins=half"])
            .expect_err("share is not valid")
            .to_string();
        assert!(
            error.contains("--fail-logins") && error.contains("6%"),
            "{error}"
        );
        let cli = parse(&["--fault=fail-login=3"]).expect("clap takes any text");
        let error = format!("{:#}", cli.config().expect_err("fault is not known"));
        assert!(
            error.starts_with("--fault: there is no fault \"fail-login\"; there are ")
                && error.contains(", fail-logins, "),
            "{error}"
        );
    }
}
