//! The bodies of answers. Keys, their order and which of them are null are Livy's; clients depend on it.

use serde::Serialize;

use super::{BatchView, Details, Dialect, Links, LivyState};

/// One batch, as an answer shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum BatchBody<'a> {
    /// Livy 0.9: `BatchSessionView`.
    Apache(ApacheBatch<'a>),
    /// The managed services' answer to a read.
    Instance(InstanceBatch<'a>),
    /// The managed services' answer to a POST.
    InstanceCreated(InstanceCreated<'a>),
}

/// Livy 0.9: `BatchSessionView`. All eight keys are always there: Airflow, pylivy and livy-submit look for them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApacheBatch<'a> {
    id: i32,
    name: Option<&'a str>,
    owner: Option<&'a str>,
    proxy_user: Option<&'a str>,
    state: LivyState,
    app_id: Option<&'a str>,
    app_info: ApacheAppInfo,
    log: [&'a str; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// Livy 0.9: `AppInfo`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApacheAppInfo {
    driver_log_url: Option<String>,
    spark_ui_url: Option<String>,
    executor_log_urls: Option<String>,
}

/// A batch in the managed services' words.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceBatch<'a> {
    id: i32,
    app_id: Option<&'a str>,
    app_info: InstanceAppInfo,
    state: LivyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// The managed services' `appInfo`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceAppInfo {
    spark_ui_url: Option<String>,
}

/// The managed services' answer to a POST: their documents list `appId` and `appInfo`, their samples show
/// `app_info`. Clients of either find what they look for.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceCreated<'a> {
    id: i32,
    #[serde(rename = "appId")]
    app_id: Option<&'a str>,
    #[serde(rename = "appInfo")]
    app_info: InstanceAppInfo,
    #[serde(rename = "app_info")]
    sample_app_info: Empty,
    state: LivyState,
}

/// `{}`.
#[derive(Clone, Debug, Default, Serialize)]
struct Empty {}

impl<'a> BatchBody<'a> {
    /// The answer to a read of one batch, and an entry of a list.
    #[must_use]
    pub fn read(view: &'a BatchView, dialect: Dialect, links: &Links<'_>) -> Self {
        let state = LivyState::of(view.phase, view.is_held, dialect);
        match dialect {
            Dialect::Apache => Self::Apache(ApacheBatch {
                id: view.id,
                name: view.name.as_deref(),
                owner: view.owner.as_deref(),
                proxy_user: view.proxy_user.as_deref(),
                state,
                app_id: view.app_id.as_deref(),
                app_info: ApacheAppInfo {
                    driver_log_url: links.driver_log(view),
                    spark_ui_url: links.spark_ui(view),
                    executor_log_urls: None,
                },
                log: [],
                details: None,
            }),
            Dialect::Instance => Self::Instance(InstanceBatch {
                id: view.id,
                app_id: view.app_id.as_deref(),
                app_info: InstanceAppInfo { spark_ui_url: links.spark_ui(view) },
                state,
                details: None,
            }),
        }
    }

    /// The answer to a read, with what Livy does not say of a batch if `details` are asked for.
    #[must_use]
    pub fn read_with(view: &'a BatchView, details: bool, dialect: Dialect, links: &Links<'_>) -> Self {
        let mut body = Self::read(view, dialect, links);
        match &mut body {
            Self::Apache(ApacheBatch { details: place, .. }) | Self::Instance(InstanceBatch { details: place, .. }) => {
                *place = details.then(|| Details::of(view));
            }
            Self::InstanceCreated(_) => {}
        }
        body
    }

    /// The answer to a POST.
    #[must_use]
    pub fn created(view: &'a BatchView, dialect: Dialect, links: &Links<'_>) -> Self {
        match Self::read(view, dialect, links) {
            Self::Instance(InstanceBatch { id, app_id, app_info, state, .. }) => {
                Self::InstanceCreated(InstanceCreated { id, app_id, app_info, sample_app_info: Empty {}, state })
            }
            body => body,
        }
    }
}

/// A list of batches.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum BatchListBody<'a> {
    /// Livy 0.9: `SessionServlet`, `GET /`.
    Apache {
        /// The offset that was asked for, unchanged.
        from: i32,
        /// All batches that there are, not those of this page.
        total: usize,
        /// This page.
        sessions: Vec<BatchBody<'a>>,
    },
    /// The managed services' list.
    Instance {
        /// Always 0: there are no pages.
        from: i32,
        /// Every batch.
        sessions: Vec<BatchBody<'a>>,
        /// Number of batches.
        total: usize,
    },
}

impl<'a> BatchListBody<'a> {
    /// The page of `total` batches that starts at `from`, with `details` of each if they are asked for.
    #[must_use]
    pub fn new(
        from: i32,
        total: usize,
        page: impl Iterator<Item = &'a BatchView>,
        details: bool,
        dialect: Dialect,
        links: &Links<'_>,
    ) -> Self {
        let sessions = page.map(|view| BatchBody::read_with(view, details, dialect, links)).collect();
        match dialect {
            Dialect::Apache => Self::Apache { from, total, sessions },
            Dialect::Instance => Self::Instance { from, sessions, total },
        }
    }
}

