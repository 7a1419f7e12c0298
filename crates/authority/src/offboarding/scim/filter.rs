//! Filters: one comparison, as provisioning clients look a user up. SPEC: RFC 7644 §3.4.2.2

use super::error::ScimError;
use remit_model::bounds;

/// What a user is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Without regard to letter case: RFC 7643 §4.1.1.
    UserName(String),
    ExternalId(String),
    Id(String),
    Active(bool),
}

impl Filter {
    /// # Errors
    /// `invalidFilter` for anything but `ATTRIBUTE eq VALUE`.
    pub(super) fn parse(text: &str) -> Result<Self, ScimError> {
        let bad = || {
            let reason = "the filter must be one comparison with `eq`, of `userName`, `externalId`, `id` or `active`";
            ScimError::bad("invalidFilter", reason)
        };
        if text.len() > bounds::SCIM_FILTER.size() {
            return Err(ScimError::bad("invalidFilter", format!("the filter is longer than {}", bounds::SCIM_FILTER)));
        }
        let (attribute, rest) = text.trim().split_once(' ').ok_or_else(bad)?;
        let (operator, value) = rest.trim_start().split_once(' ').ok_or_else(bad)?;
        if !operator.eq_ignore_ascii_case("eq") {
            return Err(bad());
        }
        // A JSON value and nothing after it: there is no second condition to hide in one.
        let value: serde_json::Value = serde_json::from_str(value.trim()).map_err(|_| bad())?;
        let attribute = super::user::unqualified(attribute).to_ascii_lowercase();
        match (attribute.as_str(), value) {
            ("username", serde_json::Value::String(text)) => Ok(Self::UserName(text)),
            ("externalid", serde_json::Value::String(text)) => Ok(Self::ExternalId(text)),
            ("id", serde_json::Value::String(text)) => Ok(Self::Id(text)),
            ("active", serde_json::Value::Bool(active)) => Ok(Self::Active(active)),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_one_comparison_and_nothing_else() {
        for (text, read) in [
            (r#"userName eq "a@b""#, Filter::UserName("a@b".into())),
            (r#"USERNAME  EQ  "a b""#, Filter::UserName("a b".into())),
            (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a""#, Filter::UserName("a".into())),
            (r#"externalId eq "a\" or \"1""#, Filter::ExternalId("a\" or \"1".into())),
            (r#"id eq "corp-1""#, Filter::Id("corp-1".into())),
            ("active eq true", Filter::Active(true)),
        ] {
            assert_eq!(Filter::parse(text).ok(), Some(read), "{text}");
        }
        let long = format!("userName eq \"{}\"", "x".repeat(bounds::SCIM_FILTER.size()));
        for text in [
            "",
            "userName",
            "userName pr",
            "userName eq",
            "userName eq a",
            "userName eq 'a'",
            r#"userName ne "a""#,
            r#"userName co "a""#,
            r#"userName eq "a" or userName eq "b""#,
            r#"userName eq "a") or (active eq true"#,
            r#"not (userName eq "a")"#,
            r#"password eq "a""#,
            r#"displayName eq "a""#,
            r#"active eq "true""#,
            "userName eq null",
            &long,
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
