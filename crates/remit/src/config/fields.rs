//! `mcp_servers.NAME.tools.TOOL.classification` and `.fields`: how delicate an answer, and single fields of it, are.

use remit_ledger::record::Classification;
use remit_model::{display, fields::is_pointer};
use std::collections::BTreeMap;

/// Most fields of one tool that have a class of their own.
const FIELD_LIMIT: usize = 64;
const CLASSES: &str = "`public`, `internal`, `confidential`, `pii`, `phi`, `pci` or `secret`";

/// Every class of these tools that is none, and every field that cannot be found, each with its place.
pub(crate) fn problems<'t>(
    tools: impl Iterator<Item = (&'t String, Option<&'t str>, &'t BTreeMap<String, String>)>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, classification, fields) in tools {
        let mut complain = |at: &str, why: String| problems.push(format!("tools.{name}.{at}: {why}"));
        if let Some(word) = classification.filter(|word| Classification::parse(word).is_none()) {
            complain("classification", format!("`{}` is not one of {CLASSES}", display::excerpt(word, 64)));
        }
        if fields.len() > FIELD_LIMIT {
            complain("fields", format!("at most {FIELD_LIMIT} fields"));
        }
        for (pointer, class) in fields {
            if !is_pointer(pointer) {
                let shown = display::excerpt(pointer, 256);
                complain("fields", format!("`{shown}` is not a JSON Pointer such as `/customer/name` or `/items/*/price`"));
            }
            if Classification::parse(class).is_none() {
                complain("fields", format!("`{}` is not one of {CLASSES}", display::excerpt(class, 64)));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_class_and_a_malformed_pointer_are_errors_with_their_place() {
        let read = "read".to_owned();
        let found = |classification, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(at, class)| ((*at).to_owned(), (*class).to_owned())).collect();
            problems([(&read, classification, &fields)].into_iter())
        };
        assert!(found(Some("pii"), &[("/a", "secret"), ("/b/*/c", "pii")]).is_empty());
        for (classification, fields, place) in [
            (Some("PII"), &[][..], "tools.read.classification"),
            (None, &[("/a", "private")][..], "tools.read.fields"),
            (None, &[("a", "pii")][..], "tools.read.fields"),
            (None, &[("", "pii")][..], "tools.read.fields"),
            (None, &[("/a~2", "pii")][..], "tools.read.fields"),
        ] {
            let problems = found(classification, fields);
            assert!(problems.len() == 1 && problems[0].starts_with(place), "{problems:?}");
        }
    }
}
