//! The URLs in answers.

use std::fmt::Write as _;
use std::str::FromStr;

use thiserror::Error;

use super::BatchView;

/// Where what answers link to is found.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// URL of the REST API as its users reach it, without a slash at its end. Where it is not known, nothing that
    /// the REST API serves is linked to.
    pub external: Option<&'a str>,
    /// Path of the collection of batches, as the caller addressed it.
    pub base: &'a str,
    /// Namespace of the batches.
    pub namespace: &'a str,
    /// Where batches that have ended are shown.
    pub history: Option<&'a HistoryUrl>,
}

impl Links<'_> {
    /// Where the Spark UI is: the driver's own while it is up, the history server's once the batch has ended.
    #[must_use]
    pub fn spark_ui(&self, view: &BatchView) -> Option<String> {
        if view.phase.is_final() {
            return self.history(view);
        }
        view.ui_address.as_ref()?;
        Some(format!("{}{}/{}/ui/", self.external?, self.base, view.id))
    }

    /// Where the history server shows a batch that has ended.
    #[must_use]
    pub fn history(&self, view: &BatchView) -> Option<String> {
        let app_id = view.app_id.as_deref().filter(|_| view.phase.is_final())?;
        Some(self.history?.of(view, app_id, self.namespace))
    }

    /// Where the driver's log is, once there is a driver.
    #[must_use]
    pub fn driver_log(&self, view: &BatchView) -> Option<String> {
        view.driver_pod.as_ref()?;
        Some(format!("{}{}/{}/log", self.external?, self.base, view.id))
    }
}

/// Where a Spark history server shows an application: a URL with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryUrl(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    AppId,
    Namespace,
    Id,
    Name,
}

/// Why a text is no [`HistoryUrl`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HistoryUrlError {
    /// It is no URL.
    #[error("must be a URL that starts with http:// or https:// and has no blanks or quotes")]
    NoUrl,
    /// A placeholder does not end.
    #[error("has a '{{' without a '}}' after it")]
    Open,
    /// A placeholder is none of those that there are.
    #[error("has the placeholder {{{0}}}; those that there are: {{app_id}}, {{namespace}}, {{id}}, {{name}}")]
    Unknown(String),
}

impl FromStr for HistoryUrl {
    type Err = HistoryUrlError;

    fn from_str(text: &str) -> Result<Self, HistoryUrlError> {
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let is_url = host
            .is_some_and(|host| host.starts_with(|first: char| first.is_ascii_alphanumeric() || "[{".contains(first)));
        if !is_url || !text.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\`".contains(c)) {
            return Err(HistoryUrlError::NoUrl);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(HistoryUrlError::Open)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match name {
                "app_id" => Part::AppId,
                "namespace" => Part::Namespace,
                "id" => Part::Id,
                "name" => Part::Name,
                other => return Err(HistoryUrlError::Unknown(other.to_owned())),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }
}

impl HistoryUrl {
    fn of(&self, view: &BatchView, app_id: &str, namespace: &str) -> String {
        self.0.iter().fold(String::new(), |url, part| match part {
            Part::Text(text) => url + text,
            Part::AppId => url + &encoded(app_id),
            Part::Namespace => url + &encoded(namespace),
            Part::Id => url + &view.id.to_string(),
            // The name that Spark shows: the resource's, where the batch has none.
            Part::Name => url + &encoded(view.name.as_deref().unwrap_or(&view.object_name)),
        })
    }
}

/// `text` as one segment of a path or one value of a query. RFC 3986: all but unreserved characters are encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::Phase;
    use crate::livy::view::example;

    fn view(phase: Phase) -> BatchView {
        BatchView {
            id: 7,
            object_name: "batch-7".into(),
            name: Some("Täglich 1/2".into()),
            phase,
            app_id: Some("spark-1".into()),
            driver_pod: Some("d".into()),
            ui_address: (phase == Phase::Running).then(|| "10.0.0.1:4040".into()),
            ..example()
        }
    }

    fn history(template: &str) -> HistoryUrl {
        template.parse().unwrap()
    }

    fn links(history: Option<&HistoryUrl>) -> Links<'_> {
        Links { external: Some("https://x.example/spark"), base: "/namespaces/n/batches", namespace: "n", history }
    }

    #[test]
    fn the_drivers_own_ui_is_linked_to_while_it_is_up_and_the_history_servers_after_it() {
        let history = history("https://history.example/history/{app_id}/jobs/");
        let all = links(Some(&history));
        let url = |phase| all.spark_ui(&view(phase));
        assert_eq!(url(Phase::Running).unwrap(), "https://x.example/spark/namespaces/n/batches/7/ui/");
        assert_eq!(all.spark_ui(&BatchView { ui_address: None, ..view(Phase::Running) }), None);
        for phase in [Phase::Pending, Phase::Starting] {
            assert_eq!(url(phase), None);
        }
        for phase in [Phase::Succeeded, Phase::Failed, Phase::Killed] {
            assert_eq!(url(phase).unwrap(), "https://history.example/history/spark-1/jobs/");
            assert_eq!(all.spark_ui(&BatchView { app_id: None, ..view(phase) }), None);
            assert_eq!(links(None).spark_ui(&view(phase)), None);
        }
    }

    #[test]
    fn the_log_is_linked_to_once_there_is_a_driver() {
        let log = |view: &BatchView| links(None).driver_log(view);
        assert_eq!(log(&view(Phase::Failed)).unwrap(), "https://x.example/spark/namespaces/n/batches/7/log");
        assert_eq!(log(&BatchView { driver_pod: None, ..view(Phase::Pending) }), None);
    }

    #[test]
    fn nothing_of_the_rest_api_is_linked_to_where_its_url_is_not_known() {
        let links = Links { external: None, ..links(None) };
        assert_eq!((links.spark_ui(&view(Phase::Running)), links.driver_log(&view(Phase::Running))), (None, None));
    }

    #[test]
    fn what_stands_for_a_placeholder_is_encoded() {
        let history = history("http://h:18080/{namespace}/{id}?name={name}&app={app_id}");
        let url = links(Some(&history)).history(&view(Phase::Killed)).unwrap();
        assert_eq!(url, "http://h:18080/n/7?name=T%C3%A4glich%201%2F2&app=spark-1");
        let unnamed = BatchView { name: None, ..view(Phase::Killed) };
        assert!(links(Some(&history)).history(&unnamed).unwrap().contains("name=batch-7&"));
    }

    #[rstest]
    #[case("history.example/{app_id}", "http://")]
    #[case("javascript://x/{app_id}", "http://")]
    #[case("https://", "http://")]
    #[case("https://h/a b", "blanks")]
    #[case("https://h/\"", "quotes")]
    #[case("https://h/\r\nX: y", "blanks")]
    #[case("https://h/{app_id", "'{' without a '}'")]
    #[case("https://h/{appId}", "{appId}; those that there are: {app_id}, {namespace}, {id}, {name}")]
    fn a_template_that_would_lead_nowhere_is_refused(#[case] template: &str, #[case] why: &str) {
        let error = template.parse::<HistoryUrl>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
