//! Redirect URIs: which one may be used, and what is sent there.
//!
//! Implements AZ-02, AZ-03 and AZ-12: exact string match with the one exception of the loopback port (RFC 8252 §7.3),
//! and RFC 9207 `iss` on every response.

use remit_model::{Code, Refusal, agent::is_private_scheme, display};
use url::Url;

/// Longest redirect URI that is registered, in bytes.
const LIMIT: usize = 512;

/// Whether `asked` is one of `registered`. A native program, which has no key and registered no URI, may listen on any
/// loopback port. SPEC: AZ-02, N-AZ-01, N-AZ-02, RFC 8252 §7.3
pub(crate) fn allowed(asked: &str, registered: &[String], native: bool) -> bool {
    if registered.is_empty() && native {
        return acceptable(asked) && is_loopback(asked);
    }
    acceptable(asked)
        && registered.iter().any(|uri| {
            uri == asked || matches!((without_loopback_port(uri), without_loopback_port(asked)), (Some(a), Some(b)) if a == b)
        })
}

/// Checks a redirect URI that is to be registered. SPEC: AZ-03
///
/// # Errors
/// `redirect_uri_mismatch`.
pub fn registrable(uri: &str) -> Result<(), Refusal> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    // A private scheme is written as a URL with a path, so that parameters can follow.
    let private = uri.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(":/"));
    if uri.len() <= LIMIT && acceptable(uri) && private && !uri.contains('@') {
        return Ok(());
    }
    Err(Refusal::new(
        Code::RedirectUriMismatch,
        format!(
            "`{}` cannot be a redirect URI: use https, loopback http, or a private scheme of your program (such as `com.example.app:/callback`), without a fragment",
            display::excerpt(uri, LIMIT)
        ),
    ))
}

/// Schemes and shapes we send a browser to, whatever is registered. SPEC: AZ-03
fn acceptable(uri: &str) -> bool {
    let Ok(parsed) = Url::parse(uri) else { return false };
    let tidy = parsed.fragment().is_none() && parsed.username().is_empty() && parsed.password().is_none();
    let scheme = match parsed.scheme() {
        "https" => true,
        "http" => without_loopback_port(uri).is_some(),
        private => is_private_scheme(private),
    };
    let host = parsed.host_str().is_none_or(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_[]:".contains(&b)));
    tidy && scheme && host && !uri.contains(['\\', '#']) && uri.bytes().all(|b| b.is_ascii_graphic())
}

/// The URI with its port cut out, when it is `http` on a loopback literal or `localhost`.
fn without_loopback_port(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(authority_end)?;
    let host = ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|host| {
        authority.strip_prefix(host).is_some_and(|port| {
            port.is_empty() || port.strip_prefix(':').is_some_and(|digits| !digits.is_empty() && digits.parse::<u16>().is_ok())
        })
    })?;
    Some((host, path))
}

pub(crate) fn is_loopback(uri: &str) -> bool {
    without_loopback_port(uri).is_some()
}

/// What the consent page calls the destination: host and port, or the private scheme. SPEC: AZ-09
pub(crate) fn host(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(parsed) => match (parsed.host_str(), parsed.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => format!("{}:", parsed.scheme()),
        },
        Err(_) => uri.to_owned(),
    }
}

/// The CSP source that lets our form redirect there (browsers apply `form-action` to redirects too).
pub(crate) fn form_action(uri: &str) -> String {
    match Url::parse(uri) {
        // `;` and `*` mean something in a policy; a URI with them in its host is not accepted in the first place.
        Ok(_) if !acceptable(uri) => String::new(),
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => parsed.origin().ascii_serialization(),
        Ok(parsed) => format!("{}:", parsed.scheme()),
        Err(_) => String::new(),
    }
}