/// The state of a batch. Livy 0.9: `SessionServlet`, `GET /:id/state`.
#[derive(Clone, Debug, Serialize)]
pub struct StateBody {
    id: i32,
    state: LivyState,
}

impl StateBody {
    /// The state of `view`.
    #[must_use]
    pub fn new(view: &BatchView, dialect: Dialect) -> Self {
        Self { id: view.id, state: LivyState::of(view.phase, view.is_held, dialect) }
    }
}

/// Lines of a log. Livy 0.9: `SessionServlet.serializeLogs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogBody {
    /// Id of the batch.
    pub id: i32,
    /// Offset of the first line.
    pub from: usize,
    /// All lines that there are.
    pub total: usize,
    /// The lines.
    pub log: Vec<String>,
}

/// What happened, or what is wrong. Livy 0.9: `ResponseMessage`.
#[derive(Clone, Debug, Serialize)]
pub struct Message<'a> {
    /// The text.
    pub msg: &'a str,
}

/// The server's version. Livy 0.9: `LivyServer`, `GET /version`.
///
/// Clients want it to begin with three numbers, and those of Livy tell them which API to speak.
#[derive(Clone, Debug, Serialize)]
pub struct VersionBody {
    url: &'static str,
    branch: &'static str,
    revision: &'static str,
    version: &'static str,
    date: &'static str,
    user: &'static str,
}

impl Default for VersionBody {
    fn default() -> Self {
        let version = concat!("0.9.0-sparkbatch.", env!("CARGO_PKG_VERSION"));
        Self { url: "", branch: "", revision: "", version, date: "", user: "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Phase;
    use crate::livy::view::example;

    const LINKS: Links<'_> = Links { external: None, base: "/batches", namespace: "n", history: None };

    fn view() -> BatchView {
        BatchView { phase: Phase::Succeeded, app_id: Some("app-20201213175030-0000".into()), ..example() }
    }

    fn text(body: &impl Serialize) -> String {
        serde_json::to_string(body).unwrap()
    }

    #[test]
    fn an_apache_batch_has_all_keys_of_livy_in_livys_order() {
        let new = BatchView { app_id: None, phase: Phase::Pending, ..view() };
        for body in [BatchBody::read(&new, Dialect::Apache, &LINKS), BatchBody::created(&new, Dialect::Apache, &LINKS)]
        {
            assert_eq!(
                text(&body),
                r#"{"id":14,"name":null,"owner":null,"proxyUser":null,"state":"starting","appId":null,"appInfo":{"driverLogUrl":null,"sparkUiUrl":null,"executorLogUrls":null},"log":[]}"#
            );
        }
    }

    #[test]
    fn an_instance_batch_is_the_sample_of_the_documents() {
        assert_eq!(
            text(&BatchBody::read(&view(), Dialect::Instance, &LINKS)),
            r#"{"id":14,"appId":"app-20201213175030-0000","appInfo":{"sparkUiUrl":null},"state":"success"}"#
        );
        assert_eq!(text(&StateBody::new(&view(), Dialect::Instance)), r#"{"id":14,"state":"success"}"#);
    }

    #[test]
    fn an_instances_answer_to_a_post_has_the_keys_of_the_sample_and_of_the_table() {
        let new = BatchView { app_id: None, phase: Phase::Pending, ..view() };
        assert_eq!(
            text(&BatchBody::created(&new, Dialect::Instance, &LINKS)),
            r#"{"id":14,"appId":null,"appInfo":{"sparkUiUrl":null},"app_info":{},"state":"not_started"}"#
        );
    }

    #[test]
    fn a_batch_that_runs_links_to_its_log_and_its_ui_as_far_as_its_dialect_has_them() {
        let links = Links { external: Some("https://x"), ..LINKS };
        let running = BatchView {
            phase: Phase::Running,
            driver_pod: Some("d".into()),
            ui_address: Some("10.0.0.1:4040".into()),
            ..view()
        };
        let info =
            |dialect| serde_json::to_value(BatchBody::read(&running, dialect, &links)).unwrap()["appInfo"].clone();
        assert_eq!(
            info(Dialect::Apache).to_string(),
            r#"{"driverLogUrl":"https://x/batches/14/log","executorLogUrls":null,"sparkUiUrl":"https://x/batches/14/ui/"}"#
        );
        assert_eq!(info(Dialect::Instance).to_string(), r#"{"sparkUiUrl":"https://x/batches/14/ui/"}"#);
    }

    #[test]
    fn lists_keep_the_order_of_keys_of_their_dialect() {
        let empty = |dialect| text(&BatchListBody::new(0, 0, std::iter::empty(), false, dialect, &LINKS));
        assert_eq!(empty(Dialect::Apache), r#"{"from":0,"total":0,"sessions":[]}"#);
        assert_eq!(empty(Dialect::Instance), r#"{"from":0,"sessions":[],"total":0}"#);
    }

    #[test]
    fn the_version_begins_with_three_numbers() {
        let version = serde_json::to_value(VersionBody::default()).unwrap();
        assert!(version["version"].as_str().unwrap().starts_with("0.9.0-sparkbatch."));
        assert_eq!(version.as_object().unwrap().len(), 6);
    }
}
