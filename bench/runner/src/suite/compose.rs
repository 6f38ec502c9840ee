//! `target.compose`: a service of a compose file. The file is checked without a container engine: what it would start is
//! pinned, and listens on this machine alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::values::text::{from_here, suggestion};

/// `target.compose`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComposeTable {
    /// The compose file.
    pub(crate) file: Spanned<String>,
    /// The service of it that is started, with those that it depends on.
    pub(crate) service: Spanned<String>,
    /// The port inside its container that is the target's address.
    pub(crate) port: Spanned<u16>,
    /// Names of further places where it listens, each with the port inside its container. `{NAME}` is its host and port outside.
    #[serde(default)]
    pub(crate) ports: BTreeMap<Spanned<String>, u16>,
}

/// What is looked at of a compose file.
#[derive(Debug, Deserialize)]
struct Composed {
    #[serde(default)]
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    image: Option<String>,
    build: Option<serde_json::Value>,
    #[serde(default)]
    ports: Vec<Published>,
    network_mode: Option<String>,
    #[serde(default)]
    privileged: bool,
    extends: Option<serde_json::Value>,
    depends_on: Option<Needed>,
}

/// `depends_on`: names, or names with conditions.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Needed {
    Names(Vec<String>),
    Conditions(BTreeMap<String, serde_json::Value>),
}

/// An entry of `ports`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Published {
    Number(u16),
    Short(String),
    Long {
        target: u16,
        host_ip: Option<String>,
    },
}

impl ComposeTable {
    /// Reads the compose file and checks it.
    ///
    /// # Errors
    /// As [`Self::check`], with the file.
    pub(crate) fn look(&self, file: &Path) -> Result<(), String> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| format!("it cannot be read: {error}"));
        text.and_then(|text| self.check(&text))
            .map_err(|why| format!("{}: {why}", from_here(file).display()))
    }

    /// Whether the file has the service, publishes its ports, and starts nothing that is not pinned or that others can reach.
    ///
    /// # Errors
    /// The text says what was received and what is allowed.
    fn check(&self, text: &str) -> Result<(), String> {
        let file: Composed = serde_saphyr::from_str(text)
            .map_err(|error| format!("it is no compose file: {error}"))?;
        let name = self.service.get_ref().as_str();
        for started in file.started(name)? {
            let service = file.service(started)?;
            service
                .check()
                .map_err(|why| format!("service {started}: {why}"))?;
        }
        let published = file.service(name)?.published()?;
        let ports = [*self.port.get_ref()].into_iter();
        for port in ports.chain(self.ports.values().copied()) {
            if !published.contains(&port) {
                let known: Vec<String> = published.iter().map(u16::to_string).collect();
                return Err(format!(
                    "service {name}: its port {port} is not published; published: {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ));
            }
        }
        Ok(())
    }
}

impl Composed {
    fn service(&self, name: &str) -> Result<&Service, String> {
        self.services.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.services.keys().map(String::as_str).collect();
            format!(
                "no service `{name}`{}; allowed: {}",
                suggestion(name, &known),
                known.join(", ")
            )
        })
    }

    /// The service and all that start with it.
    fn started<'f>(&'f self, name: &'f str) -> Result<BTreeSet<&'f str>, String> {
        let mut found = BTreeSet::new();
        let mut left = vec![name];
        while let Some(next) = left.pop() {
            if !found.insert(next) {
                continue;
            }
            match &self.service(next)?.depends_on {
                None => {}
                Some(Needed::Names(names)) => left.extend(names.iter().map(String::as_str)),
                Some(Needed::Conditions(all)) => left.extend(all.keys().map(String::as_str)),
            }
        }
        Ok(found)
    }
}

impl Service {
    fn check(&self) -> Result<(), String> {
        if self.extends.is_some() {
            return Err("`extends` is not followed; write the service out in this file".to_owned());
        }
        match (&self.image, &self.build) {
            (None, None) => return Err("it has neither `image` nor `build`".to_owned()),
            (Some(image), None) => pinned(image)?,
            // What is built from this tree is what the tree says.
            (_, Some(_)) => {}
        }
        if let Some(mode) = self.network_mode.as_deref().filter(|mode| *mode == "host") {
            return Err(format!(
                "`network_mode`: received `{mode}`, by which all its ports are open to others; allowed: a network of containers, with `ports` on 127.0.0.1"
            ));
        }
        if self.privileged {
            return Err("`privileged`: received true; allowed: false".to_owned());
        }
        self.published().map(drop)
    }

    /// The ports inside that are published, all of them on this machine alone.
    fn published(&self) -> Result<Vec<u16>, String> {
        let mut found = Vec::new();
        for entry in &self.ports {
            let (shown, host, port) = match entry {
                Published::Number(port) => (port.to_string(), None, Some(*port)),
                Published::Short(text) => {
                    let plain = defaults(text)?;
                    let (host, port) = parted(&plain);
                    (text.clone(), host.map(str::to_owned), port)
                }
                Published::Long { target, host_ip } => {
                    let host = host_ip.as_deref().map(defaults).transpose()?;
                    (format!("target: {target}"), host, Some(*target))
                }
            };
            if !host.is_some_and(|host| ["127.0.0.1", "[::1]", "::1"].contains(&host.as_str())) {
                return Err(format!(
                    "`ports`: `{shown}` is open to others than this machine; allowed: on 127.0.0.1, as in `127.0.0.1:8080:8080`, or `127.0.0.1::8080` for any free port"
                ));
            }
            found.push(port.ok_or_else(|| {
                format!("`ports`: `{shown}`: no port of the container; allowed: one number, as in `127.0.0.1:8080:8080`")
            })?);
        }
        Ok(found)
    }
}

