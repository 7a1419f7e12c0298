//! What the configuration says of an identity provider.

use crate::http::bearer::BearerSecret;
use remit_model::{Authority, Identity, Refusal};
use remit_outbound::Limit;
use remit_token::{PrivateKey, provider_id_token::ProviderIdToken};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt, sync::Arc};
use zeroize::Zeroizing;

/// Longest answer of a provider's endpoint that is read.
pub(crate) const ANSWER_LIMIT: Limit = Limit(64 * 1_024);
/// Longest name shown for a person, in bytes.
const NAME_LIMIT: usize = 200;

/// An organisation's OpenID Connect provider.
#[derive(Clone)]
pub struct ProviderSettings {
    /// Its name here: `a-z`, `0-9` and `-`. Part of the local names of its people, and of the address they come back to.
    pub name: String,
    /// What the sign-in page calls it.
    pub title: String,
    /// Its issuer identifier, exactly as it states it. SPEC: J-07
    pub issuer: String,
    /// The client that we are there.
    pub client_id: String,
    /// How we prove to be that client.
    pub credential: ClientCredential,
    /// Scopes that are asked for; `openid` is always among them.
    pub scopes: Vec<String>,
    /// How people must have authenticated.
    pub demand: Demand,
    /// What its people may do.
    pub entitlements: Vec<EntitlementRule>,
    /// Whether people sign in there for each consent, so that its ID token names what was asked for.
    pub prove_each_consent: bool,
    /// How it is asked whether they may still act.
    pub check: Check,
    /// How it tells us of security events, if it does.
    pub events: Option<EventSettings>,
    /// How it provisions people, if it does.
    pub scim: Option<ScimSettings>,
}

/// How a provider provisions its people. RFC 7644
#[derive(Clone, Debug)]
pub struct ScimSettings {
    /// What it authenticates with.
    pub credential: BearerSecret,
    /// Which attribute of a user is the person's `sub`.
    pub subject: ScimSubject,
}

/// An attribute of a SCIM user that can be the `sub` of its person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScimSubject {
    #[default]
    ExternalId,
    UserName,
}

/// How a provider is asked whether its people may still act, while something that they handed out can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// A question begins at most so many seconds after the one before.
    pub every: u32,
    /// Whether people of whom the provider gives no refresh token, so that it cannot be asked about them, are let in.
    pub required: bool,
}

impl Check {
    /// Seconds between two questions if nothing else is configured.
    pub const EVERY: u32 = 60;

    pub(crate) fn every_ms(self) -> u64 {
        u64::from(self.every).saturating_mul(1_000)
    }
}

impl Default for Check {
    fn default() -> Self {
        Self { every: Self::EVERY, required: false }
    }
}

/// How security events of a provider reach us. OpenID Shared Signals Framework 1.0.
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// The transmitter's issuer identifier; often the provider's own.
    pub issuer: String,
    /// What it calls us; `None` for the address at which it pushes.
    pub audience: Option<String>,
    /// What it authenticates with when it pushes (RFC 8935); `None` when it does not push.
    pub push: Option<BearerSecret>,
    /// Where it is polled (RFC 8936).
    pub poll: Option<PollSettings>,
}

/// Where security events are polled for.
#[derive(Clone)]
pub struct PollSettings {
    pub url: String,
    /// What we authenticate with there.
    pub credential: Option<Arc<Zeroizing<String>>>,
    /// Seconds between two polls.
    pub every: u32,
}

/// How we authenticate at a provider's token endpoint. RFC 6749 §2.3, OpenID Connect Core §9.
#[derive(Clone)]
pub enum ClientCredential {
    /// `client_secret_basic`, or `client_secret_post` where the provider offers only that.
    Secret(Arc<Zeroizing<String>>),
    /// `private_key_jwt`, addressed to the issuer, or to the token endpoint where the provider wants that.
    Key { key: Arc<PrivateKey>, at_token_endpoint: bool },
    /// A public client: PKCE alone.
    None,
}

/// How a person must have authenticated. What a provider was asked for and what it did are two things: some answer a demand
/// for a stronger class with a weaker one, and no error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// One of these classes; any if empty.
    pub acr: Vec<String>,
    /// All of these methods.
    pub amr: Vec<String>,
    /// At most so many seconds ago.
    pub max_age: Option<i64>,
}

/// What people with certain claims may do.
#[derive(Clone, Debug, PartialEq)]
pub struct EntitlementRule {
    /// Claims that all must be there: equal to the value, or a list with the value in it.
    pub when: BTreeMap<String, String>,
    pub authority: Authority,
}

impl ProviderSettings {
    /// A person's identity by their ID token. Nothing else identifies them: an e-mail address can change its owner.
    pub(crate) fn identity(&self, token: &ProviderIdToken) -> Identity {
        Identity { issuer: self.issuer.clone(), subject: token.sub.clone(), withdrawn: false, provisioned: None }
    }

