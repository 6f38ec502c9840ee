//! A TCP proxy of the runner's own: partitions without privileges.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch::{Receiver, Sender, channel};

use crate::suite::chaos::How;

/// How long it may take to reach what is passed on to.
const CONNECT: Duration = Duration::from_secs(5);
/// What is read at once.
const PIECE: usize = 64 * 1024;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are passed on.
    Open,
    Fault(How),
    /// The proxy ends.
    Over,
}

/// A proxy that runs; dropped, it ends with all its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    mode: Sender<Mode>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a loopback address, and passes on to `to`: a host with a port.
    ///
    /// # Errors
    /// There is no port, no runtime or no thread for it.
    pub(crate) fn open(to: String) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("a runtime for a proxy")?;
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .context("a port for a proxy")?;
        let address = listener.local_addr().context("the port of a proxy")?;
        let (mode, seen) = channel(Mode::Open);
        let thread = Builder::new()
            .name("proxy".to_owned())
            .spawn(move || serve(&runtime, listener, to, seen))
            .context("a thread for a proxy")?;
        Ok(Self {
            address,
            mode,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Disturbs what passes.
    pub(super) fn disturb(&self, how: How) {
        self.mode.send_replace(Mode::Fault(how));
    }

    /// Passes everything on again.
    pub(super) fn heal(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Over);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(runtime: &Runtime, listener: TcpListener, to: String, mode: Receiver<Mode>) {
    let mut seen = mode.clone();
    runtime.block_on(async move {
        loop {
            tokio::select! {
                over = seen.wait_for(|mode| *mode == Mode::Over) => {
                    drop(over);
                    return;
                }
                accepted = listener.accept() => {
                    // One that was gone before it was taken up, or none left for a moment: the next may do.
                    let Ok((client, _)) = accepted else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    tokio::spawn(pass(client, to.clone(), mode.clone()));
                }
            }
        }
    });
}

/// One connection, to its end.
async fn pass(client: TcpStream, to: String, mut mode: Receiver<Mode>) {
    let mut open = mode.clone();
    let work = async move {
        // While nothing is passed on, nobody is reached either.
        if open.wait_for(|mode| *mode == Mode::Open).await.is_err() {
            return;
        }
        let Ok(Ok(server)) = tokio::time::timeout(CONNECT, TcpStream::connect(&to)).await else {
            let _ = client.set_zero_linger();
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (up, down) = (open.clone(), open);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            copy(&from_client, to_server, up),
            copy(&from_server, to_client, down),
        );
    };
    tokio::select! {
        // Both ends are closed with the sockets that are dropped.
        cut = mode.wait_for(|mode| matches!(mode, Mode::Fault(How::Cut) | Mode::Over)) => drop(cut),
        () = work => {}
    }
}

/// Passes on what comes from one side, until it ends. The other side is closed for writing with `to`.
async fn copy(
    from: &tokio::net::tcp::OwnedReadHalf,
    to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: Receiver<Mode>,
) {
    let mut piece = vec![0; PIECE];
    loop {
        if from.readable().await.is_err() {
            return;
        }
        let read = match from.try_read(&mut piece) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        // What was under way is kept, and delivered when the fault is taken back.
        if mode.wait_for(|mode| *mode == Mode::Open).await.is_err() {
            return;
        }
        let mut left = &piece[..read];
        while !left.is_empty() {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener as Listener, TcpStream as Stream};

    use super::*;

    /// Answers each byte with itself.
    fn echo() -> String {
        let listener = Listener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                        let _ = stream.write_all(&byte);
                    }
                });
            }
        });
        address
    }

    fn ask(stream: &mut Stream, byte: u8) -> std::io::Result<u8> {
        stream.write_all(&[byte])?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    #[test]
    fn what_is_cut_is_gone_and_what_is_silent_comes_later() {
        let proxy = Proxy::open(echo()).expect("a proxy");
        let connect = || Stream::connect(proxy.address).expect("it listens");
        let mut first = connect();
        assert_eq!(ask(&mut first, 1).expect("an answer"), 1);
        proxy.disturb(How::Cut);
        ask(&mut first, 2).expect_err("it is cut");
        let mut none = connect();
        ask(&mut none, 3).expect_err("a new one is cut as well");
        proxy.heal();
        let mut second = connect();
        assert_eq!(ask(&mut second, 4).expect("an answer"), 4);
        proxy.disturb(How::Silence);
        second.write_all(&[5]).expect("it is kept");
        second
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a limit");
        let mut answer = [0];
        second.read_exact(&mut answer).expect_err("silence");
        proxy.heal();
        second.set_read_timeout(None).expect("no limit");
        second.read_exact(&mut answer).expect("it comes after all");
        assert_eq!(answer, [5]);
    }
}
