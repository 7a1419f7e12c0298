//! Finding the client of an authorization request: a registered agent, or one that a person may let in now.
//!
//! Implements draft-ietf-oauth-client-id-metadata-document and the second half of RFC 7591; rules CM-01 to CM-07, PAR-07,
//! N-CM-06. Nothing is written: a document stays in the bounded cache of fetched documents, and a registration travels sealed
//! in its own `client_id`. `admission.rs` writes what a person consents to.

use crate::{
    Server,
    clients::{
        identifier::{self, ClientId},
        metadata::{ClientMetadata, Origin},
        rules::Admission,
    },
    http::origin::network,
    signin::seal::Purpose,
};
use remit_model::{Acts, Agent, AgentId, AgentStatus, ClientProfile, Code, Credential, Refusal, Registration, UnixTime, display};
use remit_store::Snapshot;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use url::Url;

/// An agent that is not registered yet, or not as it now describes itself. A person's consent makes it so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) agent: Agent,
    /// What is different from what is registered, in words; nothing for a new client.
    pub(crate) changed: Vec<String>,
}

/// The client of a request, in the world as it is or, with a candidate, as it would be.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) world: Arc<Snapshot>,
    pub(crate) id: AgentId,
    pub(crate) candidate: Option<Box<Candidate>>,
}

/// Finds the client, and fetches its document if it has one.
///
/// # Errors
/// `client_unknown` for what is not registered and cannot be let in, with the reason; `rate_limited`.
pub(crate) async fn find(
    server: &Server,
    snapshot: Arc<Snapshot>,
    client_id: &str,
    peer: Option<IpAddr>,
    now: UnixTime,
) -> Result<Found, Refusal> {
    let id = identifier::agent_id(client_id).ok_or_else(unknown)?;
    let known = identifier::registered(&snapshot, client_id);
    let rules = &server.settings.clients;
    let form = ClientId::read(client_id).ok_or_else(unknown)?;
    let metadata = match (form, &known) {
        (ClientId::Document(url), _) if rules.documents != Admission::Off => document(server, url, peer).await?,
        (ClientId::Dynamic { name, sealed }, None) if rules.registration != Admission::Off => {
            server.seal.open(Purpose::Registration, name.as_bytes(), sealed, now).ok_or_else(expired)?
        }
        (_, Some(_)) => return Ok(Found { world: snapshot, id, candidate: None }),
        (ClientId::Document(_), None) => {
            return Err(Refusal::new(
                Code::ClientUnknown,
                "the program that sent you here is not registered, and this server does not read metadata documents of clients. An \
                 administrator can register the program, or allow its kind (`clients.metadata_documents`)",
            ));
        }
        (_, None) => return Err(unknown()),
    };
    // The name is taken by an agent of another origin: 64 bits of a digest were forged, or an administrator chose it.
    if known.is_none() && snapshot.has_agent(&id) {
        return Err(unknown());
    }
    let candidate = candidate(server, &id, client_id, metadata, known.as_deref(), now);
    let world = candidate.as_ref().map_or(snapshot.clone(), |candidate| Arc::new(as_if(&snapshot, candidate)));
    Ok(Found { world, id, candidate })
}

/// The world in which a candidate is registered and active, for the page that asks a person about it.
pub(crate) fn as_if(snapshot: &Snapshot, candidate: &Candidate) -> Snapshot {
    snapshot.with_agent(candidate.agent.clone())
}

/// SPEC: CM-01, CM-02, CM-05, PAR-07
async fn document(server: &Server, url: &str, peer: Option<IpAddr>) -> Result<ClientMetadata, Refusal> {
    let parsed = identifier::document_url(url)?;
    let host = parsed.host_str().unwrap_or_default();
    if !server.settings.clients.takes_host(host) {
        let host = display::excerpt(host, 128);
        return Err(Refusal::new(
            Code::ClientUnknown,
            format!(
                "{host} is not a host whose programs may register themselves here. An administrator can change that (`clients.hosts`)"
            ),
        ));
    }
    if server.documents.would_fetch(url) {
        count_fetch(server, host, peer)?;
    }
    let fetched = server.documents.get(url).await;
    let document = fetched.map_err(|error| unusable(&error.to_string()))?;
    let metadata = ClientMetadata::read(&document, Origin::Document(url)).map_err(|refusal| unusable(&refusal.reason))?;
    if let Some(uri) = &metadata.jwks_uri {
        // SPEC: F-07, N-CM-05
        server.outbound.check(uri, remit_outbound::Source::Stranger).map_err(|error| unusable(&error.to_string()))?;
    }
    Ok(metadata)
}

