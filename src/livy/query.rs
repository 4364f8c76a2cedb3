//! The query of a list: Livy's `from` and `size`, and what Livy has not: filters, an order, a watch.
//!
//! Of a parameter that stands twice the first counts, as in a servlet; parameters that are not known are passed
//! over, as Livy does.

use jiff::Timestamp;
use thiserror::Error;

use super::value::shown;
use super::{BadInteger, BatchView, DEFAULT_SIZE, Dialect, LivyState, parse_int};

/// A parameter that says nothing that is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadQuery {
    /// `from` or `size`.
    #[error(transparent)]
    Integer(#[from] BadInteger),
    /// A name in `state`.
    #[error("state: '{0}' is no state; the states are {states}", states = state_names())]
    State(String),
    /// `createdAfter`.
    #[error("createdAfter: '{0}' is no time; send one such as 2026-01-31T08:00:00Z, with + written as %2B")]
    Time(String),
    /// `order`.
    #[error("order: '{0}' is not known; send 'latest' for the latest first, or leave it out")]
    Order(String),
    /// `watch`, `details`, `follow` or `dryRun`.
    #[error("{0}: '{1}' is neither true nor false")]
    Flag(&'static str, String),
}

fn state_names() -> String {
    let names: Vec<_> = LivyState::ALL.into_iter().map(LivyState::as_str).chain(LivyState::UNUSED).collect();
    names.join(", ")
}

/// What a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    from: Option<i32>,
    size: Option<i32>,
    /// Which batches.
    pub filter: BatchFilter,
    /// Whether the highest id comes first.
    pub latest_first: bool,
    /// Whether to go on with changes.
    pub watch: bool,
    /// Whether to say of each batch what Livy does not.
    pub details: bool,
}

impl ListQuery {
    /// Reads the parameters of a query, which are decoded already.
    pub fn parse(parameters: &[(String, String)]) -> Result<Self, BadQuery> {
        let integer = |name| parameter(parameters, name).map(parse_int).transpose();
        Ok(Self {
            from: integer("from")?,
            size: integer("size")?,
            filter: BatchFilter::parse(parameters)?,
            latest_first: match parameter(parameters, "order") {
                None => false,
                Some("latest") => true,
                Some(other) => return Err(BadQuery::Order(shown(other))),
            },
            watch: flag(parameters, "watch")?,
            details: flag(parameters, "details")?,
        })
    }

    /// `from` and `size`, with Livy's defaults. The managed services' lists have no pages unless one is asked for.
    #[must_use]
    pub fn page(&self, dialect: Dialect) -> Option<(i32, i32)> {
        let asked = self.from.is_some() || self.size.is_some();
        (asked || dialect == Dialect::Apache).then(|| (self.from.unwrap_or(0), self.size.unwrap_or(DEFAULT_SIZE)))
    }
}

/// A parameter that is true or false, and false where it is not given.
pub fn flag(parameters: &[(String, String)], name: &'static str) -> Result<bool, BadQuery> {
    match parameter(parameters, name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(BadQuery::Flag(name, shown(other))),
    }
}

/// Which batches are asked for: those that everything given here is true of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchFilter {
    states: Option<Vec<LivyState>>,
    name: Option<String>,
    owner: Option<String>,
    /// In lower case: what the name or the owner holds, or the id begins with.
    search: Option<String>,
    /// Seconds since 1970.
    created_after: Option<i64>,
}

impl BatchFilter {
    fn parse(parameters: &[(String, String)]) -> Result<Self, BadQuery> {
        Ok(Self {
            states: states(parameters)?,
            name: parameter(parameters, "name").map(str::to_owned),
            owner: parameter(parameters, "owner").map(str::to_owned),
            search: parameter(parameters, "search").map(str::to_lowercase).filter(|text| !text.is_empty()),
            created_after: parameter(parameters, "createdAfter").map(seconds).transpose()?,
        })
    }

    /// Whether every batch is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `view` is one of those that are asked for.
    #[must_use]
    pub fn matches(&self, view: &BatchView, dialect: Dialect) -> bool {
        let is = |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
        let state = || LivyState::of(view.phase, view.is_held, dialect);
        self.created_after.is_none_or(|after| view.created > after)
            && self.states.as_ref().is_none_or(|states| states.contains(&state()))
            && is(&self.name, &view.name)
            && is(&self.owner, &view.owner)
            && self.search.as_ref().is_none_or(|text| found(view, text))
    }
}

/// Whether a search for `text`, in lower case, finds `view`.
fn found(view: &BatchView, text: &str) -> bool {
    let holds = |part: &Option<String>| part.as_ref().is_some_and(|part| part.to_lowercase().contains(text));
    holds(&view.name) || holds(&view.owner) || view.id.to_string().starts_with(text)
}

/// A parameter of the query. The first of a name counts.
#[must_use]
pub fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The states of every `state`, which holds names between commas; `None` where there is no such parameter.
fn states(parameters: &[(String, String)]) -> Result<Option<Vec<LivyState>>, BadQuery> {
    let mut wanted = None;
    let given = parameters.iter().filter(|(key, _)| key == "state");
    for name in given.flat_map(|(_, value)| value.split(',')) {
        let states: &mut Vec<_> = wanted.get_or_insert_default();
        match LivyState::ALL.into_iter().find(|state| state.as_str() == name) {
            Some(state) if !states.contains(&state) => states.push(state),
            Some(_) => {}
            None if LivyState::UNUSED.contains(&name) => {}
            None => return Err(BadQuery::State(shown(name))),
        }
    }
    Ok(wanted)
}

/// The last whole second that is not after a time.
fn seconds(time: &str) -> Result<i64, BadQuery> {
    let time: Timestamp = time.parse().map_err(|_| BadQuery::Time(shown(time)))?;
    Ok(time.as_second() - i64::from(time.subsec_nanosecond() < 0))
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
