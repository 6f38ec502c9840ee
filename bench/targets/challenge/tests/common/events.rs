//! A client of the handler.

use challenge::events::account::UserLoggedIn;
use challenge::events::statistic::{StatItem, StatItemUpdated};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::Target;

/// One connection to a handler.
#[derive(Clone)]
pub struct Events(Channel);

impl Events {
    pub async fn of(handler: &Target) -> Self {
        let endpoint = Endpoint::from_shared(handler.urls["main"].clone());
        let channel = endpoint.expect("address is valid").connect().await;
        Self(channel.expect("handler answers"))
    }

    async fn send<M>(&self, path: &'static str, message: M) -> Code
    where
        M: prost::Message + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.0.clone());
        client.ready().await.expect("connection is ready");
        let codec = ProstCodec::<M, ()>::default();
        let path = PathAndQuery::from_static(path);
        match client.unary(Request::new(message), path, codec).await {
            Ok(_) => Code::Ok,
            Err(status) => {
                // Told where a test fails.
                eprintln!("{status}");
                status.code()
            }
        }
    }

    pub async fn message(&self, event: StatItemUpdated) -> Code {
        let path = "/accelbyte.social.statistic.v1.StatisticStatItemUpdatedService/OnMessage";
        self.send(path, event).await
    }

    pub async fn login_message(&self, event: UserLoggedIn) -> Code {
        let path = "/accelbyte.iam.account.v1.UserAuthenticationUserLoggedInService/OnMessage";
        self.send(path, event).await
    }

    /// A new value of a statistic, with what load scripts fill in.
    pub async fn statistic(&self, user: &str, code: &str, value: f64) -> Code {
        self.message(statistic(user, code, value)).await
    }

    pub async fn login(&self, user: &str) -> Code {
        self.login_message(login(user)).await
    }
}

pub fn statistic(user: &str, code: &str, value: f64) -> StatItemUpdated {
    StatItemUpdated {
        id: format!("event-of-{user}"),
        user_id: user.to_owned(),
        namespace: "test".to_owned(),
        payload: Some(StatItem {
            stat_code: code.to_owned(),
            latest_value: value,
            ..StatItem::default()
        }),
        ..StatItemUpdated::default()
    }
}

pub fn login(user: &str) -> UserLoggedIn {
    UserLoggedIn {
        id: format!("login-of-{user}"),
        user_id: user.to_owned(),
        namespace: "test".to_owned(),
        ..UserLoggedIn::default()
    }
}