/// Whether an image is the same tomorrow.
fn pinned(image: &str) -> Result<(), String> {
    let plain = defaults(image)?;
    let name = plain.rsplit('/').next().unwrap_or(&plain);
    let tag = name.rsplit_once(':').map(|(_, tag)| tag);
    if plain.contains("@sha256:") || tag.is_some_and(|tag| !["", "latest"].contains(&tag)) {
        return Ok(());
    }
    Err(format!(
        "`image`: `{image}` may be another one tomorrow; allowed: a tag other than latest, or a digest, as in `redis:7.4.2`"
    ))
}

/// Host and port inside of the short form `HOST:OUTSIDE:INSIDE/PROTOCOL`.
fn parted(text: &str) -> (Option<&str>, Option<u16>) {
    let text = text.split('/').next().unwrap_or(text);
    let Some((before, inside)) = text.rsplit_once(':') else {
        return (None, text.parse().ok());
    };
    let host = before.rsplit_once(':').map(|(host, _)| host);
    (host, inside.parse().ok())
}

/// A text with the defaults of its variables, `${NAME:-default}`: a target gets no other variables than the suite's.
fn defaults(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plain.push_str(before);
        let inner = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let default = inner.and_then(|(inner, rest)| {
            let (_, default) = inner.split_once('-')?;
            Some((default, rest))
        });
        let Some((default, after)) = default else {
            return Err(format!(
                "`{text}` takes a variable without a default, so nobody knows what it will be; allowed: the value itself, or `${{NAME:-default}}`"
            ));
        };
        plain.push_str(default);
        rest = after;
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the check says to a service with these lines, and to one that it depends on.
    fn check(lines: &str) -> Result<(), String> {
        let table: ComposeTable = toml::from_str(
            "file = \"compose.yaml\"\nservice = \"chat\"\nport = 4000\nports = { stream = 8080 }\n",
        )
        .expect("a table");
        table.check(&format!(
            "services:\n  chat:\n{lines}    depends_on: {{ store: {{ condition: service_started }} }}\n  store:\n    image: redis:7.4.2\n"
        ))
    }

    const GOOD: &str = "    image: example.org:5000/chat:1.2\n    ports: [\"127.0.0.1:4000:4000\", \"127.0.0.1::8080/tcp\"]\n";

    #[test]
    fn a_pinned_service_on_this_machine_is_fine() {
        check(GOOD).expect("fine");
        check("    build: .\n    image: chat:latest\n    ports:\n      - { target: 4000, host_ip: 127.0.0.1, published: \"4000\" }\n      - \"[::1]:8080:8080\"\n")
            .expect("what is built here needs no pin");
        check(&GOOD.replace("127.0.0.1::", "${BIND:-127.0.0.1}::")).expect("a default counts");
        check(&GOOD.replace("chat:1.2", "chat@sha256:abc")).expect("a digest is a pin");
    }

    #[test]
    fn each_fault_is_named_with_what_is_allowed() {
        for (from, to, expected) in [
            ("chat:1.2", "chat", "`image`: `example.org:5000/chat`"),
            ("chat:1.2", "chat:latest", "a tag other than latest"),
            ("chat:1.2", "chat:${TAG}", "without a default"),
            (
                "\"127.0.0.1:4000:4000\"",
                "4000",
                "`4000` is open to others",
            ),
            (
                "127.0.0.1:4000",
                "4000",
                "`4000:4000` is open to others than this machine; allowed: on 127.0.0.1",
            ),
            ("127.0.0.1:4000", "0.0.0.0:4000", "open to others"),
            ("127.0.0.1:4000", "${BIND}:4000", "without a default"),
            (
                "\"127.0.0.1:4000:4000\"",
                "{ target: 4000 }",
                "`target: 4000` is open",
            ),
            (
                "127.0.0.1:4000:4000",
                "127.0.0.1:4000:4001",
                "its port 4000 is not published; published: 4001, 8080",
            ),
            (
                "127.0.0.1:4000:4000",
                "127.0.0.1:4000-4001:4000-4001",
                "no port of the container",
            ),
            (
                "    image",
                "    network_mode: host\n    image",
                "received `host`",
            ),
            (
                "    image",
                "    privileged: true\n    image",
                "received true",
            ),
            (
                "    image",
                "    extends: other\n    image",
                "is not followed",
            ),
            ("    image", "    imago", "neither `image` nor `build`"),
            (
                "  chat:",
                "  cha:",
                "no service `chat`, did you mean `cha`?",
            ),
            (
                "image: redis:7.4.2",
                "image: redis",
                "service store: `image`: `redis`",
            ),
            ("services:", "services: [", "no compose file"),
        ] {
            let table: ComposeTable = toml::from_str(
                "file = \"c\"\nservice = \"chat\"\nport = 4000\nports = { stream = 8080 }\n",
            )
            .expect("a table");
            let text = format!(
                "services:\n  chat:\n{GOOD}    depends_on: [store]\n  store:\n    image: redis:7.4.2\n"
            );
            let text = text.replacen(from, to, 1);
            let why = table.check(&text).expect_err(to);
            assert!(why.contains(expected), "{to}: {why}");
        }
    }
}
