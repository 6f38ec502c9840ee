//! Hosts that a suite may reach (`allow_hosts`): a run drives load and deletes keys, only where that is meant.

use std::net::IpAddr;

use super::Suite;
use crate::values::address::{addresses, is_here};
use crate::values::exit;

/// Options and variables whose value is a host, by the end of their names.
const OF_HOSTS: [&str; 4] = ["host", "hostname", "addr", "address"];

/// Variables whose value names servers, with their ports.
const OF_SERVERS: [&str; 8] = [
    "broker",
    "brokers",
    "endpoint",
    "endpoints",
    "node",
    "nodes",
    "server",
    "servers",
];

/// What stands before the name of a server where a client of gRPC is to find it.
const RESOLVERS: [&str; 5] = ["dns:", "xds:", "passthrough:", "ipv4:", "ipv6:"];

/// What stands before a number that is no port of a host, as in `pid:8080`.
const NO_HOSTS: [&str; 3] = ["port", "pid", "pattern"];

/// Below are numbers of versions, as in `redis:7`, rather than ports.
const LEAST_PORT: u16 = 80;

/// Whose words they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words<'a> {
    /// What a program is started with.
    Arguments,
    /// The value of a variable with this name.
    Of(&'a str),
}

impl Suite {
    /// Refuses a text with an address whose host the suite does not allow, or whose host cannot be told.
    ///
    /// # Errors
    /// `what` names it, with its host and those that are allowed.
    pub(crate) fn allow(&self, what: &str, text: &str) -> anyhow::Result<()> {
        addresses(text).try_for_each(|address| self.allow_address(what, address))
    }

    /// The same of what got its values only now: what listens on this machine was started for the run.
    ///
    /// # Errors
    /// As [`Self::allow`].
    pub(crate) fn allow_now(&self, what: &str, text: &str) -> anyhow::Result<()> {
        let elsewhere = addresses(text).filter(|address| !is_here(address));
        elsewhere
            .into_iter()
            .try_for_each(|address| self.allow_address(what, address))
    }

    /// The same of words that are no addresses, as in `--broker=HOST:PORT`; of arguments, and where it is all that a variable
    /// holds, also where no dot tells a host.
    /// What listens on this machine is no other host.
    ///
    /// # Errors
    /// As [`Self::allow`].
    pub(crate) fn allow_words(
        &self,
        what: &str,
        text: &str,
        words: Words<'_>,
    ) -> anyhow::Result<()> {
        let hosts = hosts(text, words);
        hosts
            .iter()
            .try_for_each(|host| self.allow_host(what, host))
    }

    fn allow_address(&self, what: &str, address: &str) -> anyhow::Result<()> {
        let Some((scheme, authority)) = address.split_once("://") else {
            return Ok(());
        };
        // Several servers of one address, or several addresses in a list.
        let (user, servers) = authority.rsplit_once('@').unwrap_or(("", authority));
        if !servers.contains(',') {
            return self.allow_one(what, address);
        }
        let servers = servers.split(',').filter(|part| !part.ends_with(':'));
        servers.into_iter().try_for_each(|server| {
            let user = if user.is_empty() { "" } else { "user@" };
            self.allow_one(what, &format!("{scheme}://{user}{server}"))
        })
    }

    fn allow_one(&self, what: &str, address: &str) -> anyhow::Result<()> {
        let parsed = url::Url::parse(address).ok();
        match parsed.as_ref().and_then(url::Url::host_str) {
            Some(host) => self.allow_host(what, host),
            None => Err(exit::set_up(format!(
                "{what}: the host of an address cannot be told, so nobody knows whether it is allowed; received `{}`",
                crate::values::mask::masked_address(address)
            ))),
        }
    }

    fn allow_host(&self, what: &str, host: &str) -> anyhow::Result<()> {
        let allowed = &self.file.suite.allow_hosts;
        // An address has the name of an IPv6 host in brackets, an option has it without.
        let bare = |name: &str| name.trim_matches(['[', ']']).to_ascii_lowercase();
        if allowed.iter().any(|known| bare(known) == bare(host)) {
            return Ok(());
        }
        Err(exit::set_up(format!(
            "{what}: the host {host} is not allowed; allowed: {} (`allow_hosts` in {})",
            allowed.join(", "),
            self.path.display()
        )))
    }
}

/// Hosts of a text that stand there without a scheme.
fn hosts(text: &str, words: Words<'_>) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || "'\"`;()<>|&".contains(c);
    let ends_in = |name: &str, known: &[&str]| {
        let name = name.to_ascii_lowercase();
        let last = name.rsplit(['-', '_', '.']).next().unwrap_or_default();
        known.contains(&last)
    };
    let of_host = |name: &str| ends_in(name, &OF_HOSTS);
    let (arguments, of_variable, of_servers) = match words {
        Words::Arguments => (true, false, false),
        Words::Of(name) => (false, of_host(name), ends_in(name, &OF_SERVERS)),
    };
    let mut found = Vec::new();
    let mut named = false;
    for word in text.split(ends).filter(|word| !word.is_empty()) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value),
            None => ("", word),
        };
        let whole = word == text.trim() && name.is_empty();
        let of_option = of_host(name) || (named && name.is_empty()) || (of_variable && whole);
        let dotless = arguments || (whole && (of_variable || of_servers));
        for part in value.split(',') {
            if let Some(server) = of_resolver(part) {
                found.extend(host(server, true, true));
                continue;
            }
            // Who is written to is no server, unless it says its port.
            let mail = !arguments && part.contains('@') && !part.contains(':');
            if part.contains("://") || mail {
                continue;
            }
            let is_host = of_option && (arguments || part.contains('.'));
            found.extend(host(part, dotless, is_host));
            let port = |part: &str| part.rsplit_once(':')?.1.parse::<u16>().ok();
            let later = part.split('/').skip(1);
            let later = later.filter(|part| port(part).is_some_and(|port| port >= LEAST_PORT));
            found.extend(later.filter_map(|part| host(part, false, false)));
        }
        named = name.is_empty() && word.starts_with('-') && of_host(word);
    }
    found
}

