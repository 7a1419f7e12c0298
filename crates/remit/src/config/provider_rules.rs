//! What `identity_providers` means: its problems, what people may do, and the providers as the server runs with them.

use super::{
    providers::{Audience, Events, OidcProvider, Rule, Scim, ScimAttribute},
    sections::{Account, IdentityProvider},
};
use crate::keys;
use anyhow::{Context as _, Result};
use remit_authority::provider::{
    BearerSecret, Check, ClientCredential, Demand, EntitlementRule, EventSettings, PollSettings, ProviderSettings, ScimSettings,
    ScimSubject, SignInMethods,
};
use remit_model::{Authority, Server, display, token_bounds};
use remit_token::PrivateKey;
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};
use url::{Host, Url};

/// Longest name of a provider: with a digest after it, it is the local name of a person.
const NAME_LIMIT: usize = 20;
/// How often a provider can be asked about a person, in seconds.
const CHECK_EVERY: RangeInclusive<u32> = 1..=3_600;
/// How often a transmitter of security events can be polled, in seconds.
const POLL_EVERY: RangeInclusive<u32> = 1..=3_600;
/// Longest audience of security events, in bytes.
const AUDIENCE_LIMIT: usize = 512;
/// Shortest secret with which another machine calls us: 16 random bytes as base64url.
const SECRET_LEAST: usize = 22;
/// Hexadecimal digits of that digest.
const DIGEST: usize = 40;

/// What an account may do: its scopes and its authorization details together. What stands there as a scope may be handed
/// on, as deep as the server allows; authorization details say so themselves (`delegate`).
pub(crate) fn entitlements(account: &Account, servers: &[&Server]) -> Result<Authority, remit_model::Refusal> {
    let scoped = if account.entitlements.is_empty() {
        Authority::none()
    } else {
        Authority::from_scope_of_a_person(&account.entitlements.join(" "), servers)?
    };
    let detailed = account.authorization_details.as_ref().map(Authority::parse).transpose()?.unwrap_or_else(Authority::none);
    Ok(Authority::from_grants(scoped.grants().iter().chain(detailed.grants()).cloned()))
}

