//! Where a Redis server or cluster is and how it is spoken to: URL and TLS options, checked once.

use std::fmt;

use redis::{IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::error::OptionError;
use crate::tls::{Tls, TlsOptions};

const ALLOWED: &str = "redis[s][+cluster]://[[user]:password@]host[:port][/database]";
const PORT: u16 = 6379;

/// A host, or an address in text form, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A Redis server, or the nodes by which a cluster is found.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RedisAddress {
    /// As given, for comparison.
    url: String,
    /// The same with the first host alone and the scheme that redis-rs knows: credentials and database.
    plain: String,
    masked: String,
    /// Never empty; one unless this is a cluster.
    hosts: Vec<HostPort>,
    cluster: bool,
    tls: Option<Tls>,
}

impl RedisAddress {
    /// Checks a URL of the schemes `redis`, `rediss`, `redis+cluster` and `rediss+cluster`, and the options for TLS.
    ///
    /// # Errors
    /// Names the option; the URL is shown without its password, and nothing of a certificate or a key.
    pub fn new(option: &str, url: &str, tls: Option<TlsOptions>) -> Result<Self, OptionError> {
        let refuse = |got: &str, allowed: &str| OptionError::new(option, got, allowed);
        let first = FirstHost::of(url).ok_or_else(|| refuse("no URL", ALLOWED))?;
        let parsed =
            url::Url::parse(&first.url).map_err(|e| refuse(&format!("no URL ({e})"), ALLOWED))?;
        let masked = first.masked(&parsed);
        let (secure, cluster) = match parsed.scheme() {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" => (false, true),
            "rediss+cluster" => (true, true),
            _ => return Err(refuse(&masked, ALLOWED)),
        };
        let mut hosts = Vec::new();
        for text in std::iter::once(first.host).chain(first.others.iter().copied()) {
            hosts.push(host_port(text).ok_or_else(|| refuse(&masked, ALLOWED))?);
        }
        if hosts.len() > 1 && !cluster {
            let allowed = format!("{ALLOWED}; several hosts only with redis[s]+cluster://");
            return Err(refuse(&masked, &allowed));
        }
        let database = parsed.path().trim_start_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return Err(refuse(&masked, ALLOWED));
        }
        if cluster && !database.trim_start_matches('0').is_empty() {
            let allowed = format!("{ALLOWED}; a cluster has database 0 alone");
            return Err(refuse(&masked, &allowed));
        }
        let rest = first.url.split_once("://").map_or("", |(_, rest)| rest);
        let plain = format!("redis://{rest}");
        // What redis-rs itself refuses is found here rather than at the first connection.
        plain
            .as_str()
            .into_connection_info()
            .map_err(|_| refuse(&masked, ALLOWED))?;
        let tls = match (secure, tls) {
            (true, options) => Some(Tls::new(options.unwrap_or_default())?),
            (false, None) => None,
            (false, Some(_)) => {
                return Err(OptionError::new(
                    "tls",
                    format!("options for TLS with {masked}"),
                    "with rediss:// and rediss+cluster:// alone",
                ));
            }
        };
        Ok(Self {
            url: url.into(),
            plain,
            masked,
            hosts,
            cluster,
            tls,
        })
    }

    /// The hosts of the URL; more than one only of a cluster.
    pub(crate) fn hosts(&self) -> &[HostPort] {
        &self.hosts
    }

    /// Whether the URL names nodes of a cluster.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        self.cluster
    }

    pub(crate) const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// User, password, database and protocol for redis-rs.
    pub(crate) fn settings(&self) -> RedisConnectionInfo {
        self.plain
            .as_str()
            .into_connection_info()
            .map(|info| info.redis_settings().clone())
            .unwrap_or_default() // checked in `new`
            .set_protocol(ProtocolVersion::RESP3)
    }

    /// Host and port of each host, for messages.
    #[must_use]
    pub fn host_port(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }

    /// The URL with its password replaced.
    #[must_use]
    pub fn masked(&self) -> &str {
        &self.masked
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked)
    }
}

/// A URL taken apart into the one with its first host alone, which any parser understands, and its other hosts.
struct FirstHost<'a> {
    url: String,
    host: &'a str,
    others: Vec<&'a str>,
}

