//! `identity_providers`: OpenID Connect providers.

use super::{Account, IdentityProvider, Loaded, load::entitlements};
use crate::keys;
use anyhow::{Context as _, Result};
use remit_authority::provider::{ClientCredential, Demand, EntitlementRule, ProviderSettings, SignInMethods};
use remit_model::{Server, display, token_bounds};
use remit_token::PrivateKey;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use url::{Host, Url};

/// Longest name of a provider: with a digest after it, it is the local name of a person.
const NAME_LIMIT: usize = 20;
/// Hexadecimal digits of that digest.
const DIGEST: usize = 40;

/// An OpenID Connect provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcProvider {
    /// Its name here, at most 20 of `a-z`, `0-9` and `-`. People come back to `PUBLIC_URL/oauth/callback/NAME`: register that
    /// redirect URI at the provider.
    pub(crate) name: String,
    /// What the sign-in page calls it.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// Its issuer identifier, exactly as its metadata states it.
    pub(crate) issuer: String,
    /// The client that Remit is at the provider.
    pub(crate) client_id: String,
    /// File with the client's secret.
    #[serde(default)]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// File with the client's private key (PKCS#8, Ed25519 or P-256) for `private_key_jwt`.
    #[serde(default)]
    pub(crate) client_key_file: Option<PathBuf>,
    /// To whom the client's assertions are addressed: `issuer` or `token_endpoint`.
    #[serde(default)]
    pub(crate) assertion_audience: Audience,
    /// Scopes that are asked for.
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// How people must have authenticated there.
    #[serde(default)]
    pub(crate) require: Require,
    /// What people may do, by their claims.
    #[serde(default)]
    pub(crate) entitlements: Vec<Rule>,
}

/// To whom an assertion of ours is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    #[default]
    Issuer,
    TokenEndpoint,
}

/// How people must have authenticated. It is asked for, and it is checked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Require {
    /// One of these authentication context classes.
    pub(crate) acr: Vec<String>,
    /// Every one of these methods (RFC 8176).
    pub(crate) amr: Vec<String>,
    /// At most so many seconds ago.
    pub(crate) max_age_s: Option<u32>,
}

/// What people with certain claims may do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Claims of the ID token that all must be there: equal to the value, or a list with the value in it. Without any, the
    /// rule is for everyone whom the provider lets in.
    #[serde(default)]
    pub(crate) when: BTreeMap<String, String>,
    /// What they may do, and so the most they can hand to an agent, as scopes.
    #[serde(default)]
    pub(crate) scope: Vec<String>,
    /// The same, or narrower, as RFC 9396 authorization details.
    #[serde(default)]
    pub(crate) authorization_details: Option<serde_json::Value>,
}

fn scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).to_vec()
}

impl Rule {
    /// A rule reads like the entitlements of an account.
    fn as_account(&self) -> Account {
        Account {
            name: String::new(),
            display_name: None,
            password_hash_file: PathBuf::new(),
            entitlements: self.scope.clone(),
            authorization_details: self.authorization_details.clone(),
            disabled: false,
            second_factor: None,
        }
    }
}

/// The providers of a list.
pub(crate) fn oidc(providers: &[IdentityProvider]) -> impl Iterator<Item = &OidcProvider> {
    providers.iter().filter_map(|provider| match provider {
        IdentityProvider::Oidc(provider) => Some(provider.as_ref()),
        IdentityProvider::Local { .. } => None,
    })
}

/// The accounts of a list.
pub(crate) fn accounts(providers: &[IdentityProvider]) -> impl Iterator<Item = &Account> {
    providers.iter().flat_map(|provider| match provider {
        IdentityProvider::Local { accounts } => accounts.as_slice(),
        IdentityProvider::Oidc(_) => &[],
    })
}

