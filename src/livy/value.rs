//! JSON values of a request, read one field at a time, so that every wrong one is named.
//!
//! Texts of numbers are kept as they were sent: Livy hands `1.10` and a number of thirty digits on unchanged,
//! and so do we. No message repeats a value: conf and args may hold credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::validation::Problem;

/// A JSON object in the order that it was sent in, keys that stand twice included.
pub(super) struct Entries<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// One JSON value, a level deep.
enum Value<'a> {
    Null,
    Bool(&'a str),
    Number(&'a str),
    String(String),
    Array(Vec<&'a RawValue>),
    Object(Vec<(String, &'a RawValue)>),
    /// A string or a key with half of a surrogate pair, which is no text.
    Broken,
}

impl<'a> Value<'a> {
    fn of(raw: &'a RawValue) -> Self {
        let text = raw.get().trim_ascii();
        match text.as_bytes().first() {
            Some(b'n') => Some(Self::Null),
            Some(b't' | b'f') => Some(Self::Bool(text)),
            Some(b'"') => serde_json::from_str(text).ok().map(Self::String),
            Some(b'[') => serde_json::from_str(text).ok().map(Self::Array),
            Some(b'{') => serde_json::from_str(text).ok().map(|Entries(entries)| Self::Object(entries)),
            _ => Some(Self::Number(text)),
        }
        .unwrap_or(Self::Broken)
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
            Self::Broken => "no valid text",
        }
    }
}

/// What kind of JSON value `raw` is, in words.
pub(super) fn kind_of(raw: &RawValue) -> &'static str {
    Value::of(raw).kind()
}

/// A key as messages show it: cut, and without what could forge a line of a log.
pub(super) fn shown(key: &str) -> String {
    key.chars().take(100).flat_map(char::escape_debug).collect()
}

/// Reads values, and notes each that is not what its field holds.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(field, message));
    }

    fn wrong(&mut self, field: &str, expected: &str, value: &Value<'_>) {
        self.push(field, format!("must be {expected}, not {}", value.kind()));
    }

    /// A text. Numbers are taken as theirs (`"driverMemory": 512`), as Livy does.
    pub(super) fn text(&mut self, field: &str, raw: &RawValue) -> Option<String> {
        match Value::of(raw) {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Number(text) => Some(text.to_owned()),
            other => {
                self.wrong(field, "a string", &other);
                None
            }
        }
    }

    /// A text that is a size. A number is one however it is written: `4096.0` is as good as `4096`.
    pub(super) fn size(&mut self, field: &str, raw: &RawValue) -> Option<String> {
        match Value::of(raw) {
            Value::Number(text) => Some(whole(text).map_or_else(|| text.to_owned(), |number| number.to_string())),
            _ => self.text(field, raw),
        }
    }

    /// A 32-bit integer. Its text is taken too: Airflow passes numbers on as strings.
    pub(super) fn int(&mut self, field: &str, raw: &RawValue) -> Option<i32> {
        const EXPECTED: &str = "a whole number of at most 2147483647, such as 2";
        let value = Value::of(raw);
        let number = match &value {
            Value::Null => return None,
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(text) => whole(text).and_then(|number| number.try_into().ok()),
            other => {
                self.wrong(field, EXPECTED, other);
                return None;
            }
        };
        if number.is_none() {
            self.push(field, format!("must be {EXPECTED}"));
        }
        number
    }

    /// A list of texts. Numbers and booleans in it are taken as theirs, as Livy does.
    pub(super) fn list(&mut self, field: &str, raw: &RawValue) -> Vec<String> {
        match Value::of(raw) {
            Value::Null => Vec::new(),
            Value::Array(entries) => {
                entries.into_iter().enumerate().filter_map(|(index, raw)| self.entry(field, index, raw)).collect()
            }
            other => {
                self.wrong(field, "a list of strings", &other);
                Vec::new()
            }
        }
    }

    fn entry(&mut self, field: &str, index: usize, raw: &RawValue) -> Option<String> {
        match Value::of(raw) {
            Value::String(text) => Some(text),
            Value::Number(text) | Value::Bool(text) => Some(text.to_owned()),
            other => {
                self.wrong(&format!("{field}[{index}]"), "a string", &other);
                None
            }
        }
    }

    /// A map of texts. Numbers and booleans are taken as theirs, as Livy does. A key that is null is left
    /// out, as every other null is; Livy would set it to the text `null`.
    pub(super) fn map(&mut self, field: &str, raw: &RawValue) -> BTreeMap<String, String> {
        let entries = match Value::of(raw) {
            Value::Null => Vec::new(),
            Value::Object(entries) => entries,
            other => {
                self.wrong(field, "an object of strings", &other);
                Vec::new()
            }
        };
        let mut seen = BTreeSet::new();
        let mut map = BTreeMap::new();
        for (key, raw) in entries {
            let value = match Value::of(raw) {
                Value::Null => None,
                Value::String(text) => Some(text),
                Value::Number(text) | Value::Bool(text) => Some(text.to_owned()),
                other => {
                    self.push(field, format!("the value of '{}' must be a string, not {}", shown(&key), other.kind()));
                    None
                }
            };
            if !seen.insert(key.clone()) {
                self.push(field, format!("key '{}' is given twice", shown(&key)));
            }
            if let Some(value) = value {
                map.insert(key, value);
            }
        }
        map
    }
}

/// The integer that a JSON number is, also where it is written as `2.0` or `2e0`.
fn whole(text: &str) -> Option<i64> {
    /// 2^53: up to here each integer has a floating-point number of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        (number.abs() <= EXACT && number.fract() == 0.0).then_some(number as i64)
    })
}
