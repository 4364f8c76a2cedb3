//! Who calls, and what they may: Kubernetes says both.
//!
//! A caller's token is shown to the API server (`TokenReview`), which tells whose it is, and then what that user may do
//! with the batches of a namespace (`SubjectAccessReview`). Both answers are kept for a moment, under the token's hash:
//! so long may a token that was revoked, or a right that was taken away, still read. Writes carry the caller's own
//! token, so that for them the API server decides anew, and its audit log names the caller.

mod allowed;
mod cache;
mod clients;
mod credentials;
mod proxy_user;
mod reviews;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use kube::Client;

pub(super) use self::allowed::{Allowed, Create, Delete, Get, List, Log, Right, Ui};
pub use self::clients::Clients;
pub(super) use self::proxy_user::settle as settle_proxy_user;
pub(super) use self::reviews::Access;

use self::cache::Answers;
use self::credentials::{BadCredentials, Digest, Token};
use self::reviews::User;
use super::config::{AuthMode, FacadeConfig};
use super::error::ApiError;
use super::upstream::Failure;

/// How long it is believed that a token is somebody's, and that somebody may do something.
const YES_HOLDS: Duration = Duration::from_secs(60);
/// How long it is believed that not.
const NO_HOLDS: Duration = Duration::from_secs(5);
/// Tokens, and rights of tokens, of which answers are kept.
const MAX_TOKENS: u64 = 4096;
const MAX_RIGHTS: u64 = 32_768;

/// Lets callers in, or not.
pub(super) struct Auth {
    mode: AuthMode,
    clients: Clients,
    limit: Duration,
    users: Answers<Digest, Option<Arc<User>>>,
    rights: Answers<(Digest, Access), bool>,
}

/// Who sent a request.
pub(super) struct Caller {
    /// Nobody that is known, with `--auth none`.
    identity: Option<Identity>,
    clients: Clients,
}

struct Identity {
    user: Arc<User>,
    token: Token,
}

/// Where the access log, which sees a request first, finds who sent it.
#[derive(Clone, Default)]
pub(super) struct LoggedUser(Arc<OnceLock<String>>);

impl Auth {
    pub(super) fn new(clients: Clients, config: &FacadeConfig) -> Self {
        Self {
            mode: config.auth,
            clients,
            limit: config.limits.upstream,
            users: Answers::new(MAX_TOKENS, YES_HOLDS),
            rights: Answers::new(MAX_RIGHTS, YES_HOLDS),
        }
    }

    /// Who sends a request with these headers; 401 if nobody that Kubernetes knows.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let clients = self.clients.clone();
        if self.mode == AuthMode::None {
            return Ok(Caller { identity: None, clients });
        }
        let token = Token::of(headers)?;
        let asked = async {
            let user = reviews::user_of(&self.clients.own, self.limit, &token).await?.map(Arc::new);
            let holds = if user.is_some() { believed_for(&token) } else { NO_HOLDS };
            Ok((user, holds))
        };
        let user = self.users.get(token.digest(), asked).await?.ok_or_else(not_valid)?;
        Ok(Caller { identity: Some(Identity { user, token }), clients })
    }

    /// Whether the caller may do what `access` says; everybody may with `--auth none`.
    pub(super) async fn may(&self, caller: &Caller, access: Access) -> Result<bool, ApiError> {
        let Some(Identity { user, token }) = &caller.identity else { return Ok(true) };
        let question = access.clone();
        let asked = async {
            let allowed = reviews::may(&self.clients.own, self.limit, user, &question).await?;
            Ok((allowed, if allowed { YES_HOLDS } else { NO_HOLDS }))
        };
        self.rights.get((token.digest(), access), asked).await
    }

    /// The answer to a caller whose own client was refused, in `namespace`. What is no token any more for the API server
    /// is none here either, whatever was believed of it.
    pub(super) async fn refused(&self, caller: &Caller, failure: Failure, namespace: &str) -> ApiError {
        match &caller.identity {
            Some(Identity { token, .. }) if failure.code() == Some(StatusCode::UNAUTHORIZED.as_u16()) => {
                self.users.forget(&token.digest()).await;
                not_valid()
            }
            _ => failure.answer(namespace),
        }
    }
}

impl Caller {
    /// The user's name; `None` with `--auth none`.
    pub(super) fn user(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.user.name.as_str())
    }

    /// A client that does what it does as the caller, over the connections that all callers share; as the facade
    /// itself with `--auth none`.
    pub(super) fn client(&self) -> Client {
        match &self.identity {
            Some(Identity { token, .. }) => self.clients.with_token(token.header()),
            None => self.clients.own.clone(),
        }
    }
}

impl LoggedUser {
    /// The user's name as a log line can bear it: printable, and not long.
    fn set(&self, user: &str) {
        let shown: String = user.chars().take(200).flat_map(char::escape_debug).collect();
        // Whoever came first stays: a request has one caller.
        drop(self.0.set(shown));
    }

    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A token is believed in for a minute, and not longer than it says itself that it is valid.
fn believed_for(token: &Token) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    token.lifetime(now).map_or(YES_HOLDS, |left| left.min(YES_HOLDS))
}

impl From<BadCredentials> for ApiError {
    fn from(error: BadCredentials) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error.to_string())
    }
}

fn not_valid() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "the Kubernetes API server does not know this token, or not any more; get a new one, for instance by 'kubectl \
         create token <service account>'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_one_short_line_of_a_log() {
        let user = LoggedUser::default();
        user.set(&format!("eve\n2026-01-01 INFO \u{1b}[2J{}", "x".repeat(1000)));
        let shown = user.get().unwrap();
        assert!(shown.starts_with("eve\\n2026") && !shown.chars().any(char::is_control), "{shown}");
        assert!(shown.len() < 220);
    }
}
