//! Checks of alerts and of the dashboard. Whether an expression is PromQL, Prometheus itself says when a monitor starts.

use toml::Spanned;

use super::alert::{SEVERITIES, variables};
use super::problem::{Problem, known, placeholders, problem, unique, variable};
use super::schema::File;

/// Checks every `[[alert]]`, and `[dashboard]`.
pub(super) fn alerts(file: &File) -> Result<(), Problem> {
    unique(file.alert.iter().map(|alert| &alert.id), "alert")?;
    let mut names: Vec<&str> = Vec::new();
    for alert in &file.alert {
        if names.contains(&alert.name()) {
            let text = format!("a second alert has the title `{}`", alert.name());
            return Err(problem(&alert.id, text));
        }
        names.push(alert.name());
        known(&alert.severity, SEVERITIES, "severity")?;
        if alert.expr.get_ref().trim().is_empty() {
            return Err(problem(&alert.expr, "`expr` is empty"));
        }
        for name in variables(alert.expr.get_ref()) {
            variable(file, &alert.expr, name)?;
            let table = file.env.iter().find(|(key, _)| key.get_ref() == name);
            if table.is_some_and(|(_, table)| table.secret) {
                let text = format!("{name} is a secret, and rules are readable");
                return Err(problem(&alert.expr, text));
            }
        }
    }
    let Some(dashboard) = &file.dashboard else {
        return Ok(());
    };
    for (name, address) in &dashboard.scrape {
        word(name)?;
        placeholders(file, address, &[])?;
    }
    Ok(())
}

fn word(name: &Spanned<String>) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.get_ref().is_empty() && name.get_ref().chars().all(plain) {
        return Ok(());
    }
    Err(problem(
        name,
        format!(
            "`{}`: a service has a name of letters, digits, - and _",
            name.get_ref()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use crate::suite::tests::suite;

    #[test]
    fn alerts_and_scraped_services_are_checked() {
        let with = |rest: &str| {
            let text = format!(
                "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
                 [env.LOWEST]\ntype = \"int\"\n[env.KEY]\ntype = \"string\"\nsecret = true\n{rest}"
            );
            suite(&text).map(drop).map_err(|error| error.to_string())
        };
        let alert = |expr: &str, severity: &str| {
            format!(
                "[[alert]]\nid = \"low\"\nexpr = '{expr}'\nfor = \"5s\"\nseverity = \"{severity}\"\n"
            )
        };
        let good = alert("hz{job=\"service\"} < ${LOWEST}", "critical");
        with(&good).expect("valid");
        with("[dashboard]\nscrape = { api = \"http://h/metrics\" }\n").expect("valid");
        for (rest, expected) in [
            (
                alert("hz < ${LOWST}", "critical"),
                "no table [env.LOWST], did you mean `LOWEST`?",
            ),
            (
                alert("hz < 1", "crtical"),
                "no severity `crtical`, did you mean `critical`?",
            ),
            (alert("hz < ${KEY}", "info"), "KEY is a secret"),
            (alert(" ", "info"), "`expr` is empty"),
            (format!("{good}{good}"), "a second alert has the id `low`"),
            (
                format!(
                    "{good}{}",
                    good.replace("\"low\"", "\"other\"\ntitle = \"low\"")
                ),
                "a second alert has the title `low`",
            ),
            (
                "[dashboard]\nscrape = { \"a b\" = \"http://h\" }\n".to_owned(),
                "letters, digits",
            ),
            (
                "[dashboard]\nscrape = { a = \"${NOPE}\" }\n".to_owned(),
                "NOPE",
            ),
        ] {
            let text = with(&rest).expect_err("refused");
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
