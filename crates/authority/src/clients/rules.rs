//! What the operator says about clients that register themselves.

use remit_model::{AgentId, Authority, Binding, Code, Refusal, UnixTime};

/// New clients that one person may let in on one day.
pub(crate) const PER_DAY: i64 = 50;
/// How the key of their count begins.
pub(crate) const BUDGET: &str = "clients let in/";
/// How the claim on a key begins.
pub(crate) const KEY: &str = "agent key ";
/// The last second of the year 9999: a claim on a key does not expire.
pub(crate) const FOR_EVER: UnixTime = UnixTime(253_402_300_799);

/// The claim on a key: it is one agent's for ever. The console claims the keys of its agents likewise.
pub(crate) fn claim(thumbprint: &str) -> String {
    format!("{KEY}{thumbprint}")
}

/// Whose claim it is.
pub(crate) fn claim_of(thumbprint: &str, agent: &AgentId) -> String {
    format!("{KEY}{thumbprint} of {agent}")
}

/// The claim that the key's owner has signed with it, or an administrator registered it.
pub(crate) fn proved(thumbprint: &str) -> String {
    format!("{KEY}{thumbprint} proved")
}

/// Whether it is what [`claim_of`] makes.
pub(crate) fn is_own_claim(key: &str) -> bool {
    key.starts_with(KEY) && key.contains(" of ")
}

/// The refusal of a key that is another agent's.
pub(crate) fn taken() -> Refusal {
    Refusal::new(
        Code::ClientUnknown,
        "a key of this program belongs, or belonged, to another one, or to an earlier registration of its own; it must make a new key \
         and register with that",
    )
}

/// What becomes of a client that registers itself, once a person consents to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// There is no such way to register.
    #[default]
    Off,
    /// It is registered as a quarantined agent, and waits for an administrator.
    Quarantine,
    /// It is registered as an active agent.
    Admit,
}

/// The rules for clients that no administrator registered.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientRules {
    /// Clients whose `client_id` is the URL of their metadata document.
    pub documents: Admission,
    /// Clients that use the registration endpoint.
    pub registration: Admission,
    /// Hosts whose documents are taken; empty for every host. An entry that begins with `.` means every name below it.
    pub allow_hosts: Vec<String>,
    /// Hosts whose documents are not taken, whatever `allow_hosts` says.
    pub deny_hosts: Vec<String>,
    /// Subject of the person who is accountable for them.
    pub owner: String,
    /// The most that any of them may do.
    pub ceiling: Authority,
    /// What their access tokens are bound to.
    pub binding: Binding,
}

impl Default for ClientRules {
    fn default() -> Self {
        Self {
            documents: Admission::Off,
            registration: Admission::Off,
            allow_hosts: Vec::new(),
            deny_hosts: Vec::new(),
            owner: String::new(),
            ceiling: Authority::none(),
            binding: Binding::default(),
        }
    }
}

impl ClientRules {
    /// Whether documents of this host are taken. SPEC: CM-05
    pub(crate) fn takes_host(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let names = |entry: &String| match entry.strip_prefix('.') {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => *entry == host,
        };
        !self.deny_hosts.iter().any(names) && (self.allow_hosts.is_empty() || self.allow_hosts.iter().any(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cm_05_a_denied_host_is_denied_though_it_is_allowed_too() {
        let list = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let rules = |allow: &[&str], deny: &[&str]| ClientRules {
            allow_hosts: list(allow),
            deny_hosts: list(deny),
            ..ClientRules::default()
        };
        assert!(rules(&[], &[]).takes_host("client.example"));
        assert!(rules(&["client.example"], &[]).takes_host("CLIENT.example."));
        assert!(rules(&[".example"], &[]).takes_host("a.b.example"));
        for (allow, deny, host) in [
            (&["client.example"][..], &[][..], "evil.example"),
            (&["client.example"], &[], "a.client.example"),
            (&[".client.example"], &[], "client.example"),
            (&[".client.example"], &[], "evilclient.example"),
            (&[], &["evil.example"], "evil.example"),
            (&[], &[".evil.example"], "a.evil.example"),
            (&["client.example"], &["client.example"], "client.example"),
            (&["client.example"], &["client.example"], "client.example."),
        ] {
            assert!(!rules(allow, deny).takes_host(host), "{host} with {allow:?} and {deny:?}");
        }
    }
}
