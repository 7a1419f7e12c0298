//! A provider's metadata and keys. SPEC: OpenID Connect Discovery 1.0 §4, RFC 8414 §3, §5; F-04, F-05, F-07.

use crate::http::error::Rejection;
use remit_clock::Clock;
use remit_model::{Code, Refusal, display};
use remit_outbound::{Documents, Freshness, Limit, Outbound, OutboundError, Source};
use remit_token::{KeySet, provider_id_token, security_event};
use serde_json::Value;

/// Metadata and keys are used for so long when they cannot be fetched again: a provider that is down lets no one in anyway.
const STALE: i64 = 3_600;

/// What we need of a provider's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where it was found.
    pub document: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    pub userinfo_endpoint: Option<String>,
    /// It names itself in every authorization response (RFC 9207).
    pub states_issuer: bool,
    /// Its token endpoint takes a secret in the body alone.
    pub secret_in_body: bool,
    /// It sends logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.1).
    pub logs_out: bool,
    /// What it says that does not fit; a person can often sign in nevertheless.
    pub complaints: Vec<String>,
}

/// Fetches documents of providers, and keeps them.
#[derive(Debug)]
pub(crate) struct Discovery {
    metadata: Documents,
    keys: Documents,
}

impl Discovery {
    pub(crate) fn new(outbound: &Outbound, clock: &Clock) -> Self {
        let freshness = Freshness { stale: STALE, ..Freshness::default() };
        let documents = |limit| Documents::new(outbound.clone(), clock.clone(), Source::Operator, limit, freshness);
        Self { metadata: documents(Limit::METADATA), keys: documents(Limit::KEYS) }
    }

    /// The metadata of an issuer, from the first well-known place that has a document which names this very issuer.
    ///
    /// # Errors
    /// `provider_unreachable` with what each place answered; `provider_answer_invalid` for metadata that cannot be used.
    pub(crate) async fn metadata(&self, issuer: &str) -> Result<Metadata, Refusal> {
        let mut tried = Vec::new();
        for document in places(issuer) {
            let found = match self.metadata.get(&document).await {
                Ok(found) => found,
                Err(error) => {
                    tried.push(error.to_string());
                    // Without an answer the other places will not answer either: one bound, not four.
                    if matches!(error, OutboundError::Unreachable { .. }) {
                        break;
                    }
                    continue;
                }
            };
            // SPEC: RFC 8414 §3.3, J-07: otherwise it is the metadata of another issuer.
            match found.get("issuer").and_then(Value::as_str) {
                Some(stated) if stated == issuer => return read(document, &found),
                stated => tried.push(format!(
                    "{document} states the issuer `{}`, which is not exactly `{issuer}`",
                    display::excerpt(stated.unwrap_or_default(), 200)
                )),
            }
        }
        Err(Refusal::new(Code::ProviderUnreachable, format!("the identity provider has no metadata: {}", tried.join("; "))))
    }

    /// Whether the provider answers: asked now, or at most 10 seconds ago. A browser that is sent to one that does not shows a
    /// page of its own, which a person cannot act on.
    ///
    /// # Errors
    /// `provider_unreachable`.
    pub(crate) async fn answers(&self, metadata: &Metadata) -> Result<(), Refusal> {
        self.metadata.answered(&metadata.document).await.map(drop).map_err(|error| unreachable(&error))
    }

    /// The provider's keys. For the token `compact`, they are fetched again if they have no key for it.
    ///
    /// # Errors
    /// `provider_unreachable`, `provider_answer_invalid`.
    pub(crate) async fn keys(&self, metadata: &Metadata, compact: Option<&str>) -> Result<KeySet, Refusal> {
        let document = self.keys.get(&metadata.jwks_uri).await.map_err(|error| unreachable(&error))?;
        let keys = key_set(&document)?;
        let Some(compact) = compact else { return Ok(keys) };
        if provider_id_token::has_key(compact, &keys).map_err(|refusal| invalid(&refusal.reason))? {
            return Ok(keys);
        }
        // SPEC: F-05, N-F-06
        match self.keys.refresh(&metadata.jwks_uri).await {
            Ok(document) => key_set(&document),
            Err(_) => Ok(keys),
        }
    }
}

impl Discovery {
    /// The keys for a logout token, which does not come again once it is refused: fetched again if they have none for it.
    ///
    /// # Errors
    /// `provider_unreachable`, also when it names a key that is not known and cannot be asked for now: then it has to come again.
    /// `provider_answer_invalid`; `token_malformed` for a token that names no key.
    pub(crate) async fn logout_keys(&self, metadata: &Metadata, compact: &str) -> Result<KeySet, Refusal> {
        let keys = key_set(&*self.keys.get(&metadata.jwks_uri).await.map_err(|error| unreachable(&error))?)?;
        if provider_id_token::has_key(compact, &keys)? {
            return Ok(keys);
        }
        self.found_anew(&metadata.jwks_uri, compact).await
    }

