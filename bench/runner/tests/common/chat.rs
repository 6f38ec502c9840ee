//! The reference chat service, as one that a person has started.

use std::process::{Child, Command};

use serde_json::Value as Json;

use super::{Place, chat_service, start_target};

/// A chat service that a person started.
pub(crate) struct Chat {
    pub(crate) place: Place,
    child: Child,
    /// Host and port of the API.
    pub(crate) api: String,
    /// Host and port of the streams.
    pub(crate) stream: String,
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Chat {
    /// Replies of five chunks in 80 ms: hundreds of them in a few seconds of a few users.
    pub(crate) fn start() -> Self {
        let short = ["--chunks", "5", "--first-chunk-ms", "20"];
        Self::with(&[&short[..], &["--chunk-interval-ms", "15"]].concat())
    }

    /// With arguments of its own.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let place = Place::new();
        let port_file = place.evidence().with_file_name("ports");
        let (child, told) = start_target(
            Command::new(chat_service())
                .args(["--listen", "127.0.0.1:0", "--stream-listen", "127.0.0.1:0"])
                .args(arguments),
            &port_file,
        );
        let (api, stream) = told.split_once("\nstream ").expect("two addresses");
        let [api, stream] = [api, stream].map(|url| match url.split_once("://") {
            Some((_, rest)) => rest.to_owned(),
            None => url.to_owned(),
        });
        Self {
            place,
            child,
            api,
            stream,
        }
    }

    /// Ends it as its person would not.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a signal");
        self.child.wait().expect("its end");
    }

    pub(crate) fn set_faults(&self, faults: &Json) {
        let address = format!("http://{}/faults", self.api);
        let sent = ureq::put(&address).send(faults.to_string());
        sent.expect("the service takes the faults");
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let address = format!("http://{}/counters", self.api);
        let mut answer = ureq::get(&address).call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a text");
        let counters: Json = serde_json::from_str(&text).expect("JSON");
        counters[name].as_u64().expect("a number")
    }
}
