//! Spark conf and its precedence.

use std::collections::BTreeMap;

use crate::api::conf_policy::canonical_key;

/// Where the value of a key came from, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator's own default.
    Default,
    /// What the operator's administrator gives all batches.
    Administrator,
    /// A Secret or `ConfigMap` of the batch's confFrom.
    ConfFrom,
    /// The batch's conf.
    Conf,
    /// Another field of the batch, under this name.
    Field(&'static str),
    /// The operator, whatever the batch says.
    Operator,
}

/// Spark properties, under their canonical names. Layers are put in order: of two that set a key, the
/// later one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparkConf(BTreeMap<String, Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: String,
    origin: Origin,
}

impl SparkConf {
    /// Puts a whole layer over what is there.
    pub fn layer<'a>(&mut self, layer: impl IntoIterator<Item = (&'a String, &'a String)>, origin: Origin) {
        for (key, value) in layer {
            self.set(key, value, origin);
        }
    }

    /// Sets one key over what is there.
    pub fn set(&mut self, key: &str, value: impl Into<String>, origin: Origin) {
        self.0.insert(canonical_key(key).to_owned(), Entry { value: value.into(), origin });
    }

    /// Sets one key where it is not set.
    pub fn set_if_missing(&mut self, key: &str, value: impl Into<String>, origin: Origin) {
        self.0.entry(canonical_key(key).to_owned()).or_insert_with(|| Entry { value: value.into(), origin });
    }

    /// Puts `items` in front of the entries of a key that holds a list.
    ///
    /// Livy 0.9: `Session.prepareConf` (the request's list first, then the conf key's own entries, which
    /// commas or blanks part).
    pub fn prepend(&mut self, key: &str, items: impl IntoIterator<Item = String>, origin: Origin) {
        let own = self.get(key).unwrap_or_default();
        let own = own.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).map(str::to_owned);
        let all: Vec<_> = items.into_iter().chain(own.collect::<Vec<_>>()).collect();
        if !all.is_empty() {
            self.set(key, all.join(","), origin);
        }
    }

    /// Puts `item` after the entries of a list.
    pub fn append(&mut self, key: &str, item: &str, origin: Origin) {
        let list = self.get(key).filter(|list| !list.is_empty()).map(|list| format!("{list},{item}"));
        self.set(key, list.unwrap_or_else(|| item.to_owned()), origin);
    }

    /// The value of a key, without blanks around it, as Spark's own readers of properties give it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|entry| entry.value.trim())
    }

    /// What stands under a prefix, by the rest of its key.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(move |(key, value)| key.strip_prefix(prefix).map(|rest| (rest, value)))
    }

    /// Every key and value, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry.value.as_str()))
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<Origin> {
        self.0.get(key).map(|entry| entry.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_layer_counts_under_the_canonical_name() {
        let mut conf = SparkConf::default();
        conf.layer(&BTreeMap::from([("spark.driver.memoryOverhead".to_owned(), "1".to_owned())]), Origin::Default);
        conf.layer(&BTreeMap::from([(" spark.yarn.driver.memoryOverhead ".to_owned(), "2".to_owned())]), Origin::Conf);
        assert_eq!(conf.iter().collect::<Vec<_>>(), [("spark.driver.memoryOverhead", "2")]);
        assert_eq!(conf.origin("spark.driver.memoryOverhead"), Some(Origin::Conf));
    }

    #[test]
    fn a_list_stands_in_front_of_the_keys_own_entries() {
        let mut conf = SparkConf::default();
        conf.set("spark.jars", "c.jar d.jar,,e.jar", Origin::Conf);
        conf.prepend("spark.jars", ["a.jar".to_owned(), "b.jar".to_owned()], Origin::Field("jars"));
        assert_eq!(conf.get("spark.jars"), Some("a.jar,b.jar,c.jar,d.jar,e.jar"));
        conf.prepend("spark.files", [], Origin::Field("files"));
        assert_eq!(conf.get("spark.files"), None);
    }
}
