//! JVM memory sizes, as Spark reads them.

use thiserror::Error;

/// Why a string is no JVM memory size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JvmSizeError {
    /// Not a whole number with one of Spark's suffixes.
    #[error("'{0}' is no JVM size: write a whole number and a unit of k, m, g, t or p, such as 512m or 4g")]
    Malformed(String),
    /// Larger than a 64-bit number of bytes.
    #[error("'{0}' is larger than any memory")]
    TooLarge(String),
    /// Less than one MiB.
    #[error("'{0}' is less than 1m")]
    TooSmall(String),
}

/// Reads a JVM size in MiB; a number without a unit is MiB. Fractions of a MiB are dropped.
///
/// Spark: `JavaUtils.byteStringAsMb` (case-insensitive suffixes b, k, kb, m, mb, g, gb, t, tb, p, pb).
pub fn parse_mib(text: &str) -> Result<u64, JvmSizeError> {
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let malformed = || JvmSizeError::Malformed(text.to_owned());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" => 10,
        "" | "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        _ => return Err(malformed()),
    };
    if number.is_empty() {
        return Err(malformed());
    }
    let too_large = || JvmSizeError::TooLarge(text.to_owned());
    let number: u64 = number.parse().map_err(|_| too_large())?;
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| i64::try_from(bytes).is_ok()).ok_or_else(too_large)?;
    match bytes >> 20 {
        0 => Err(JvmSizeError::TooSmall(text.to_owned())),
        mib => Ok(mib),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("512m", 512)]
    #[case("512", 512)]
    #[case("1g", 1024)]
    #[case("2GB", 2048)]
    #[case("1T", 1 << 20)]
    #[case("1048576k", 1024)]
    #[case("3145728b", 3)]
    #[case(" 4g ", 4096)]
    fn sizes_are_read_as_spark_reads_them(#[case] text: &str, #[case] mib: u64) {
        assert_eq!(parse_mib(text), Ok(mib));
    }

    #[rstest]
    #[case("")]
    #[case("g")]
    #[case("1.5g")]
    #[case("-1g")]
    #[case("1gib")]
    #[case("1 g")]
    #[case("4Gi")]
    #[case("٣g")]
    fn what_is_no_size_is_refused(#[case] text: &str) {
        assert_eq!(parse_mib(text), Err(JvmSizeError::Malformed(text.to_owned())));
    }

    #[test]
    fn sizes_beyond_memory_are_refused() {
        assert!(matches!(parse_mib("8192p"), Err(JvmSizeError::TooLarge(_))));
        assert!(matches!(parse_mib("99999999999999999999"), Err(JvmSizeError::TooLarge(_))));
        assert!(matches!(parse_mib("1023k"), Err(JvmSizeError::TooSmall(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_mib(&text);
        }

        #[test]
        fn a_number_of_mib_is_read_back_in_every_unit_that_holds_it(mib in 1u64..1 << 30) {
            prop_assert_eq!(parse_mib(&format!("{mib}m")), Ok(mib));
            prop_assert_eq!(parse_mib(&format!("{}k", mib << 10)), Ok(mib));
            prop_assert_eq!(parse_mib(&format!("{mib}g")), Ok(mib << 10));
        }
    }
}
