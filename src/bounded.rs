//! Reading of what may be longer than is good.

use std::io::{Error, ErrorKind, Read, Result};

/// All that `reader` has, if that is at most `max` bytes.
///
/// # Errors
/// That it has more, which is never cut, and what reading fails with.
pub(crate) fn read_bounded(reader: impl Read, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= max) {
        return Ok(bytes);
    }
    Err(Error::new(ErrorKind::FileTooLarge, format!("is larger than {max} bytes, and so not read")))
}

/// The same of text.
///
/// # Errors
/// As [`read_bounded`], and that it is no UTF-8.
pub(crate) fn read_bounded_text(reader: impl Read, max: u64) -> Result<String> {
    let text = String::from_utf8(read_bounded(reader, max)?);
    text.map_err(|_| Error::new(ErrorKind::InvalidData, "is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_limit_is_refused_and_never_cut() {
        assert_eq!(read_bounded(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(read_bounded_text(&b""[..], 0).unwrap(), "");
        let error = read_bounded(&b"abcd"[..], 3).unwrap_err().to_string();
        assert_eq!(error, "is larger than 3 bytes, and so not read");
        assert!(read_bounded_text(&b"\xff"[..], 3).unwrap_err().to_string().contains("UTF-8"));
    }
}