/// What is wrong with the providers of a list.
pub(crate) fn problems(providers: &[IdentityProvider], servers: &[&Server]) -> Vec<String> {
    let mut found = Vec::new();
    let mut names = Vec::new();
    let mut issuers = Vec::new();
    for provider in oidc(providers) {
        let name = display::excerpt(&provider.name, 40);
        let mut say = |what: String| found.push(format!("identity_providers: {name}: {what}"));
        if !named_well(&provider.name) {
            say(format!("a name has 1 to {NAME_LIMIT} of a-z, 0-9 and `-`, and does not begin or end with `-`"));
        }
        if names.contains(&&provider.name) {
            say("there is another provider of this name".to_owned());
        }
        if issuers.contains(&&provider.issuer) {
            say("there is another provider with this issuer; people are told apart by issuer and subject".to_owned());
        }
        names.push(&provider.name);
        issuers.push(&provider.issuer);
        if let Some(Err(refusal)) = provider.title.as_ref().map(|title| display::check_name("title", title)) {
            say(refusal.reason);
        }
        if let Err(reason) = issuer(&provider.issuer) {
            say(format!("issuer: {reason}"));
        }
        if provider.client_id.is_empty() {
            say("client_id: must not be empty".to_owned());
        }
        if provider.client_secret_file.is_some() && provider.client_key_file.is_some() {
            say("give either client_secret_file or client_key_file".to_owned());
        }
        if !provider.scopes.iter().any(|scope| scope == "openid") {
            say("scopes: must contain `openid`".to_owned());
        }
        if provider.scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(|b| b.is_ascii_graphic())) {
            say("scopes: each is one word".to_owned());
        }
        for rule in &provider.entitlements {
            let fits = |authority| token_bounds::check_authority(&authority, servers);
            if let Err(refusal) = entitlements(&rule.as_account(), servers).and_then(fits) {
                say(format!("entitlements: {refusal}"));
            }
        }
    }
    for account in accounts(providers) {
        if names.iter().any(|name| is_name_of(&account.name, name)) {
            found.push(format!("account {}: the name is one of a person of an identity provider", account.name));
        }
    }
    found
}

fn named_well(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    !name.is_empty() && name.len() <= NAME_LIMIT && letters && !name.starts_with('-') && !name.ends_with('-')
}

/// Whether a local name could be that of a person of this provider.
fn is_name_of(account: &str, provider: &str) -> bool {
    account
        .strip_prefix(provider)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|digest| digest.len() == DIGEST && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// SPEC: OpenID Connect Discovery §3, C-01: https (http on loopback), no query and no fragment. A path is fine.
fn issuer(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("`{}` is not a URL: {error}", display::excerpt(text, 100)))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("it has no host".into()),
    };
    if !(url.scheme() == "https" || (url.scheme() == "http" && loopback)) {
        return Err("must be https, or http on a loopback address".into());
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must have no query, fragment, user name or password".into());
    }
    Ok(())
}

/// Where people sign in, as the running server knows it.
///
/// # Errors
/// A secret or key that cannot be read.
pub(crate) fn sign_in_methods(loaded: &Loaded, servers: &[&Server]) -> Result<SignInMethods> {
    let providers = &loaded.config.identity_providers;
    let read = oidc(providers).map(|provider| settings(loaded, provider, servers).map(Arc::new));
    Ok(SignInMethods { providers: read.collect::<Result<_>>()?, local: accounts(providers).next().is_some() })
}

/// One provider, with its secret.
///
/// # Errors
/// As [`sign_in_methods`].
fn settings(loaded: &Loaded, provider: &OidcProvider, servers: &[&Server]) -> Result<ProviderSettings> {
    let named = || format!("identity provider {}", provider.name);
    let rule = |rule: &Rule| {
        let authority = entitlements(&rule.as_account(), servers).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        Ok(EntitlementRule { when: rule.when.clone(), authority })
    };
    Ok(ProviderSettings {
        name: provider.name.clone(),
        title: provider.title.clone().unwrap_or_else(|| provider.name.clone()),
        issuer: provider.issuer.clone(),
        client_id: provider.client_id.clone(),
        credential: credential(loaded, provider).with_context(named)?,
        scopes: provider.scopes.clone(),
        demand: Demand {
            acr: provider.require.acr.clone(),
            amr: provider.require.amr.clone(),
            max_age: provider.require.max_age_s.map(i64::from),
        },
        entitlements: provider.entitlements.iter().map(rule).collect::<Result<_>>().with_context(named)?,
    })
}

