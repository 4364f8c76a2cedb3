//! Command lines of Spark's own documentation, run unchanged but for the program's name.

use std::fmt::Write as _;

use super::*;

/// The page and the words of each command line.
fn lines(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut page = String::new();
    let text = text.replace("\\\n", " ");
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match line.strip_prefix("# ") {
            Some(source) => source.clone_into(&mut page),
            None => found.push((page.clone(), words(line))),
        }
    }
    found
}

/// The words of a line, as a shell without expansions parts them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote, mut in_word) = (vec![String::new()], None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => (quote, in_word) = (Some(c), true),
            (None, ' ') if in_word => {
                words.push(String::new());
                in_word = false;
            }
            (None, ' ') => {}
            _ => {
                in_word = true;
                words.last_mut().unwrap().push(c);
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What a command line came to: its exit code, what it said, and the batch that it made.
async fn outcome(way: Way, words: &[String]) -> (i32, String) {
    let world = World::new().await;
    world.insert_running("spark-pi-1547948636094", 1, "");
    world.caught_up().await;
    let args = ["submit"].into_iter().chain(words[1..].iter().map(String::as_str));
    let done = world.run(way, args).await;
    let mut text = format!("exit code {}\n", done.code);
    let mut created = String::new();
    for batch in world.batches() {
        let name = batch["metadata"]["name"].as_str().unwrap();
        if name == "spark-pi-1547948636094" {
            if batch["spec"]["cancel"] == true {
                created += "cancelled\n";
            }
        } else {
            writeln!(created, "{}", serde_json::to_string_pretty(&batch["spec"]).unwrap()).unwrap();
        }
    }
    if world.batches().is_empty() {
        created += "deleted\n";
    }
    // The letters that end a name are drawn.
    let drawn = |line: &str| match line.split_once(" submitted") {
        Some((batch, _)) if way == Way::Kubeconfig => format!("{}-… submitted", batch.rsplit_once('-').unwrap().0),
        _ if line.starts_with("Created:") => "Created: …".to_owned(),
        _ => line.to_owned(),
    };
    for line in done.out.lines().chain(done.err.lines()) {
        writeln!(text, "{}", drawn(line)).unwrap();
    }
    (done.code, text + &created)
}

/// What all command lines of a file come to, after a look at each exit code.
async fn outcomes(way: Way, file: &str, is_accepted: bool) -> String {
    let mut text = String::new();
    for (page, words) in lines(file) {
        let (code, said) = outcome(way, &words).await;
        assert_eq!(code == 0, is_accepted, "{way:?}: {words:?}: {said}");
        writeln!(text, "## {page}\n{}\n{said}", words.join(" ")).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_command_lines_of_sparks_documentation_run_by_both_ways() {
    let file = include_str!("spark-docs.txt");
    assert!(lines(file).len() >= 10);
    for way in [Way::Kubeconfig, Way::Livy] {
        let text = outcomes(way, file, true).await;
        insta::assert_snapshot!(format!("spark_docs_by_{way:?}").to_lowercase(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_command_lines_of_sparks_documentation_are_refused_with_what_to_change() {
    for way in [Way::Kubeconfig, Way::Livy] {
        let text = outcomes(way, include_str!("spark-docs-refused.txt"), false).await;
        insta::assert_snapshot!(format!("spark_docs_refused_by_{way:?}").to_lowercase(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn command_lines_that_name_a_driver_pod_work_by_kubeconfig_alone() {
    for way in [Way::Kubeconfig, Way::Livy] {
        let text = outcomes(way, include_str!("spark-docs-by-kubeconfig.txt"), way == Way::Kubeconfig).await;
        insta::assert_snapshot!(format!("spark_docs_of_pods_by_{way:?}").to_lowercase(), text);
    }
}

#[test]
fn a_line_is_parted_as_a_shell_parts_it() {
    assert_eq!(words(r#"a  --b "c d"  'e'f "#), ["a", "--b", "c d", "ef"]);
}
