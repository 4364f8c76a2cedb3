//! The clients of the API server: the facade's own, and one for whoever calls.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config, Error};
use tower::service_fn;

/// What the facade calls the API server with.
///
/// Build them from a [`kube::Config`] whose `default_retry` is false: the default repeats a POST that the API server
/// answered with 429, 503 or 504, for minutes, while callers of the facade wait. They are told to try again instead.
#[derive(Clone)]
pub struct Clients {
    /// With the facade's own account.
    pub own: Client,
    /// Without an account: requests bring their own.
    pub anonymous: Client,
}

impl Clients {
    /// The clients of `config`, each made by `client`.
    pub fn build(config: &Config, client: impl Fn(Config) -> Result<Client, Error>) -> Result<Self, Error> {
        let mut anonymous = config.clone();
        anonymous.auth_info = AuthInfo::default();
        Ok(Self { own: client(config.clone())?, anonymous: client(anonymous)? })
    }

    /// A client whose requests have this `Authorization`, over the anonymous client's connections. It is made in
    /// microseconds, and opens none of its own.
    pub(super) fn with_token(&self, authorization: HeaderValue) -> Client {
        let anonymous = self.anonymous.clone();
        let namespace = anonymous.default_namespace().to_owned();
        let send = move |mut request: http::Request<Body>| {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            let anonymous = anonymous.clone();
            async move { anonymous.send(request).await }
        };
        Client::new(service_fn(send), namespace)
    }
}
