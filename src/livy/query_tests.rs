use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::livy::view::example;

fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn query(parameters: &[(&str, &str)]) -> Result<ListQuery, String> {
    ListQuery::parse(&pairs(parameters)).map_err(|error| error.to_string())
}

fn view() -> BatchView {
    BatchView { id: 1, name: Some("job-a".into()), owner: Some("alice".into()), ..example() }
}

fn matches(parameters: &[(&str, &str)], view: &BatchView) -> bool {
    query(parameters).unwrap().filter.matches(view, Dialect::Apache)
}

#[rstest]
#[case(&[], true)]
#[case(&[("bogus", "x"), ("", "")], true)]
#[case(&[("state", "starting")], true)]
#[case(&[("state", "running,starting")], true)]
#[case(&[("state", "running"), ("state", "starting")], true)]
#[case(&[("state", "running")], false)]
#[case(&[("state", "not_started")], false)]
#[case(&[("state", "idle")], false)]
#[case(&[("name", "job-a")], true)]
#[case(&[("name", "job")], false)]
#[case(&[("name", "")], false)]
#[case(&[("name", "job-a"), ("name", "other")], true)]
#[case(&[("search", "LIC")], true)]
#[case(&[("search", "ob-A")], true)]
#[case(&[("search", "1")], true)]
#[case(&[("search", "2")], false)]
#[case(&[("search", "")], true)]
#[case(&[("search", "job-a"), ("owner", "bob")], false)]
#[case(&[("owner", "alice")], true)]
#[case(&[("owner", "Alice")], false)]
#[case(&[("name", "job-a"), ("owner", "bob")], false)]
#[case(&[("createdAfter", "1970-01-01T00:16:39Z")], true)]
#[case(&[("createdAfter", "1970-01-01T00:16:39.999Z")], true)]
#[case(&[("createdAfter", "1970-01-01T00:16:40Z")], false)]
#[case(&[("createdAfter", "1970-01-01T01:16:40+01:00")], false)]
#[case(&[("createdAfter", "1969-12-31T23:59:59.5Z")], true)]
fn a_filter_takes_what_everything_in_it_is_true_of(#[case] parameters: &[(&str, &str)], #[case] expected: bool) {
    assert_eq!(matches(parameters, &view()), expected);
}

#[test]
fn states_are_those_that_the_callers_dialect_shows() {
    let filter = query(&[("state", "not_started")]).unwrap().filter;
    assert!(filter.matches(&view(), Dialect::Instance) && !filter.matches(&view(), Dialect::Apache));
}

#[rstest]
#[case(
    &[("state", "up")],
    "state: 'up' is no state; the states are not_started, starting, running, success, dead, killed, recovering, idle, busy, \
     shutting_down, error"
)]
#[case(&[("state", "")], "state: '' is no state")]
#[case(&[("state", "running,")], "state: '' is no state")]
#[case(&[("state", "running"), ("state", "up")], "state: 'up' is no state")]
#[case(&[("state", "RUNNING")], "state: 'RUNNING' is no state")]
#[case(&[("createdAfter", "yesterday")], "createdAfter: 'yesterday' is no time")]
#[case(&[("createdAfter", "2026-01-31T08:00:00 02:00")], "createdAfter: '2026-01-31T08:00:00 02:00' is no time")]
#[case(&[("createdAfter", "2026-01-31")], "createdAfter: '2026-01-31' is no time")]
#[case(&[("createdAfter", "1769846400")], "createdAfter: '1769846400' is no time")]
#[case(&[("createdAfter", "2026-01-31T08:00:00")], "createdAfter: '2026-01-31T08:00:00' is no time")]
#[case(&[("order", "asc")], "order: 'asc' is not known; send 'latest'")]
#[case(&[("order", "a\nb")], "order: 'a\\nb' is not known")]
#[case(&[("order", "")], "order: '' is not known")]
#[case(&[("watch", "1")], "watch: '1' is neither true nor false")]
#[case(&[("from", "abc")], "For input string: \"abc\"")]
#[case(&[("size", "")], "For input string: \"\"")]
fn what_is_not_known_is_named(#[case] parameters: &[(&str, &str)], #[case] start: &str) {
    let text = query(parameters).unwrap_err();
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn pages_are_livys_and_an_instances_only_if_asked_for() {
    let page = |parameters: &[(&str, &str)], dialect| query(parameters).unwrap().page(dialect);
    assert_eq!(page(&[], Dialect::Apache), Some((0, 100)));
    assert_eq!(page(&[], Dialect::Instance), None);
    for dialect in Dialect::ALL {
        assert_eq!(page(&[("size", "3")], dialect), Some((0, 3)));
        assert_eq!(page(&[("from", "-3"), ("from", "x")], dialect), Some((-3, 100)));
    }
}

#[test]
fn order_and_watch_are_read() {
    let read = query(&[("order", "latest"), ("watch", "true")]).unwrap();
    assert!(read.latest_first && read.watch && read.filter.is_empty());
    assert!(!query(&[("watch", "false")]).unwrap().watch);
}

proptest! {
    #[test]
    fn any_query_is_read_or_refused_in_few_words(
        parameters in prop::collection::vec(
            ("from|size|state|name|owner|createdAfter|order|watch|\\PC{0,5}", "\\PC{0,300}|true|latest|running,dead|-?[0-9]{1,12}"),
            0..8,
        )
    ) {
        if let Err(error) = ListQuery::parse(&parameters) {
            prop_assert!(error.to_string().chars().count() < 2000);
        }
    }

    #[test]
    fn states_are_taken_in_any_order_and_number(names in prop::collection::vec(0usize..6, 1..20)) {
        let states: Vec<_> = names.iter().map(|&at| LivyState::ALL[at]).collect();
        let text: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        let read = query(&[("state", &text.join(","))]).unwrap().filter.states.unwrap();
        prop_assert!(read.len() <= 6);
        prop_assert!(LivyState::ALL.iter().all(|state| read.contains(state) == states.contains(state)));
    }
}
