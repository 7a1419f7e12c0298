//! What a decision is asked about, complete: everything a policy can see is in here, and nothing else is.
//!
//! The serialised question is the replay input that a ledger commits to (`/decision/input`). Its form has a version, so that
//! a replay either understands a question completely or says that it cannot: see [`Question::read`].

use remit_model::{
    agent::Binding,
    id::{PrincipalKind, ServerId, TenantId},
    resource::ToolClass,
    time::UnixTime,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// The newest version of the form below. A question of version 1 does not state it; a later version states itself as `v`.
/// Version 2 has `acr`, `amr`, `root_signed` and the `binding` of a party.
///
/// To add something that policies can look at: give it a member that is left out while it is empty, and write `v` only
/// where it is not. Then a question without it keeps its bytes, and an older build says why it cannot replay one with it.
pub const VERSION: u64 = 2;

/// What version 2 added.
const SINCE_2: [&str; 3] = ["acr", "amr", "root_signed"];

/// Why a recorded question cannot be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuestionError {
    /// A newer build wrote it, with things that this one does not know.
    Newer(u64),
    /// It is no question of the version it claims to be.
    Malformed(String),
}

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(version) => write!(
                f,
                "the question has version {version}, and this build reads versions up to {VERSION}: repeat the decision with \
                 the build that wrote the record, or a later one"
            ),
            Self::Malformed(why) => write!(f, "the question cannot be read: {why}"),
        }
    }
}

impl std::error::Error for QuestionError {}

/// One question to the policies. SPEC: CE-01, CE-05.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Question {
    pub tenant: TenantId,
    /// Our own issuer. A party of any other issuer gets an entity id that contains its issuer (N-DC-15).
    pub issuer: String,
    /// The acting party: the agent that calls, or the human when no agent is in between.
    pub principal: Party,
    /// Whose authority is exercised (`sub` of the token); the principal itself for an agent on its own account.
    pub on_behalf_of: Party,
    /// Subjects of the actors, root first and the caller last; empty when the principal acts for itself.
    pub chain: Vec<String>,
    /// The chain's id (`txn`), once there is one.
    pub txn: Option<String>,
    pub action: Action,
    /// The upstream; absent only for a delegation that is not about one server.
    pub server: Option<ServerId>,
    /// The tool; present for `call` and `read_field`.
    pub tool: Option<ToolFacts>,
    /// The call's arguments object; `null` when there are none.
    ///
    /// Serialised as JSON text inside a string: RFC 8785 would round integers beyond 2^53, and a replay must see
    /// the very numbers that were decided on.
    #[serde(with = "exact")]
    pub arguments: Value,
    /// Digest of the caller's effective authority.
    pub authority_digest: String,
    pub purpose: Option<String>,
    pub now: UnixTime,
    /// Seconds since the human last authenticated, when a human did. SPEC: DC-15.
    pub auth_age: Option<i64>,
    /// The authentication context class that the human reached, where it is known. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The methods by which the human authenticated (RFC 8176), as far as they are known. Since version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Whether the root person signed with a passkey what they agreed to. Left out, and the version with it, where not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub root_signed: bool,
}

impl Question {
    /// Reads a recorded question of this or an older version.
    ///
    /// # Errors
    /// [`QuestionError::Newer`] for a later version, whatever it holds; [`QuestionError::Malformed`] for anything else that
    /// is not exactly a question, an unknown member included: a decision repeated without it could come out otherwise.
    pub fn read(mut recorded: Value) -> Result<Self, QuestionError> {
        let malformed = |why: String| QuestionError::Malformed(why);
        let stated = recorded.as_object_mut().and_then(|members| members.shift_remove("v"));
        match stated.map(|version| version.as_u64().ok_or(version)) {
            None | Some(Ok(1)) => {
                let bound = ["principal", "on_behalf_of"].map(|party| recorded.get(party).and_then(|party| party.get("binding")));
                if bound.iter().any(Option::is_some) {
                    return Err(malformed("a question of version 1 has no `binding`".to_owned()));
                }
                if let Some(later) = SINCE_2.iter().find(|name| recorded.get(**name).is_some()) {
                    return Err(malformed(format!("a question of version 1 has no `{later}`")));
                }
            }
            Some(Ok(2..=VERSION)) => {}
            Some(Ok(version)) if version > VERSION => return Err(QuestionError::Newer(version)),
            Some(Ok(version)) => return Err(malformed(format!("there is no version {version}"))),
            Some(Err(version)) => return Err(malformed(format!("`v` is {version}, not a version"))),
        }
        serde_json::from_value(recorded).map_err(|error| malformed(error.to_string()))
    }