/// A rule reads like the entitlements of an account.
fn as_account(rule: &Rule) -> Account {
    Account {
        name: String::new(),
        display_name: None,
        password_hash_file: PathBuf::new(),
        entitlements: rule.scope.clone(),
        authorization_details: rule.authorization_details.clone(),
        disabled: false,
        second_factor: None,
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
        if !CHECK_EVERY.contains(&provider.check_every_s) {
            say(format!("check_every_s: must be {} to {} seconds", CHECK_EVERY.start(), CHECK_EVERY.end()));
        }
        if let Some(events) = &provider.events {
            event_problems(events).into_iter().for_each(&mut say);
        }
        for rule in &provider.entitlements {
            let fits = |authority| token_bounds::check_authority(&authority, servers);
            if let Err(refusal) = entitlements(&as_account(rule), servers).and_then(fits) {
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

fn event_problems(events: &Events) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(format!("events: {what}"));
    if let Some(Err(reason)) = events.issuer.as_deref().map(issuer) {
        say(format!("issuer: {reason}"));
    }
    if events.audience.as_ref().is_some_and(|audience| audience.is_empty() || audience.len() > AUDIENCE_LIMIT) {
        say(format!("audience: must have 1 to {AUDIENCE_LIMIT} bytes"));
    }
    if events.push_token_file.is_none() && events.poll_url.is_none() {
        say("give push_token_file, poll_url, or both".to_owned());
    }
    if let Some(Err(reason)) = events.poll_url.as_deref().map(endpoint) {
        say(format!("poll_url: {reason}"));
    }
    if events.poll_token_file.is_some() && events.poll_url.is_none() {
        say("poll_token_file needs poll_url".to_owned());
    }
    if !POLL_EVERY.contains(&events.poll_every_s) {
        say(format!("poll_every_s: must be {} to {} seconds", POLL_EVERY.start(), POLL_EVERY.end()));
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
    let url = https(text)?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must have no query, fragment, user name or password".into());
    }
    Ok(())
}

/// An address that is asked: it may have a query.
fn endpoint(text: &str) -> Result<(), String> {
    let url = https(text)?;
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must have no fragment, user name or password".into());
    }
    Ok(())
}

fn https(text: &str) -> Result<Url, String> {
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
    Ok(url)
}

/// Where people sign in, as the running server knows it.
///
/// # Errors
/// A secret or key that cannot be read.
pub(crate) fn sign_in_methods(base: &Path, providers: &[IdentityProvider], servers: &[&Server]) -> Result<SignInMethods> {
    let read = oidc(providers).map(|provider| settings(base, provider, servers).map(Arc::new));
    Ok(SignInMethods { providers: read.collect::<Result<_>>()?, local: accounts(providers).next().is_some() })
}

/// One provider, with its secret.
///
/// # Errors
/// As [`sign_in_methods`].
fn settings(base: &Path, provider: &OidcProvider, servers: &[&Server]) -> Result<ProviderSettings> {
    let named = || format!("identity provider {}", provider.name);
    let rule = |rule: &Rule| {
        let authority = entitlements(&as_account(rule), servers).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        Ok(EntitlementRule { when: rule.when.clone(), authority })
    };
    Ok(ProviderSettings {
        name: provider.name.clone(),
        title: provider.title.clone().unwrap_or_else(|| provider.name.clone()),
        issuer: provider.issuer.clone(),
        client_id: provider.client_id.clone(),
        credential: credential(base, provider).with_context(named)?,
        scopes: provider.scopes.clone(),
        demand: Demand {
            acr: provider.require.acr.clone(),
            amr: provider.require.amr.clone(),
            max_age: provider.require.max_age_s.map(i64::from),
        },
        entitlements: provider.entitlements.iter().map(rule).collect::<Result<_>>().with_context(named)?,
        check: Check { every: provider.check_every_s, required: provider.requires_check() },
        events: provider.events.as_ref().map(|events| event_settings(base, provider, events)).transpose().with_context(named)?,
        prove_each_consent: provider.prove_each_consent,
        scim: provider.scim.as_ref().map(|scim| scim_settings(base, scim)).transpose().with_context(named)?,
    })
}

fn scim_settings(base: &Path, scim: &Scim) -> Result<ScimSettings> {
    let subject = match scim.subject {
        ScimAttribute::ExternalId => ScimSubject::ExternalId,
        ScimAttribute::UserName => ScimSubject::UserName,
    };
    Ok(ScimSettings { credential: bearer(base, &scim.token_file)?, subject })
}

fn event_settings(base: &Path, provider: &OidcProvider, events: &Events) -> Result<EventSettings> {
    let secret = |file: &PathBuf| keys::read_secret(&base.join(file));
    let poll = |url: &String| -> Result<PollSettings> {
        let credential = events.poll_token_file.as_ref().map(secret).transpose()?;
        let credential = credential.map(|secret| Arc::new(secret.into()));
        Ok(PollSettings { url: url.clone(), credential, every: events.poll_every_s })
    };
    Ok(EventSettings {
        issuer: events.issuer.clone().unwrap_or_else(|| provider.issuer.clone()),
        audience: events.audience.clone(),
        push: events.push_token_file.as_ref().map(|file| bearer(base, file)).transpose()?,
        poll: events.poll_url.as_ref().map(poll).transpose()?,
    })
}

/// A secret with which another machine calls us: what anyone could guess is none.
fn bearer(base: &Path, file: &Path) -> Result<BearerSecret> {
    let secret = keys::read_secret(&base.join(file))?;
    anyhow::ensure!(secret.len() >= SECRET_LEAST, "{}: a secret has at least {SECRET_LEAST} characters", file.display());
    Ok(BearerSecret::of(&secret))
}

pub(crate) fn credential(base: &Path, provider: &OidcProvider) -> Result<ClientCredential> {
    if let Some(file) = &provider.client_key_file {
        let pem = keys::read_secret(&base.join(file))?;
        let key = PrivateKey::from_pkcs8_pem(&pem).map_err(|fault| anyhow::anyhow!("{}: {fault}", file.display()))?;
        let at_token_endpoint = provider.assertion_audience == Audience::TokenEndpoint;
        return Ok(ClientCredential::Key { key: Arc::new(key), at_token_endpoint });
    }
    Ok(match &provider.client_secret_file {
        Some(file) => ClientCredential::Secret(Arc::new(keys::read_secret(&base.join(file))?.into())),
        None => ClientCredential::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn provider(changes: &Value) -> IdentityProvider {
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
            (json!({"check_every_s": 0}), "check_every_s"),
            (json!({"check_every_s": 3601}), "check_every_s"),
            (json!({"events": {}}), "push_token_file, poll_url, or both"),
            (json!({"events": {"push_token_file": "f", "issuer": "http://id.example"}}), "events: issuer: must be https"),
            (json!({"events": {"push_token_file": "f", "audience": ""}}), "events: audience"),
            (json!({"events": {"push_token_file": "f", "poll_token_file": "g"}}), "poll_token_file needs"),
            (json!({"events": {"poll_url": "http://id.example/poll"}}), "events: poll_url: must be https"),
            (json!({"events": {"poll_url": "https://id.example/poll", "poll_every_s": 0}}), "poll_every_s"),
            (json!({"events": {"poll_url": "https://id.example/poll", "poll_every_s": 3601}}), "poll_every_s"),
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
    fn who_asks_for_offline_access_lets_in_nobody_without_a_refresh_token_unless_it_says_so() {
        for (changes, required) in [
            (json!({}), false),
            (json!({"check_required": true}), true),
            (json!({"scopes": ["openid", "offline_access"]}), true),
            (json!({"scopes": ["openid", "offline_access"], "check_required": false}), false),
            (json!({"scopes": ["openid", "offline"]}), false),
        ] {
            let IdentityProvider::Oidc(provider) = provider(&changes) else { panic!("{changes}") };
            assert_eq!(provider.requires_check(), required, "{changes}");
        }
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