    /// What a person with these claims may do: everything of every rule that holds.
    pub(crate) fn entitlements(&self, claims: &Map<String, Value>) -> Authority {
        let rules = self.entitlements.iter().filter(|rule| rule.holds(claims));
        let mut grants = Vec::new();
        for grant in rules.flat_map(|rule| rule.authority.grants()) {
            if !grants.contains(grant) {
                grants.push(grant.clone());
            }
        }
        Authority::from_grants(grants)
    }
}

impl EntitlementRule {
    fn holds(&self, claims: &Map<String, Value>) -> bool {
        self.when.iter().all(|(claim, wanted)| match claims.get(claim) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(wanted)),
            Some(Value::Bool(truth)) => wanted == if *truth { "true" } else { "false" },
            _ => false,
        })
    }
}

/// What to call a person: the provider's word for them, as text that nothing rests on.
pub(crate) fn display_name(claims: &Map<String, Value>) -> Option<String> {
    let named = ["name", "preferred_username", "email"].iter().filter_map(|claim| claims.get(*claim)?.as_str());
    let mut usable = named.filter(|name| remit_model::display::check("a name", name, NAME_LIMIT).is_ok() && !name.is_empty());
    usable.next().map(str::to_owned)
}

impl Demand {
    /// Whether the authentication is what was demanded. `age` is in seconds.
    ///
    /// # Errors
    /// `sign_in_too_weak`, with what was demanded and what was reached.
    pub(crate) fn check(&self, acr: Option<&str>, amr: &[String], age: i64) -> Result<(), Refusal> {
        let weak = |reason: String| Err(Refusal::new(remit_model::Code::SignInTooWeak, reason));
        let shown = |text: &str| remit_model::display::excerpt(text, 64);
        if !self.acr.is_empty() && !acr.is_some_and(|acr| self.acr.iter().any(|wanted| wanted == acr)) {
            return weak(format!(
                "this server demands the authentication class `{}`; the identity provider states {}",
                self.acr.join("` or `"),
                acr.map_or_else(|| "none".to_owned(), |acr| format!("`{}`", shown(acr))),
            ));
        }
        if let Some(missing) = self.amr.iter().find(|wanted| !amr.contains(wanted)) {
            let stated = if amr.is_empty() { "none".to_owned() } else { format!("`{}`", shown(&amr.join("`, `"))) };
            return weak(format!(
                "this server demands the authentication method `{missing}`; the identity provider states {stated}"
            ));
        }
        match self.max_age {
            Some(most) if age > most => weak(format!(
                "this server demands an authentication of at most {most} seconds ago; the identity provider states one of {age} \
                 seconds ago"
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("name", &self.name).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl fmt::Debug for PollSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollSettings").field("url", &self.url).field("every", &self.every).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Key { .. } => "Key",
            Self::None => "None",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(when: &[(&str, &str)], action: &str) -> EntitlementRule {
        let details = json!([{"type": "tool_access", "locations": ["https://as/mcp/desk"], "actions": [action]}]);
        EntitlementRule {
            when: when.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect(),
            authority: Authority::parse(&details).unwrap(),
        }
    }

    #[test]
    fn a_rule_holds_when_every_claim_is_the_value_or_has_it() {
        let claims = json!({"groups": ["/staff", "/staff/support"], "department": "it", "verified": true, "level": 3});
        let claims = claims.as_object().unwrap();
        for (when, holds) in [
            (&[][..], true),
            (&[("groups", "/staff/support")], true),
            (&[("groups", "/staff/suppor")], false),
            (&[("groups", "/STAFF")], false),
            (&[("department", "it"), ("groups", "/staff")], true),
            (&[("department", "it"), ("groups", "/admin")], false),
            (&[("department", "i")], false),
            (&[("verified", "true")], true),
            (&[("verified", "false")], false),
            (&[("level", "3")], false),
            (&[("absent", "")], false),
        ] {
            assert_eq!(rule(when, "read").holds(claims), holds, "{when:?}");
        }
    }

    #[test]
    fn what_was_demanded_is_checked_against_what_was_reached() {
        let demand = Demand { acr: vec!["2".into(), "3".into()], amr: vec!["otp".into()], max_age: Some(60) };
        let methods = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(demand.check(Some("3"), &methods(&["pwd", "otp"]), 60).is_ok());
        for (acr, amr, age, word) in [
            (Some("1"), methods(&["otp"]), 0, "`1`"),
            (None, methods(&["otp"]), 0, "states none"),
            (Some("2"), methods(&["pwd"]), 0, "`otp`"),
            (Some("2"), methods(&[]), 0, "states none"),
            (Some("2"), methods(&["otp"]), 61, "61 seconds"),
        ] {
            let refusal = demand.check(acr, &amr, age).unwrap_err();
            assert_eq!(refusal.code, remit_model::Code::SignInTooWeak);
            assert!(refusal.reason.contains(word), "{}", refusal.reason);
        }
        assert!(Demand::default().check(None, &[], i64::MAX).is_ok());
    }
}
