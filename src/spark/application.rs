//! The application's file: its language, and how it is named to a driver.

/// Language of an application, which decides how the driver runs its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Java, Scala or Kotlin: a jar.
    Java,
    /// Python: a `.py` file, or a `.zip` or `.egg`.
    Python,
    /// R: an `.R` file.
    R,
}

impl Language {
    /// The language of an application's file, by its ending.
    ///
    /// Spark: `SparkSubmit.isPython`, `SparkSubmit.isR`.
    #[must_use]
    pub fn of_file(uri: &str) -> Self {
        let path = uri.split(['?', '#']).next().unwrap_or(uri).to_ascii_lowercase();
        let has_ending = |ending: &str| path.ends_with(ending);
        if has_ending(".py") {
            Self::Python
        } else if has_ending(".r") {
            Self::R
        } else {
            Self::Java
        }
    }

    /// The class that runs a file of this language, where it is not the application's own.
    ///
    /// Spark: `DriverCommandFeatureStep`.
    #[must_use]
    pub fn runner_class(self) -> Option<&'static str> {
        match self {
            Self::Java => None,
            Self::Python => Some("org.apache.spark.deploy.PythonRunner"),
            Self::R => Some("org.apache.spark.deploy.RRunner"),
        }
    }

    /// Value of `spark.kubernetes.resource.type`.
    #[must_use]
    pub fn resource_type(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Python => "python",
            Self::R => "r",
        }
    }

    /// Memory overhead factor where none is configured: processes beside the JVM need more.
    ///
    /// Spark: `BasicDriverFeatureStep` (`NON_JVM_MEMORY_OVERHEAD_FACTOR`).
    #[must_use]
    pub fn default_overhead_factor(self) -> f64 {
        match self {
            Self::Java => 0.1,
            Self::Python | Self::R => 0.4,
        }
    }
}

/// The URI by which Spark finds a file: an absolute path without a scheme is a file in the image.
#[must_use]
pub fn in_image(uri: &str) -> String {
    if uri.starts_with('/') { format!("local://{uri}") } else { uri.to_owned() }
}

/// The URI under which a driver reads the manifest of a jar: it opens no file of the scheme `local`.
///
/// Spark: `SparkSubmit.prepareSubmitEnvironment` (`FileSystem.get` of the primary resource, for `Main-Class`).
#[must_use]
pub fn with_manifest(uri: &str) -> String {
    match in_image(uri).split_once(':') {
        Some((scheme, path)) if scheme.eq_ignore_ascii_case("local") => format!("file:{path}"),
        _ => uri.to_owned(),
    }
}

/// An argument that reaches the application unchanged.
///
/// Kubernetes expands `$(NAME)` in container arguments and reads `$$` as `$`; spark-submit leaves that to
/// happen, which changes arguments behind the user's back.
#[must_use]
pub fn escape_arg(arg: &str) -> String {
    if arg.contains("$$") || arg.contains("$(") { arg.replace('$', "$$") } else { arg.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("local:///a/main.py", Language::Python)]
    #[case("cos://b.c/WORDCOUNT.PY", Language::Python)]
    #[case("https://h/main.py?token=x", Language::Python)]
    #[case("local:///a/main.R", Language::R)]
    #[case("local:///a/app.jar", Language::Java)]
    #[case("local:///a.py/app", Language::Java)]
    fn the_ending_tells_the_language(#[case] uri: &str, #[case] language: Language) {
        assert_eq!(Language::of_file(uri), language);
    }

    #[test]
    fn a_path_is_a_file_in_the_image() {
        assert_eq!(in_image("/opt/a.py"), "local:///opt/a.py");
        assert_eq!(in_image("cos://b.c/a.py"), "cos://b.c/a.py");
    }

    /// Kubernetes: `k8s.io/kubernetes/third_party/forked/golang/expansion`, with every name defined as "?".
    fn expand(input: &str) -> String {
        let (mut out, mut rest) = (String::new(), input);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.chars().next() {
                Some('$') => {
                    out.push('$');
                    rest = &rest[1..];
                }
                Some('(') => {
                    let end = rest.find(')');
                    out.push_str(if end.is_some() { "?" } else { "$(" });
                    rest = &rest[end.map_or(1, |end| end + 1)..];
                }
                Some(other) => {
                    out.push('$');
                    out.push(other);
                    rest = &rest[other.len_utf8()..];
                }
                None => out.push('$'),
            }
        }
        out + rest
    }

    proptest! {
        #[test]
        fn arguments_reach_the_application_unchanged(arg in "[$()A-Z a-zé]{0,24}") {
            prop_assert_eq!(expand(&escape_arg(&arg)), arg);
        }
    }
}
