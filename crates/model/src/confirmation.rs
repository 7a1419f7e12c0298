//! What a token is bound to: a key, or a certificate.

use serde_json::{Value, json};
use std::fmt;

/// The member of `cnf` with the thumbprint of a certificate. SPEC: RFC 8705 §3.1
pub const X5T: &str = "x5t#S256";

/// What the holder of a token has to prove: the `cnf` of RFC 7800.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// The RFC 7638 thumbprint of a key (`jkt`; RFC 9449 §6.1).
    Key(String),
    /// The SHA-256 of a certificate, in base64url (`x5t#S256`; RFC 8705 §3.1).
    Certificate(String),
}

impl Confirmation {
    /// What two members say together; a key when there are both.
    pub fn of(jkt: Option<&str>, x5t: Option<&str>) -> Option<Self> {
        jkt.map(|jkt| Self::Key(jkt.to_owned())).or_else(|| x5t.map(|x5t| Self::Certificate(x5t.to_owned())))
    }

    /// What a `cnf` says, if it says anything that is known here.
    pub fn from_value(cnf: &Value) -> Option<Self> {
        let text = |name: &str| cnf.get(name).and_then(Value::as_str);
        Self::of(text("jkt"), text(X5T))
    }

    /// The thumbprint of the key, if it is one.
    pub fn jkt(&self) -> Option<&str> {
        match self {
            Self::Key(jkt) => Some(jkt),
            Self::Certificate(_) => None,
        }
    }

    /// The thumbprint of the certificate, if it is one.
    pub fn x5t(&self) -> Option<&str> {
        match self {
            Self::Key(_) => None,
            Self::Certificate(x5t) => Some(x5t),
        }
    }

    /// The `cnf` of a token.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Key(jkt) => json!({"jkt": jkt}),
            Self::Certificate(x5t) => json!({X5T: x5t}),
        }
    }

    /// Reads [`Display`](fmt::Display)'s text. A thumbprint has no `:`, so a key never reads as a certificate.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix(X5T).and_then(|rest| rest.strip_prefix(':')) {
            Some(x5t) => Self::Certificate(x5t.to_owned()),
            None => Self::Key(text.to_owned()),
        }
    }
}

/// One text for either, for keeping and comparing: a key's thumbprint, or `x5t#S256:` and a certificate's.
impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(jkt) => f.write_str(jkt),
            Self::Certificate(x5t) => write!(f, "{X5T}:{x5t}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_certificate_of_one_thumbprint_are_not_the_same() {
        let (key, certificate) = (Confirmation::Key("abc".into()), Confirmation::Certificate("abc".into()));
        assert_ne!(key, certificate);
        assert_ne!(key.to_string(), certificate.to_string());
        for one in [key, certificate] {
            assert_eq!(Confirmation::parse(&one.to_string()), one);
            assert_eq!(Confirmation::from_value(&one.to_value()), Some(one));
        }
        assert_eq!(Confirmation::from_value(&json!({"kid": "1"})), None);
    }
}
