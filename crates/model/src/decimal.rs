//! Decimal numbers, exactly as JSON writes them: compared and summed without floating point.
//!
//! A value is a sign, its significant digits and the place of the decimal point, so `1`, `1.0` and `10e-1` are one
//! number, and `9007199254740993` is not `9007199254740992`. It does no arithmetic beyond rounding.

use serde_json::Number;
use std::{cmp::Ordering, fmt, hash, ops::Deref, str::FromStr};

/// Longest number that is read, in characters.
pub const NUMBER_LIMIT: usize = 1024;

/// Largest exponent that is read; more would say nothing that a constraint could bound.
const EXPONENT_LIMIT: i64 = 100_000;

/// A decimal number: ±0.DIGITS × 10^point.
///
/// INVARIANT: no zero at either end of the digits; zero has no digits, no sign and point 0. So equal value is equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    point: i64,
    digits: Digits,
}

/// Decimal digits; as few as most numbers have need no memory of their own.
#[derive(Clone)]
enum Digits {
    Few { length: u8, digits: [u8; FEW] },
    Many(Box<str>),
}

/// Most digits that are kept in place.
const FEW: usize = 22;

impl Digits {
    const NONE: Self = Self::Few { length: 0, digits: [b'0'; FEW] };

    /// ASCII digits, `count` of them.
    fn new(bytes: impl Iterator<Item = u8>, count: usize) -> Self {
        match u8::try_from(count) {
            Ok(length) if count <= FEW => {
                let mut digits = [b'0'; FEW];
                digits.iter_mut().zip(bytes).for_each(|(digit, byte)| *digit = byte);
                Self::Few { length, digits }
            }
            _ => Self::Many(bytes.map(char::from).collect::<String>().into()),
        }
    }
}

impl Deref for Digits {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Few { length, digits } => {
                digits.get(..usize::from(*length)).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default()
            }
            Self::Many(digits) => digits,
        }
    }
}

impl PartialEq for Digits {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Digits {}

impl hash::Hash for Digits {
    fn hash<H: hash::Hasher>(&self, to: &mut H) {
        (**self).hash(to);
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, point: 0, digits: Digits::NONE };

    /// The exact value of a JSON number; `None` beyond the limits on its length and exponent.
    pub fn of(number: &Number) -> Option<Self> {
        Self::parse(number.as_str())
    }

    /// Reads a number as JSON writes it; `None` when it is none, or beyond the limits on length and exponent.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > NUMBER_LIMIT {
            return None;
        }
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !numeric(whole) || !numeric(fraction) || exponent.unsigned_abs() > EXPONENT_LIMIT.unsigned_abs() {
            return None;
        }
        let all = whole.len() + fraction.len();
        let zero = |byte: &u8| *byte == b'0';
        let leading = whole.bytes().chain(fraction.bytes()).take_while(zero).count();
        if leading == all {
            return Some(Self::ZERO);
        }
        let trailing = fraction.bytes().rev().chain(whole.bytes().rev()).take_while(zero).count();
        let count = all - leading - trailing;
        let digits = Digits::new(whole.bytes().chain(fraction.bytes()).skip(leading).take(count), count);
        let point = i64::try_from(whole.len()).ok()? + exponent - i64::try_from(leading).ok()?;
        Some(Self { negative, point, digits })
    }

    /// This many millionths, rounded up; `None` for a negative number and beyond 2^63.
    pub(crate) fn millionths_up(&self) -> Option<i64> {
        self.scaled(6).and_then(|(whole, rest)| whole.checked_add(i64::from(rest)))
    }

    /// This many millionths, rounded down; `None` for a negative number and beyond 2^63.
    pub(crate) fn millionths_down(&self) -> Option<i64> {
        self.scaled(6).map(|(whole, _)| whole)
    }

    /// The integer that this number is, if it is one of 64 bits.
    pub fn whole(&self) -> Option<i64> {
        if self.point <= 19 { self.integer_digits()?.parse().ok() } else { None }
    }

    /// Whether this number has no fraction, however large it is.
    pub fn is_whole(&self) -> bool {
        i64::try_from(self.digits.len()).is_ok_and(|length| length <= self.point) || self.digits.is_empty()
    }

    /// The digits of a number without a fraction, all of them; `None` for others and beyond [`NUMBER_LIMIT`].
    pub fn integer_digits(&self) -> Option<String> {
        let length = usize::try_from(self.point).ok().filter(|length| self.is_whole() && *length <= NUMBER_LIMIT)?;
        let sign = if self.negative { "-" } else { "" };
        let digits = if self.digits.is_empty() { "0" } else { &*self.digits };
        Some(format!("{sign}{digits:0<length$}"))
    }

    /// The number with exactly `places` decimal places, if so many hold it.
    pub fn with_places(&self, places: usize) -> Option<String> {
        let shifted = Self { point: self.point + i64::try_from(places).ok()?, ..self.clone() };
        let all = Self { negative: false, ..if self.digits.is_empty() { Self::ZERO } else { shifted } }.integer_digits()?;
        let all = format!("{all:0>width$}", width = places + 1);
        let (whole, fraction) = all.split_at_checked(all.len() - places)?;
        Some(format!("{}{whole}.{fraction}", if self.negative { "-" } else { "" }))
    }

    /// The integer part of this number times 10^`places`, and whether anything is left over.
    fn scaled(&self, places: i64) -> Option<(i64, bool)> {
        if self.negative {
            return None;
        }
        let count = self.point + places;
        if count > 19 {
            return (self.digits.is_empty()).then_some((0, false));
        }
        let count = usize::try_from(count).unwrap_or(0);
        let kept: String = self.digits.chars().chain(std::iter::repeat('0')).take(count).collect();
        let whole = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        Some((whole, self.digits.len() > count))
    }

    /// As a JSON number.
    pub fn to_number(&self) -> Number {
        // `Display` writes the grammar of JSON, so there is nothing to fail at.
        Number::from_str(&self.to_string()).unwrap_or_else(|_| Number::from(0))
    }
}

