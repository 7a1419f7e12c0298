//! What a response is held against: the site, the challenge, and how much is read.

use remit_model::{Code, Refusal, json};
use serde::Deserialize;
use serde_json::Value;

/// The algorithms offered when a passkey is made, best first: COSE numbers of ES256, EdDSA and RS256.
pub const ALGORITHMS: [i64; 3] = [-7, -8, -257];

/// Longest response read, in bytes of its JSON text. SPEC: X-10.
pub const RESPONSE_LIMIT: usize = 16 << 10;

/// The site that passkeys belong to: always from configuration, never from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    id: String,
    origin: String,
}

impl RelyingParty {
    /// Of the server at this URL (`https://HOST[:PORT][/…]`, or `http` at `localhost`). `None` where browsers make no passkeys: an IP
    /// address is no relying party (Web Authentication §5.1.3), and neither is a host without TLS.
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let local = host == "localhost" || host.ends_with(".localhost");
        let label = |label: &str| {
            let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(letter) && !label.starts_with('-') && !label.ends_with('-')
        };
        // A last label of digits is an IPv4 address; brackets are an IPv6 one, and no letters.
        let named = host.split('.').all(label) && !host.rsplit('.').next()?.bytes().all(|b| b.is_ascii_digit());
        let secure = scheme == "https" || (scheme == "http" && local);
        (named && secure)
            .then(|| Self { id: host.to_owned(), origin: format!("{scheme}://{}", without_default(scheme, authority)) })
    }

    /// The relying party ID: the host's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The origin that a browser states (RFC 6454 §6.2).
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// An origin leaves out the port that its scheme has anyway.
fn without_default<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let usual = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(authority)
}

/// What a response must answer.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The site.
    pub party: &'a RelyingParty,
    /// The challenge that was sent, as bytes.
    pub challenge: &'a [u8; 32],
}

pub(super) fn invalid(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::PasskeyInvalid, reason)
}

/// Reads the JSON text that a page sends.
pub(super) fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Refusal> {
    let limits = json::Limits { bytes: RESPONSE_LIMIT, ..json::Limits::TOKEN };
    let value: Value = json::parse(text.as_bytes(), &limits).map_err(|refusal| invalid(refusal.reason))?;
    serde_json::from_value(value).map_err(|error| invalid(format!("the authenticator's response cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::RelyingParty;

    #[test]
    fn a_relying_party_is_a_name_with_tls_or_this_computer() {
        let of = |url: &str| RelyingParty::of(url).map(|party| (party.id, party.origin));
        let some = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
        assert_eq!(of("https://remit.example"), some("remit.example", "https://remit.example"));
        assert_eq!(of("https://remit.example:8443/base"), some("remit.example", "https://remit.example:8443"));
        assert_eq!(of("https://remit.example:443"), some("remit.example", "https://remit.example"));
        assert_eq!(of("http://localhost:8420"), some("localhost", "http://localhost:8420"));
        for none in [
            "http://127.0.0.1:8420",
            "https://192.0.2.7",
            "https://[::1]:8420",
            "http://remit.example",
            "https://",
            "https://REMIT.example",
            "https://a..b",
            "https://-a.example",
            "ftp://localhost",
            "localhost:8420",
            "",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
