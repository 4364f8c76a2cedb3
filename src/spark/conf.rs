//! Spark conf and its precedence.

use std::collections::BTreeMap;

use crate::api::conf_policy::canonical_key;

/// Spark properties, under their canonical names. Layers are put in order: of two that set a key, the
/// later one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparkConf(BTreeMap<String, String>);

impl SparkConf {
    /// Puts a whole layer over what is there.
    pub fn layer<'a>(&mut self, layer: impl IntoIterator<Item = (&'a String, &'a String)>) {
        for (key, value) in layer {
            self.set(key, value);
        }
    }

    /// Sets one key over what is there.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(canonical_key(key).to_owned(), value.into());
    }

    /// Sets one key where it is not set.
    pub fn set_if_missing(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(canonical_key(key).to_owned()).or_insert_with(|| value.into());
    }

    /// Puts `items` in front of the entries of a key that holds a list.
    ///
    /// Livy 0.9: `Session.prepareConf` (the request's list first, then the conf key's own entries, which
    /// commas or blanks part).
    pub fn prepend(&mut self, key: &str, items: impl IntoIterator<Item = String>) {
        let own = self.get(key).unwrap_or_default();
        let own = own.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).map(str::to_owned);
        let all: Vec<_> = items.into_iter().chain(own.collect::<Vec<_>>()).collect();
        if !all.is_empty() {
            self.set(key, all.join(","));
        }
    }

    /// The value of a key, without blanks around it, as Spark's own readers of properties give it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.trim())
    }

    /// What stands under a prefix, by the rest of its key.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(move |(key, value)| key.strip_prefix(prefix).map(|rest| (rest, value)))
    }

    /// Every key and value, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_layer_counts_under_the_canonical_name() {
        let mut conf = SparkConf::default();
        conf.layer(&BTreeMap::from([("spark.driver.memoryOverhead".to_owned(), "1".to_owned())]));
        conf.layer(&BTreeMap::from([(" spark.yarn.driver.memoryOverhead ".to_owned(), "2".to_owned())]));
        assert_eq!(conf.iter().collect::<Vec<_>>(), [("spark.driver.memoryOverhead", "2")]);
    }

    #[test]
    fn a_list_stands_in_front_of_the_keys_own_entries() {
        let mut conf = SparkConf::default();
        conf.set("spark.jars", "c.jar d.jar,,e.jar");
        conf.prepend("spark.jars", ["a.jar".to_owned(), "b.jar".to_owned()]);
        assert_eq!(conf.get("spark.jars"), Some("a.jar,b.jar,c.jar,d.jar,e.jar"));
        conf.prepend("spark.files", []);
        assert_eq!(conf.get("spark.files"), None);
    }
}
