//! The proxies of a run: each is opened as soon as what it passes on to is known.

use super::proxy::Proxy;
use crate::suite::Suite;
use crate::suite::vars::{RunValues, Value, Vars};
use crate::values::exit;

/// Proxies that run, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Proxies(Vec<(String, Proxy)>);

impl Proxies {
    /// Opens those whose end is known by now, and makes their addresses known.
    ///
    /// # Errors
    /// Where one shall pass on to is no address, or not allowed; or it cannot listen.
    pub(crate) fn open(&mut self, suite: &Suite, vars: &mut Vars) -> anyhow::Result<()> {
        for table in &suite.file.proxy {
            let id = table.id.get_ref();
            if self.of(id).is_some() {
                continue;
            }
            // What has no value yet may have one once another target has started.
            let Ok(to) = vars.expand(table.to.get_ref(), &RunValues::new()) else {
                continue;
            };
            suite.allow_now(&format!("proxy {id}"), &to)?;
            let proxy = Proxy::open(host_and_port(id, &to)?)?;
            let address = Value::Text(proxy.address());
            // Also where somebody gave it a value: what passes by is disturbed by nothing.
            vars.take_over(table.address.get_ref(), address);
            self.0.push((id.clone(), proxy));
        }
        Ok(())
    }

    /// Refuses to go on without one.
    ///
    /// # Errors
    /// Where one shall pass on to is not known although all targets have started.
    pub(crate) fn complete(&self, suite: &Suite) -> anyhow::Result<()> {
        let mut tables = suite.file.proxy.iter();
        match tables.find(|table| self.of(table.id.get_ref()).is_none()) {
            None => Ok(()),
            Some(table) => Err(exit::set_up(format!(
                "proxy {}: `to` is `{}`, which has no value although all targets have started",
                table.id.get_ref(),
                table.to.get_ref()
            ))),
        }
    }

    /// The proxy with this id.
    pub(super) fn of(&self, id: &str) -> Option<&Proxy> {
        let mut proxies = self.0.iter();
        proxies.find_map(|(known, proxy)| (known == id).then_some(proxy))
    }
}

fn host_and_port(id: &str, to: &str) -> anyhow::Result<String> {
    let address = url::Url::parse(to).ok();
    let place = address.as_ref().and_then(|address| {
        let port = address.port_or_known_default()?;
        Some(format!("{}:{port}", address.host_str()?))
    });
    place.ok_or_else(|| {
        exit::set_up(format!(
            "proxy {id}: `to` is `{to}`; allowed is an address with host and port"
        ))
    })
}
