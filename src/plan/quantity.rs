//! Sums of Kubernetes' quantities.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const MIB: u128 = 1 << 20;
const SUFFIXES: [(&str, u128); 14] = [
    ("Ki", 1 << 10),
    ("Mi", MIB),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    // Of a thousandth below.
    ("m", 0),
    ("", 1),
];

/// Resources by name, as sums of thousandths.
#[derive(Default)]
pub(super) struct Sum(BTreeMap<String, u128>);

impl Sum {
    /// Adds `resources` `times`; the name of the one that cannot be read, if there is one.
    pub(super) fn add(&mut self, resources: &BTreeMap<String, Quantity>, times: u32) -> Result<(), String> {
        for (name, quantity) in resources.iter().filter(|_| times > 0) {
            let one = thousandths(&quantity.0).ok_or_else(|| name.clone())?;
            let all = self.0.entry(name.clone()).or_default();
            *all = one.saturating_mul(times.into()).saturating_add(*all);
        }
        Ok(())
    }

    pub(super) fn into_quantities(self) -> BTreeMap<String, Quantity> {
        self.0.into_iter().map(|(name, sum)| (name, Quantity(written(sum)))).collect()
    }
}

/// A quantity in thousandths, rounded up. Kubernetes: `resource.Quantity`, of which exponents are left out.
fn thousandths(text: &str) -> Option<u128> {
    let text = text.trim();
    let (suffix, factor) = SUFFIXES.into_iter().find(|(suffix, _)| text.ends_with(suffix))?;
    let number = text.strip_suffix(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unit = if suffix == "m" { 1 } else { factor * 1000 };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some((digits.parse::<u128>().ok()? * unit).div_ceil(scale))
}

fn written(thousandths: u128) -> String {
    match (thousandths % 1000, thousandths / 1000) {
        (0, whole) if whole >= MIB && whole % MIB == 0 => format!("{}Mi", whole / MIB),
        (0, whole) => whole.to_string(),
        _ => format!("{thousandths}m"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn one(quantity: &str) -> BTreeMap<String, Quantity> {
        [("x".to_owned(), Quantity(quantity.to_owned()))].into()
    }

    #[rstest]
    #[case("1", "500m", 3, "2500m")]
    #[case("500m", "0.5", 1, "1")]
    #[case("1433Mi", "2Gi", 2, "5529Mi")]
    #[case("1k", "24", 1, "1024")]
    #[case("2", "1", 0, "2")]
    #[case("1.5Gi", "1", 1, "1610612737")]
    fn quantities_add_up(#[case] first: &str, #[case] second: &str, #[case] times: u32, #[case] all: &str) {
        let mut sum = Sum::default();
        sum.add(&one(first), 1).unwrap();
        sum.add(&one(second), times).unwrap();
        assert_eq!(sum.into_quantities(), one(all));
    }

    #[rstest]
    #[case("")]
    #[case("m")]
    #[case("-1")]
    #[case("1e3")]
    #[case("one")]
    #[case("1.2.3")]
    #[case("1111111111111111111")]
    fn what_cannot_be_read_is_named(#[case] quantity: &str) {
        assert_eq!(Sum::default().add(&one(quantity), 1), Err("x".to_owned()));
    }
}