impl<'a> FirstHost<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let start = url.find("://")? + 3;
        let end = url[start..]
            .find(['/', '?', '#'])
            .map_or(url.len(), |n| start + n);
        let hosts_at = url[start..end].rfind('@').map_or(start, |n| start + n + 1);
        let mut hosts = url[hosts_at..end].split(',');
        let host = hosts.next()?;
        Some(Self {
            url: format!("{}{host}{}", &url[..hosts_at], &url[end..]),
            host,
            others: hosts.collect(),
        })
    }

    fn masked(&self, parsed: &url::Url) -> String {
        let mut shown = parsed.clone();
        if shown.password().is_some() && shown.set_password(Some("***")).is_err() {
            return "a URL without a host".into();
        }
        let mut text = shown.to_string();
        if !self.others.is_empty() {
            let start = text.find("://").map_or(0, |n| n + 3);
            let end = text[start..].find('/').map_or(text.len(), |n| start + n);
            text.insert_str(end, &format!(",{}", self.others.join(",")));
        }
        text
    }
}

fn host_port(text: &str) -> Option<HostPort> {
    let url = url::Url::parse(&format!("redis://{text}")).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(HostPort {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(PORT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: &str) -> Result<RedisAddress, OptionError> {
        RedisAddress::new("store", url, None)
    }

    #[test]
    fn schemes_say_how_and_to_what_to_connect() {
        for (url, secure, cluster, at) in [
            ("redis://h", false, false, "h:6379"),
            ("redis://:p@h:1/3", false, false, "h:1"),
            ("rediss://u:p@h", true, false, "h:6379"),
            (
                "redis+cluster://u:p@a:1,b,c:3",
                false,
                true,
                "a:1,b:6379,c:3",
            ),
            ("rediss+cluster://a,[::1]:7/0", true, true, "a:6379,[::1]:7"),
        ] {
            let a = new(url).expect(url);
            assert_eq!(
                (a.tls().is_some(), a.is_cluster()),
                (secure, cluster),
                "{url}"
            );
            assert_eq!(a.host_port(), at, "{url}");
        }
        let a = new("redis://us%65r:p%40ss@h/3").expect("valid");
        assert_eq!(a.settings().username(), Some("user"));
        assert_eq!(a.settings().password(), Some("p@ss"));
        assert_eq!(a.settings().db(), 3);
    }

    #[test]
    fn what_a_url_may_not_be_is_said() {
        for (url, got, allowed) in [
            ("h:6379", "no URL", ""),
            ("http://h", "http://h/", ""),
            ("redis://", "redis://", ""),
            ("redis://h/x", "redis://h/x", ""),
            (
                "redis://a,b",
                "redis://a,b",
                "; several hosts only with redis[s]+cluster://",
            ),
            ("redis+cluster://a,,b", "redis+cluster://a,,b", ""),
            (
                "redis+cluster://u:p@a,b/1",
                "redis+cluster://u:***@a,b/1",
                "; a cluster has database 0 alone",
            ),
        ] {
            let e = new(url).expect_err(url);
            assert_eq!((e.option.as_str(), e.got.as_str()), ("store", got), "{url}");
            assert_eq!(e.allowed, format!("{ALLOWED}{allowed}"), "{url}");
        }
        let e = RedisAddress::new("store", "redis://u:sEcret@h", Some(TlsOptions::default()))
            .expect_err("no TLS");
        assert_eq!(
            (e.option.as_str(), e.got.as_str()),
            ("tls", "options for TLS with redis://u:***@h")
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in ["redis://u:sEcret@h:1/2", "redis+cluster://:sEcret@h,i,j"] {
            let a = new(url).expect("valid");
            assert!(!format!("{a:?} {} {}", a.masked(), a.host_port()).contains("sEcret"));
        }
        for url in [
            "http://u:sEcret@h",
            "redis://u:sEcret@h,i",
            "redis://u:sEcret@:1",
            "redis+cluster://u:sEcret@a,/",
        ] {
            let e = new(url).expect_err(url);
            assert!(!e.to_string().contains("sEcret"), "{e}");
        }
    }
}