impl From<i64> for Decimal {
    fn from(integer: i64) -> Self {
        Self::parse(&integer.to_string()).unwrap_or(Self::ZERO)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, negative) => {
                if negative {
                    -1
                } else {
                    1
                }
            }
        };
        let magnitude = |a: &Self, b: &Self| a.point.cmp(&b.point).then_with(|| (*a.digits).cmp(&b.digits));
        sign(self).cmp(&sign(other)).then_with(|| if self.negative { magnitude(other, self) } else { magnitude(self, other) })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Laid out as ECMAScript lays out numbers, with all digits. Where a double holds the number, this is what RFC 8785 writes.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { negative, point, .. } = self;
        let digits: &str = &self.digits;
        if digits.is_empty() {
            return f.write_str("0");
        }
        if *negative {
            f.write_str("-")?;
        }
        // SPEC: ECMA-262, Number::toString; `point` is n and the number of digits k there.
        let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let split = usize::try_from(*point).ok().and_then(|at| digits.split_at_checked(at));
        match (*point, split) {
            (n, _) if count <= n && n <= 21 => write!(f, "{digits:0<width$}", width = usize::try_from(n).unwrap_or(0)),
            (1..=21, Some((whole, fraction))) => write!(f, "{whole}.{fraction}"),
            (n, _) if -6 < n && n <= 0 => write!(f, "0.{:0<width$}{digits}", "", width = usize::try_from(-n).unwrap_or(0)),
            (n, _) => {
                let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
                let dot = if rest.is_empty() { "" } else { "." };
                write!(f, "{first}{dot}{rest}e{:+}", n - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn one_number_has_one_form_however_it_is_written() {
        for same in [["1", "1.0", "10e-1", "0.1E+1", "001e0"], ["0", "-0", "0.000", "0e99", "-0.0e-7"]] {
            assert!(same.iter().all(|text| decimal(text) == decimal(same[0])), "{same:?}");
        }
        for (text, shown) in [
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("123456789012345678901234567890", "1.2345678901234567890123456789e+29"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("-1.50", "-1.5"),
            ("9007199254740993", "9007199254740993"),
            ("1.25e-9", "1.25e-9"),
            ("12345.678", "12345.678"),
            ("-1e-400", "-1e-400"),
        ] {
            assert_eq!(decimal(text).to_string(), shown);
        }
        for wrong in ["", "-", ".5", "1e", "1e+", "0x1", "1_0", " 1", "1e100001", "NaN", &"9".repeat(NUMBER_LIMIT + 1)] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_round_up_and_totals_round_down() {
        for (text, up, down) in [
            ("0", 0, 0),
            ("1e-12", 1, 0),
            ("0.29", 290_000, 290_000),
            ("0.2900000001", 290_001, 290_000),
            ("1", 1_000_000, 1_000_000),
            ("1e12", 1_000_000_000_000_000_000, 1_000_000_000_000_000_000),
            ("1e-100000", 1, 0),
        ] {
            assert_eq!((decimal(text).millionths_up(), decimal(text).millionths_down()), (Some(up), Some(down)), "{text}");
        }
        for beyond in ["-1", "1e13", "1e99999", "-1e-9"] {
            assert_eq!(decimal(beyond).millionths_up(), None, "{beyond}");
        }
        assert_eq!((decimal("-17.0").whole(), decimal("1.5").whole(), decimal("1e30").whole()), (Some(-17), None, None));
    }

    /// The oracle: both numbers as integers of one scale.
    fn scaled(text: &str) -> i128 {
        let (mantissa, exponent) = text.split_once('e').unwrap();
        let exponent: u32 = exponent.parse().unwrap();
        let (whole, fraction) = mantissa.split_once('.').unwrap();
        format!("{whole}{fraction:0<6}").parse::<i128>().unwrap() * 10_i128.pow(exponent)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_order_is_that_of_exact_integers(a in "-?[0-9]{1,12}\\.[0-9]{1,6}e[0-9]", b in "-?[0-9]{1,12}\\.[0-9]{1,6}e[0-9]") {
            prop_assert_eq!(decimal(&a).cmp(&decimal(&b)), scaled(&a).cmp(&scaled(&b)), "{} {}", a, b);
        }

        #[test]
        fn what_a_double_holds_is_written_as_rfc_8785_writes_it(bits: u64) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            let ours = Decimal::of(&Number::from_f64(double).unwrap()).unwrap();
            prop_assert_eq!(ours.to_string(), serde_json_canonicalizer::to_string(&double).unwrap());
            prop_assert_eq!(decimal(&ours.to_string()), ours);
        }
    }
}
