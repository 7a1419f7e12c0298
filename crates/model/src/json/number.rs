//! How numbers are read: as they are written where they are passed on, as doubles where they are hashed or compared by others.

use crate::{
    decimal::Decimal,
    refusal::{Code, Refusal},
};
use serde_json::{Number, Value};

/// Largest magnitude up to which every integer is a double, 2^53 - 1 (I-JSON, RFC 7493 §2.2).
pub const EXACT: i64 = (1 << 53) - 1;

/// What becomes of the numbers of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// They stay as they are written, digit by digit: for what is passed on.
    AsWritten,
    /// SPEC: I-JSON (RFC 7493 §2.2). Integers beyond ±(2^53 - 1) are refused, other numbers become the nearest double: for
    /// signed and hashed documents, which other readers read so.
    Doubles,
    /// As `Doubles`, and a number that the nearest double changes is refused: for what is configured or granted.
    ExactDoubles,
}

/// The number in the form asked for. `text` is written as JSON writes numbers.
pub(crate) fn in_form(text: &str, numbers: Numbers) -> Result<Number, Refusal> {
    if numbers == Numbers::AsWritten {
        return Ok(as_written(text));
    }
    let malformed = |reason: String| Refusal::new(Code::RequestMalformed, reason);
    if !text.contains(['.', 'e', 'E']) && text != "-0" {
        let integer = text.parse::<i64>().ok().filter(|integer| integer.unsigned_abs() <= EXACT.unsigned_abs());
        let beyond = || malformed(format!("an integer is beyond ±{EXACT}; it must be sent as a text"));
        return integer.map(Number::from).ok_or_else(beyond);
    }
    let double = text.parse::<f64>().ok().and_then(Number::from_f64);
    let double = double.ok_or_else(|| malformed("a number is not finite".to_owned()))?;
    if numbers == Numbers::ExactDoubles && Decimal::parse(text) != Decimal::of(&double) {
        return Err(malformed(format!("a number has more digits than a double holds; the nearest is {double}")));
    }
    Ok(double)
}

/// The number with the very digits of the text.
fn as_written(text: &str) -> Number {
    // Reading it with serde_json would write its exponent anew (`1E5` as `1e+5`). The text is a JSON number: our reader found it.
    Number::from_string_unchecked(text.to_owned())
}

/// Whether a reader that takes numbers for doubles reads this one, and writes the same decimal number again. Integers
/// beyond ±(2^53 - 1) are none: I-JSON readers refuse them.
pub fn is_exact(number: &Number) -> bool {
    let text = number.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    // Fifteen digits survive any double.
    if digits.len() <= 16 && digits.bytes().filter(u8::is_ascii_digit).count() <= 15 && !digits.contains(['e', 'E']) {
        return true;
    }
    let (Some(decimal), Some(double)) = (Decimal::of(number), number.as_f64().and_then(Number::from_f64)) else { return false };
    let within = !decimal.is_whole() || decimal.whole().is_some_and(|whole| whole.unsigned_abs() <= EXACT.unsigned_abs());
    within && Decimal::of(&double) == Some(decimal)
}

/// Whether two values are the same but for how their numbers are written: `1.50` is `1.5`.
pub fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || Decimal::of(a).is_some_and(|decimal| Decimal::of(b).as_ref() == Some(&decimal))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        _ => a == b,
    }
}
