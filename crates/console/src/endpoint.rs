//! Where an agent is called by other agents: its label `endpoint`.
//!
//! A token addressed to this URI, with the proof of the call that carried it, lets the agent act for its caller. So no two
//! agents share one, and none is an address of ours: a proof of a call through the gateway would otherwise serve the agent.

use remit_model::{Code, Refusal, display};
use url::{Host, Url};

/// The name of the label.
pub(crate) const LABEL: &str = "endpoint";

/// Checks the form of an endpoint of a server whose own URL is `issuer`.
///
/// # Errors
/// It is not https or loopback, not in canonical form, or lies on this server.
pub(crate) fn check(uri: &str, issuer: &str) -> Result<(), Refusal> {
    let bad =
        |why: &str| Refusal::new(Code::RequestMalformed, format!("the label `{LABEL}`, `{}`, {why}", display::excerpt(uri, 512)));
    let parsed = Url::parse(uri).map_err(|_| bad("is not an absolute URI"))?;
    if !(parsed.scheme() == "https" || (parsed.scheme() == "http" && is_loopback(&parsed))) {
        return Err(bad("must be https, or http on a loopback address"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() || uri.contains('#') {
        return Err(bad("must have neither user information nor a fragment"));
    }
    let bare = parsed.path() == "/" && parsed.query().is_none();
    let canonical = if bare { parsed.as_str().trim_end_matches('/') } else { parsed.as_str() };
    if canonical != uri {
        return Err(bad(&format!("is not in canonical form; write `{canonical}`")));
    }
    let ours = Url::parse(issuer).ok();
    let same_port = |ours: &Url| ours.port_or_known_default() == parsed.port_or_known_default();
    let same_host = |ours: &Url| ours.host() == parsed.host() || (is_loopback(ours) && is_loopback(&parsed));
    if ours.is_some_and(|ours| same_host(&ours) && same_port(&ours)) {
        return Err(bad("is an address of this server; name where the agent itself is called"));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn b_13_an_endpoint_is_https_or_loopback_in_canonical_form_and_not_ours() {
        for (issuer, uri, fine) in [
            ("https://remit.example", "https://desk.example/agents/summarizer", true),
            ("https://remit.example", "https://desk.example", true),
            ("https://remit.example", "https://remit.example:8443/agent", true),
            ("http://127.0.0.1:8420", "http://127.0.0.1:9000/agent", true),
            ("http://127.0.0.1:8420", "http://localhost:9000/agent", true),
            ("https://remit.example", "http://desk.example/agent", false),
            ("https://remit.example", "ftp://desk.example/", false),
            ("https://remit.example", "urn:agent:summarizer", false),
            ("https://remit.example", "summarizer", false),
            ("https://remit.example", "https://user@desk.example/", false),
            ("https://remit.example", "https://desk.example/a#b", false),
            ("https://remit.example", "https://desk.example/", false),
            ("https://remit.example", "https://DESK.example/agent", false),
            ("https://remit.example", "https://desk.example:443/agent", false),
            ("https://remit.example", "https://remit.example/mcp/helpdesk", false),
            ("https://remit.example", "https://remit.example/access/v1", false),
            ("https://remit.example", "https://remit.example", false),
            ("http://127.0.0.1:8420", "http://127.0.0.1:8420/mcp/helpdesk", false),
            ("http://127.0.0.1:8420", "http://localhost:8420/mcp/helpdesk", false),
            ("http://127.0.0.1:8420", "http://[::1]:8420/mcp/helpdesk", false),
        ] {
            assert_eq!(check(uri, issuer).is_ok(), fine, "{uri} at {issuer}");
        }
    }
}
