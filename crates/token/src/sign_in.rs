//! What a sign-in at an identity provider proves of a consent. docs/custody-format.md section 6.
//!
//! The nonce of the sign-in is a digest of what an agent asked for. The provider signs the nonce, and so its ID token says who
//! authenticated while this was asked, by the provider's own key. Whether the person agreed, and to what, is not in it.

use crate::{
    KeySet, Skew,
    base64url::encode,
    claims::malformed,
    provider_id_token::{self, Expect, ProviderIdToken},
};
use remit_model::{Authentication, Authority, Refusal, UnixTime, json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest time, in seconds, from an ID token to the person's decision on the request that its nonce names.
pub const REQUESTED_SECS: i64 = 600;
/// Longest time, in seconds, from an ID token to a decision in the session that it began, which lasts eight hours.
pub const EARLIER_SECS: i64 = 8 * 3_600 + 2 * 600;
/// Longest time, in seconds, from the decision to the record of the first token: an authorization code's life.
const CODE_SECS: i64 = 60;

/// Which request a sign-in was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The person signed in for this very request: the nonce commits to it.
    Requested,
    /// The person had signed in before, for another request or another one like it. The nonce commits to that one.
    Earlier,
}

impl Kind {
    /// The longest time from the ID token to the record that rests on it, in seconds.
    fn window(self) -> i64 {
        CODE_SECS
            + match self {
                Self::Requested => REQUESTED_SECS,
                Self::Earlier => EARLIER_SECS,
            }
    }
}

/// What is known of a request before its person signs in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub agent: &'a str,
    pub redirect_uri: &'a str,
    /// The PKCE challenge of the request: no other request has it.
    pub code_challenge: &'a str,
    /// What is asked for by name; `None` for all that the person may hand over.
    pub authority: Option<&'a Value>,
    /// `resource` and `audience`; none when the request names none.
    pub resources: &'a [String],
    /// How long it should last, in seconds.
    pub lifetime: Option<i64>,
    pub purpose: Option<&'a str>,
}

/// The value that a nonce commits to. Without a request the person signed in for their own account.
pub fn committed(request: Option<Request<'_>>, salt: &str) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("type", json!(TYPE));
    put("salt", json!(salt));
    if let Some(request) = request {
        put("agent", json!(request.agent));
        put("redirect_uri", json!(request.redirect_uri));
        put("code_challenge", json!(request.code_challenge));
        if let Some(authority) = request.authority {
            put("authority", authority.clone());
        }
        if !request.resources.is_empty() {
            put("resources", json!(request.resources));
        }
        if let Some(lifetime) = request.lifetime {
            put("lifetime", json!(lifetime));
        }
        if let Some(purpose) = request.purpose {
            put("purpose", json!(purpose));
        }
    }
    Value::Object(members)
}

/// What the value says that it is.
const TYPE: &str = "remit.sign-in.v1";

/// What a value that a nonce commits to says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Committed {
    pub salt: String,
    pub agent: Option<String>,
    pub redirect_uri: Option<String>,
    pub code_challenge: Option<String>,
    pub authority: Option<Value>,
    #[serde(default)]
    pub resources: Vec<String>,
    pub lifetime: Option<i64>,
    pub purpose: Option<String>,
}

impl Committed {
    /// # Errors
    /// `token_malformed`.
    pub fn read(value: &Value) -> Result<Self, Refusal> {
        let read = serde_json::from_value(value.clone()).ok();
        let whole = read.filter(|read: &Self| read.salt.len() >= 16 && committed(read.request(), &read.salt) == *value);
        let whole = whole.ok_or_else(|| malformed("what the nonce of the sign-in commits to cannot be read"))?;
        whole.authority()?;
        Ok(whole)
    }

    fn authority(&self) -> Result<Option<Authority>, Refusal> {
        self.authority.as_ref().map(Authority::parse).transpose()
    }

    /// Whether what a person handed over at `at` is within what they were asked for when they signed in.
    ///
    /// # Errors
    /// What is beyond it.
    pub fn covers(&self, handed: &Handed<'_>, at: UnixTime) -> Result<(), Beyond> {
        if self.agent.as_deref() != Some(handed.agent) {
            return Err(Beyond::Agent);
        }
        if self.purpose.as_deref() != handed.purpose {
            return Err(Beyond::Purpose);
        }
        let most = |seconds: i64| at.plus(seconds.saturating_add(Skew::MAX.as_seconds()));
        if self.lifetime.is_some_and(|seconds| handed.expires > most(seconds)) {
            return Err(Beyond::End);
        }
        if let Some(asked) = self.authority().map_err(Beyond::Authority)? {
            handed.authority.within(&asked).map_err(Beyond::Authority)?;
        }
        let located = |grant: &Value| {
            let locations = grant.get("locations").and_then(Value::as_array);
            let asked = |at: &Value| at.as_str().is_some_and(|at| self.resources.iter().any(|resource| resource == at));
            locations.is_some_and(|locations| locations.iter().all(asked))
        };
        let canonical = handed.authority.to_value();
        let shown = handed.shown.and_then(Value::as_array).or_else(|| canonical.as_array());
        if self.resources.is_empty() || shown.is_some_and(|grants| grants.iter().all(located)) {
            Ok(())
        } else {
            Err(Beyond::Resource)
        }
    }

