//! Paths within a Spark UI, as a caller may ask for them and as a driver may redirect to them.

use thiserror::Error;

/// Why a path is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BadPath {
    #[error(
        "a path of a Spark UI has no '.', '..' or empty segments, no ';' and no backslash, and nothing percent-encoded \
         that would hide them"
    )]
    Malformed,
    /// Spark up to 4.0 ends a job or stage on a mere GET. Spark: `SparkUI.initialize`, `createRedirectHandler`.
    #[error("jobs and stages are not ended through this API; DELETE the batch to end all of it")]
    Kill,
}

/// Checks the path after `…/ui/`, still percent-encoded.
///
/// Whatever stands behind may decode a path, cut parameters off its segments and resolve dots in another order than
/// this process or a proxy before it would. Where none of these has anything to do, all of them see one path.
pub(super) fn check(path: &str) -> Result<(), BadPath> {
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) || !is_plain(segment) {
            return Err(BadPath::Malformed);
        }
        // What is plain says no letter in another way.
        if segment.eq_ignore_ascii_case("kill") {
            return Err(BadPath::Kill);
        }
    }
    Ok(())
}

/// RFC 3986: the characters of a segment, but for `;`, and none encoded that has a meaning or need not be encoded.
fn is_plain(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => {
                matches!((hex(bytes.next()), hex(bytes.next())), (Some(high), Some(low)) if may_be_encoded(high * 16 + low))
            }
            byte => is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte),
        };
        if !fine {
            return false;
        }
    }
    true
}

fn may_be_encoded(byte: u8) -> bool {
    !(byte.is_ascii_control() || is_unreserved(byte) || b"/\\;%".contains(&byte))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("jobs/")]
    #[case("static/vis-timeline-graph2d.min.css")]
    #[case("api/v1/applications/spark-1/stages/0")]
    #[case("plugin/a@b+c,d=e:f/%C3%A9%20%2B")]
    #[case("...")]
    fn paths_of_a_spark_ui_are_passed_on(#[case] path: &str) {
        assert_eq!(check(path), Ok(()));
    }

    #[rstest]
    #[case("..")]
    #[case("jobs/../../2")]
    #[case("./jobs")]
    #[case("%2e%2e/")]
    #[case(".%2E/")]
    #[case("..%2f..%2f2")]
    #[case("..%5c..")]
    #[case("..\\..")]
    #[case("%252e%252e")]
    #[case("..;a=b/jobs")]
    #[case("jobs;a=b/")]
    #[case("..%3b/jobs")]
    #[case("/jobs")]
    #[case("//evil.example/")]
    #[case("jobs//job")]
    #[case("a%00b")]
    #[case("a%0d%0aX:y")]
    #[case("a%7f")]
    #[case("a%")]
    #[case("a%2")]
    #[case("a%zz")]
    #[case("a%+1")]
    #[case("%6b%69ll")]
    #[case("a\"b")]
    #[case("é")]
    fn paths_that_others_could_read_in_another_way_are_refused(#[case] path: &str) {
        assert_eq!(check(path), Err(BadPath::Malformed));
    }

    #[rstest]
    #[case("jobs/job/kill")]
    #[case("jobs/job/kill/")]
    #[case("stages/stage/kill/")]
    #[case("stages/stage/KILL/")]
    fn jobs_are_not_ended(#[case] path: &str) {
        assert_eq!(check(path), Err(BadPath::Kill));
    }

    /// What the most generous reader makes of a path: everything decoded until nothing is left to decode, and
    /// backslashes and parameters taken for what they are elsewhere.
    fn segments(path: &str) -> Vec<String> {
        let mut bytes = path.as_bytes().to_vec();
        while let Some(at) = (0..bytes.len()).find(|&at| {
            bytes[at] == b'%' && hex(bytes.get(at + 1).copied()).is_some() && hex(bytes.get(at + 2).copied()).is_some()
        }) {
            let byte = hex(Some(bytes[at + 1])).unwrap() * 16 + hex(Some(bytes[at + 2])).unwrap();
            bytes.splice(at..at + 3, [byte]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap().to_owned()).collect()
    }

    proptest! {
        #[test]
        fn no_path_that_is_passed_on_leads_up_or_ends_a_job(path in "([./\\\\;%aekil]|%2[eEfF5]|%5c|%3b|%6b|%25|é|kill|\\.\\.){0,12}") {
            if check(&path).is_ok() {
                for segment in segments(&path) {
                    prop_assert!(!["..", ".", "kill"].contains(&segment.as_str()), "{path}");
                }
            }
        }

        #[test]
        fn no_path_that_is_passed_on_has_a_character_that_a_header_could_not(path in "\\PC{0,20}") {
            if check(&path).is_ok() {
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