    /// The question whether fields of a class may be read in the answer to this call. It differs in its action alone, so that
    /// a replay can make it again from the recorded question of the call.
    #[must_use]
    pub fn about_fields(&self, class: &str) -> Self {
        let action = Action::ReadField { class: class.to_owned() };
        Self {
            tenant: self.tenant.clone(),
            issuer: self.issuer.clone(),
            principal: self.principal.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            chain: self.chain.clone(),
            txn: self.txn.clone(),
            action,
            server: self.server.clone(),
            tool: self.tool.clone(),
            // The arguments may be large, and no policy about fields can look at them.
            arguments: Value::Null,
            authority_digest: self.authority_digest.clone(),
            purpose: self.purpose.clone(),
            now: self.now,
            auth_age: self.auth_age,
            acr: self.acr.clone(),
            amr: self.amr.clone(),
            root_signed: self.root_signed,
        }
    }
}

impl Serialize for Question {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let usual = is_usual(&self.principal.binding) && is_usual(&self.on_behalf_of.binding);
        if usual && !self.root_signed && self.acr.is_none() && self.amr.is_empty() {
            return Self::serialize(self, to);
        }
        let mut members = Self::serialize(self, serde_json::value::Serializer).map_err(S::Error::custom)?;
        if let Some(members) = members.as_object_mut() {
            members.insert("v".to_owned(), VERSION.into());
        }
        members.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Question {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::deserialize(from)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A human or an agent as the policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    pub kind: PrincipalKind,
    /// `user:alice` or `agent:planner`.
    pub sub: String,
    pub iss: String,
    /// Subject of the accountable human; agents only.
    pub owner: Option<String>,
    /// Each label `key=value` puts the party into `Group::"key=value"`.
    pub labels: BTreeMap<String, String>,
    /// What the party's access tokens are bound to.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub binding: Binding,
}

/// Whether tokens are bound as nearly all are; then a question says nothing of it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_usual(binding: &Binding) -> bool {
    *binding == Binding::default()
}

/// What is about to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Hand authority to the agent `to` (a subject), which may hand it on `depth` times, for `lifetime` seconds.
    Delegate { to: String, depth: u32, lifetime: i64 },
    /// See which tools a server offers.
    List,
    /// Call a tool.
    Call,
    /// Let fields of this class (for instance `pii`) of a tool's answer through.
    ReadField { class: String },
}

impl Action {
    /// The name in the schema and in the record.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delegate { .. } => "delegate",
            Self::List => "list",
            Self::Call => "call",
            Self::ReadField { .. } => "read_field",
        }
    }
}

/// What the operator's configuration says about the tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolFacts {
    pub name: String,
    pub class: ToolClass,
    pub classification: Option<String>,
}

mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recorded() -> Value {
        json!({
            "tenant": "main", "issuer": "https://as.example", "chain": ["agent:planner"], "txn": "t", "server": "helpdesk",
            "principal": {"kind": "agent", "sub": "agent:planner", "iss": "https://as.example", "owner": null, "labels": {}},
            "on_behalf_of": {"kind": "human", "sub": "user:alice", "iss": "https://as.example", "owner": null, "labels": {}},
            "action": {"name": "call"}, "tool": {"name": "read", "class": "read", "classification": "pii"},
            "arguments": "{\"id\":1}", "authority_digest": "sha-256:00", "purpose": null, "now": 1, "auth_age": null,
        })
    }

    #[test]
    fn ce_05_a_question_of_this_version_is_read_back_and_written_without_a_version() {
        let question = Question::read(recorded()).unwrap();
        assert_eq!(serde_json::to_value(&question).unwrap(), recorded());
        let mut stated = recorded();
        stated["v"] = json!(1);
        assert_eq!(Question::read(stated).unwrap(), question);
    }

    #[test]
    fn ce_05_a_question_with_the_methods_of_authentication_is_of_version_two() {
        let mut known = recorded();
        known.as_object_mut().unwrap().extend(json!({"acr": "2", "amr": ["pwd", "otp"], "v": 2}).as_object().unwrap().clone());
        let question = Question::read(known.clone()).unwrap();
        assert_eq!((question.acr.as_deref(), question.amr.as_slice()), (Some("2"), &["pwd".to_owned(), "otp".to_owned()][..]));
        assert_eq!(serde_json::to_value(&question).unwrap(), known);
        assert_eq!(question.about_fields("pii").acr.as_deref(), Some("2"));
        for version in [None, Some(json!(1))] {
            let mut older = known.clone();
            older.as_object_mut().unwrap().remove("v");
            older.as_object_mut().unwrap().extend(version.map(|version| ("v".to_owned(), version)));
            assert!(matches!(Question::read(older), Err(QuestionError::Malformed(_))));
        }
    }

    #[test]
    fn ce_05_a_question_about_a_signed_root_is_of_version_two_and_an_older_form_cannot_hold_it() {
        let signed = Question { root_signed: true, ..Question::read(recorded()).unwrap() };
        let written = serde_json::to_value(&signed).unwrap();
        assert_eq!((&written["v"], &written["root_signed"]), (&json!(2), &json!(true)));
        assert_eq!(Question::read(written.clone()).unwrap(), signed);
        for version in [None, Some(json!(1))] {
            let mut older = written.clone();
            older.as_object_mut().unwrap().remove("v");
            older.as_object_mut().unwrap().extend(version.map(|version| ("v".to_owned(), version)));
            assert!(matches!(Question::read(older), Err(QuestionError::Malformed(_))));
        }
    }

    #[test]
    fn ce_05_a_question_of_a_later_version_says_that_it_is_whatever_it_holds() {
        for later in [json!({"v": 3}), json!({"v": 9, "labels": ["untrusted"]})] {
            let mut question = recorded();
            question.as_object_mut().unwrap().extend(later.as_object().unwrap().clone());
            let error = Question::read(question).unwrap_err();
            assert!(matches!(error, QuestionError::Newer(3 | 9)), "{error}");
            assert!(error.to_string().contains("versions up to 2"), "{error}");
        }
    }

    #[test]
    fn ce_05_what_is_not_exactly_a_question_is_not_asked_again() {
        for (member, value) in [
            ("v", json!(0)),
            ("v", json!("2")),
            ("v", json!(-1)),
            ("labels", json!([])),
            ("chain", json!(1)),
            ("now", Value::Null),
        ] {
            let mut question = recorded();
            question[member] = value;
            let error = Question::read(question).unwrap_err();
            assert!(matches!(error, QuestionError::Malformed(_)), "{member}: {error}");
        }
        assert!(Question::read(Value::Null).is_err());
    }

    #[test]
    fn a_field_question_differs_from_its_call_in_its_action_alone() {
        let call = Question::read(recorded()).unwrap();
        let mut field = call.about_fields("pii");
        assert_eq!(field.action, Action::ReadField { class: "pii".to_owned() });
        (field.action, field.arguments) = (call.action.clone(), call.arguments.clone());
        assert_eq!(field, call);
    }
}
