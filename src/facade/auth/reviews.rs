//! The two questions that the API server is asked: whose a token is, and what a user may do.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::credentials::Token;
use crate::api::GROUP;
use crate::facade::error::{ApiError, wished_pause};
use crate::facade::upstream::{Failure, call};

/// A user as Kubernetes knows them.
pub(super) struct User {
    pub(super) name: String,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// Something that RBAC allows or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::facade) enum Access {
    /// A verb on the batches of a namespace, or on a part of them.
    Batches { verb: &'static str, subresource: &'static str, namespace: String },
    /// To act as another user.
    Impersonate { user: String },
}

impl Access {
    fn attributes(&self) -> ResourceAttributes {
        let own = |text: &str| Some(text.to_owned());
        match self {
            Self::Batches { verb, subresource, namespace } => ResourceAttributes {
                verb: own(verb),
                group: own(GROUP),
                resource: own("sparkbatches"),
                subresource: own(subresource).filter(|part| !part.is_empty()),
                namespace: own(namespace),
                ..ResourceAttributes::default()
            },
            Self::Impersonate { user } => ResourceAttributes {
                verb: own("impersonate"),
                resource: own("users"),
                name: own(user),
                ..ResourceAttributes::default()
            },
        }
    }
}

/// The user whose token this is; `None` if it is nobody's, or nobody's any more.
///
/// # RBAC needed
/// `tokenreviews.authentication.k8s.io`: `create`.
pub(super) async fn user_of(client: &Client, limit: Duration, token: &Token) -> Result<Option<User>, ApiError> {
    let spec = TokenReviewSpec { token: Some(token.text().to_owned()), audiences: None };
    let review = TokenReview { spec, ..TokenReview::default() };
    let status: TokenReviewStatus = ask(client, limit, &review, "TokenReviews").await?;
    let user = status.user.filter(|_| status.authenticated == Some(true));
    Ok(user.and_then(|user| {
        let name = user.username.filter(|name| !name.is_empty())?;
        Some(User { name, uid: user.uid, groups: user.groups, extra: user.extra })
    }))
}

/// Whether `user` may do what `access` says.
///
/// # RBAC needed
/// `subjectaccessreviews.authorization.k8s.io`: `create`.
pub(super) async fn may(client: &Client, limit: Duration, user: &User, access: &Access) -> Result<bool, ApiError> {
    let spec = SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
        resource_attributes: Some(access.attributes()),
        non_resource_attributes: None,
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let status: SubjectAccessReviewStatus = ask(client, limit, &review, "SubjectAccessReviews").await?;
    Ok(status.allowed && status.denied != Some(true))
}

/// Sends a review and reads the status of the answer, which is all that is read of it: kube's own `create` would log
/// an answer that it cannot read, and that of a `TokenReview` repeats the token.
async fn ask<R, S>(client: &Client, limit: Duration, review: &R, reviews: &str) -> Result<S, ApiError>
where
    R: Resource<DynamicType = ()> + Serialize,
    S: DeserializeOwned,
{
    let unreadable = || ApiError::unavailable(format!("the API server's answer to {reviews} cannot be read"));
    let request = serde_json::to_vec(review)
        .ok()
        .and_then(|body| kube::core::Request::new(R::url_path(&(), None)).create(&PostParams::default(), body).ok());
    let asked = call(limit, client.request_text(request.ok_or_else(unreadable)?)).await;
    let text = asked.map_err(|failure| unavailable(failure, reviews))?;
    let Answer { status } = serde_json::from_str(&text).map_err(|_| unreadable())?;
    Ok(status)
}

#[derive(Deserialize)]
struct Answer<S> {
    status: S,
}

/// Who cannot be checked is not let in, and told to come again: whether they may is not known.
fn unavailable(failure: Failure, reviews: &str) -> ApiError {
    match failure {
        Failure::Refused(status) if status.code == StatusCode::FORBIDDEN => {
            let text = format!("the operator may not create {reviews}, so nobody can be let in; grant it");
            ApiError::unavailable(text).because(kube::Error::Api(status))
        }
        Failure::Refused(status) => {
            let pause = wished_pause(&status);
            unchecked().retry_after(pause).because(kube::Error::Api(status))
        }
        Failure::Unknown(cause) => unchecked().because(cause),
    }
}

fn unchecked() -> ApiError {
    ApiError::unavailable("the Kubernetes API server, which checks who may call, is not available; try again")
}