pub(crate) fn credential(loaded: &Loaded, provider: &OidcProvider) -> Result<ClientCredential> {
    if let Some(file) = &provider.client_key_file {
        let pem = keys::read_secret(&loaded.at(file))?;
        let key = PrivateKey::from_pkcs8_pem(&pem).map_err(|fault| anyhow::anyhow!("{}: {fault}", file.display()))?;
        let at_token_endpoint = provider.assertion_audience == Audience::TokenEndpoint;
        return Ok(ClientCredential::Key { key: Arc::new(key), at_token_endpoint });
    }
    Ok(match &provider.client_secret_file {
        Some(file) => ClientCredential::Secret(Arc::new(keys::read_secret(&loaded.at(file))?.into())),
        None => ClientCredential::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn provider(changes: &serde_json::Value) -> IdentityProvider {
        let mut value =
            json!({"type": "oidc", "name": "corp", "issuer": "https://id.example/realms/staff", "client_id": "remit"});
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_provider_is_checked_and_each_problem_names_it() {
        assert_eq!(problems(&[provider(&json!({}))], &[]), Vec::<String>::new());
        for (changes, word) in [
            (json!({"name": "Corp"}), "a name has"),
            (json!({"name": "-corp"}), "a name has"),
            (json!({"name": "a-name-that-is-too-long"}), "a name has"),
            (json!({"title": "a\u{202e}b"}), "title"),
            (json!({"issuer": "http://id.example"}), "must be https"),
            (json!({"issuer": "https://id.example/?a=b"}), "no query"),
            (json!({"issuer": "https://user@id.example"}), "user name"),
            (json!({"issuer": "id.example"}), "is not a URL"),
            (json!({"client_id": ""}), "client_id"),
            (json!({"client_secret_file": "a", "client_key_file": "b"}), "either"),
            (json!({"scopes": ["profile"]}), "`openid`"),
            (json!({"scopes": ["openid", "a b"]}), "one word"),
            (json!({"entitlements": [{"scope": ["nowhere:*"]}]}), "entitlements"),
        ] {
            let found = problems(&[provider(&changes)], &[]);
            assert_eq!(found.len(), 1, "{changes}: {found:?}");
            assert!(found[0].contains(word), "{changes}: {found:?}");
        }
        assert_eq!(problems(&[provider(&json!({"issuer": "http://127.0.0.1:8080/realm"}))], &[]), Vec::<String>::new());
        let twice = problems(&[provider(&json!({})), provider(&json!({}))], &[]);
        assert!(twice.iter().any(|one| one.contains("of this name")) && twice.iter().any(|one| one.contains("this issuer")));
    }

    #[test]
    fn no_local_account_takes_the_name_of_a_person_of_a_provider() {
        let digest = "0123456789abcdef0123456789abcdef01234567";
        let account = |name: &str| {
            let accounts = json!([{"name": name, "password_hash_file": "f"}]);
            serde_json::from_value::<IdentityProvider>(json!({"type": "local", "accounts": accounts})).unwrap()
        };
        let found = problems(&[provider(&json!({})), account(&format!("corp-{digest}"))], &[]);
        assert!(found[0].contains("identity provider"), "{found:?}");
        for name in ["corp", "corp-alice", &format!("other-{digest}")] {
            assert_eq!(problems(&[provider(&json!({})), account(name)], &[]), Vec::<String>::new());
        }
    }
}
