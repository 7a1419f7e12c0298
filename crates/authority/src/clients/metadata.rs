//! Client metadata: what a program says about itself, in a document of its own or at the registration endpoint.
//!
//! Implements RFC 7591 §2, OpenID Connect Registration §2 (`application_type`) and draft-ietf-oauth-client-id-metadata-document;
//! rules CM-03, CM-04, DR-02, DR-03, DR-05. Pure: nothing is fetched here, and what is not listed below is not read.

use crate::signin::redirect;
use remit_model::{Code, Refusal, display};
use remit_token::{KeySet, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most redirect URIs, and most keys, of one client.
const LIST_LIMIT: usize = 16;
/// Longest URL in the metadata, in bytes.
const URL_LIMIT: usize = 512;

/// What is kept of a client's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientMetadata {
    /// What it calls itself; nothing of it is proved.
    pub(crate) name: String,
    /// Where it is called back; none means any loopback address, for a client without a key.
    pub(crate) redirect_uris: Vec<String>,
    /// Public keys of `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<Value>,
    /// Where its keys are, if it does not list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) application_type: Option<ApplicationType>,
    /// Whether its authorization requests must be pushed. SPEC: PAR-06
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) require_pushed_requests: bool,
}

/// Where a client runs. SPEC: DR-03
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApplicationType {
    /// On the computer of the person who uses it.
    Native,
    /// On a server.
    Web,
}

/// Where the metadata comes from. A document must say everything; a registration that asks for what we do not offer gets
/// what we offer, and is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin<'a> {
    /// The document at this URL, which is the `client_id`.
    Document(&'a str),
    Registration,
}

impl ClientMetadata {
    /// Whether it authenticates with a key at the token endpoint.
    pub(crate) fn is_confidential(&self) -> bool {
        !self.keys.is_empty() || self.jwks_uri.is_some()
    }

    /// Reads metadata. Empty lists count as absent: clients send them. SPEC: CM-02 to CM-04, DR-02, DR-03
    ///
    /// # Errors
    /// `redirect_uri_mismatch` for a redirect URI that may not be registered, `request_malformed` for anything else.
    pub(crate) fn read(metadata: &Value, origin: Origin<'_>) -> Result<Self, Refusal> {
        let members = metadata.as_object().ok_or_else(|| malformed("it is not a JSON object"))?;
        if let Origin::Document(url) = origin {
            document_only(members, url)?;
        }
        let confidential = method(members, origin)?;
        let (keys, jwks_uri) = if confidential { keys(members)? } else { (Vec::new(), None) };
        let application_type = match text(members, "application_type")? {
            None => None,
            Some("native") => Some(ApplicationType::Native),
            Some("web") => Some(ApplicationType::Web),
            Some(_) => return Err(malformed("`application_type` must be `native` or `web`")),
        };
        let redirect_uris = redirect_uris(members, application_type)?;
        let named = text(members, "client_name")?;
        let required = matches!(origin, Origin::Document(_));
        if required && redirect_uris.is_empty() {
            return Err(mismatch("`redirect_uris` is missing"));
        }
        if confidential && redirect_uris.is_empty() {
            return Err(mismatch("a client with a key must list its `redirect_uris`"));
        }
        let name = match named {
            Some(name) => readable(name)?.to_owned(),
            None if required => return Err(malformed("`client_name` is missing")),
            None => "a program without a name".to_owned(),
        };
        let require_pushed_requests = match members.get("require_pushed_authorization_requests") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(required)) => *required,
            Some(_) => return Err(malformed("`require_pushed_authorization_requests` must be true or false")),
        };
        Ok(Self { name, redirect_uris, keys, jwks_uri, application_type, require_pushed_requests })
    }

    /// The metadata as registered, in the words of RFC 7591 §3.2.1. SPEC: DR-01, N-DR-04
    pub(crate) fn to_value(&self) -> Value {
        let method = if self.is_confidential() { "private_key_jwt" } else { "none" };
        let mut value = json!({
            "client_name": self.name,
            "redirect_uris": self.redirect_uris,
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        });
        let optional = [
            ("jwks", (!self.keys.is_empty()).then(|| json!({"keys": self.keys}))),
            ("jwks_uri", self.jwks_uri.as_ref().map(|uri| json!(uri))),
            ("application_type", self.application_type.map(|kind| json!(kind))),
            ("require_pushed_authorization_requests", self.require_pushed_requests.then(|| json!(true))),
        ];
        if let Some(members) = value.as_object_mut() {
            members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        value
    }
}

