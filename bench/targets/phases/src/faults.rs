//! What goes wrong on purpose, so that a gate can be shown to notice it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use target_kit::{Share, SwitchError};

use crate::cluster::named;

/// The faults that the target is asked to have, each a switch that can be changed while it runs. The default has none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Faults {
    /// Every answer comes so much later.
    #[serde(rename = "delay-ms", with = "target_kit::millis")]
    pub(crate) delay: Duration,
    /// Phase 1: rows that were read are kept in memory.
    pub(crate) hold_rows: bool,
    /// Phase 2: a process takes each message so much later.
    #[serde(rename = "message-delay-ms", with = "target_kit::millis")]
    pub(crate) message_delay: Duration,
    /// Phase 3: a supervisor waits so long before it starts a process again.
    #[serde(rename = "restart-delay-ms", with = "target_kit::millis")]
    pub(crate) restart_delay: Duration,
    /// Phase 4: looking up a name takes so much longer.
    #[serde(rename = "lookup-delay-ms", with = "target_kit::millis")]
    pub(crate) lookup_delay: Duration,
    /// Phase 5: statements that do not use the index.
    pub(crate) no_index: bool,
    /// Phase 6: messages that a room does not pass on.
    pub(crate) lose_messages: Share,
    /// Phase 7: stages do not wait for each other.
    pub(crate) unbounded_queue: bool,
    /// Phase 7: events that get lost on their way.
    pub(crate) lose_events: Share,
    /// Phase 8: everybody who misses a key loads it.
    pub(crate) no_stampede_guard: bool,
    /// Phase 8: so little is kept that most reads miss.
    pub(crate) small_cache: bool,
    /// Phases 9 and 13: names of nodes, separated by commas, that are cut off from the others.
    pub(crate) partition: String,
    /// Phases 9 and 13: names of nodes, separated by commas, that are ended and stay down.
    pub(crate) down: String,
    /// Phase 10: exporting a value takes so much longer.
    #[serde(rename = "export-delay-ms", with = "target_kit::millis")]
    pub(crate) export_delay: Duration,
    /// Phase 10: requests that fail.
    pub(crate) fail_share: Share,
    /// Phase 10: no alert is raised.
    pub(crate) no_alert: bool,
    /// Phase 12: nodes are ended without being drained.
    pub(crate) abrupt_restart: bool,
    /// Phase 13: orders that are placed and never written down.
    pub(crate) lose_orders: Share,
    /// Phase 14: an entry of the audit log takes so much longer.
    #[serde(rename = "audit-delay-ms", with = "target_kit::millis")]
    pub(crate) audit_delay: Duration,
    /// Phase 14: a backup loses its last entry.
    pub(crate) short_backup: bool,
    /// Phase 15: an inference takes so much longer.
    #[serde(rename = "infer-delay-ms", with = "target_kit::millis")]
    pub(crate) infer_delay: Duration,
    /// Phase 15: the old model answers for so much longer.
    #[serde(rename = "swap-delay-ms", with = "target_kit::millis")]
    pub(crate) swap_delay: Duration,
    /// Phase 15: nobody is answered while the model is swapped.
    pub(crate) swap_drops: bool,
}

impl Faults {
    /// Refuses nodes that are not among these: a fault of nobody would pass for one that everybody survives.
    ///
    /// # Errors
    ///
    /// If one is named that is not there.
    pub(crate) fn of_nodes(&self, nodes: &[String]) -> Result<(), SwitchError> {
        for (switch, list) in [("partition", &self.partition), ("down", &self.down)] {
            let listed = list.split(',').map(str::trim);
            for name in listed.filter(|name| !name.is_empty()) {
                if !nodes.iter().any(|node| named(name, node)) {
                    let known = nodes.join(", ");
                    let allowed = format!("there is no node {name:?}; there are {known}");
                    return Err(SwitchError::value(switch, list.as_str(), allowed));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_not_there_are_refused() {
        let nodes = ["node1@localhost", "node2@localhost"].map(str::to_owned);
        let of = |partition: &str, down: &str| {
            let faults = Faults {
                partition: partition.to_owned(),
                down: down.to_owned(),
                ..Faults::default()
            };
            faults.of_nodes(&nodes).map_err(|error| error.to_string())
        };
        assert_eq!(of("node1, node2@localhost", ""), Ok(()));
        for (partition, down, switch) in [("node1,node3", "", "partition"), ("", "nod", "down")] {
            let refused = of(partition, down).expect_err("it is not there");
            assert!(
                refused.starts_with(&format!("fault {switch}: "))
                    && refused.ends_with("there are node1@localhost, node2@localhost"),
                "{refused}"
            );
        }
    }
}