/// What a client of gRPC is to resolve, as `there:50051` of `dns:///there:50051`; the server that it asks for that is an address.
fn of_resolver(part: &str) -> Option<&str> {
    let rest = RESOLVERS
        .iter()
        .find_map(|scheme| part.strip_prefix(scheme))?;
    match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map(|(_, server)| server),
        None => Some(rest),
    }
}

/// The host of a word; `None` if it is none, or of this machine. `dotless`: a port tells it, too.
fn host(word: &str, dotless: bool, is_host: bool) -> Option<String> {
    let word = word.split('/').next().unwrap_or(word);
    let word = word.rsplit('@').next().unwrap_or(word);
    let (name, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => match word.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (word, None),
        },
    };
    if let Ok(ip) = name.parse::<IpAddr>() {
        return (!ip.is_loopback() && !ip.is_unspecified()).then(|| name.to_owned());
    }
    let port = port.and_then(|port| port.parse::<u16>().ok());
    let of_name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let is_name = name.contains(|c: char| c.is_ascii_alphabetic()) && name.chars().all(of_name);
    let told = is_host
        || port.is_some_and(|port| {
            name.contains('.') || (dotless && port >= LEAST_PORT && !NO_HOSTS.contains(&name))
        });
    (is_name && told && !["localhost", "true", "false"].contains(&name)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    #[test]
    fn each_address_of_a_text_is_looked_at() {
        let mut suite = suite("[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n")
            .expect("suite");
        suite.file.suite.allow_hosts = vec!["127.0.0.1".to_owned(), "here".to_owned()];
        for text in [
            "--to=http://here/x",
            "redis://HERE:1,here:2",
            "http://here:1,http://127.0.0.1:2",
            "redis://u:p,w@here",
            "no address",
        ] {
            suite.allow("it", text).expect(text);
        }
        for text in [
            "http://here.example",
            "redis://here:1,there:2",
            "http://here,http://there",
            "http://here@there",
            "http://[::1",
            "redis://here:port",
        ] {
            suite.allow("it", text).expect_err(text);
        }
        suite
            .allow_now("it", "http://localhost:1")
            .expect("of this machine");
        suite
            .allow_now("it", "http://there:1")
            .expect_err("elsewhere");
    }

    #[test]
    fn hosts_without_a_scheme_are_told_from_other_words() {
        let found = |text: &str| hosts(text, Words::Arguments).join(" ");
        for (text, expected) in [
            (
                "--broker=there.example:9092,other:81",
                "there.example other",
            ),
            ("--image redis:7 --pid pid:8080", ""),
            ("--to=dns:///there --or=xds:other:1", "there other"),
            (
                "dns://10.0.0.1/there:50051 ipv4:10.0.0.2:80",
                "there 10.0.0.2",
            ),
            ("thin:@//there.example:1521/x", "there.example"),
            ("lib/there.example/a.jar v1/there:80", ""),
            ("--host there.example --port 1", "there.example"),
            ("--redis-host=there", "there"),
            ("exec server 'there:80/x' 10.0.0.7", "there 10.0.0.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            (
                "--listen=127.0.0.1:0 --listen 0.0.0.0:80 localhost:1 [::]:1",
                "",
            ),
            (
                "--email-domain=example.com --at=12:30 lib/a.jar:lib/b.jar a=b:c",
                "",
            ),
            ("--users=10 --seats=2 --like=real --log-addr=true", ""),
            ("me:pass@there.example:5432", "there.example"),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
        let found = |name: &str, text: &str| hosts(text, Words::Of(name)).join(" ");
        for (name, text, expected) in [
            ("PROCESSES", "gateway=port:8080,pid:17", ""),
            ("PROCESSES", "port:8080", ""),
            ("PROCESSES", "pattern:8080", ""),
            ("DSN", "host=db.example user=me host=me", "db.example"),
            ("BROKER", "kafka.example:9092", "kafka.example"),
            ("BROKER", "kafka:9092,other:9092", "kafka other"),
            ("NOTE", "see kafka:9092", ""),
            ("MIX", "browse:80,buy:20", ""),
            ("IMAGE", "there.example/acme/app.web:16", ""),
            ("POSTAL_ADDRESS", "1 Main St. Springfield", ""),
            ("IMAGE", "redis:7", ""),
            ("DB_HOST", "prod.example", "prod.example"),
            ("DB_HOST", "localhost", ""),
            ("NAME", "prod.example", ""),
            ("MAIL_ADDRESS", "me@prod.example", ""),
            ("TARGET", "dns:///there", "there"),
        ] {
            assert_eq!(found(name, text), expected, "{name}={text}");
        }
        let mut suite = suite("[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n")
            .expect("suite");
        for allowed in ["[2001:db8::1]", "2001:db8::1"] {
            suite.file.suite.allow_hosts = vec![allowed.to_owned()];
            suite.allow("it", "http://[2001:db8::1]:80").expect(allowed);
            let words = Words::Arguments;
            suite
                .allow_words("it", "[2001:db8::1]:80", words)
                .expect(allowed);
        }
    }
}