    fn request(&self) -> Option<Request<'_>> {
        Some(Request {
            agent: self.agent.as_deref()?,
            redirect_uri: self.redirect_uri.as_deref()?,
            code_challenge: self.code_challenge.as_deref()?,
            authority: self.authority.as_ref(),
            resources: &self.resources,
            lifetime: self.lifetime,
            purpose: self.purpose.as_deref(),
        })
    }
}

/// What a person handed over to an agent.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    pub agent: &'a str,
    pub authority: &'a Authority,
    /// The authority as it was written, where that is known.
    pub shown: Option<&'a Value>,
    pub purpose: Option<&'a str>,
    pub expires: UnixTime,
}

/// In what something goes beyond the request that a sign-in was for.
#[derive(Clone, Debug, PartialEq)]
pub enum Beyond {
    Agent,
    Purpose,
    End,
    Authority(Refusal),
    Resource,
}

/// Whether `how` is the authentication of which the provider's ID token tells. A provider's clock may be ahead; then the server
/// took its own time.
pub fn is_of(how: &Authentication, signed: &ProviderIdToken) -> bool {
    let ahead = signed.auth_time.unwrap_or(signed.iat).since(how.time);
    (0..=Skew::MAX.as_seconds()).contains(&ahead) && how.acr == signed.acr && how.amr == signed.amr
}

/// The nonce: base64url of the SHA-256 of the value's canonical form.
pub fn nonce(committed: &Value) -> String {
    encode(&json::sha256(&json::canonical(committed)))
}

/// The evidence of a sign-in, as the ledger keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    pub kind: Kind,
    /// The provider's issuer identifier.
    pub issuer: &'a str,
    /// The client that the server is there.
    pub client: &'a str,
    pub id_token: &'a str,
    pub committed: &'a Value,
}

/// Verifies recorded evidence, with the key that verified it then, at the time of the record that rests on it.
///
/// # Errors
/// `token_*`.
pub fn verify_recorded(recorded: &Recorded<'_>, key: &KeySet, at: UnixTime) -> Result<ProviderIdToken, Refusal> {
    let nonce = nonce(recorded.committed);
    let expect = Expect { issuer: recorded.issuer, client_id: recorded.client, nonce: &nonce };
    let token = provider_id_token::verify_recorded(recorded.id_token, key, &expect, at, Skew::MAX)?;
    if at.since(token.iat) > recorded.kind.window() + Skew::MAX.as_seconds() {
        let reason = format!("the person signed in at {}, too long before {at}", token.iat);
        return Err(Refusal::new(remit_model::Code::TokenExpired, reason));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>() -> Request<'a> {
        Request {
            agent: "agent:planner",
            redirect_uri: "https://app.example/cb",
            code_challenge: "c",
            authority: None,
            resources: &[],
            lifetime: None,
            purpose: None,
        }
    }

    #[test]
    fn a_nonce_commits_to_everything_that_is_asked_for() {
        let (authority, resources) = (json!([]), ["https://remit.example/mcp/helpdesk".to_owned()]);
        let salt = "0123456789abcdef";
        let asked = [
            request(),
            Request { agent: "agent:other", ..request() },
            Request { redirect_uri: "https://app.example/other", ..request() },
            Request { code_challenge: "d", ..request() },
            Request { authority: Some(&authority), ..request() },
            Request { resources: &resources, ..request() },
            Request { lifetime: Some(60), ..request() },
            Request { purpose: Some("Close ticket T-1"), ..request() },
        ];
        let mut nonces: Vec<String> = asked.map(|asked| nonce(&committed(Some(asked), salt))).to_vec();
        nonces.push(nonce(&committed(None, salt)));
        nonces.push(nonce(&committed(Some(request()), "another salt of sixteen")));
        let all = nonces.len();
        nonces.sort();
        nonces.dedup();
        assert_eq!(nonces.len(), all);
    }

    #[test]
    fn a_committed_value_is_read_only_as_it_is_written() {
        let resources = ["https://remit.example/mcp/helpdesk".to_owned()];
        let asked = Request { resources: &resources, lifetime: Some(60), purpose: Some("x"), ..request() };
        let value = committed(Some(asked), "0123456789abcdef");
        let read = Committed::read(&value).unwrap();
        assert_eq!((read.agent.as_deref(), read.lifetime, read.resources.len()), (Some("agent:planner"), Some(60), 1));
        for (name, wrong) in [("type", json!("x")), ("salt", json!("short")), ("agent", json!(7)), ("more", json!(1))] {
            let mut changed = value.clone();
            changed[name] = wrong;
            assert!(Committed::read(&changed).is_err(), "{name}");
        }
    }
}
