//! A user as a provider sends it and as it is shown. SPEC: RFC 7643 §2.1, §3.1, §4.1
//!
//! What is kept is what a person is found and shown by. Every other attribute of the standard schemas is accepted and dropped: an
//! address or a telephone number that is not kept needs no protection.

use super::error::ScimError;
use crate::{Server, signin::provider::ScimSubject};
use remit_model::{Human, Provisioned, display};
use serde_json::{Map, Value, json};

pub(super) const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Longest text of an attribute that is kept, in characters.
const TEXT_LIMIT: usize = 200;
/// Longest `externalId`, in bytes: a `sub` has at most so many.
const ID_LIMIT: usize = 255;

/// Attributes of the standard schema that are not kept.
const DROPPED: [&str; 22] = [
    "addresses",
    "emails",
    "entitlements",
    "groups",
    "ims",
    "locale",
    "name.honorificprefix",
    "name.honorificsuffix",
    "name.middlename",
    "nickname",
    "password",
    "phonenumbers",
    "photos",
    "preferredlanguage",
    "profileurl",
    "roles",
    "timezone",
    "title",
    "usertype",
    "x509certificates",
    "meta",
    "schemas",
];

/// What is kept of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "`userName` is what the attribute is called")]
pub(super) struct User {
    pub(super) user_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) formatted: Option<String>,
    pub(super) given_name: Option<String>,
    pub(super) family_name: Option<String>,
    pub(super) active: Option<bool>,
}

/// The attribute without the URN of the core schema before it.
pub(super) fn unqualified(attribute: &str) -> &str {
    match attribute.get(..SCHEMA.len()) {
        Some(urn) if urn.eq_ignore_ascii_case(SCHEMA) => {
            attribute.get(SCHEMA.len()..).and_then(|rest| rest.strip_prefix(':')).unwrap_or(attribute)
        }
        _ => attribute,
    }
}

impl User {
    /// A whole user, as POST and PUT have it. Attribute names have no letter case.
    ///
    /// # Errors
    /// `invalidSyntax`, `invalidValue`.
    pub(super) fn read(body: &Value, id: Option<&str>) -> Result<Self, ScimError> {
        let members = body.as_object().ok_or_else(|| ScimError::bad("invalidSyntax", "the body must be a JSON object"))?;
        expect_schema(members, SCHEMA)?;
        let mut user = Self::default();
        let mut seen = Vec::new();
        for (name, value) in members {
            let lower = unqualified(name).to_ascii_lowercase();
            if seen.contains(&lower) {
                return Err(ScimError::bad("invalidSyntax", "an attribute is there twice, in different letter case"));
            }
            seen.push(lower);
            // SPEC: RFC 7644 §3.3: what is read-only is left aside.
            if name.eq_ignore_ascii_case("id") {
                if id.is_some_and(|id| value.as_str() != Some(id)) {
                    return Err(other_id());
                }
                continue;
            }
            user.set(name, Some(value), id)?;
        }
        Ok(user)
    }

    /// Sets one attribute, or takes it away: `active`, `name`, `name.givenName`, with or without the schema's URN.
    ///
    /// # Errors
    /// `invalidPath` for what is no attribute of a user, `invalidValue`, `mutability` for another `id`.
    pub(super) fn set(&mut self, attribute: &str, value: Option<&Value>, id: Option<&str>) -> Result<(), ScimError> {
        let value = value.filter(|value| !value.is_null());
        let lower = unqualified(attribute).to_ascii_lowercase();
        match lower.as_str() {
            "username" => self.user_name = text("userName", value)?,
            "externalid" => self.external_id = identifier(value)?,
            "displayname" => self.display_name = text("displayName", value)?,
            "name.formatted" => self.formatted = text("name.formatted", value)?,
            "name.givenname" => self.given_name = text("name.givenName", value)?,
            "name.familyname" => self.family_name = text("name.familyName", value)?,
            "name" => self.set_name(value)?,
            "active" => self.active = truth(value)?,
            // Okta repeats the id of the user that it changes; any other is an attempt at another user.
            "id" if value.is_some() && value.and_then(Value::as_str) == id => {}
            "id" => return Err(other_id()),
            other if is_dropped(other) => {}
            _ => {
                let shown = display::excerpt(attribute, 64);
                return Err(ScimError::bad("invalidPath", format!("`{shown}` is no attribute of a user")));
            }
        }
        Ok(())
    }

    fn set_name(&mut self, value: Option<&Value>) -> Result<(), ScimError> {
        let Some(value) = value else {
            (self.formatted, self.given_name, self.family_name) = (None, None, None);
            return Ok(());
        };
        let members = value.as_object().ok_or_else(|| ScimError::bad("invalidValue", "`name` must be an object"))?;
        for (part, value) in members {
            if part.contains('.') {
                return Err(ScimError::bad("invalidPath", "`name` has no such part"));
            }
            self.set(&format!("name.{part}"), Some(value), None)?;
        }
        Ok(())
    }