/// SPEC: CM-02, CM-03, N-CM-01, N-CM-02
fn document_only(members: &Map<String, Value>, url: &str) -> Result<(), Refusal> {
    if members.get("client_id").and_then(Value::as_str) != Some(url) {
        return Err(malformed("its `client_id` is not the URL at which it is"));
    }
    for secret in ["client_secret", "client_secret_expires_at"] {
        if members.contains_key(secret) {
            return Err(malformed(&format!("it has a `{secret}`; a public document cannot hold a secret")));
        }
    }
    Ok(())
}

/// Whether the client authenticates with a key. SPEC: CM-03, CM-04, N-DR-04
fn method(members: &Map<String, Value>, origin: Origin<'_>) -> Result<bool, Refusal> {
    let has_keys = members.contains_key("jwks") || text(members, "jwks_uri")?.is_some();
    match (text(members, "token_endpoint_auth_method")?, origin) {
        (Some("none"), _) => Ok(false),
        (Some("private_key_jwt"), _) if !has_keys => Err(malformed("`private_key_jwt` needs `jwks` or `jwks_uri`")),
        (Some("private_key_jwt"), _) => Ok(true),
        // RFC 7591 §2: what we do not offer is replaced, and the answer shows by what.
        (None, _) | (Some(_), Origin::Registration) => Ok(has_keys),
        (Some(other), Origin::Document(_)) => {
            let other = display::excerpt(other, 64);
            Err(malformed(&format!("`token_endpoint_auth_method` must be `none` or `private_key_jwt`, not `{other}`")))
        }
    }
}

/// The keys as we write them down, with the `kid` and `alg` that they had. SPEC: CM-03, CM-04, N-F-05
fn keys(members: &Map<String, Value>) -> Result<(Vec<Value>, Option<String>), Refusal> {
    let uri = text(members, "jwks_uri")?;
    let Some(jwks) = members.get("jwks") else {
        let uri = uri.filter(|uri| uri.starts_with("https://") && uri.len() <= URL_LIMIT);
        let uri = uri.ok_or_else(|| malformed(&format!("`jwks_uri` must be an https URL of at most {URL_LIMIT} bytes")))?;
        return Ok((Vec::new(), Some(uri.to_owned())));
    };
    if uri.is_some() {
        return Err(malformed("it has both `jwks` and `jwks_uri`; one of them is enough"));
    }
    let listed = jwks.get("keys").and_then(Value::as_array).ok_or_else(|| malformed("`jwks` has no array `keys`"))?;
    if listed.is_empty() || listed.len() > LIST_LIMIT {
        return Err(malformed(&format!("`jwks` must hold 1 to {LIST_LIMIT} keys")));
    }
    let keys: Vec<Value> = listed.iter().map(public_half).collect::<Result<_, _>>()?;
    KeySet::from_keys(&keys).map_err(|refusal| malformed(&refusal.reason))?;
    Ok((keys, None))
}

fn public_half(jwk: &Value) -> Result<Value, Refusal> {
    let key = PublicKey::from_jwk(jwk).map_err(|refusal| malformed(&refusal.reason))?;
    let mut kept = key.to_jwk();
    if let Some(members) = kept.as_object_mut() {
        members.extend(["kid", "alg"].into_iter().filter_map(|name| Some((name.to_owned(), jwk.get(name)?.clone()))));
    }
    Ok(kept)
}

