//! The links between nodes, and from the front to each: proxies that can be cut without touching the network of the machine.

use std::net::SocketAddr;

use target_kit::Switches;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::ring::named;
use crate::faults::Faults;

/// Between whom a link is. The front has no name, and is on the side of those that are not cut off.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) from: Option<String>,
    pub(crate) to: String,
}

impl Ends {
    /// Whether the two ends are on different sides of a partition.
    fn cut(&self, faults: &Faults) -> bool {
        let apart = |name: &str| named(&faults.partition, name);
        self.from.as_deref().is_some_and(apart) != apart(&self.to)
    }
}

/// Passes on what comes, to `to`, for as long as the ends are on one side. Without ends it is never cut.
pub(crate) async fn link(
    listener: TcpListener,
    to: SocketAddr,
    ends: Option<Ends>,
    faults: Switches<Faults>,
) {
    let mut open = JoinSet::new();
    loop {
        // Whatever is wrong with one connection, the next may be well.
        let Ok((near, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while open.try_join_next().is_some() {}
        open.spawn(pass_on(near, to, ends.clone(), faults.clone()));
    }
}

async fn pass_on(
    mut near: TcpStream,
    to: SocketAddr,
    ends: Option<Ends>,
    faults: Switches<Faults>,
) {
    let mut changes = faults.changes();
    let cut = async {
        match &ends {
            // It is over as well when nobody can change the faults any more.
            Some(ends) => drop(changes.wait_for(|faults| ends.cut(faults)).await),
            None => std::future::pending().await,
        }
    };
    let passing = async {
        let Ok(mut far) = TcpStream::connect(to).await else {
            return;
        };
        // Small messages must not wait for each other.
        let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
        let _ = copy_bidirectional(&mut near, &mut far).await;
    };
    tokio::select! {
        biased;
        () = cut => {}
        () = passing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_cuts_what_goes_across_it() {
        let faults = Faults {
            partition: "node2,node3".to_owned(),
            ..Faults::default()
        };
        let cut = |from: Option<&str>, to: &str| {
            let ends = Ends {
                from: from.map(str::to_owned),
                to: to.to_owned(),
            };
            ends.cut(&faults)
        };
        assert!(cut(None, "node2") && cut(Some("node1"), "node3") && cut(Some("node3"), "node1"));
        assert!(
            !cut(Some("node2"), "node3") && !cut(Some("node1"), "node4") && !cut(None, "node1")
        );
    }
}