/// Counts what is fetched for strangers, before it is, so that a flood of invented addresses costs others nothing. What is known
/// already counts for nobody: a flood for one host does not keep its clients out.
fn count_fetch(server: &Server, host: &str, peer: Option<IpAddr>) -> Result<(), Refusal> {
    let now = server.clock.now().mono_ns;
    let from = peer.map(network).unwrap_or_default();
    [format!("from {from}"), format!("at {host}")]
        .iter()
        .try_for_each(|who| server.fetches.take(who, now).map_err(|over| over.refusal()))
}

/// The agent that the metadata describes, unless it is registered just so.
fn candidate(
    server: &Server,
    id: &AgentId,
    client_id: &str,
    metadata: ClientMetadata,
    known: Option<&Agent>,
    now: UnixTime,
) -> Option<Box<Candidate>> {
    let ClientMetadata { name, redirect_uris, keys, jwks_uri, require_pushed_requests, .. } = metadata;
    let credentials: Vec<Credential> = jwks_uri.into_iter().map(|uri| Credential::JwksUri { uri }).collect();
    if let Some(known) = known {
        let changed = [
            ("its name", known.display_name != name),
            ("where it is called back", known.redirect_uris != redirect_uris),
            ("its keys", known.keys != keys || known.client.credentials != credentials),
            ("how it asks", known.client.require_pushed_requests != require_pushed_requests),
        ];
        let changed: Vec<String> = changed.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()).collect();
        let client = ClientProfile { credentials, require_pushed_requests, ..known.client.clone() };
        let agent = Agent { display_name: name, redirect_uris, keys, client, ..known.clone() };
        return (!changed.is_empty()).then(|| Box::new(Candidate { agent, changed }));
    }
    let rules = &server.settings.clients;
    let registration = match ClientId::read(client_id) {
        Some(ClientId::Document(url)) => Registration::MetadataDocument { url: url.to_owned() },
        _ => Registration::Dynamic { client_id: client_id.to_owned() },
    };
    let agent = Agent {
        id: id.clone(),
        display_name: name,
        owner: rules.owner.clone(),
        status: AgentStatus::Active,
        keys,
        redirect_uris,
        ceiling: rules.ceiling.clone(),
        labels: BTreeMap::new(),
        // It acts for the people who let it in, and never by itself.
        acts: Acts::OnBehalf,
        client: ClientProfile {
            binding: rules.binding,
            registration,
            credentials,
            require_pushed_requests,
            ..ClientProfile::default()
        },
        registered: now,
    };
    Some(Box::new(Candidate { agent, changed: Vec::new() }))
}

impl Candidate {
    /// Whether there is no such agent yet.
    pub(crate) fn is_new(&self) -> bool {
        self.changed.is_empty()
    }
}

/// Who vouches for the name of a client, as the consent page says it. SPEC: AZ-09, CM-05
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// An administrator registered it.
    Administrator,
    /// The host of its document.
    Host(String),
    /// Nothing does.
    None,
}

/// Who vouches for this agent.
pub(crate) fn publisher(agent: &Agent) -> Publisher {
    match &agent.client.registration {
        Registration::Administrator => Publisher::Administrator,
        Registration::Dynamic { .. } => Publisher::None,
        Registration::MetadataDocument { url } => {
            let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
            host.map_or(Publisher::None, Publisher::Host)
        }
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::ClientUnknown, "the program that sent you here is not registered")
}

fn expired() -> Refusal {
    Refusal::new(
        Code::ClientUnknown,
        "the registration of the program that sent you here has expired before it was used; the program must register again",
    )
}

fn unusable(reason: &str) -> Refusal {
    let reason = display::excerpt(reason, 256);
    Refusal::new(Code::ClientUnknown, format!("the document that describes the program cannot be used: {reason}"))
}
