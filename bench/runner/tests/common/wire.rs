//! A wire to a service, which a test can cut or hold up for a part of those who talk.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What becomes of connections whose upgrade was accepted; all others go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The first is cut when the second has come.
    CutsTheFirst,
    /// Of the next one after [`Wire::hold`] nothing comes back.
    HoldsTheNext,
}

/// It listens until the test ends.
pub(crate) struct Wire {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    fault: Fault,
    /// The number of the one that is held up.
    held: AtomicUsize,
    /// Both ends of each connection with an upgrade, in the order in which these were accepted.
    upgraded: Mutex<Vec<[TcpStream; 2]>>,
}

impl Wire {
    pub(crate) fn to(service: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            fault,
            held: AtomicUsize::new(usize::MAX),
            upgraded: Mutex::default(),
        });
        let (service, shared) = (service.to_owned(), Arc::clone(&state));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(&service) {
                    carry(&client, &server, &shared);
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn hold(&self) {
        let upgraded = self.state.upgraded.lock().expect("the list");
        self.state.held.store(upgraded.len(), Ordering::SeqCst);
    }
}

/// Carries both ways on threads of their own, until either end closes.
fn carry(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    let ends = || [client, server].map(|end| end.try_clone().expect("a handle"));
    let [mut from, mut to] = ends();
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let [mut to, mut from] = ends();
    let both = ends();
    let state = Arc::clone(state);
    thread::spawn(move || {
        let (mut buffer, mut both) = ([0; 16384], Some(both));
        let mut number = None;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let first = both.is_some() && buffer.starts_with(b"HTTP/1.1 101");
            if first {
                number = both.take().map(|both| state.accept(both));
            }
            // The upgrade itself goes through.
            if !first && number == Some(state.held.load(Ordering::SeqCst)) {
                continue;
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

impl State {
    /// Returns how many came before.
    fn accept(&self, both: [TcpStream; 2]) -> usize {
        let mut upgraded = self.upgraded.lock().expect("the list");
        upgraded.push(both);
        if self.fault == Fault::CutsTheFirst && upgraded.len() == 2 {
            for end in &upgraded[0] {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
        upgraded.len() - 1
    }
}
