//! `mcp_servers.NAME.tools.TOOL.subject`: whom a call is about.

use remit_model::{SubjectRule, display};
use schemars::JsonSchema;
use serde::Deserialize;

/// Longest `type`, in bytes.
const TYPE_LIMIT: usize = 64;
/// Longest `argument`, in bytes.
const POINTER_LIMIT: usize = 256;

/// Where a call says whom it is about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subject {
    /// What `remit audit erase --subject TYPE:ID` calls them: `customer`. Not `user` or `agent`, which are our own.
    #[serde(rename = "type")]
    kind: String,
    /// JSON Pointer into the arguments, to a text or a whole number: `/customer_id`.
    argument: String,
}

impl Subject {
    pub(crate) fn rule(&self) -> SubjectRule {
        SubjectRule { kind: self.kind.clone(), argument: self.argument.clone() }
    }

    fn complaints(&self) -> impl Iterator<Item = String> {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        let kind = if matches!(self.kind.as_str(), "user" | "agent") {
            Some(format!("type: `{}` is a principal of this server; choose another word", self.kind))
        } else if self.kind.is_empty() || self.kind.len() > TYPE_LIMIT || !self.kind.bytes().all(word) {
            Some(format!("type: 1 to {TYPE_LIMIT} of a-z, 0-9, '_', '.' and '-', such as `customer`"))
        } else {
            None
        };
        let argument = (!is_pointer(&self.argument)).then(|| {
            format!("argument: `{}` is not a JSON Pointer such as `/customer_id`", display::excerpt(&self.argument, 256))
        });
        kind.into_iter().chain(argument)
    }
}

/// RFC 6901 section 3, without the pointer to the whole.
fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && text.len() <= POINTER_LIMIT && escapes
}

/// Every reason why one of these subjects, each with its tool's name, is no rule; each with its place.
pub(crate) fn problems<'a>(subjects: impl Iterator<Item = (&'a String, &'a Subject)>) -> Vec<String> {
    subjects.flat_map(|(name, subject)| subject.complaints().map(move |why| format!("tools.{name}.subject.{why}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: &str, argument: &str) -> Vec<String> {
        let subject = serde_json::from_value(json!({"type": kind, "argument": argument})).unwrap();
        problems([(&"read".to_owned(), &subject)].into_iter())
    }

    #[test]
    fn what_is_no_subject_is_told_with_its_place() {
        assert_eq!(of("customer", "/customer/0/a~1b~0"), Vec::<String>::new());
        for kind in ["", "user", "agent", "Customer", "cust omer", "a:b", &"x".repeat(65)] {
            let found = of(kind, "/id");
            assert!(found.len() == 1 && found[0].starts_with("tools.read.subject.type: "), "{kind}: {found:?}");
        }
        for argument in ["", "id", "$.id", "/a~2", "/a~", &format!("/{}", "x".repeat(256))] {
            let found = of("customer", argument);
            assert!(found.len() == 1 && found[0].starts_with("tools.read.subject.argument: "), "{argument}: {found:?}");
        }
        assert_eq!(of("user", "id").len(), 2);
    }

    #[test]
    fn a_subject_has_a_type_and_an_argument_and_nothing_else() {
        for text in [json!({"type": "customer"}), json!({"argument": "/id"}), json!({"type": "c", "argument": "/id", "x": 1})] {
            assert!(serde_json::from_value::<Subject>(text.clone()).is_err(), "{text}");
        }
    }
}
