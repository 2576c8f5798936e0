//! Kubernetes' quantities: `100Gi`, `500m`, `1.5e3`.
//!
//! Read as an API server reads them, so that what is compared here is what is compared there: a
//! number with a binary, decimal or exponent suffix, exact to a billionth, rounded away from zero
//! below that, and capped at 2^63-1 units.

/// Characters of a quantity; the schema allows 32.
const CHARS_MAX: usize = 64;

/// Billionths in one unit, as a power of ten.
const SCALE: i32 = 9;

/// Digits behind the point that count, as a number of them and as a power of ten; those beyond only
/// round.
const DECIMALS: usize = 18;
const DECIMALS_POWER: i32 = 18;

/// The largest quantity, 2^63-1 units, in billionths.
const CAP: i128 = 9_223_372_036_854_775_807 * BILLION;

const BILLION: i128 = 1_000_000_000;

/// An amount, in billionths of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(i128);

impl Quantity {
    /// The quantity that the text spells, if it spells one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > CHARS_MAX {
            return None;
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at_checked(end)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if decimals.contains('.') || (whole.is_empty() && decimals.is_empty()) {
            return None;
        }
        let (factor, power) = suffix_of(suffix)?;
        let amount = scaled(whole_digits(whole), factor, power.saturating_add(SCALE))
            .saturating_add(scaled(
                decimal_digits(decimals),
                factor,
                power.saturating_add(SCALE - DECIMALS_POWER),
            ))
            .min(CAP);
        Some(Self(if negative { -amount } else { amount }))
    }

    /// Whether it is below nothing.
    pub(super) fn is_negative(self) -> bool {
        self.0 < 0
    }
}

/// How many whole units a quantity is, such as bytes; what is below one counts as one. None for what is
/// no quantity, or less than nothing.
pub fn units(text: &str) -> Option<u64> {
    let Quantity(billionths) = Quantity::parse(text)?;
    let whole = billionths.checked_add(BILLION - 1)? / BILLION;
    u64::try_from(whole).ok()
}

/// Whether the first quantity is less than the second; not when one of them is none.
pub fn is_smaller(one: &str, other: &str) -> bool {
    let both = Quantity::parse(one).zip(Quantity::parse(other));
    both.is_some_and(|(one, other)| one < other)
}

/// The suffix as a factor and a power of ten.
fn suffix_of(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

fn whole_digits(digits: &str) -> i128 {
    if digits.is_empty() {
        return 0;
    }
    digits.parse().unwrap_or(CAP)
}

/// The digits behind the point as a number of [`DECIMALS`] digits.
fn decimal_digits(digits: &str) -> i128 {
    let kept: String = digits
        .chars()
        .chain(std::iter::repeat('0'))
        .take(DECIMALS)
        .collect();
    let lost = digits.chars().skip(DECIMALS).any(|digit| digit != '0');
    whole_digits(&kept) + i128::from(lost)
}

/// `value * factor * 10^power`, rounded up, at most [`CAP`].
fn scaled(value: i128, factor: i128, power: i32) -> i128 {
    if value == 0 {
        return 0;
    }
    let Some(value) = value.checked_mul(factor) else {
        return CAP;
    };
    let ten_to = 10_i128.checked_pow(power.unsigned_abs());
    let amount = match ten_to {
        Some(ten_to) if power >= 0 => value.checked_mul(ten_to).unwrap_or(CAP),
        Some(ten_to) => value / ten_to + i128::from(value % ten_to != 0),
        None if power >= 0 => CAP,
        None => 1,
    };
    amount.min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|| panic!("{text} is a quantity"))
    }

    #[test]
    fn spellings_of_one_amount_are_equal() {
        for (one, other) in [
            ("1Gi", "1024Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1k", "1e3"),
            ("1E", "1e18"),
            ("12E2", "1200"),
            ("+1", "1"),
            ("-0", "0"),
            ("0001", "1"),
            ("0.1n", "1n"),
            ("1e-12", "1n"),
            ("0.0000000000000000001", "1n"),
            ("1e999", "9223372036854775807"),
            ("1e999999999", "9223372036854775807"),
            ("99999999999999999999999999999999999999999999", "1e40"),
            ("0e999999999", "0"),
            ("1e-999999999", "1n"),
        ] {
            assert_eq!(quantity(one), quantity(other), "{one} {other}");
        }
    }

    #[test]
    fn amounts_are_ordered() {
        let ascending = [
            "-1Gi", "-1m", "0", "1n", "1u", "1m", "1", "1k", "1Ki", "1G", "1Gi", "8Ei",
        ];
        for pair in ascending.windows(2) {
            assert!(quantity(pair[0]) < quantity(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn other_texts_are_not_quantities() {
        for text in [
            "",
            ".",
            "+",
            "-",
            "ten",
            "1.1.M",
            "1+1.0M",
            "0.1mi",
            "0.1am",
            ".5i",
            "1i",
            "-3.01i",
            "-3.01e-",
            " 1",
            "1 ",
            "1e",
            "--1",
            "+-1",
            "1KiB",
            "１Gi",
            "1e99999999999999999999",
        ] {
            assert_eq!(Quantity::parse(text), None, "{text:?}");
        }
        assert_eq!(Quantity::parse(&"1".repeat(CHARS_MAX + 1)), None);
    }
}
