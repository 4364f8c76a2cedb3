//! What Kubernetes takes as the name of an object. What is no name never gets into a path of the API server.

/// Whether `text` is a DNS label (RFC 1123): the name of a namespace, of a batch, of a Service.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label_of_any_length(text)
}

/// Whether `text` is a DNS subdomain (RFC 1123): the name of a pod, a Secret, a service account.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label_of_any_length)
}

/// Whether `text` is the value of a label, and not an empty one: fit to stand in a selector.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && is_end(bytes.first())
        && is_end(bytes.last())
}

fn is_label_of_any_length(text: &str) -> bool {
    let ends = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|&byte| ends(byte) || byte == b'-')
        && bytes.first().copied().is_some_and(ends)
        && bytes.last().copied().is_some_and(ends)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("spark", true)]
    #[case("a", true)]
    #[case("43f79a18-768c-44c9-b9c2-b19ec78771bf", true)]
    #[case("", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("A", false)]
    #[case("..", false)]
    #[case("../x", false)]
    #[case("a/b", false)]
    #[case("a?b", false)]
    #[case("a\nb", false)]
    #[case("é", false)]
    fn only_names_are_names(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(is_dns_label(name), valid);
        assert_eq!(is_dns_subdomain(name), valid);
    }

    #[rstest]
    #[case("a", true)]
    #[case("Team_A.1-b", true)]
    #[case("a=b", false)]
    #[case("a,b", false)]
    #[case("a)", false)]
    #[case("a-", false)]
    #[case(".", false)]
    #[case("", false)]
    #[case("../x", false)]
    #[case("é", false)]
    fn only_values_of_labels_reach_a_selector(#[case] value: &str, #[case] valid: bool) {
        assert_eq!(is_label_value(value), valid);
        assert!(!is_label_value(&"a".repeat(64)));
    }

    #[test]
    fn a_subdomain_is_labels_with_dots_between() {
        assert!(is_dns_subdomain("a.b-c.d") && !is_dns_label("a.b"));
        assert!(!is_dns_subdomain("a..b") && !is_dns_subdomain(".a"));
        assert!(
            !is_dns_label(&"a".repeat(64)) && is_dns_subdomain(&"a".repeat(253)) && !is_dns_subdomain(&"a".repeat(254))
        );
    }
}
