//! The layout of the source, held: who may import whom, and what pure modules never name.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and the modules that it may import. Pure ones decide; the others act.
const MODULES: &[(&str, &[&str], bool)] = &[
    ("api", &[], true),
    ("kubeflow", &["api"], true),
    ("livy", &["api"], true),
    ("spark", &["api"], true),
    ("plan", &["api", "spark"], true),
    ("observe", &["api"], true),
    ("bounded", &[], false),
    ("ids", &["api"], false),
    ("lease", &[], false),
    ("metrics", &["traces"], false),
    ("server", &["bounded"], false),
    // plan: for dry runs alone.
    ("credentials", &["api"], false),
    // The other side of both ways to submit: credentials as the facade keeps them, livy for the bodies of Livy's API.
    ("client", &["api", "credentials", "livy", "spark"], false),
    ("facade", &["api", "credentials", "livy", "plan", "ids", "metrics", "server", "traces"], false),
    ("controller", &["api", "plan", "observe", "spark", "ids", "lease", "metrics", "traces"], false),
    ("admin", &["metrics", "server"], false),
    ("shutdown", &[], false),
    ("telemetry", &["traces"], false),
    ("traces", &[], false),
    (
        "cli",
        &[
            "admin",
            "api",
            "bounded",
            "client",
            "controller",
            "facade",
            "ids",
            "kubeflow",
            "lease",
            "metrics",
            "plan",
            "server",
            "shutdown",
            "spark",
            "telemetry",
        ],
        false,
    ),
    ("main", &["cli"], false),
    ("lib", &[], false),
];

/// What a pure module does not name: clients, runtimes, HTTP, environment, files and clocks.
const IMPURE: &[&str] = &[
    "kube::Api",
    "kube::Client",
    "kube::Config",
    "kube::client",
    "kube::runtime",
    "tokio",
    "axum",
    "http::",
    "tower",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "Instant::now",
    "SystemTime::now",
];

fn sources() -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let module = |path: &PathBuf| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| (module(path), path.clone()))
        .collect()
}

/// The code of a file: without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// The first names after each `crate::` (and `sparkbatch::`, in the binary), braces included.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, name) in code.match_indices("crate::").chain(code.match_indices("sparkbatch::")) {
        let rest = &code[at + name.len()..];
        let list = rest.strip_prefix('{').map_or_else(
            || rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default().to_owned(),
            top_level,
        );
        found.extend(list.split(',').map(|name| name.trim().split("::").next().unwrap_or_default().to_owned()));
    }
    found.retain(|name| !name.is_empty());
    found
}

/// What stands between braces, without what nested braces hold.
fn top_level(text: &str) -> String {
    let (mut depth, mut out) = (0, String::new());
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[test]
fn every_module_imports_only_what_the_table_allows() {
    for (module, path) in sources() {
        let (_, allowed, _) =
            MODULES.iter().find(|(name, ..)| *name == module).unwrap_or_else(|| panic!("{module} is not in the table"));
        for import in imports(&code(&path)) {
            let fine = import == module || allowed.contains(&import.as_str());
            assert!(fine, "{} imports crate::{import}; the table in this test does not allow it", path.display());
        }
    }
}

#[test]
fn pure_modules_name_nothing_that_acts() {
    for (module, path) in sources() {
        let pure = MODULES.iter().any(|(name, _, pure)| *name == module && *pure);
        for name in IMPURE.iter().filter(|_| pure && !is_test_file(&path)) {
            assert!(!code(&path).contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn the_check_sees_an_import_in_every_form() {
    assert_eq!(imports("use crate::api::{A, b::C};"), ["api"]);
    assert_eq!(imports("use crate::{api::{A, B}, plan};"), ["api", "plan"]);
    assert_eq!(imports("let x = crate::spark::app_id();"), ["spark"]);
}