    /// The keys at an address, which have none for the token yet. SPEC: F-05, N-F-06
    async fn found_anew(&self, jwks_uri: &str, compact: &str) -> Result<KeySet, Refusal> {
        let error = match self.keys.anew(jwks_uri).await {
            Ok(document) => return key_set(&document),
            Err(error) => error,
        };
        // Another request may have fetched them while this one waited.
        let keys = key_set(&*self.keys.get(jwks_uri).await.map_err(|error| unreachable(&error))?)?;
        if provider_id_token::names_unknown_key(compact, &keys)? { Err(unreachable(&error)) } else { Ok(keys) }
    }
}

/// A transmitter of security events: where its metadata was found, and where its keys are. SPEC: OpenID SSF 1.0 §7
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmitter {
    pub document: String,
    pub jwks_uri: String,
    /// The URNs of the ways in which it delivers.
    pub delivery: Vec<String>,
}

impl Discovery {
    /// The metadata of a transmitter.
    ///
    /// # Errors
    /// As [`Discovery::metadata`].
    pub(crate) async fn transmitter(&self, issuer: &str) -> Result<Transmitter, Refusal> {
        let mut tried = Vec::new();
        for document in transmitter_places(issuer) {
            let found = match self.metadata.get(&document).await {
                Ok(found) => found,
                Err(error) => {
                    tried.push(error.to_string());
                    if matches!(error, OutboundError::Unreachable { .. }) {
                        break;
                    }
                    continue;
                }
            };
            // SPEC: SS-01, SSF 1.0 §7.2.3
            match (found.get("issuer").and_then(Value::as_str), found.get("jwks_uri").and_then(Value::as_str)) {
                (Some(stated), Some(jwks_uri)) if stated == issuer => {
                    let methods = found.get("delivery_methods_supported").and_then(Value::as_array);
                    let delivery = methods.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
                    return Ok(Transmitter { document, jwks_uri: jwks_uri.to_owned(), delivery });
                }
                (Some(stated), None) if stated == issuer => tried.push(format!("{document} has no `jwks_uri`")),
                (stated, _) => tried.push(format!(
                    "{document} states the issuer `{}`, which is not exactly `{issuer}`",
                    display::excerpt(stated.unwrap_or_default(), 200)
                )),
            }
        }
        let reason = format!("the transmitter of security events has no metadata: {}", tried.join("; "));
        Err(Refusal::new(Code::ProviderUnreachable, reason))
    }

    /// The keys of a transmitter, fetched again if they have none for the token `compact`.
    ///
    /// # Errors
    /// `provider_unreachable`, also when a key that is not known could not be asked for now: then the token has to come again.
    /// `provider_answer_invalid`; `token_malformed` for a token that names no key.
    pub(crate) async fn event_keys(&self, issuer: &str, compact: &str) -> Result<KeySet, Refusal> {
        let transmitter = self.transmitter(issuer).await?;
        let keys = self.transmitter_keys(&transmitter).await?;
        if security_event::has_key(compact, &keys)? {
            return Ok(keys);
        }
        self.found_anew(&transmitter.jwks_uri, compact).await
    }

    /// The keys of a transmitter.
    ///
    /// # Errors
    /// `provider_unreachable`, `provider_answer_invalid`.
    pub(crate) async fn transmitter_keys(&self, transmitter: &Transmitter) -> Result<KeySet, Refusal> {
        let document = self.keys.get(&transmitter.jwks_uri).await.map_err(|error| unreachable(&error))?;
        key_set(&document)
    }
}

/// Where the metadata of a transmitter can be: SSF 1.0 §7.2 inserts before the path of the issuer, some append to it.
fn transmitter_places(issuer: &str) -> Vec<String> {
    const NAME: &str = "ssf-configuration";
    let appended = format!("{}/.well-known/{NAME}", issuer.trim_end_matches('/'));
    match split(issuer) {
        Some((origin, path)) => vec![format!("{origin}/.well-known/{NAME}{}", path.trim_end_matches('/')), appended],
        None => vec![appended],
    }
}

/// Origin and path of an issuer that has a path.
fn split(issuer: &str) -> Option<(&str, &str)> {
    let after_scheme = issuer.find("://").map_or(0, |at| at + 3);
    let at = issuer.get(after_scheme..)?.find('/')? + after_scheme;
    issuer.split_at_checked(at).filter(|(_, path)| *path != "/")
}

/// Where an issuer's metadata can be: OpenID Connect appends to the path of the issuer, RFC 8414 inserts before it. Some
/// providers have only one of the four.
pub(crate) fn places(issuer: &str) -> Vec<String> {
    let appended = |name: &str| format!("{}/.well-known/{name}", issuer.trim_end_matches('/'));
    let mut places = vec![appended("openid-configuration")];
    if let Some((origin, path)) = split(issuer) {
        let inserted = |name: &str| format!("{origin}/.well-known/{name}{}", path.trim_end_matches('/'));
        places.extend([inserted("openid-configuration"), inserted("oauth-authorization-server")]);
    }
    places.push(appended("oauth-authorization-server"));
    places
}

