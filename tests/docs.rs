//! The documentation, held against the program and the files that it speaks of.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[path = "docs/reference.rs"]
mod reference;
#[path = "docs/workflows.rs"]
mod workflows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;
use sparkbatch::api::{
    CONDITION_COMPLETE, CONDITION_FAILED, CONDITION_READY, CONDITION_RECONCILING, CONDITION_STALLED, Cause, Reason,
};
use sparkbatch::controller;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below `folder` that end with `end`, by their paths from the root.
fn files(folder: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every page for people.
fn pages() -> Vec<String> {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    pages
}

/// The part of a page below a heading, up to the next of its level or of one above.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, below) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading '{heading}'"));
    let level = heading.bytes().take_while(|&byte| byte == b'#').count();
    let next = (1..=level).filter_map(|level| below.find(&format!("\n{} ", "#".repeat(level)))).min();
    &below[..next.unwrap_or(below.len())]
}

/// Rows of tables whose first cell is code, by their cells.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    text.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

fn targets() -> BTreeSet<String> {
    let target = Regex::new("^[a-z][a-z0-9-]*( [a-z0-9-]+)*:( |$)").unwrap();
    let makefile = read("Makefile");
    let names = makefile.lines().filter(|line| target.is_match(line)).filter_map(|line| line.split_once(':'));
    names.flat_map(|(names, _)| names.split(' ')).map(str::to_owned).collect()
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    let generated = reference::page();
    if std::env::var_os("SPARKBATCH_GENERATE").is_some() {
        fs::write(root().join("docs/reference.md"), generated).unwrap();
        return;
    }
    assert!(read("docs/reference.md") == generated, "docs/reference.md is out of date: run `make generate`");
}

#[test]
fn every_reason_is_in_troubleshooting_with_its_cause_and_no_other() {
    let page = read("docs/troubleshooting.md");
    let documented: BTreeMap<_, _> =
        rows(section(&page, "## By reason")).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let cause = |reason: Reason| match reason.cause() {
        Some(Cause::Infrastructure) => "infrastructure",
        Some(Cause::Application) => "application",
        None => "",
    };
    let mut reasons: BTreeMap<_, _> =
        Reason::ALL.into_iter().map(|reason| (reason.to_string(), cause(reason).to_owned())).collect();
    for event in controller::event_reasons() {
        reasons.entry(event.to_owned()).or_default();
    }
    assert_eq!(documented, reasons);
}

#[test]
fn every_condition_is_in_troubleshooting_and_no_other() {
    let page = read("docs/troubleshooting.md");
    let documented: BTreeSet<_> =
        rows(section(&page, "## By condition")).into_iter().map(|row| row[0].clone()).collect();
    let conditions = [CONDITION_COMPLETE, CONDITION_FAILED, CONDITION_READY, CONDITION_RECONCILING, CONDITION_STALLED];
    assert_eq!(documented, conditions.map(str::to_owned).into());
}

/// `(resource.group, verb)`.
type Rights = BTreeSet<(String, String)>;

fn rights_of(rules: &Value) -> Rights {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Rights::new();
    for rule in rules.as_array().into_iter().flatten() {
        for (group, resource) in
            list(&rule["apiGroups"]).iter().flat_map(|g| list(&rule["resources"]).into_iter().map(move |r| (g, r)))
        {
            let name = if group.is_empty() { resource } else { format!("{resource}.{group}") };
            rights.extend(list(&rule["verbs"]).into_iter().map(|verb| (name.clone(), verb)));
        }
    }
    rights
}

/// What the Roles of deploy/kustomize give the operator, and what they give drivers. Roles that people's are made of are
/// neither's.
fn rights_given() -> (Rights, Rights) {
    let (mut operator, mut drivers) = (Rights::new(), Rights::new());
    for file in files("deploy/kustomize", ".yaml") {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&read(&file)).unwrap();
        for role in documents.iter().filter(|it| matches!(it["kind"].as_str(), Some("Role" | "ClusterRole"))) {
            let mut labels = role["metadata"]["labels"].as_object().into_iter().flatten();
            if labels.any(|(name, _)| name.starts_with("rbac.authorization.k8s.io/aggregate-to-")) {
                continue;
            }
            let is_driver = role["metadata"]["name"] == "spark-driver";
            if is_driver { &mut drivers } else { &mut operator }.extend(rights_of(&role["rules"]));
        }
    }
    (operator, drivers)
}

