//! How an agent authenticates besides keys that are registered here: what may be registered.
//!
//! Implements RFC 7591 §2 (`jwks_uri`, never together with inline keys); rule TK-04.

use remit_model::{Code, Credential, Refusal, display};
use url::{Host, Url};

/// Most credentials of one agent.
const LIMIT: usize = 16;
/// Longest address of a key set, in bytes.
const URI_LIMIT: usize = 2_048;

/// Checks the credentials of an agent, `keys` being those that are registered inline.
///
/// # Errors
/// Too many, two of a kind that there is one of, or one that cannot be used.
pub(crate) fn check(credentials: &[Credential], keys: &[serde_json::Value]) -> Result<(), Refusal> {
    if credentials.len() > LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("at most {LIMIT} credentials")));
    }
    let published = credentials.iter().filter(|credential| matches!(credential, Credential::JwksUri { .. })).count();
    if published > 0 && !keys.is_empty() {
        return Err(malformed("give the agent's keys either in `keys` or at a `jwks_uri`, not both"));
    }
    if published > 1 {
        return Err(malformed("an agent has one `jwks_uri`"));
    }
    credentials.iter().try_for_each(one)
}

fn one(credential: &Credential) -> Result<(), Refusal> {
    match credential {
        Credential::JwksUri { uri } => jwks_uri(uri),
        _ => Err(malformed("this kind of credential is not supported")),
    }
}

/// https, or http on loopback. What its name resolves to is checked when it is fetched. SPEC: F-01
fn jwks_uri(uri: &str) -> Result<(), Refusal> {
    let parsed = Url::parse(uri).ok().filter(|_| uri.len() <= URI_LIMIT);
    let fine = parsed.is_some_and(|url| {
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let secure = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        secure && url.host().is_some() && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    });
    if fine {
        return Ok(());
    }
    let shown = display::excerpt(uri, 200);
    Err(malformed(format!("`{shown}` cannot be a `jwks_uri`: use an https URL without a user name, a password or a fragment")))
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn published(uri: &str) -> Vec<Credential> {
        vec![Credential::JwksUri { uri: uri.to_owned() }]
    }

    #[test]
    fn tk_04_keys_are_inline_or_published_and_never_both() {
        check(&[], &[json!({})]).unwrap();
        check(&published("https://agent.example/jwks.json"), &[]).unwrap();
        check(&published("https://agent.example/jwks.json"), &[json!({})]).unwrap_err();
        let two = [published("https://a.example/jwks.json"), published("https://b.example/jwks.json")].concat();
        check(&two, &[]).unwrap_err();
    }

    #[test]
    fn f_07_a_key_set_is_published_over_https_or_on_loopback() {
        for fine in ["https://agent.example/jwks.json", "http://127.0.0.1:9000/jwks", "http://localhost/k", "http://[::1]:1/k"] {
            check(&published(fine), &[]).unwrap();
        }
        let long = format!("https://agent.example/{}", "x".repeat(URI_LIMIT));
        for bad in
            ["http://agent.example/k", "ftp://agent.example/k", "https://u:p@agent.example/k", "https://a.example/#k", "k", &long]
        {
            check(&published(bad), &[]).unwrap_err();
        }
    }
}
