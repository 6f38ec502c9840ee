//! How a process is named that the runner did not start.

/// What an entry may look like.
pub(crate) const ALLOWED: &str = "allowed: pid:NUMBER, port:NUMBER that it listens on, or pattern:TEXT of its command line (* stands for anything), \
    each with a name of its own in front if wanted, as in api=port:9000 (but not k6, target, redis, postgres or runner)";

/// A process by its id, by what it listens on, or by its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// What it is called in the evidence: by itself as it was given.
    pub(crate) name: String,
    pub(crate) by: By,
}

/// What a process is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    Pid(u32),
    /// Of TCP.
    Port(u16),
    /// Parts of the command line, in their order.
    Pattern(Vec<String>),
}

impl Named {
    /// Reads an entry.
    ///
    /// # Errors
    /// What was received, and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refused = || format!("process: received `{text}`; {ALLOWED}");
        let (name, what) = match text.split_once('=') {
            // A `=` may be part of a command line too.
            Some((name, what)) if !name.contains(':') => (name.trim(), what.trim()),
            _ => (text, text),
        };
        let (kind, value) = what.split_once(':').ok_or_else(refused)?;
        let by = match kind {
            "pid" => By::Pid(value.parse().map_err(|_| refused())?),
            "port" => By::Port(value.parse().map_err(|_| refused())?),
            "pattern" => {
                let parts = value.split('*').filter(|part| !part.is_empty());
                By::Pattern(parts.map(str::to_owned).collect())
            }
            _ => return Err(refused()),
        };
        let empty = matches!(&by, By::Pid(0) | By::Port(0))
            || matches!(&by, By::Pattern(parts) if parts.is_empty());
        // These are the names of what the runner watches by itself.
        if empty
            || name.is_empty()
            || ["k6", "target", "redis", "postgres", "runner"].contains(&name)
        {
            return Err(refused());
        }
        Ok(Self {
            name: name.to_owned(),
            by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_id_port_or_command_line() {
        let parsed = |text: &str| Named::parse(text).map(|named| (named.name, named.by));
        let named = |name: &str, by: By| Ok((name.to_owned(), by));
        let parts =
            |parts: &[&str]| By::Pattern(parts.iter().map(|&part| part.to_owned()).collect());
        assert_eq!(parsed("pid:4711"), named("pid:4711", By::Pid(4711)));
        assert_eq!(
            parsed(" broker = port:9000 "),
            named("broker", By::Port(9000))
        );
        assert_eq!(
            parsed("pattern:-Dapp=gate*.jar"),
            named("pattern:-Dapp=gate*.jar", parts(&["-Dapp=gate", ".jar"]))
        );
        for wrong in [
            "java",
            "",
            "=",
            "pid:",
            "pid:java",
            "pid:0",
            "pid:-3",
            "port:99999",
            "port:0",
            "pattern:",
            "pattern:**",
            "prt:80",
            "=port:80",
            "redis=port:6379",
        ] {
            let text = parsed(wrong).expect_err(wrong);
            assert!(
                text.starts_with(&format!(
                    "process: received `{wrong}`; allowed: pid:NUMBER, port:NUMBER"
                )),
                "{text}"
            );
        }
    }
}
