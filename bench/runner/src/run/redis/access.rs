//! Where a Redis is and what a connection to it needs, from the variables of a suite.

use std::fmt;
use std::net::SocketAddr;

use redis::io::AsyncDNSResolver;
use redis::{ClientTlsConfig, RedisFuture, TlsCertificates};
use url::Url;

use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::mask;

const PORT: u16 = 6379;

/// A Redis server that a suite names. Neither Debug nor errors show a secret.
#[derive(Clone)]
pub(crate) struct Access {
    client: redis::Client,
    shown: String,
    place: Option<Place>,
}

/// Where the server is, whatever name its certificate is for.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    host: String,
    port: u16,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Access {
    /// Checks an address and reads the files with certificates. `REDIS_USERNAME`, `REDIS_PASSWORD` and `REDIS_TLS_*` are for
    /// the server of `REDIS_URL`, and read as the harness reads them.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub(crate) fn new(address: &str, vars: &Vars) -> anyhow::Result<Self> {
        let shown = mask::masked_address(address);
        let own = vars.text("REDIS_URL").as_deref() == Some(address);
        let given = |name: &str| vars.text(name).filter(|text| own && !text.is_empty());
        let refuse = |allowed: &str| {
            exit::set_up(format!(
                "Redis: received `{shown}`; allowed: redis[s]://[[user]:password@]host[:port][/database]{allowed}"
            ))
        };
        let mut url = Url::parse(address).map_err(|_| refuse(""))?;
        let secure = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            "redis+cluster" | "rediss+cluster" => {
                return Err(refuse(
                    "; a cluster is for the harness without the runner: k6 run SCRIPT",
                ));
            }
            _ => return Err(refuse("")),
        };
        if url.username().is_empty() && url.password().is_none() {
            // The setters encode what they have to, but take a percent sign for the beginning of what is encoded already.
            let encoded = |name: &str| given(name).map(|text| text.replace('%', "%25"));
            url.set_username(&encoded("REDIS_USERNAME").unwrap_or_default())
                .and_then(|()| url.set_password(encoded("REDIS_PASSWORD").as_deref()))
                .map_err(|()| refuse(""))?;
            mask::register_url(&url);
        }
        const TLS: [&str; 4] = [
            "REDIS_TLS_CA",
            "REDIS_TLS_CERT",
            "REDIS_TLS_KEY",
            "REDIS_TLS_SERVER_NAME",
        ];
        if let Some(name) = TLS.iter().find(|name| !secure && given(name).is_some()) {
            return Err(exit::set_up(format!(
                "{name} is given, so REDIS_URL must begin with rediss://, received `{shown}`"
            )));
        }
        let read = |name: &str| {
            let bytes = |path: String| {
                std::fs::read(&path)
                    .map_err(|error| exit::set_up(format!("{name}: {path}: {error}")))
            };
            given(name).map(bytes).transpose()
        };
        let client_tls = match (read("REDIS_TLS_CERT")?, read("REDIS_TLS_KEY")?) {
            (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig {
                client_cert,
                client_key,
            }),
            (None, None) => None,
            _ => {
                return Err(exit::set_up(
                    "REDIS_TLS_CERT and REDIS_TLS_KEY are a certificate and its key: give both or none",
                ));
            }
        };
        let mut place = None;
        if let Some(name) = given("REDIS_TLS_SERVER_NAME") {
            place = Some(Place {
                host: url.host_str().unwrap_or_default().to_owned(),
                port: url.port().unwrap_or(PORT),
            });
            url.set_host(Some(&name))
                .map_err(|error| exit::set_up(format!("REDIS_TLS_SERVER_NAME={name}: {error}")))?;
        }
        let client = if secure {
            let root_cert = read("REDIS_TLS_CA")?;
            redis::Client::build_with_tls(
                url.as_str(),
                TlsCertificates {
                    client_tls,
                    root_cert,
                },
            )
        } else {
            redis::Client::open(url.as_str())
        };
        let client = client.map_err(|error| exit::set_up(format!("Redis at {shown}: {error}")))?;
        Ok(Self {
            client,
            shown,
            place,
        })
    }

    /// The address without password.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it is spoken to over TLS.
    pub(in crate::run) fn is_secure(&self) -> bool {
        self.shown.starts_with("rediss:")
    }

    pub(crate) fn client(&self) -> &redis::Client {
        &self.client
    }

    /// Where to connect to, where that is not what the client takes it for.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place.clone()
    }
}

impl AsyncDNSResolver for Place {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _: &'b str,
        _: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async {
            let host = self.host.trim_matches(['[', ']']);
            let found = tokio::net::lookup_host((host, self.port)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Box<_>)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::vars::{Origin, Value};

    fn access(address: &str, given: &[(&str, &str)]) -> anyhow::Result<Access> {
        let mut vars = Vars::default();
        for (name, text) in [("REDIS_URL", address)].iter().chain(given) {
            vars.supply(name, Value::Text((*text).to_owned()), Origin::Environment);
        }
        Access::new(address, &vars)
    }

    #[test]
    fn user_and_password_may_stand_beside_the_address() {
        let both = [
            ("REDIS_USERNAME", "bench"),
            ("REDIS_PASSWORD", "p@ss:w/ord%13"),
        ];
        let login = |address: &str| {
            let access = access(address, &both).expect("valid");
            let settings = access
                .client()
                .get_connection_info()
                .redis_settings()
                .clone();
            let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
            (
                text(settings.username()),
                text(settings.password()),
                settings.db(),
            )
        };
        let beside = ("bench".to_owned(), "p@ss:w/ord%13".to_owned(), 3);
        assert_eq!(login("redis://127.0.0.1:1/3"), beside);
        let own = ("a".to_owned(), "b@c".to_owned(), 0);
        assert_eq!(login("redis://a:b%40c@127.0.0.1:1"), own);
        assert_eq!(
            mask::masked("p@ss:w/ord%13 p%40ss%3Aw%2Ford%2513"),
            format!("{m} {m}", m = mask::MASK)
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_can() {
        let refused = |address: &str, given: &[(&str, &str)]| {
            let error = access(address, given).expect_err("refused");
            assert_eq!(exit::code_of(&error), exit::SET_UP);
            error.to_string()
        };
        let cluster = refused("redis+cluster://u:topsecret4@127.0.0.1:1", &[]);
        assert!(
            cluster.contains("allowed: redis[s]://") && cluster.contains("k6 run SCRIPT"),
            "{cluster}"
        );
        assert!(!cluster.contains("topsecret4"), "{cluster}");
        assert_eq!(
            refused("redis://127.0.0.1:1", &[("REDIS_TLS_CA", "/ca.pem")]),
            "REDIS_TLS_CA is given, so REDIS_URL must begin with rediss://, received `redis://127.0.0.1:1`"
        );
        let missing = [("REDIS_TLS_CA", "/no/such/ca.pem")];
        let text = refused("rediss://127.0.0.1:1", &missing);
        assert!(
            text.starts_with("REDIS_TLS_CA: /no/such/ca.pem: "),
            "{text}"
        );
        let half = [("REDIS_TLS_CERT", "Cargo.toml")];
        let text = refused("rediss://127.0.0.1:1", &half);
        assert!(text.contains("give both or none"), "{text}");
        let no_pem = [
            ("REDIS_TLS_CERT", "Cargo.toml"),
            ("REDIS_TLS_KEY", "Cargo.toml"),
        ];
        let text = refused("rediss://127.0.0.1:1", &no_pem);
        assert!(text.contains("PEM"), "{text}");
    }
}