    /// What is kept of a person.
    pub(super) fn of(kept: &Provisioned) -> Self {
        Self {
            user_name: Some(kept.user_name.clone()),
            external_id: kept.external_id.clone(),
            display_name: kept.display_name.clone(),
            formatted: kept.formatted.clone(),
            given_name: kept.given_name.clone(),
            family_name: kept.family_name.clone(),
            active: Some(kept.active),
        }
    }

    /// # Errors
    /// `invalidValue` without a `userName`.
    pub(super) fn required_name(&self) -> Result<&str, ScimError> {
        self.user_name.as_deref().ok_or_else(|| ScimError::bad("invalidValue", "a user needs a `userName`"))
    }

    /// The person's `sub` at the provider.
    ///
    /// # Errors
    /// `invalidValue` without it.
    pub(super) fn subject(&self, by: ScimSubject) -> Result<&str, ScimError> {
        let (name, value) = match by {
            ScimSubject::ExternalId => ("externalId", self.external_id.as_deref()),
            ScimSubject::UserName => ("userName", self.user_name.as_deref()),
        };
        value.ok_or_else(|| ScimError::bad("invalidValue", format!("a user needs `{name}`, which is the person's `sub` here")))
    }

    /// What to call the person.
    pub(super) fn shown(&self) -> Option<String> {
        let whole = || Some(format!("{} {}", self.given_name.as_ref()?, self.family_name.as_ref()?));
        self.display_name.clone().or_else(|| self.formatted.clone()).or_else(whole).or_else(|| self.user_name.clone())
    }
}

/// The user as it is shown, or `None` for an account that is no SCIM user.
pub(super) fn view(server: &Server, provider: &str, human: &Human) -> Option<Value> {
    let kept = human.identity.as_ref()?.provisioned.as_deref()?;
    let mut user = json!({
        "schemas": [SCHEMA], "id": human.name, "userName": kept.user_name, "active": kept.active,
        "meta": {
            "resourceType": "User", "created": kept.created.utc(), "lastModified": kept.changed.utc(),
            "location": server.url(&format!("/scim/v2/{provider}/Users/{}", human.name)),
        },
    });
    let name = [("formatted", &kept.formatted), ("givenName", &kept.given_name), ("familyName", &kept.family_name)];
    let name: Map<String, Value> =
        name.into_iter().filter_map(|(part, text)| Some((part.to_owned(), json!(text.as_ref()?)))).collect();
    if let Some(members) = user.as_object_mut() {
        for (attribute, text) in [("externalId", &kept.external_id), ("displayName", &kept.display_name)] {
            members.extend(text.as_ref().map(|text| (attribute.to_owned(), json!(text))));
        }
        if !name.is_empty() {
            members.insert("name".to_owned(), Value::Object(name));
        }
    }
    Some(user)
}

/// # Errors
/// `invalidSyntax` when `schemas` does not have this one.
pub(super) fn expect_schema(members: &Map<String, Value>, wanted: &str) -> Result<(), ScimError> {
    let stated = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("schemas")).and_then(|(_, value)| value.as_array());
    let named = |schema: &Value| schema.as_str().is_some_and(|schema| schema.eq_ignore_ascii_case(wanted));
    if stated.is_some_and(|stated| stated.iter().any(named)) {
        return Ok(());
    }
    Err(ScimError::bad("invalidSyntax", format!("`schemas` must have `{wanted}`")))
}

fn other_id() -> ScimError {
    ScimError::bad("mutability", "`id` is another user's, or none: it cannot be changed")
}

/// An attribute of the standard schema that is not kept, or one of an extension; with or without a filter on its values.
fn is_dropped(lower: &str) -> bool {
    let base = lower.split(['[', '.']).next().unwrap_or_default();
    DROPPED.contains(&lower) || (base != "name" && DROPPED.contains(&base)) || is_extension(lower)
}

/// What the core schema itself defines is known or no attribute: it is never dropped in silence.
fn is_extension(lower: &str) -> bool {
    lower.starts_with("urn:") && !lower.starts_with(&SCHEMA.to_ascii_lowercase())
}

fn text(name: &str, value: Option<&Value>) -> Result<Option<String>, ScimError> {
    let Some(value) = value else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| ScimError::bad("invalidValue", format!("`{name}` must be a string")))?;
    display::check(&format!("`{name}`"), text, TEXT_LIMIT).map_err(|refusal| ScimError::bad("invalidValue", refusal.reason))?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn identifier(value: Option<&Value>) -> Result<Option<String>, ScimError> {
    let text = text("externalId", value)?;
    if text.as_ref().is_some_and(|text| text.len() > ID_LIMIT) {
        return Err(ScimError::bad("invalidValue", format!("`externalId` is longer than {ID_LIMIT} bytes")));
    }
    Ok(text)
}

/// Entra ID sends text for a truth.
fn truth(value: Option<&Value>) -> Result<Option<bool>, ScimError> {
    match value {
        None => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(*truth)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(ScimError::bad("invalidValue", "`active` must be true or false")),
    }
}
