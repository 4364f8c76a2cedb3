//! On whose behalf a batch runs.

use super::Rejection;
use crate::api::SparkBatchSpec;
use crate::api::validation;

/// `spec`, which keeps every rule, with the proxy user that the query's `doAs` names; it goes before the body's.
///
/// Livy 0.9: `SessionServlet.proxyUser`.
pub fn on_behalf(mut spec: SparkBatchSpec, do_as: Option<&str>) -> Result<SparkBatchSpec, Rejection> {
    let Some(user) = do_as.filter(|user| !user.is_empty()) else { return Ok(spec) };
    spec.proxy_user = Some(user.to_owned());
    match &validation::problems(&spec)[..] {
        [] => Ok(spec),
        problems => {
            let reasons: Vec<String> = problems.iter().map(|problem| format!("doAs: {}", problem.message)).collect();
            Err(Rejection::because(&reasons))
        }
    }
}

/// What a user is told who may not have another for a proxy user. `None` is nobody that is known.
///
/// Livy 0.9: `AccessManager.checkImpersonation`.
#[must_use]
pub fn may_not_impersonate(user: Option<&str>, proxy_user: &str) -> String {
    let user = user.unwrap_or("null");
    format!("User '{user}' not allowed to impersonate 'Some({proxy_user})'.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(proxy_user: Option<&str>) -> SparkBatchSpec {
        let proxy_user = proxy_user.map(str::to_owned);
        SparkBatchSpec { file: "/a.py".to_owned(), proxy_user, ..SparkBatchSpec::default() }
    }

    #[test]
    fn do_as_goes_before_the_bodys_proxy_user() {
        let user = |body, do_as| on_behalf(spec(body), do_as).unwrap().proxy_user;
        assert_eq!(user(Some("bob"), Some("eve")).as_deref(), Some("eve"));
        assert_eq!(user(None, Some("eve")).as_deref(), Some("eve"));
        for nothing in [None, Some("")] {
            assert_eq!(user(Some("bob"), nothing).as_deref(), Some("bob"));
            assert_eq!(user(None, nothing), None);
        }
    }

    #[test]
    fn do_as_keeps_the_rules_of_a_proxy_user() {
        let text = on_behalf(spec(None), Some("a\nb")).unwrap_err().to_string();
        assert_eq!(text, "Rejected, Reason: doAs: has a control character");
        assert!(on_behalf(spec(None), Some(&"x".repeat(254))).is_err());
    }

    #[test]
    fn the_refusal_has_livys_words() {
        let livys = "User 'alice' not allowed to impersonate 'Some(bob)'.";
        assert_eq!(may_not_impersonate(Some("alice"), "bob"), livys);
        assert!(may_not_impersonate(None, "bob").starts_with("User 'null' "));
    }
}