/// The redirect with these parameters appended; `state` and `iss` always ride along. SPEC: AZ-12
pub(crate) fn with(uri: &str, parameters: &[(&str, &str)], state: Option<&str>, issuer: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", issuer);
    let joint = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{joint}{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(asked: &str, registered: &str) -> bool {
        allowed(asked, &[registered.to_owned()], false)
    }

    #[test]
    fn n_az_01_anything_but_the_exact_string_is_refused() {
        let registered = "https://app.example/cb";
        assert!(ok(registered, registered));
        for asked in [
            "https://app.example/cb/",
            "https://app.example/CB",
            "https://app.example/cb?x=1",
            "https://app.example/%63b",
            "https://app.example/./cb",
            "https://app.example./cb",
            "https://app.example:443/cb",
            "https://good@app.example/cb",
            "https://app.example\\cb",
            "http://app.example/cb",
            "https://app.example/cb#f",
            "https://evil.example/cb",
        ] {
            assert!(!ok(asked, registered), "{asked}");
        }
    }

    #[test]
    fn n_az_02_loopback_ignores_the_port_and_nothing_else() {
        let registered = "http://127.0.0.1/cb";
        assert!(ok("http://127.0.0.1:49152/cb", registered));
        assert!(ok("http://[::1]:7/cb", "http://[::1]:1/cb"));
        assert!(ok("http://localhost:39999/cb", "http://localhost/cb"));
        for asked in [
            "http://127.0.0.1:49152/other",
            "http://127.0.0.1:49152/cb?x=1",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://localhost:1/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:/cb",
            "https://127.0.0.1/cb",
        ] {
            assert!(!ok(asked, registered), "{asked}");
        }
    }

    #[test]
    fn az_03_only_https_loopback_and_private_schemes_even_when_registered() {
        for uri in [
            "javascript:alert(1)",
            "data:text/html,x",
            "http://app.example/cb",
            "https://a.example/#f",
            "/cb",
            "view-source:https://a.example/",
            "ms-settings:privacy",
            "x:/cb",
            "https://a.example;script-src/cb",
            "https://*.example/cb",
        ] {
            assert!(!ok(uri, uri), "{uri}");
            assert!(!form_action(uri).contains([';', '*']), "{uri}");
        }
        assert!(ok("com.example.app:/cb", "com.example.app:/cb"));
        assert!(ok("cursor://anysphere.cursor-retrieval/oauth/callback", "cursor://anysphere.cursor-retrieval/oauth/callback"));
    }

    #[test]
    fn az_03_only_safe_redirect_uris_are_registered() {
        for fine in [
            "https://app.example/cb",
            "https://app.example",
            "http://127.0.0.1/callback",
            "http://127.0.0.1",
            "http://localhost:3000/cb",
            "http://[::1]/cb",
            "com.example.app:/cb",
            "cursor://anysphere.cursor-retrieval/oauth/callback",
            "vscode://vscode.github-authentication/did-authenticate",
        ] {
            assert!(registrable(fine).is_ok(), "{fine}");
        }
        for bad in [
            "http://app.example/cb",
            "https://app.example/cb#x",
            "javascript:alert(1)",
            "data:text/html,x",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost.evil/cb",
            "https://good@evil.example/",
            "file:///etc/passwd",
            "view-source:https://app.example/",
            "https://*.example/cb",
            "https://app.example;script-src/cb",
            "https://app.example/ cb",
            "com.example.app:cb",
            "urn:ietf:wg:oauth:2.0:oob",
            "",
        ] {
            assert!(registrable(bad).is_err(), "{bad}");
        }
        assert!(registrable(&format!("https://app.example/{}", "a".repeat(LIMIT))).is_err());
    }

    #[test]
    fn n_az_02_a_native_program_without_a_registered_uri_may_use_any_loopback_port_and_nothing_else() {
        for asked in ["http://127.0.0.1:49152/cb", "http://[::1]:7/", "http://localhost:39999/callback"] {
            assert!(allowed(asked, &[], true), "{asked}");
            assert!(!allowed(asked, &[], false), "{asked}: an agent with a key registers where it is called back");
            assert!(!allowed(asked, &["https://app.example/cb".to_owned()], true), "{asked}");
        }
        for asked in ["https://app.example/cb", "http://127.0.0.1.evil.example/cb", "cursor://x/cb", "http://127.0.0.1:99999/cb"]
        {
            assert!(!allowed(asked, &[], true), "{asked}");
        }
    }

    #[test]
    fn az_12_state_and_issuer_ride_along_encoded() {
        let uri = with("https://a.example/cb?x=1", &[("code", "c&d")], Some("s t"), "http://127.0.0.1:1");
        assert_eq!(uri, "https://a.example/cb?x=1&code=c%26d&state=s+t&iss=http%3A%2F%2F127.0.0.1%3A1");
    }
}
