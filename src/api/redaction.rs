//! Which Spark conf values are credentials, and how they are shown.

use std::collections::BTreeMap;

use regex::Regex;

/// What is shown in place of a credential.
///
/// Spark: `Utils.REDACTION_REPLACEMENT_TEXT`.
pub const REDACTED: &str = "*********(redacted)";
/// Spark's own pattern, with `access.key` and `account.key` in every spelling that object stores use.
///
/// Spark: `spark.redaction.regex`.
pub const DEFAULT_PATTERN: &str = "(?i)secret|password|passwd|token|credential|(access|account|api|private)[._-]?key";

/// Tells credentials from other conf values. Without a pattern, everything is one.
#[derive(Clone, Debug)]
pub struct Redaction(Option<Regex>);

impl Redaction {
    /// Values whose key or text matches `pattern` are credentials.
    ///
    /// # Errors
    /// If `pattern` is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(|pattern| Self(Some(pattern)))
    }

    /// Whether `value` is a credential. A text such as `-Dpassword=…` is one under any key.
    ///
    /// Spark: `Utils.redact`.
    #[must_use]
    pub fn is_secret(&self, key: &str, value: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(key) || pattern.is_match(value))
    }

    /// `value`, or what is shown in its place.
    #[must_use]
    pub fn shown<'a>(&self, key: &str, value: &'a str) -> &'a str {
        if self.is_secret(key, value) { REDACTED } else { value }
    }

    /// Takes the credentials out of `conf`.
    #[must_use]
    pub fn extract(&self, conf: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
        let (secret, plain) = std::mem::take(conf).into_iter().partition(|(key, value)| self.is_secret(key, value));
        *conf = plain;
        secret
    }
}

impl Default for Redaction {
    fn default() -> Self {
        Self(Regex::new(DEFAULT_PATTERN).ok())
    }
}

impl PartialEq for Redaction {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().map(Regex::as_str) == other.0.as_ref().map(Regex::as_str)
    }
}

impl Eq for Redaction {}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("spark.hadoop.fs.cos.mycos.access.key", "x")]
    #[case("spark.hadoop.fs.cos.mycos.secret.key", "x")]
    #[case("spark.hadoop.fs.s3a.session.token", "x")]
    #[case("spark.hadoop.fs.azure.account.key.acme.dfs.core.windows.net", "x")]
    #[case("spark.hadoop.fs.azure.account.oauth2.client.secret", "x")]
    #[case("spark.ssl.keyStorePassword", "x")]
    #[case("spark.authenticate.secret", "x")]
    #[case("spark.driver.extraJavaOptions", "-Ddb.password=x")]
    #[case("spark.app.jdbc", "jdbc:postgresql://db/x?user=a&password=b")]
    fn credentials_are_known_by_their_key_or_text(#[case] key: &str, #[case] value: &str) {
        assert!(Redaction::default().is_secret(key, value));
    }

    #[rstest]
    #[case("spark.hadoop.fs.cos.mycos.endpoint", "https://s3.us-south.cloud-object-storage.appdomain.cloud")]
    #[case("spark.app.name", "MySparkApp")]
    #[case("spark.sql.shuffle.partitions", "8")]
    fn other_values_are_not(#[case] key: &str, #[case] value: &str) {
        assert!(!Redaction::default().is_secret(key, value));
    }

    #[test]
    fn credentials_are_taken_out_of_conf() {
        let conf = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mut all = conf(&[("spark.a", "1"), ("spark.b.password", "2")]);
        assert_eq!(Redaction::default().extract(&mut all), conf(&[("spark.b.password", "2")]));
        assert_eq!(all, conf(&[("spark.a", "1")]));
    }

    #[test]
    fn an_own_pattern_takes_the_place_of_the_default() {
        let own = Redaction::new("internal").unwrap();
        assert!(own.is_secret("spark.internal", "") && !own.is_secret("spark.password", ""));
        assert!(Redaction::new("(").is_err());
    }
}
