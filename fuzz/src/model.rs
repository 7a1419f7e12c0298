//! Bodies of the targets for `remit-model`. They panic where a law does not hold.

use remit_model::{
    Authority,
    json::{self, Limits},
};
use serde_json::Value;

/// Strict JSON accepts only what serde_json reads as the same value, and its canonical form is a fixed point.
pub fn json(bytes: &[u8]) {
    let _ = json::parse(bytes, &Limits::RESPONSE);
    let Ok(value) = json::parse(bytes, &Limits::REQUEST) else { return };
    let plain: Value = serde_json::from_slice(bytes).expect("what we accept is JSON");
    assert_eq!(value, plain, "another reader sees another value");
    let canonical = json::canonical(&value);
    if let Ok(again) = json::parse(&canonical, &Limits::REQUEST) {
        assert_eq!(json::canonical(&again), canonical, "the canonical form is not stable");
    }
}

/// Whatever parses as authorization details obeys the algebra; the two halves of the array are two authorities.
pub fn authority(bytes: &[u8]) {
    let Ok(Value::Array(details)) = json::parse(bytes, &Limits::TOKEN) else { return };
    let (left, right) = details.split_at(details.len() / 2);
    let read = |details: &[Value]| Authority::parse(&Value::Array(details.to_vec()));
    let (Ok(a), Ok(b)) = (read(left), read(right)) else { return };
    for one in [&a, &b] {
        assert_eq!(Authority::parse(&one.to_value()).as_ref(), Ok(one), "the canonical form reads back");
        assert_eq!(one.describe().len(), one.grants().len());
        assert_eq!(&one.meet(one), one, "meet is idempotent");
    }
    let met = a.meet(&b);
    assert_eq!(met, b.meet(&a), "meet is commutative");
    assert!(met.within(&a).is_ok() && met.within(&b).is_ok(), "a meet is below both");
    assert_eq!(a.within(&b).is_ok(), met == a, "the order is that of the meet");
}
