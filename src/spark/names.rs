//! Names of what an attempt makes. All are functions of the batch's name, its uid and the attempt, so a
//! restarted operator finds what an earlier one made, and nothing is ever made twice.

/// Longest name of a driver pod: it is the pod's host name and fits in a label.
const MAX_NAME: usize = 63;
/// The longest ending that is put after the prefix.
const LONGEST_ENDING: usize = "-driver".len();

/// The names of one attempt's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptNames {
    /// What all the names start with; executors are `<prefix>-exec-<n>`.
    pub prefix: String,
    /// The driver pod.
    pub driver_pod: String,
    /// The Secret with the driver's configuration, which is also the attempt's start gate.
    pub conf_secret: String,
    /// Volcano's group of the attempt's pods.
    pub pod_group: String,
}

impl AttemptNames {
    /// The names of attempt `attempt` of the batch `name` with `uid`.
    ///
    /// A part of the uid keeps apart the pods of two batches of one name, of which the first was deleted
    /// and still ends.
    #[must_use]
    pub fn new(name: &str, uid: &str, attempt: i32) -> Self {
        let hex = hex_of(uid);
        let ending = format!("-{}-{attempt}", &hex[hex.len().saturating_sub(8)..]);
        let room = MAX_NAME - LONGEST_ENDING - ending.len();
        let stem = dns_label(name, room);
        let prefix = format!("{stem}{ending}");
        Self {
            driver_pod: format!("{prefix}-driver"),
            conf_secret: format!("{prefix}-conf"),
            pod_group: format!("{prefix}-group"),
            prefix,
        }
    }
}

/// The Spark application id of an attempt; a label value.
#[must_use]
pub fn app_id(uid: &str, attempt: i32) -> String {
    format!("spark-{}-{attempt}", hex_of(uid))
}

/// The value of the label `spark-app-name`.
///
/// Spark: `KubernetesConf.getAppNameLabel`.
#[must_use]
pub fn app_name_label(name: &str) -> String {
    dns_label(name, MAX_NAME)
}

/// The hexadecimal digits of a uid, at most the 32 that a uid has.
fn hex_of(uid: &str) -> String {
    uid.chars().filter(char::is_ascii_hexdigit).take(32).collect()
}

/// `text` in lower case with everything else as single dashes, cut to `max`; never empty.
fn dns_label(text: &str, max: usize) -> String {
    let mut label = String::with_capacity(max);
    for c in text.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
        if label.len() == max {
            break;
        }
    }
    label.truncate(label.trim_end_matches('-').len());
    if label.is_empty() { "spark".to_owned() } else { label }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0ac5a9a2-6d0b-4ac2-b6ae-1a2b3c4d5e6f";

    fn is_dns_label(name: &str) -> bool {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&name.len()) && name.chars().all(valid) && !name.starts_with('-') && !name.ends_with('-')
    }

    #[test]
    fn names_can_be_read() {
        let names = AttemptNames::new("pi", UID, 1);
        assert_eq!(names.driver_pod, "pi-3c4d5e6f-1-driver");
        assert_eq!(names.conf_secret, "pi-3c4d5e6f-1-conf");
        assert_eq!(app_id(UID, 2), "spark-0ac5a9a26d0b4ac2b6ae1a2b3c4d5e6f-2");
    }

    #[test]
    fn the_app_name_label_is_sparks() {
        let name = "My App (Ünï) #1 with a very long name that keeps going beyond sixty three characters for sure yes";
        assert_eq!(app_name_label(name), "my-app-n-1-with-a-very-long-name-that-keeps-going-beyond-sixty");
    }

    proptest! {
        #[test]
        fn names_are_always_dns_labels(name in ".{0,300}", attempt in 1..i32::MAX) {
            let names = AttemptNames::new(&name, UID, attempt);
            for name in [&names.driver_pod, &names.conf_secret, &names.pod_group, &names.prefix, &app_id(UID, attempt), &app_name_label(&name)] {
                prop_assert!(is_dns_label(name), "{}", name);
            }
        }

        #[test]
        fn no_two_attempts_share_a_name(name in "[a-z]{1,63}", uids in prop::collection::hash_set("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", 2..8)) {
            let mut seen = HashSet::new();
            for uid in &uids {
                for attempt in [1, 2, 11] {
                    prop_assert!(seen.insert(AttemptNames::new(&name, uid, attempt).driver_pod));
                }
            }
        }
    }
}