#[test]
fn every_right_is_in_security_with_its_why_and_no_other() {
    let page = read("docs/security.md");
    let (operator, drivers) = rights_given();
    assert!(operator.len() > 20 && drivers.len() > 10, "{operator:?} {drivers:?}");
    for (heading, given) in [("## What the operator may do", operator), ("## What drivers may do", drivers)] {
        let (mut always, mut sometimes) = (Rights::new(), Rights::new());
        for row in rows(section(&page, heading)) {
            let [name, verbs, _, why] = &row[..] else { panic!("{row:?}") };
            assert!(!why.is_empty(), "{row:?}");
            // An installation without this has no use for the right.
            let rights = if why.starts_with("with --auth none alone") { &mut sometimes } else { &mut always };
            rights.extend(verbs.split(", ").map(|verb| (name.clone(), verb.to_owned())));
        }
        assert_eq!(
            always.difference(&given).collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "{heading}: not given"
        );
        let documented: Rights = always.union(&sometimes).cloned().collect();
        assert_eq!(
            given.difference(&documented).collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "{heading}: no why"
        );
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let code: String =
        ["tests", "src"].iter().flat_map(|folder| files(folder, ".rs")).map(|file| read(&file)).collect();
    let name = Regex::new("`([a-z0-9]+(?:_[a-z0-9]+)+)`").unwrap();
    for page in ["docs/security.md", "docs/upgrade.md"] {
        let text = read(page);
        let named: Vec<_> =
            name.captures_iter(section(&text, "## Which tests hold it")).map(|it| it[1].to_owned()).collect();
        assert!(named.len() > 4, "{page}: {named:?}");
        for test in named {
            assert!(code.contains(&format!("fn {test}(")), "{page} names the test {test}, which there is none of");
        }
    }
}

/// GitHub's: letters, digits, '-' and '_', with '-' for blanks.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = read(page);
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if let Some(title) =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#') && !is_code)
        {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.insert(kept.collect::<String>().to_lowercase().replace(' ', "-"));
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let (code, link) = (Regex::new("(?s)```.*?```|`[^`]*`").unwrap(), Regex::new(r"\]\(([^)\s]+)\)").unwrap());
    for page in pages() {
        let folder = Path::new(&page).parent().unwrap().to_owned();
        let text = read(&page);
        let text = code.replace_all(&text, "");
        for target in link.captures_iter(&text).map(|it| it[1].to_owned()).filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').map_or((target.as_str(), None), |(path, at)| (path, Some(at)));
            let file = if path.is_empty() { page.clone() } else { plain(&folder.join(path)) };
            // The chart comes with its own README.
            if file.starts_with("charts/") && !root().join("charts").exists() {
                continue;
            }
            assert!(root().join(&file).exists(), "{page}: {target}");
            if let Some(anchor) = anchor {
                assert!(anchors(&file).contains(anchor), "{page}: {target}: no such heading");
            }
        }
    }
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()) {
        if part == ".." { parts.truncate(parts.len() - 1) } else { parts.push(part) }
    }
    parts.join("/")
}

#[test]
fn every_page_is_in_its_index_and_the_readme_is_short() {
    for (folder, depth) in [("docs", 2), ("docs/adr", 3)] {
        let index = read(&format!("{folder}/README.md"));
        for page in files(folder, ".md").iter().filter(|page| page.split('/').count() == depth) {
            let name = page.rsplit('/').next().unwrap();
            assert!(name == "README.md" || index.contains(&format!("]({name})")), "{folder}/README.md lacks {name}");
        }
    }
    let lines = read("README.md").lines().count();
    assert!(lines < 200, "README.md has {lines} lines");
}

#[test]
fn every_target_of_make_that_a_page_names_exists() {
    let (named, targets) = (Regex::new("`(?:[A-Z_]+=[^ `]+ )*make ([a-z][a-z0-9-]*)").unwrap(), targets());
    for page in pages() {
        let text = read(&page);
        let in_text = named.captures_iter(&text).map(|it| it[1].to_owned());
        let in_blocks = text
            .lines()
            .filter_map(|line| line.strip_prefix("make "))
            .map(|rest| rest.split(' ').next().unwrap().to_owned());
        for target in in_text.chain(in_blocks) {
            assert!(targets.contains(&target), "{page}: make {target}");
        }
    }
}

#[test]
fn every_flag_in_the_operators_table_is_one() {
    use clap::CommandFactory as _;
    let run = sparkbatch::cli::Cli::command().find_subcommand("run").unwrap().clone();
    let flags: BTreeSet<_> = run.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned).collect();
    let rows = rows(&read("docs/operator.md"));
    assert!(rows.len() > 20);
    for row in rows {
        let flag = row[0].trim_start_matches("--").split([' ', '=']).next().unwrap();
        assert!(flags.contains(flag), "docs/operator.md: --{flag}");
    }
}

#[test]
fn the_dag_in_the_docs_is_the_one_that_is_tested() {
    let page = read("docs/airflow.md");
    let (_, block) = page.split_once("```python\n").unwrap();
    assert_eq!(block.split_once("```").unwrap().0, read("deploy/samples/word_count_dag.py"));
}

#[test]
fn what_has_no_counterpart_here_is_in_the_migration() {
    let code = read("src/kubeflow/manifest.rs");
    let (_, hints) = code.split_once("const HINTS: &[(&str, &str)] = &[").unwrap();
    let hint = Regex::new(r#"\n    \("([A-Za-z.]+)", "#).unwrap();
    let fields: Vec<_> = hint.captures_iter(hints.split_once("\n];").unwrap().0).map(|it| it[1].to_owned()).collect();
    assert!(fields.len() > 10, "{fields:?}");
    let page = read("docs/migration.md");
    for field in fields {
        assert!(page.contains(&format!("`{field}`")), "docs/migration.md lacks {field}");
    }
}