/// SPEC: AZ-03, DR-03, N-DR-02, N-DR-03
fn redirect_uris(members: &Map<String, Value>, kind: Option<ApplicationType>) -> Result<Vec<String>, Refusal> {
    let listed = match members.get("redirect_uris") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(mismatch("`redirect_uris` must be an array")),
    };
    if listed.len() > LIST_LIMIT {
        return Err(mismatch(&format!("at most {LIST_LIMIT} redirect URIs")));
    }
    let mut uris: Vec<String> = Vec::new();
    for uri in listed {
        let uri = uri.as_str().ok_or_else(|| mismatch("a redirect URI must be a string"))?;
        redirect::registrable(uri)?;
        let web = uri.starts_with("https://");
        if kind == Some(ApplicationType::Web) && !web {
            let shown = display::excerpt(uri, 128);
            return Err(mismatch(&format!("`{shown}` is no address of a web application: those begin with https://")));
        }
        if !uris.iter().any(|known| known == uri) {
            uris.push(uri.to_owned());
        }
    }
    Ok(uris)
}

/// A name that people can read and that does not pass for another one: no markup, and no letters of the alphabets that
/// resemble Latin beside Latin ones. SPEC: DR-05
fn readable(name: &str) -> Result<&str, Refusal> {
    display::check_name("`client_name`", name).map_err(|refusal| malformed(&refusal.reason))?;
    if name.contains(['<', '>', '&', '"']) {
        return Err(malformed("`client_name` must not contain `<`, `>`, `&` or a quotation mark"));
    }
    let latin = |c: char| c.is_ascii_alphabetic() || ('\u{c0}'..='\u{24f}').contains(&c);
    // Greek, Cyrillic, Armenian, Cherokee, and mathematical letters.
    let alike = |c: char| matches!(c, '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' | '\u{1d400}'..='\u{1d7ff}');
    if name.contains(latin) && name.contains(alike) {
        return Err(malformed("`client_name` mixes Latin letters with others that look like them"));
    }
    Ok(name)
}

/// A member that is a string; an empty one counts as absent.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(malformed(&format!("`{name}` must be a string"))),
    }
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

