//! What all parts of an engine have in common.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::panics::{THREADS, guarded, guarded_task};
use crate::ticket::{Issuer, Ticket, Token};

use super::barrier::Roll;
use super::deadlines::{Deadlines, Keeper};
use super::log::{Level, LogRing};
use super::net::Resolver;
use super::news::{Emission, Sink};

/// What all parts of an engine have in common.
pub(crate) struct Context {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) log: LogRing,
    pub(crate) resolver: Resolver,
    pub(crate) deadlines: Deadlines,
    /// They have this context in turn: whoever closes the engine empties it.
    pub(crate) roll: Roll,
    /// Connections, whose end an engine that closes waits for.
    pub(crate) connections: TaskTracker,
    /// One thread for everything; started at the first need, which a store in this process seldom has.
    runtime: OnceCell<Handle>,
    owned: Mutex<Option<Runtime>>,
    keeper: Mutex<Option<Keeper>>,
    on_thread_start: fn(),
    closing: AtomicBool,
}

impl Context {
    pub(crate) fn new(sink: Arc<dyn Sink>, resolver: Resolver, on_thread_start: fn()) -> Arc<Self> {
        let (deadlines, keeper) = Deadlines::new();
        Arc::new(Self {
            sink,
            log: LogRing::default(),
            resolver,
            deadlines,
            roll: Roll::default(),
            connections: TaskTracker::new(),
            runtime: OnceCell::new(),
            owned: Mutex::new(None),
            keeper: Mutex::new(Some(keeper)),
            on_thread_start,
            closing: AtomicBool::new(false),
        })
    }

    /// From now on calls are lost because the engine ends.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.connections.close();
    }

    /// Starts the runtime where it is not running yet.
    pub(crate) fn runtime(self: &Arc<Self>) -> Result<&Handle, Error> {
        self.runtime.get_or_try_init(|| {
            let refused = |e: String| Error::store(format!("the core cannot start: {e}"));
            // Where there is no thread, a runtime panics when half of it is built, and leaves its descriptors open: each call would leak
            // some. So a thread that does nothing is asked for first.
            let probe = std::thread::Builder::new()
                .name(THREADS.into())
                .spawn(|| {});
            let _ended = probe.map_err(|e| refused(e.to_string()))?.join();
            let build = || {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name(THREADS)
                    .on_thread_start(self.on_thread_start)
                    .enable_all()
                    .build()
            };
            // Without a descriptor it says so; it panics where the thread is gone by now.
            let runtime = guarded(build).and_then(|built| built.map_err(|e| e.to_string()));
            let runtime = runtime.map_err(refused)?;
            let weak = Arc::downgrade(self);
            let bug = move |message: &str| match weak.upgrade() {
                Some(context) => context.bug(message),
                None => Error::Closed,
            };
            if let Some(keeper) = self.keeper.lock().take() {
                runtime.spawn(keeper.run(bug));
            }
            let handle = runtime.handle().clone();
            *self.owned.lock() = Some(runtime);
            Ok(handle)
        })
    }

    /// The runtime, where there is one that nobody has taken before.
    pub(crate) fn take_runtime(&self) -> Option<Runtime> {
        self.owned.lock().take()
    }

    /// A line for the user.
    pub(crate) fn tell(&self, level: Level, message: String) {
        self.log.push(level, message);
        self.sink.emit(&mut vec![Emission::Log]);
    }

    /// A panic was caught: the log has it, and the error is for those who waited.
    pub(crate) fn bug(&self, message: &str) -> Error {
        let error = Error::Bug(message.to_owned());
        self.tell(Level::Error, error.to_string());
        error
    }

    /// Runs a task; where it panics, `given_up` is told why. It is never told before this returns, so that whoever holds a lock
    /// which `given_up` takes may call this.
    ///
    /// # Errors
    /// The runtime cannot start, and nothing runs.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
        given_up: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<(), Error> {
        let runtime = self.runtime()?;
        drop(runtime.spawn(Arc::clone(self).guard(task, given_up)));
        Ok(())
    }

    /// Runs a connection's life, likewise.
    ///
    /// # Errors
    /// As [`Context::spawn`].
    pub(crate) fn spawn_connection(
        self: &Arc<Self>,
        life: impl Future<Output = ()> + Send + 'static,
        given_up: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<(), Error> {
        let runtime = self.runtime()?;
        let life = Arc::clone(self).guard(life, given_up);
        self.connections.spawn_on(life, runtime);
        Ok(())
    }

    async fn guard(self: Arc<Self>, task: impl Future<Output = ()>, given_up: impl FnOnce(&Error)) {
        if let Err(message) = guarded_task(task).await {
            given_up(&self.bug(&message));
        }
    }

    /// A call that waits until then.
    pub(crate) fn ticket(self: &Arc<Self>, token: Token, until: Option<Instant>) -> Ticket {
        Ticket::new(token, until, Arc::clone(self) as _)
    }

    /// Answers a question in JSON, by a task of its own.
    pub(crate) fn answer(
        self: &Arc<Self>,
        token: Token,
        answer: impl Future<Output = Result<String, Error>> + Send + 'static,
    ) {
        let ticket = self.ticket(token, None);
        let sink = Arc::clone(&self.sink);
        if let Err(error) = self.runtime() {
            let result = Err(error);
            sink.emit(&mut vec![Emission::Text { ticket, result }]);
            return;
        }
        let answered = async move {
            let result = answer.await;
            sink.emit(&mut vec![Emission::Text { ticket, result }]);
        };
        let _started = self.spawn(answered, |_| {}); // whoever asked has a ticket, which answers where the task is lost
    }
}

impl Issuer for Context {
    fn lost(&self, token: Token) {
        let error = if self.closing.load(Ordering::Acquire) {
            Error::Closed
        } else {
            Error::Bug("the call was lost; the log says more".into())
        };
        self.sink.emit(&mut vec![Emission::Done {
            ticket: token.into(),
            result: Err(error),
            standing: None,
        }]);
    }
}
