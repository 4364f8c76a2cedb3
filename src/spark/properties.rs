//! `spark.properties`: the text that `java.util.Properties` reads back as it was meant.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use thiserror::Error;

use super::SparkConf;

/// A backslash that begins nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("has a '\\\\u' without four hexadecimal digits after it")]
pub struct BadEscape;

/// The text of a properties file, sorted by key.
///
/// Java: `java.util.Properties.store`, with a Writer (non-ASCII characters stay as they are).
/// Spark's launcher reads the file as UTF-8 and trims values.
#[must_use]
pub fn to_properties(conf: &SparkConf) -> String {
    let mut text = String::new();
    for (key, value) in conf.iter() {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    for (index, c) in text.chars().enumerate() {
        match c {
            ' ' if is_key || index == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            // Every control character, so that no reader takes one for the end of a line.
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// The properties of a file's text.
///
/// Java: `java.util.Properties.load`.
///
/// # Errors
/// If a `\\u` is not followed by four hexadecimal digits; Java refuses that, too.
pub fn parse_properties(text: &str) -> Result<BTreeMap<String, String>, BadEscape> {
    let mut lines: Vec<String> = Vec::new();
    let mut continued = false;
    for line in text.split(['\n', '\r']) {
        let line = line.trim_start_matches([' ', '\t', '\u{c}']);
        if !continued && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let slashes = line.len() - line.trim_end_matches('\\').len();
        let body = if slashes % 2 == 1 { &line[..line.len() - 1] } else { line };
        match lines.last_mut().filter(|_| continued) {
            Some(last) => last.push_str(body),
            None => lines.push(body.to_owned()),
        }
        continued = slashes % 2 == 1;
    }
    lines.iter().map(|line| entry(line)).collect()
}

fn entry(line: &str) -> Result<(String, String), BadEscape> {
    let is_blank = |c: &char| " \t\u{c}".contains(*c);
    let (mut key, mut chars) = (String::new(), line.chars().peekable());
    while let Some(c) = chars.next_if(|c| !"=:".contains(*c) && !is_blank(c)) {
        key.push(if c == '\\' { unescape(&mut chars)? } else { c });
    }
    while chars.next_if(is_blank).is_some() {}
    if chars.next_if(|c| "=:".contains(*c)).is_some() {
        while chars.next_if(is_blank).is_some() {}
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        value.push(if c == '\\' { unescape(&mut chars)? } else { c });
    }
    Ok((key, value))
}

fn unescape(chars: &mut impl Iterator<Item = char>) -> Result<char, BadEscape> {
    Ok(match chars.next().ok_or(BadEscape)? {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\u{c}',
        'u' => {
            let hex: String = chars.take(4).collect();
            u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32).ok_or(BadEscape)?
        }
        c => c,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spark::Origin;

    fn written(key: &str, value: &str) -> String {
        let mut conf = SparkConf::default();
        conf.set(key, value, Origin::Conf);
        to_properties(&conf)
    }

    /// Recorded from a real spark-submit.
    #[test]
    fn values_are_written_as_java_writes_them() {
        assert_eq!(written("spark.note", "a=b: c \\\n é"), "spark.note=a\\=b\\: c \\\\\\n é\n");
        assert_eq!(written("spark.app.name", "My App (Ünï) #1"), "spark.app.name=My App (Ünï) \\#1\n");
        assert_eq!(
            written("spark.master", "k8s://https://127.0.0.1:16443"),
            "spark.master=k8s\\://https\\://127.0.0.1\\:16443\n"
        );
        assert_eq!(written("spark.lead", "  x "), "spark.lead=\\  x \n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pairs in prop::collection::btree_map("[!-~é =:#!\\\\]{1,12}", any::<String>(), 0..6)) {
            let mut conf = SparkConf::default();
            for (key, value) in &pairs {
                conf.set(key, value.as_str(), Origin::Conf);
            }
            let expected: BTreeMap<_, _> = conf.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(parse_properties(&to_properties(&conf)).unwrap(), expected);
        }
    }
}