fn mismatch(reason: &str) -> Refusal {
    Refusal::new(Code::RedirectUriMismatch, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_token::{Algorithm, PrivateKey};

    const URL: &str = "https://client.example/oauth.json";

    fn jwk() -> Value {
        PrivateKey::from_seed(Algorithm::Es256, &[3; 32]).unwrap().public().to_jwk()
    }

    fn document(changes: &Value) -> Value {
        let mut document = json!({
            "client_id": URL, "client_name": "Example", "redirect_uris": ["http://127.0.0.1/callback"],
            "token_endpoint_auth_method": "none",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    }

    fn refused(changes: &Value) -> Refusal {
        ClientMetadata::read(&document(changes), Origin::Document(URL)).unwrap_err()
    }

    #[test]
    fn a_document_says_who_it_is_and_where_it_is_called_back() {
        let read = ClientMetadata::read(&document(&json!({})), Origin::Document(URL)).unwrap();
        assert_eq!((read.name.as_str(), read.is_confidential()), ("Example", false));
        let keyed = document(&json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk()]}}));
        assert!(ClientMetadata::read(&keyed, Origin::Document(URL)).unwrap().is_confidential());
    }

    #[test]
    fn n_cm_01_n_cm_02_another_identifier_and_secrets_are_refused() {
        for (changes, word) in [
            (json!({"client_id": "https://client.example/other.json"}), "client_id"),
            (json!({"client_id": "https://client.example/oauth.json/"}), "client_id"),
            (json!({"client_id": null}), "client_id"),
            (json!({"client_secret": "s"}), "client_secret"),
            (json!({"client_secret_expires_at": 0}), "client_secret_expires_at"),
            (json!({"token_endpoint_auth_method": "client_secret_basic"}), "client_secret_basic"),
            (json!({"token_endpoint_auth_method": "client_secret_jwt"}), "client_secret_jwt"),
            (json!({"token_endpoint_auth_method": "private_key_jwt"}), "jwks"),
            (json!({"client_name": null}), "client_name"),
            (json!({"client_name": ["Example"]}), "client_name"),
            (json!({"redirect_uris": []}), "redirect_uris"),
            (json!({"redirect_uris": "http://127.0.0.1/callback"}), "redirect_uris"),
        ] {
            assert!(refused(&changes).reason.contains(word), "{changes} {:?}", refused(&changes));
        }
        let with = |keys: Value| json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": keys}});
        let mut private = jwk();
        private["d"] = json!("AAAA");
        for keys in [json!([private]), json!([{"kty": "oct", "k": "AAAA"}]), json!([]), json!({})] {
            assert_eq!(refused(&with(keys.clone())).code, Code::RequestMalformed, "{keys}");
        }
        let both = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk()]}, "jwks_uri": "https://a.example/k"});
        assert!(refused(&both).reason.contains("both"));
    }

    #[test]
    fn n_dr_02_n_dr_03_redirects_follow_the_kind_of_application() {
        let read = |metadata: Value| ClientMetadata::read(&metadata, Origin::Registration);
        for (kind, uri) in [
            ("native", "javascript:alert(1)"),
            ("native", "data:text/html,x"),
            ("native", "http://app.example/cb"),
            ("web", "http://app.example/cb"),
            ("web", "http://localhost/cb"),
            ("web", "com.example.app:/cb"),
            ("web", "https://app.example/cb#part"),
            ("web", "https://*.example/cb"),
        ] {
            let refusal = read(json!({"application_type": kind, "redirect_uris": [uri]})).unwrap_err();
            assert_eq!(refusal.code, Code::RedirectUriMismatch, "{kind} {uri}");
        }
        for (kind, uri) in [
            ("native", "http://127.0.0.1:49152/callback"),
            ("native", "cursor://anysphere.cursor-mcp/oauth/callback"),
            ("native", "https://app.example/cb"),
            ("web", "https://app.example/cb"),
        ] {
            assert!(read(json!({"application_type": kind, "redirect_uris": [uri]})).is_ok(), "{kind} {uri}");
        }
        assert!(read(json!({"application_type": "desktop"})).is_err());
        let many: Vec<String> = (0..17).map(|n| format!("http://127.0.0.1/{n}")).collect();
        assert!(read(json!({"redirect_uris": many})).is_err());
    }

    #[test]
    fn empty_lists_are_absent_and_what_is_not_offered_is_replaced() {
        let empty = json!({"redirect_uris": [], "grant_types": [], "response_types": [], "client_name": ""});
        let read = ClientMetadata::read(&empty, Origin::Registration).unwrap();
        assert_eq!(read.redirect_uris, Vec::<String>::new());
        let asked = json!({"token_endpoint_auth_method": "client_secret_post", "grant_types": ["client_credentials"]});
        let answer = ClientMetadata::read(&asked, Origin::Registration).unwrap().to_value();
        assert_eq!(answer["token_endpoint_auth_method"], "none");
        assert_eq!(answer["grant_types"], json!(["authorization_code", "refresh_token"]), "N-DR-04");
    }

    #[test]
    fn dr_05_names_hold_no_markup_and_no_look_alikes() {
        let name = |name: &str| ClientMetadata::read(&json!({"client_name": name}), Origin::Registration);
        for bad in
            ["<b>Codex</b>", "C\u{43e}dex", "Cod\u{3b5}x", "a\u{202e}b", "a\nb", " Codex", &"x".repeat(200), "\u{1d402}odex"]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
        for fine in ["Codex", "\u{41a}\u{43e}\u{434}\u{435}\u{43a}\u{441}", "Claude \u{30c7}\u{30b9}\u{30af}", "\u{dc}berblick 2"]
        {
            assert!(name(fine).is_ok(), "{fine}");
        }
    }
}