fn read(document: String, found: &Value) -> Result<Metadata, Refusal> {
    let text = |name: &str| found.get(name).and_then(Value::as_str).map(str::to_owned);
    let needed = |name: &str| text(name).ok_or_else(|| invalid(&format!("its metadata has no `{name}`")));
    let list =
        |name: &str| -> Option<Vec<&str>> { Some(found.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect()) };
    let methods = list("token_endpoint_auth_methods_supported");
    let offers = |method: &str| methods.as_ref().is_none_or(|methods| methods.contains(&method));
    let mut complaints = Vec::new();
    if list("code_challenge_methods_supported").is_some_and(|methods| !methods.contains(&"S256")) {
        complaints.push("its metadata does not list the PKCE method `S256`".to_owned());
    }
    if list("response_types_supported").is_some_and(|types| !types.contains(&"code")) {
        complaints.push("its metadata does not list the response type `code`".to_owned());
    }
    if list("id_token_signing_alg_values_supported").is_some_and(|algs| !algs.iter().any(|alg| matches!(*alg, "RS256" | "ES256")))
    {
        complaints.push("its metadata lists neither RS256 nor ES256 for ID tokens".to_owned());
    }
    Ok(Metadata {
        document,
        authorization_endpoint: needed("authorization_endpoint")?,
        token_endpoint: needed("token_endpoint")?,
        jwks_uri: needed("jwks_uri")?,
        userinfo_endpoint: text("userinfo_endpoint"),
        states_issuer: found.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        secret_in_body: !offers("client_secret_basic") && offers("client_secret_post"),
        logs_out: found.get("backchannel_logout_supported") == Some(&Value::Bool(true)),
        complaints,
    })
}

fn key_set(document: &Value) -> Result<KeySet, Refusal> {
    let keys = KeySet::from_jwks(document).map_err(|refusal| invalid(&format!("its keys cannot be used: {}", refusal.reason)))?;
    if keys.is_empty() { Err(invalid("it publishes no key that can be used")) } else { Ok(keys) }
}

pub(crate) fn unreachable(error: &OutboundError) -> Refusal {
    Refusal::new(Code::ProviderUnreachable, format!("the identity provider cannot be used now: {error}"))
}

/// What the provider says cannot be accepted.
pub(crate) fn invalid(reason: &str) -> Refusal {
    Refusal::new(Code::ProviderAnswerInvalid, format!("the identity provider's answer cannot be accepted: {reason}"))
}

/// As [`invalid`], for the refusal of a verifier.
pub(crate) fn unverified(refusal: &Refusal) -> Rejection {
    invalid(&refusal.reason).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_is_looked_for_at_every_place_that_a_standard_names() {
        assert_eq!(
            places("https://id.example/realms/staff"),
            [
                "https://id.example/realms/staff/.well-known/openid-configuration",
                "https://id.example/.well-known/openid-configuration/realms/staff",
                "https://id.example/.well-known/oauth-authorization-server/realms/staff",
                "https://id.example/realms/staff/.well-known/oauth-authorization-server",
            ]
        );
        let at_root =
            ["openid-configuration", "oauth-authorization-server"].map(|name| format!("https://id.example/.well-known/{name}"));
        assert_eq!(places("https://id.example"), at_root);
        assert_eq!(places("https://id.example/"), at_root);
    }

    #[test]
    fn ss_01_a_transmitter_is_looked_for_before_and_after_its_path() {
        assert_eq!(
            transmitter_places("https://id.example/realms/staff"),
            [
                "https://id.example/.well-known/ssf-configuration/realms/staff",
                "https://id.example/realms/staff/.well-known/ssf-configuration",
            ]
        );
        assert_eq!(transmitter_places("https://id.example/"), ["https://id.example/.well-known/ssf-configuration"]);
    }

    #[test]
    fn metadata_must_have_what_a_sign_in_needs() {
        let whole = json!({
            "authorization_endpoint": "https://i/a", "token_endpoint": "https://i/t", "jwks_uri": "https://i/k",
            "token_endpoint_auth_methods_supported": ["client_secret_post"], "code_challenge_methods_supported": ["plain"],
            "authorization_response_iss_parameter_supported": true,
        });
        let metadata = read("https://i/d".into(), &whole).unwrap();
        assert!(metadata.states_issuer && metadata.secret_in_body);
        assert_eq!(metadata.complaints.len(), 1, "{:?}", metadata.complaints);
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(name);
            let refusal = read("https://i/d".into(), &without).unwrap_err();
            assert!(refusal.reason.contains(name), "{}", refusal.reason);
        }
    }
}
