//! What all parts of an engine have in common.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::panics::guarded_task;
use crate::ticket::{Issuer, Ticket, Token};

use super::deadlines::Deadlines;
use super::log::{Level, LogRing};
use super::net::Resolver;
use super::news::{Emission, Sink};

/// What all parts of an engine have in common.
pub(crate) struct Context {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) log: LogRing,
    pub(crate) resolver: Resolver,
    pub(crate) deadlines: Deadlines,
    /// Connections, whose end an engine that closes waits for.
    pub(crate) connections: TaskTracker,
    runtime: Handle,
}

impl Context {
    pub(crate) fn new(sink: Arc<dyn Sink>, resolver: Resolver, runtime: Handle) -> Arc<Self> {
        let (deadlines, keeper) = Deadlines::new();
        let context = Arc::new(Self {
            sink,
            log: LogRing::default(),
            resolver,
            deadlines,
            connections: TaskTracker::new(),
            runtime,
        });
        let weak = Arc::downgrade(&context);
        let bug = move |message: &str| match weak.upgrade() {
            Some(context) => context.bug(message),
            None => Error::Closed,
        };
        context.runtime.spawn(keeper.run(bug));
        context
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

    /// Runs a task; where it panics, `given_up` is told why.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
        given_up: impl FnOnce(&Error) + Send + 'static,
    ) {
        self.runtime.spawn(Arc::clone(self).guard(task, given_up));
    }

    /// Runs a connection's life, likewise.
    pub(crate) fn spawn_connection(
        self: &Arc<Self>,
        life: impl Future<Output = ()> + Send + 'static,
        given_up: impl FnOnce(&Error) + Send + 'static,
    ) {
        let life = Arc::clone(self).guard(life, given_up);
        self.connections.spawn_on(life, &self.runtime);
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
        let answered = async move {
            let result = answer.await;
            sink.emit(&mut vec![Emission::Text { ticket, result }]);
        };
        self.spawn(answered, |_| {});
    }
}

impl Issuer for Context {
    fn lost(&self, token: Token) {
        self.sink.emit(&mut vec![Emission::Done {
            ticket: token.into(),
            result: Err(Error::Bug("the call was lost; the log says more".into())),
            standing: None,
        }]);
    }
}
