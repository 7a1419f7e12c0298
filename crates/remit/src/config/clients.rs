//! `clients`: programs that no administrator registers.

use remit_authority::{Admission, ClientRules};
use remit_model::{Authority, Binding, PrincipalKind, Refusal, Server, token_bounds};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Programs that register themselves as OAuth clients. A person must consent to each; then it is an agent like any other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientsSection {
    /// Clients whose `client_id` is the https URL of a document that describes them: `off`, `quarantine` (an administrator
    /// activates each after the first consent) or `admit`.
    pub(crate) metadata_documents: SelfRegistration,
    /// The registration endpoint of RFC 7591: `off`, `quarantine` or `admit`.
    pub(crate) registration: SelfRegistration,
    /// Which hosts' documents are taken.
    pub(crate) hosts: HostsSection,
    /// The person who is accountable for these clients, as `user:NAME`. Required unless both ways are off.
    pub(crate) owner: Option<String>,
    /// The most that any of them may do: scope shorthand such as `helpdesk:tickets_read`.
    pub(crate) scope: Vec<String>,
    /// The same, or narrower, as RFC 9396 authorization details.
    pub(crate) authorization_details: Option<Value>,
    /// What their access tokens are bound to: `dpop`, `mtls` or `danger_bearer`.
    pub(crate) binding: BindTo,
}

/// What becomes of a client that registers itself, once a person consents to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SelfRegistration {
    /// There is no such way to register.
    #[default]
    Off,
    /// It waits, quarantined, for an administrator.
    Quarantine,
    /// It may act at once, for the person who consented.
    Admit,
}

/// Hosts of metadata documents. A name that begins with `.` stands for every name below it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostsSection {
    /// If there are any, no other host's documents are taken.
    pub(crate) allow: Vec<String>,
    /// Never taken, whatever `allow` says.
    pub(crate) deny: Vec<String>,
}

/// What access tokens are bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BindTo {
    /// A key that the client proves with each request (RFC 9449).
    #[default]
    Dpop,
    /// The certificate of its TLS connection (RFC 8705).
    Mtls,
    /// Nothing: who holds the token can use it.
    DangerBearer,
}

impl From<SelfRegistration> for Admission {
    fn from(admit: SelfRegistration) -> Self {
        match admit {
            SelfRegistration::Off => Self::Off,
            SelfRegistration::Quarantine => Self::Quarantine,
            SelfRegistration::Admit => Self::Admit,
        }
    }
}

impl From<BindTo> for Binding {
    fn from(bind: BindTo) -> Self {
        match bind {
            BindTo::Dpop => Self::Dpop,
            BindTo::Mtls => Self::Mtls,
            BindTo::DangerBearer => Self::DangerBearer,
        }
    }
}

impl ClientsSection {
    fn is_off(&self) -> bool {
        self.metadata_documents == SelfRegistration::Off && self.registration == SelfRegistration::Off
    }

    /// The rules for these servers.
    ///
    /// # Errors
    /// A ceiling that names what there is not, or that no token can state.
    pub(crate) fn rules(&self, servers: &[&Server]) -> Result<ClientRules, Refusal> {
        let scoped = match self.scope.as_slice() {
            [] => Authority::none(),
            scope => Authority::from_scope(&scope.join(" "), servers)?,
        };
        let detailed = self.authorization_details.as_ref().map(Authority::parse).transpose()?;
        let detailed = detailed.unwrap_or_else(Authority::none);
        let ceiling = Authority::from_grants(scoped.grants().iter().chain(detailed.grants()).cloned());
        token_bounds::check_authority(&ceiling, servers)?;
        Ok(ClientRules {
            documents: self.metadata_documents.into(),
            registration: self.registration.into(),
            allow_hosts: self.hosts.allow.clone(),
            deny_hosts: self.hosts.deny.clone(),
            owner: self.owner.clone().unwrap_or_default(),
            ceiling,
            binding: self.binding.into(),
        })
    }

    /// What is wrong with the section, each with the key it is about.
    pub(crate) fn problems(&self, servers: &[&Server]) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        match self.owner.as_deref() {
            None if self.is_off() => {}
            None => problems.push(("owner", "name the person who is accountable, as user:NAME".to_owned())),
            Some(owner) if PrincipalKind::Human.name_in(owner).is_none_or(str::is_empty) => {
                problems.push(("owner", format!("`{owner}` is no person; write user:NAME")));
            }
            Some(_) => {}
        }
        if !self.is_off() && self.scope.is_empty() && self.authorization_details.is_none() {
            problems.push(("scope", "say what these clients may do at most, such as `helpdesk:tickets_read`".to_owned()));
        }
        if let Err(refusal) = self.rules(servers) {
            let key = if self.authorization_details.is_some() { "authorization_details" } else { "scope" };
            problems.push((key, refusal.to_string()));
        }
        let host = |entry: &&String| {
            let name = entry.strip_prefix('.').unwrap_or(entry);
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.[]:".contains(&b);
            name.is_empty() || !name.bytes().all(fine) || name.ends_with('.')
        };
        for entry in self.hosts.allow.iter().chain(&self.hosts.deny).filter(host) {
            let reason = format!(
                "`{entry}` is no host: write it in lower case, without a scheme, port or `*`; `.example` is every name below it"
            );
            problems.push(("hosts", reason));
        }
        problems
    }
}
