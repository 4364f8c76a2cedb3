//! The workflows of GitHub: they cannot run here, so that what they call has to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{read, targets};

const FILES: [&str; 2] = [".github/workflows/ci.yaml", ".github/workflows/release.yaml"];

/// Jobs, by `file: job`.
fn jobs() -> Vec<(String, Value)> {
    FILES
        .iter()
        .flat_map(|file| {
            let workflow: Value = serde_saphyr::from_str(&read(file)).unwrap();
            assert_eq!(workflow["permissions"], serde_json::json!({}), "{file}: rights are given to jobs, one by one");
            let jobs = workflow["jobs"].as_object().unwrap().clone();
            jobs.into_iter().map(move |(name, job)| (format!("{file}: {name}"), job))
        })
        .collect()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

#[test]
fn a_workflow_calls_targets_of_make_that_there_are_and_little_else() {
    let targets = targets();
    let mut called = BTreeSet::new();
    for (name, job) in jobs() {
        for line in steps(&job).iter().filter_map(|step| step["run"].as_str()).flat_map(str::lines) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["make", target, ..] => {
                    assert!(targets.contains(target), "{name}: make {target}");
                    called.insert(target.to_owned());
                }
                // What only GitHub can do: the release's page.
                ["gh", "release", ..] => {}
                _ => panic!("{name}: '{line}' is no target of make"),
            }
        }
    }
    let expected = ["test", "release-check", "image", "sbom", "image-index", "chart-package", "publish"];
    for target in expected {
        assert!(called.contains(target), "nothing calls make {target}");
    }
}

#[test]
fn an_action_is_named_by_its_commit_and_a_job_has_the_rights_that_it_needs() {
    for file in FILES {
        for line in read(file).lines().filter(|line| line.trim_start().trim_start_matches("- ").starts_with("uses:")) {
            let (_, action) = line.split_once("uses:").unwrap();
            let (action, version) = action.split_once(" # v").unwrap_or_else(|| panic!("{file}: {line}: no version"));
            let (_, commit) = action.trim().split_once('@').unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{file}: {line}");
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{file}: {line}");
        }
    }
    for (name, job) in jobs() {
        let rights = job["permissions"].as_object().unwrap_or_else(|| panic!("{name} has no permissions"));
        assert!(job["timeout-minutes"].is_number(), "{name} has no end");
        // The toolchain of the container is the one that the project is built with.
        let toolchain = read("rust-toolchain.toml");
        if let Some(image) = job["container"]["image"].as_str() {
            let (version, _) = image.strip_prefix("rust:").unwrap().split_once('-').unwrap();
            assert!(toolchain.contains(&format!("\nchannel = \"{version}\"\n")), "{name}: {image}");
        }
        let is_trusted = name.contains("release.yaml");
        assert!(is_trusted || rights.values().all(|right| right == "read"), "{name}: pull requests only read");
    }
}
