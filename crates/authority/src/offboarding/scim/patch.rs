//! Partial changes, in the forms that providers send. SPEC: RFC 7644 §3.5.2

use super::{
    error::ScimError,
    user::{User, expect_schema},
};
use remit_model::bounds;
use serde_json::{Map, Value};

pub(super) const SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The user `id` with every operation of the request applied, or none of them.
///
/// # Errors
/// `invalidSyntax`, `invalidPath`, `invalidValue`, `noTarget`, `mutability`.
pub(super) fn apply(user: &User, body: &Value, id: &str) -> Result<User, ScimError> {
    let members = body.as_object().ok_or_else(|| syntax("the body must be a JSON object"))?;
    expect_schema(members, SCHEMA)?;
    let operations = member(members, "operations").and_then(Value::as_array).ok_or_else(|| syntax("`Operations` is missing"))?;
    let most = bounds::SCIM_OPERATIONS.size();
    if operations.is_empty() || operations.len() > most {
        return Err(syntax(format!("`Operations` must have 1 to {most} entries")));
    }
    let mut user = user.clone();
    for operation in operations {
        let operation = operation.as_object().ok_or_else(|| syntax("an operation must be an object"))?;
        one(&mut user, operation, id)?;
    }
    // Taking it away would say neither that the person may sign in nor that they may not.
    if user.active.is_none() {
        return Err(ScimError::bad("invalidValue", "`active` cannot be taken away, only be true or false"));
    }
    Ok(user)
}

fn one(user: &mut User, operation: &Map<String, Value>, id: &str) -> Result<(), ScimError> {
    let verb = member(operation, "op").and_then(Value::as_str).ok_or_else(|| syntax("an operation needs an `op`"))?;
    let path = match member(operation, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) => Some(path.trim()).filter(|path| !path.is_empty()),
        Some(_) => return Err(ScimError::bad("invalidPath", "`path` must be a string")),
    };
    let value = member(operation, "value");
    // Entra ID writes `Replace`.
    match (verb.to_ascii_lowercase().as_str(), path) {
        ("add" | "replace", Some(path)) => {
            let value = value.ok_or_else(|| ScimError::bad("invalidValue", "the operation needs a `value`"))?;
            user.set(path, Some(value), Some(id))
        }
        ("add" | "replace", None) => {
            let members = value.and_then(Value::as_object);
            let members = members.ok_or_else(|| ScimError::bad("invalidValue", "without a `path`, `value` must be an object"))?;
            members.iter().try_for_each(|(attribute, value)| user.set(attribute, Some(value), Some(id)))
        }
        ("remove", Some(path)) => user.set(path, None, Some(id)),
        ("remove", None) => Err(ScimError::bad("noTarget", "to remove something, name its `path`")),
        _ => Err(syntax("`op` must be `add`, `replace` or `remove`")),
    }
}

/// A member whatever its letter case. RFC 7643 §2.1
fn member<'a>(members: &'a Map<String, Value>, lower: &str) -> Option<&'a Value> {
    members.iter().find(|(name, _)| name.eq_ignore_ascii_case(lower)).map(|(_, value)| value)
}

fn syntax(reason: impl Into<String>) -> ScimError {
    ScimError::bad("invalidSyntax", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user() -> User {
        let text = |text: &str| Some(text.to_owned());
        User {
            user_name: text("alice"),
            external_id: text("42"),
            given_name: text("Alice"),
            active: Some(true),
            ..User::default()
        }
    }

    fn patched(operations: &Value) -> Result<User, ScimError> {
        apply(&user(), &json!({"schemas": [SCHEMA], "Operations": operations}), "corp-1")
    }

    #[test]
    fn the_forms_that_providers_send_deactivate_a_user() {
        for operation in [
            json!({"op": "replace", "path": "active", "value": false}),
            json!({"op": "Replace", "path": "active", "value": "False"}),
            json!({"op": "REPLACE", "path": "Active", "value": "false"}),
            json!({"op": "replace", "value": {"active": false}}),
            json!({"op": "add", "value": {"active": "False"}}),
            json!({"op": "replace", "value": {"id": "corp-1", "active": false}}),
            json!({"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false}),
            json!({"Op": "replace", "Path": null, "Value": {"ACTIVE": false}}),
        ] {
            assert_eq!(patched(&json!([operation])).unwrap(), User { active: Some(false), ..user() }, "{operation}");
        }
    }

    #[test]
    fn several_operations_happen_in_order_and_what_is_not_kept_is_passed_over() {
        let after = patched(&json!([
            {"op": "Add", "path": "name.familyName", "value": "Example"},
            {"op": "replace", "value": {"displayName": "A. Example", "name.givenName": "Al", "nickName": "al"}},
            {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@b"},
            {"op": "add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "it"},
            {"op": "remove", "path": "name.givenName"},
            {"op": "remove", "path": "phoneNumbers"},
        ]));
        let text = |text: &str| Some(text.to_owned());
        let expected = User { family_name: text("Example"), display_name: text("A. Example"), given_name: None, ..user() };
        assert_eq!(after.unwrap(), expected);
    }

    #[test]
    fn what_is_no_change_of_this_user_is_refused_whole() {
        let active = json!({"op": "replace", "path": "active", "value": false});
        for (operation, scim_type) in [
            (json!({"op": "replace", "value": {"id": "corp-2", "active": false}}), "mutability"),
            (json!({"op": "replace", "path": "id", "value": "corp-2"}), "mutability"),
            (json!({"op": "remove", "path": "id"}), "mutability"),
            (json!({"op": "replace", "path": "active", "value": "no"}), "invalidValue"),
            (json!({"op": "replace", "path": "active", "value": 0}), "invalidValue"),
            (json!({"op": "replace", "path": "active"}), "invalidValue"),
            (json!({"op": "replace", "path": "active", "value": null}), "invalidValue"),
            (json!({"op": "remove", "path": "active"}), "invalidValue"),
            (json!({"op": "replace", "value": [false]}), "invalidValue"),
            (json!({"op": "replace", "path": "userName", "value": "a\u{202e}b"}), "invalidValue"),
            (json!({"op": "replace", "path": "userName", "value": "x".repeat(201)}), "invalidValue"),
            (json!({"op": "replace", "path": "status", "value": "disabled"}), "invalidPath"),
            (json!({"op": "replace", "path": "identity.issuer", "value": "https://evil.example"}), "invalidPath"),
            (json!({"op": "replace", "path": "name.id", "value": "corp-2"}), "invalidPath"),
            (json!({"op": "replace", "path": "name", "value": {"x.id": "corp-2"}}), "invalidPath"),
            (json!({"op": "replace", "path": 7, "value": false}), "invalidPath"),
            (json!({"op": "remove"}), "noTarget"),
            (json!({"op": "delete", "path": "active"}), "invalidSyntax"),
            (json!({"path": "active", "value": false}), "invalidSyntax"),
            (json!("active"), "invalidSyntax"),
        ] {
            let error = patched(&json!([active, operation])).unwrap_err();
            assert_eq!(error.scim_type, Some(scim_type), "{operation}");
        }
        for operations in [json!([]), json!({}), json!(vec![active; bounds::SCIM_OPERATIONS.size() + 1])] {
            assert_eq!(patched(&operations).unwrap_err().scim_type, Some("invalidSyntax"));
        }
        let without = apply(&user(), &json!({"Operations": [{"op": "replace", "path": "active", "value": false}]}), "corp-1");
        assert_eq!(without.unwrap_err().scim_type, Some("invalidSyntax"));
    }
}
