//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use target_kit::{FaultArgs, ListenArgs};

use crate::accounts::ACCOUNTS;
use crate::{Config, Faults, Hertz, Reply};

/// A chat service that streams replies over WebSocket beside a 100 Hz loop.
///
/// Reference target of the chat suite: API, chat and loop in one process. Logs go to stderr (level by RUST_LOG). Stops on
/// SIGINT and SIGTERM; open streams are closed with the code 1001.
#[derive(Debug, Parser)]
#[command(version, mut_arg("listen", |listen| listen.default_value("127.0.0.1:4000").help("Address of the API; port 0 picks a free one")))]
pub struct Cli {
    /// Where it listens
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Address of the streams, or its port on 127.0.0.1; port 0 picks a free one
    ///
    /// It is told after the API's, as in "stream on http://127.0.0.1:8080", and in the port file after the name "stream".
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub stream_listen: SocketAddr,

    /// A further address of the streams, can be given several times; told as "also"
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub also: Vec<SocketAddr>,

    /// Serve analyses of the research platform at this address too
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub consciousness: Option<SocketAddr>,

    /// Serve data sets of the research platform at this address too
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub research_api: Option<SocketAddr>,

    /// Ticks per second of the loop, from 1 to 1000
    #[arg(long, value_name = "N", default_value_t)]
    hz: Hertz,

    /// Chunks of a reply
    #[arg(long, value_name = "N", default_value_t = Reply::default().chunks, value_parser = chunks)]
    chunks: NonZeroU32,

    /// From a message to the first chunk of its reply
    #[arg(long, value_name = "MS", default_value_t = millis(Reply::default().first))]
    first_chunk_ms: u64,

    /// From a chunk to the next
    #[arg(long, value_name = "MS", default_value_t = millis(Reply::default().interval))]
    chunk_interval_ms: u64,

    /// Refuse streams with 403 without a token that is known, as Authorization: Bearer TOKEN or ?token=TOKEN
    #[arg(long)]
    require_token: bool,

    /// File of tokens that are known beside those that logins give, one in each line
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,

    #[command(flatten)]
    faults: FaultArgs,
}

impl Cli {
    /// The configuration that these arguments describe. The file of tokens is read.
    ///
    /// # Errors
    ///
    /// If that file or a fault is not usable.
    pub fn config(&self) -> anyhow::Result<Config> {
        let faults = self.faults.applied_to(&Faults::default());
        Ok(Config {
            pace: self.hz,
            reply: Reply {
                chunks: self.chunks,
                first: Duration::from_millis(self.first_chunk_ms),
                interval: Duration::from_millis(self.chunk_interval_ms),
            },
            require_token: self.require_token,
            tokens: self.tokens.as_deref().map_or(Ok(Vec::new()), tokens)?,
            faults: faults.context("--fault")?,
        })
    }
}

/// The tokens of a file.
fn tokens(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--tokens: cannot read {}", file.display()))?;
    let lines = text.lines().map(str::trim);
    let tokens: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    let count = tokens.len();
    anyhow::ensure!(
        count <= ACCOUNTS,
        "--tokens: got {count} tokens; allowed are {ACCOUNTS}"
    );
    Ok(tokens)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An address, or a port on 127.0.0.1.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let allowed = "allowed are an address such as 127.0.0.1:4002 and a port such as 4002";
    text.parse().map_err(|_| allowed.to_owned())
}

fn chunks(text: &str) -> Result<NonZeroU32, String> {
    let chunks = text.parse::<NonZeroU32>().ok();
    chunks
        .filter(|chunks| chunks.get() <= 10_000)
        .ok_or_else(|| "a whole number from 1 to 10000 is allowed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["chat-service"].iter().chain(arguments))
    }

    #[test]
    fn definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library_and_the_usual_ports() {
        let cli = parse(&[]).expect("arguments are valid");
        assert_eq!(cli.listen.listen.to_string(), "127.0.0.1:4000");
        assert_eq!(cli.stream_listen.to_string(), "127.0.0.1:8080");
        let config = cli.config().expect("configuration is valid");
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn arguments_are_taken_over() {
        let cli = parse(&[
            "--listen=0.0.0.0:0",
            "--stream-listen=[::1]:0",
            "--also=4002",
            "--also=127.0.0.1:0",
            "--consciousness=4003",
            "--research-api=4004",
            "--hz=50",
            "--chunks=3",
            "--first-chunk-ms=5",
            "--chunk-interval-ms=7",
            "--require-token",
            "--fault=loop-hz=90",
            "--fault=no-hz",
        ]);
        let cli = cli.expect("arguments are valid");
        assert_eq!(cli.stream_listen.to_string(), "[::1]:0");
        let also: Vec<String> = cli.also.iter().map(ToString::to_string).collect();
        assert_eq!(also, ["127.0.0.1:4002", "127.0.0.1:0"]);
        let config = cli.config().expect("configuration is valid");
        assert_eq!(u32::from(config.pace), 50);
        assert_eq!(config.reply.chunks.get(), 3);
        assert_eq!(config.reply.first, Duration::from_millis(5));
        assert_eq!(config.reply.interval, Duration::from_millis(7));
        assert!(config.require_token && config.faults.no_hz);
        assert_eq!(config.faults.loop_hz.map(u32::from), Some(90));
    }
}
