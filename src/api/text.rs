//! Texts in a status, which stays small whatever stands in them.

/// The start of `text` that takes up to `max` bytes in JSON.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    let mut left = max;
    text.chars().take_while(|&c| fits(c, &mut left)).collect()
}

/// The end of `text` that takes up to `max` bytes in JSON.
#[must_use]
pub fn cut_front(text: &str, max: usize) -> String {
    let mut left = max;
    let kept = text.chars().rev().take_while(|&c| fits(c, &mut left)).map(char::len_utf8).sum::<usize>();
    text[text.len() - kept..].to_owned()
}

fn fits(c: char, left: &mut usize) -> bool {
    let size = match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        // Written as \u0000.
        c if c < ' ' => 6,
        c => c.len_utf8(),
    };
    let rest = left.checked_sub(size);
    *left = rest.unwrap_or(0);
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_an_end_of_the_text_and_small_in_json(text in "(?s).{0,40}", max in 0usize..60) {
            let (start, end) = (cut(&text, max), cut_front(&text, max));
            prop_assert!(text.starts_with(&start) && text.ends_with(&end));
            for kept in [start, end] {
                prop_assert!(serde_json::to_string(&kept).unwrap().len() <= max + 2);
            }
        }
    }

    #[test]
    fn what_fits_is_kept() {
        assert_eq!((cut("abc", 3).as_str(), cut_front("abc", 3).as_str()), ("abc", "abc"));
        assert_eq!((cut("abc", 2).as_str(), cut_front("abc", 2).as_str()), ("ab", "bc"));
    }
}
