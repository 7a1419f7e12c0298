//! How an agent authenticates besides keys that are registered here: what may be registered.
//!
//! Implements RFC 7591 §2 (`jwks_uri`, never together with inline keys); rules TK-04, OF-01, KS-02, SP-04.

use crate::Console;
use remit_model::{Code, Credential, Refusal, SpiffePattern, WorkloadIssuer, display};
use url::{Host, Url};

/// Most credentials of one agent.
const LIMIT: usize = 16;
/// Longest address of a key set, in bytes.
const URI_LIMIT: usize = 2_048;

/// Checks the credentials of an agent, `keys` being those that are registered inline.
///
/// # Errors
/// Too many, two of a kind that there is one of, one that cannot be used, or one that names what is not configured.
pub(crate) fn check(console: &Console, credentials: &[Credential], keys: &[serde_json::Value]) -> Result<(), Refusal> {
    own_keys(credentials, keys)?;
    credentials.iter().try_for_each(|credential| one(console, credential))
}

fn own_keys(credentials: &[Credential], keys: &[serde_json::Value]) -> Result<(), Refusal> {
    if credentials.len() > LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("at most {LIMIT} credentials")));
    }
    let published: Vec<&str> = credentials
        .iter()
        .filter_map(|credential| match credential {
            Credential::JwksUri { uri } => Some(uri.as_str()),
            _ => None,
        })
        .collect();
    if !published.is_empty() && !keys.is_empty() {
        return Err(malformed("give the agent's keys either in `keys` or at a `jwks_uri`, not both"));
    }
    if published.len() > 1 {
        return Err(malformed("an agent has one `jwks_uri`"));
    }
    published.into_iter().try_for_each(jwks_uri)
}

fn one(console: &Console, credential: &Credential) -> Result<(), Refusal> {
    match credential {
        Credential::JwksUri { .. } => Ok(()),
        Credential::Spiffe { id } => spiffe(console, id),
        Credential::Certificate { thumbprint } => certificate(console, thumbprint),
        Credential::Federated { issuer, claims } => trusted(console, credential, issuer)?.check_pins(claims),
        Credential::Kubernetes { cluster, namespace, service_account, uid } => {
            for (what, text) in [("namespace", namespace), ("service account", service_account), ("UID", uid)] {
                let fine = (1..=253).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
                if !fine {
                    let shown = display::excerpt(text, 64);
                    return Err(malformed(format!("`{shown}` is not a {what} of Kubernetes")));
                }
            }
            trusted(console, credential, cluster).map(drop)
        }
    }
}

/// The configured issuer of this name and kind.
fn trusted<'a>(console: &'a Console, credential: &Credential, name: &str) -> Result<&'a WorkloadIssuer, Refusal> {
    let found = console.workload_issuers.iter().find(|issuer| issuer.is_named_by(credential));
    found.ok_or_else(|| {
        let kind = if matches!(credential, Credential::Kubernetes { .. }) { "cluster" } else { "issuer" };
        let shown = display::excerpt(name, 64);
        malformed(format!("`workload_issuers` has no {kind} `{shown}`; add it to the configuration first"))
    })
}

/// SPEC: SP-01, SP-04
fn spiffe(console: &Console, id: &str) -> Result<(), Refusal> {
    SpiffePattern::parse(id)?;
    let domain = id.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if console.trust_domains.iter().any(|known| known == domain) {
        return Ok(());
    }
    Err(malformed(format!("`spiffe.trust_domains` has no `{domain}`; add it to the configuration first")))
}

/// SPEC: RFC 8705 §2.2
fn certificate(console: &Console, thumbprint: &str) -> Result<(), Refusal> {
    if !console.client_certificates {
        return Err(malformed(
            "this server asks no client for a certificate; set `server.tls.client_certificates: optional`, or \
             `server.client_certificate_header` behind a proxy, first",
        ));
    }
    if remit_token::certificate::is_thumbprint(thumbprint) {
        return Ok(());
    }
    Err(malformed("`thumbprint` is not the SHA-256 of a certificate in base64url (`x5t#S256`), 43 characters"))
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
        own_keys(&[], &[json!({})]).unwrap();
        own_keys(&published("https://agent.example/jwks.json"), &[]).unwrap();
        own_keys(&published("https://agent.example/jwks.json"), &[json!({})]).unwrap_err();
        let two = [published("https://a.example/jwks.json"), published("https://b.example/jwks.json")].concat();
        own_keys(&two, &[]).unwrap_err();
    }

    #[test]
    fn f_07_a_key_set_is_published_over_https_or_on_loopback() {
        for fine in ["https://agent.example/jwks.json", "http://127.0.0.1:9000/jwks", "http://localhost/k", "http://[::1]:1/k"] {
            own_keys(&published(fine), &[]).unwrap();
        }
        let long = format!("https://agent.example/{}", "x".repeat(URI_LIMIT));
        for bad in
            ["http://agent.example/k", "ftp://agent.example/k", "https://u:p@agent.example/k", "https://a.example/#k", "k", &long]
        {
            own_keys(&published(bad), &[]).unwrap_err();
        }
    }
}
