//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use target_kit::{FaultArgs, ListenArgs};

/// The subjects of sixteen learning phases behind one origin, and a cluster of node processes.
///
/// Reference target of the phase gates. Logs go to stderr (level by RUST_LOG). Stops on SIGINT and SIGTERM, with its nodes.
#[derive(Debug, Parser)]
#[command(version, mut_arg("listen", |listen| listen.default_value("127.0.0.1:4000").help("Address of the front; port 0 picks a free one")))]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Where it listens
    #[command(flatten)]
    pub(crate) listen: ListenArgs,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    /// PostgreSQL of phase 5, such as postgres://USER:PASSWORD@HOST:PORT/DATABASE; without one that phase is refused
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,

    /// Connections to it, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) pool_size: u32,

    /// Folder of the audit log and its backups; by default a temporary one that is removed at the end
    #[arg(long, value_name = "FOLDER", overrides_with = "audit")]
    pub(crate) audit: Option<PathBuf>,

    /// Folder with the lock files that the list of parts (SBOM) of phase 14 is made of
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) workspace: PathBuf,

    #[command(flatten)]
    pub(crate) faults: FaultArgs,
}

/// What else the program can be.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One node of the cluster; the front starts these
    #[command(hide = true)]
    Node(NodeArgs),
}

/// The cluster behind the front.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Node processes, 0 to 20; they are called node1@localhost and so on
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) nodes: u8,

    /// Port of all nodes, each at an address of its own: node1 at 127.0.1.1, node2 at 127.0.1.2; 0 picks free ones
    #[arg(long, value_name = "PORT", default_value_t = 4000)]
    pub(crate) node_port: u16,

    /// A further address for one of the nodes: the first for node2, the next for node3, told as "alias"; can be given several times. Without any, 127.0.0.1:4001 and 4002 where the nodes have port 4000
    #[arg(long = "alias", value_name = "ADDRESS")]
    pub(crate) aliases: Vec<SocketAddr>,

    /// From the end of a node to its next start
    #[arg(long, value_name = "MS", default_value = "1000", value_parser = millis)]
    pub(crate) restart_after_ms: Duration,
}

impl ClusterArgs {
    /// Further addresses of nodes, from node2 on, and whether somebody asked for them: a cluster of three is usually looked for at
    /// 4000, 4001 and 4002 of one host.
    pub(crate) fn aliases(&self) -> (Vec<SocketAddr>, bool) {
        let usual = self.aliases.is_empty() && self.node_port == 4000;
        if !usual {
            return (self.aliases.clone(), true);
        }
        let others = usize::from(self.nodes.saturating_sub(1));
        let ports = [4001, 4002].into_iter().take(others);
        let address = |port| (Ipv4Addr::LOCALHOST, port).into();
        (ports.map(address).collect(), false)
    }

    /// What a node is called, counted from 1.
    pub(crate) fn name(number: u8) -> String {
        format!("node{number}@localhost")
    }

    /// Where a node listens, counted from 1.
    pub(crate) fn address(&self, number: u8) -> SocketAddr {
        (IpAddr::V4(Ipv4Addr::new(127, 0, 1, number)), self.node_port).into()
    }
}

/// What the front tells a node that it starts.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Its name
    #[arg(long)]
    pub(crate) name: String,

    /// How many times a node of this name was started
    #[arg(long, default_value_t = 1)]
    pub(crate) incarnation: u64,

    /// Another node, and where it is reached
    #[arg(long = "peer", value_name = "NAME=URL", value_parser = peer)]
    pub(crate) peers: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) listen: ListenArgs,
}

fn peer(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once('=')
        .map(|(name, url)| (name.to_owned(), url.to_owned()));
    parts.ok_or_else(|| {
        "NAME=URL is allowed, such as node2@localhost=http://127.0.0.1:4711".to_owned()
    })
}

fn millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis| *millis <= 3_600_000);
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "a whole number of milliseconds from 0 to 3600000 is allowed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["phases"].iter().chain(arguments))
    }

    #[test]
    fn definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_usual_addresses() {
        let cli = parse(&[]).expect("arguments are valid");
        assert_eq!(cli.listen.listen.to_string(), "127.0.0.1:4000");
        assert_eq!(cli.cluster.nodes, 5);
        assert_eq!(cli.cluster.address(5).to_string(), "127.0.1.5:4000");
        let aliases = |arguments: &[&str]| {
            let (aliases, asked) = parse(arguments).expect("valid").cluster.aliases();
            let ports: Vec<u16> = aliases.iter().map(SocketAddr::port).collect();
            (ports, asked)
        };
        assert_eq!(aliases(&[]), (vec![4001, 4002], false));
        assert_eq!(aliases(&["--nodes=2"]), (vec![4001], false));
        assert_eq!(aliases(&["--nodes=0"]), (vec![], false));
        assert_eq!(aliases(&["--node-port=0"]), (vec![], true));
        assert_eq!(aliases(&["--alias=127.0.0.1:7"]), (vec![7], true));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for arguments in [
            ["--nodes", "21"],
            ["--restart-after-ms", "-1"],
            ["--alias", "here"],
            ["--pool-size", "0"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }
}
