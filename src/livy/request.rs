//! The body of `POST /batches`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::convert::Rejection;
use super::value::{Entries, Reader, kind_of, shown};
use super::{Dialect, FIELDS as KNOWN};
use crate::api::validation::Problem;

/// The fields of a request, in alphabetical order.
///
/// Livy 0.9: `CreateBatchRequest`.
pub const FIELDS: [&str; 16] = [
    "archives",
    "args",
    "className",
    "conf",
    "driverCores",
    "driverMemory",
    "executorCores",
    "executorMemory",
    "file",
    "files",
    "jars",
    "name",
    "numExecutors",
    "proxyUser",
    "pyFiles",
    "queue",
];

/// What to run. Fields that are absent and those that are null are the same.
///
/// Livy 0.9: `CreateBatchRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchRequest {
    /// File that holds the application.
    pub file: Option<String>,
    /// User to impersonate.
    pub proxy_user: Option<String>,
    /// Arguments of the application.
    pub args: Vec<String>,
    /// Main class of the application.
    pub class_name: Option<String>,
    /// Jars for the class path.
    pub jars: Vec<String>,
    /// Python files.
    pub py_files: Vec<String>,
    /// Files for the working directory.
    pub files: Vec<String>,
    /// Archives to unpack.
    pub archives: Vec<String>,
    /// Heap of the driver.
    pub driver_memory: Option<String>,
    /// Cores of the driver.
    pub driver_cores: Option<i32>,
    /// Heap of an executor.
    pub executor_memory: Option<String>,
    /// Cores of an executor.
    pub executor_cores: Option<i32>,
    /// Number of executors.
    pub num_executors: Option<i32>,
    /// Queue to run in.
    pub queue: Option<String>,
    /// Name of the batch.
    pub name: Option<String>,
    /// Spark configuration.
    pub conf: BTreeMap<String, String>,
}

impl BatchRequest {
    /// Reads a request, and says of each field that is unknown, refused or not of its type what is wrong with
    /// it. What is no JSON object is a [`Rejection`] at once.
    pub fn parse(body: &[u8], dialect: Dialect) -> Result<(Self, Vec<Problem>), Rejection> {
        let Entries(entries) = object(body)?;
        let mut request = Self::default();
        let mut reader = Reader::default();
        let mut seen = BTreeSet::new();
        let mut unknown = Vec::new();
        for (field, value) in entries {
            if !KNOWN.contains(&field.as_str()) {
                unknown.push(field);
                continue;
            }
            if dialect.refused_fields().contains(&field.as_str()) && kind_of(value) != "null" {
                reader.push(&field, "is not supported by this API; remove it");
            }
            request.set(&field, value, &mut reader);
            if !seen.insert(field.clone()) {
                reader.push(field, "is given twice");
            }
        }
        push_unknown(&unknown, dialect, &mut reader);
        Ok((request, reader.problems))
    }

    fn set(&mut self, field: &str, value: &RawValue, reader: &mut Reader) {
        match field {
            "file" => self.file = reader.text(field, value),
            "proxyUser" => self.proxy_user = reader.text(field, value),
            "args" => self.args = reader.list(field, value),
            "className" => self.class_name = reader.text(field, value),
            "jars" => self.jars = reader.list(field, value),
            "pyFiles" => self.py_files = reader.list(field, value),
            "files" => self.files = reader.list(field, value),
            "archives" => self.archives = reader.list(field, value),
            "driverMemory" => self.driver_memory = reader.size(field, value),
            "driverCores" => self.driver_cores = reader.int(field, value),
            "executorMemory" => self.executor_memory = reader.size(field, value),
            "executorCores" => self.executor_cores = reader.int(field, value),
            "numExecutors" => self.num_executors = reader.int(field, value),
            "queue" => self.queue = reader.text(field, value),
            "name" => self.name = reader.text(field, value),
            "conf" => self.conf = reader.map(field, value),
            _ => {}
        }
    }
}

/// One problem for all unknown fields, so that what is known is listed once.
fn push_unknown(unknown: &[String], dialect: Dialect, reader: &mut Reader) {
    const SHOWN: usize = 10;
    if unknown.is_empty() {
        return;
    }
    let mut names: Vec<_> = unknown.iter().take(SHOWN).map(|name| format!("\"{}\"", shown(name))).collect();
    if unknown.len() > SHOWN {
        names.push(format!("{} more", unknown.len() - SHOWN));
    }
    let known: Vec<_> = KNOWN.into_iter().filter(|field| !dialect.refused_fields().contains(field)).collect();
    let plural = if unknown.len() == 1 { "" } else { "s" };
    reader.push(
        format!("Unrecognized field{plural} {}", names.join(", ")),
        format!("the known fields are {}", known.join(", ")),
    );
}

fn object(body: &[u8]) -> Result<Entries<'_>, Rejection> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| Rejection::not_json("the body is not UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(Rejection::not_json("the body is empty: send a JSON object with at least \"file\""));
    }
    // Deserialisation into a raw value checks the whole syntax without recursion, and its errors hold positions
    // only: no part of the body.
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| Rejection::not_json(format!("the body is not JSON: {error}")))?;
    if !raw.get().starts_with('{') {
        let kind = kind_of(raw);
        return Err(Rejection::not_json(format!("the body is {kind}: send a JSON object with at least \"file\"")));
    }
    serde_json::from_str(raw.get()).map_err(|_| Rejection::not_json("the body has a key that is no valid text"))
}
