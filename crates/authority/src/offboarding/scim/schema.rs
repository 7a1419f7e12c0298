//! What there is: the documents by which a client learns how this service provider works. SPEC: RFC 7643 §5 to §7

use super::user;
use crate::signin::provider::ScimSubject;
use remit_model::bounds;
use serde_json::{Value, json};

pub(super) fn service(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": bounds::SCIM_PAGE.value()},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer secret", "description": "The secret that the configuration names.",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

pub(super) fn resource_type(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": "User", "name": "User", "description": "A person of this identity provider.", "endpoint": "/Users",
        "schema": user::SCHEMA,
        "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/User")},
    })
}

/// The schema of users: what is kept of them.
pub(super) fn schemas(base: &str, subject: ScimSubject) -> Vec<Value> {
    let text = |name: &str, description: &str| attribute(name, "string", description, json!({}));
    let whose = |by: ScimSubject| if subject == by { json!({"mutability": "immutable", "required": true}) } else { json!({}) };
    let user_name = with(
        attribute(
            "userName",
            "string",
            "Unique among the provider's users, without regard to letter case.",
            json!({"required": true, "uniqueness": "server"}),
        ),
        whose(ScimSubject::UserName),
    );
    let external_id = with(
        attribute("externalId", "string", "The provider's own identifier.", json!({"caseExact": true})),
        whose(ScimSubject::ExternalId),
    );
    let parts = json!([
        text("formatted", "The whole name."),
        text("familyName", "The family name."),
        text("givenName", "The given name."),
    ]);
    vec![json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": user::SCHEMA, "name": "User", "description": "A person of this identity provider.",
        "attributes": [
            user_name, external_id,
            attribute("name", "complex", "The parts of the person's name.", json!({"subAttributes": parts})),
            text("displayName", "What the person is called."),
            attribute("active", "boolean", "Whether the person may sign in.", json!({"required": true})),
        ],
        "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", user::SCHEMA)},
    })]
}

/// An attribute as most are, with what is particular to it.
fn attribute(name: &str, kind: &str, description: &str, particular: Value) -> Value {
    let usual = json!({
        "name": name, "type": kind, "multiValued": false, "description": description, "required": false,
        "mutability": "readWrite", "returned": "default",
    });
    let of_text = if kind == "string" { json!({"caseExact": false, "uniqueness": "none"}) } else { json!({}) };
    with(with(usual, of_text), particular)
}

fn with(attribute: Value, more: Value) -> Value {
    match (attribute, more) {
        (Value::Object(mut members), Value::Object(more)) => {
            members.extend(more);
            Value::Object(members)
        }
        (attribute, _) => attribute,
    }
}
