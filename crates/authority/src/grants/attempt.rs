//! Who makes a request, where it arrived and what it uses up: known before anything is decided.
//!
//! Implements the common beginning of every client request: TK-01, TK-04. What comes of the request is
//! an `Outcome`.

use crate::{
    Server,
    clients::{authenticate, client::Client, credential::ClientCredential, identifier, long_assertions, rules},
    http::{
        error::At,
        form::Form,
        origin::{RequestOrigin, network},
    },
    signin::sessions::SignedIn,
};
use axum::http::HeaderMap;
use remit_ledger::record::{Auth, AuthMethod};
use remit_model::{Authentication, Code, Confirmation, Principal, Refusal, UnixTime};
use remit_store::{JtiKind, Snapshot};
use remit_token::{PeerCertificate, dpop::Proof};
use std::{net::IpAddr, sync::Arc};

/// One request on its way to a token or a refusal.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) at: At,
    pub(crate) origin: RequestOrigin,
    pub(crate) grant_type: Option<&'static str>,
    /// The principal that asks, once it named itself.
    pub(crate) caller: Option<Caller>,
    /// Identifiers that this request uses up, whether it succeeds or not.
    pub(crate) once: Vec<Once>,
}

/// An identifier that is accepted once; after `until` it has expired anyway.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    pub(crate) kind: JtiKind,
    pub(crate) key: String,
    pub(crate) until: UnixTime,
}

/// The principal that asks, with what it showed.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) owner: Option<Principal>,
    pub(crate) auth: Auth,
    /// What it authenticated with.
    pub(crate) credential: Option<ClientCredential>,
    pub(crate) proof: Option<String>,
    /// What it proved that its tokens are bound to.
    pub(crate) confirmation: Option<Confirmation>,
}

/// What an authenticated client sent.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) form: Form,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) client: Client,
}

/// How every client request begins, at the token endpoint, at introspection and at revocation: reads the form and
/// authenticates the client. The attempt names the client that was claimed even when authentication fails.
pub(crate) async fn enter(
    server: &Server,
    attempt: Attempt,
    headers: &HeaderMap,
    form: Result<Form, Refusal>,
    now: UnixTime,
) -> (Attempt, Result<Entered, Refusal>) {
    let form = match form {
        Ok(form) => form,
        Err(refusal) => return (attempt, Err(refusal)),
    };
    enter_in(server, server.store.snapshot(), attempt, headers, form, now).await
}

/// The same in a world that may hold a client that is not registered yet.
pub(crate) async fn enter_in(
    server: &Server,
    snapshot: Arc<Snapshot>,
    attempt: Attempt,
    headers: &HeaderMap,
    form: Form,
    now: UnixTime,
) -> (Attempt, Result<Entered, Refusal>) {
    let client =
        match authenticate::authenticate(server, &snapshot, headers, attempt.origin.certificate.as_ref(), &form, now).await {
            Ok(client) => client,
            Err(refusal) => {
                let claimed = form.one("client_id").and_then(identifier::agent_id);
                let caller = claimed.map(|id| Caller::claimed(Principal::agent(&server.issuer, &id)));
                return (Attempt { caller, ..attempt }, Err(refusal));
            }
        };
    let caller = Caller::client(&server.issuer, &client);
    let once = client.credential.as_ref().and_then(|shown| shown.once.clone());
    let counted = server.count_request(&counted_as(&client, attempt.origin.peer)).and_then(|()| match &once {
        Some((key, until)) => server.long_assertions.check(long_assertions::owner(key), *until, now),
        None => Ok(()),
    });
    if let Err(refusal) = counted {
        // Nothing is used up: the client may send the same assertion again once it has waited.
        return (attempt.by(caller), Err(refusal));
    }
    let once = once.map(|(key, until)| Once { kind: JtiKind::ClientAssertion, key, until });
    let claims = client.credential.iter().flat_map(|shown| &shown.claims);
    let claims = claims.map(|key| Once { kind: JtiKind::Other, key: key.clone(), until: rules::FOR_EVER });
    let once: Vec<Once> = once.into_iter().chain(claims).collect();
    let attempt = Attempt { caller: Some(caller), once: attempt.once.into_iter().chain(once).collect(), ..attempt };
    (attempt, Ok(Entered { form, snapshot, client }))
}

/// Whose limit a request counts against. Anyone can name a client that has no key, so its limit is one for each network: an
/// IPv4 address, or an IPv6 /64, of which one host can use every address.
fn counted_as(client: &Client, peer: Option<IpAddr>) -> String {
    match (&client.credential, peer) {
        (None, Some(peer)) => format!("{} {}", client.id(), network(peer)),
        _ => client.id(),
    }
}

impl Attempt {
    pub(crate) fn new(at: At, origin: RequestOrigin) -> Self {
        Self { at, origin, grant_type: None, caller: None, once: Vec::new() }
    }

    /// Whether a refusal of this attempt, which proved nothing, may have a record of its own; otherwise it is counted.
    pub(crate) fn may_record(&self, server: &Server, code: Code) -> bool {
        server.store.records_refusal(self.at.action(), code, self.origin.peer)
    }

    pub(crate) fn by(self, caller: Caller) -> Self {
        Self { caller: Some(caller), ..self }
    }
}

impl Caller {
    fn client(issuer: &str, client: &Client) -> Self {
        let method = client.credential.as_ref().map_or(AuthMethod::None, |shown| shown.method.recorded());
        Self {
            owner: Some(Principal::local(issuer, &client.agent.owner)),
            auth: Auth { method, ..Auth::default() },
            credential: client.credential.clone(),
            ..Self::claimed(Principal::agent(issuer, &client.agent.id))
        }
    }

    /// A principal that named itself and was not authenticated.
    pub(crate) fn claimed(principal: Principal) -> Self {
        Self { principal, owner: None, auth: Auth::default(), credential: None, proof: None, confirmation: None }
    }

    /// A person who signed in.
    pub(crate) fn person(issuer: &str, user: &SignedIn) -> Self {
        let Authentication { time, acr, amr } = user.authentication.clone();
        Self {
            auth: Auth { method: AuthMethod::of(acr.as_deref(), &amr), time: Some(time), acr, amr },
            ..Self::claimed(Principal::human(issuer, &user.name))
        }
    }

    /// The caller with the proof of possession that came with its request.
    pub(crate) fn proved(self, proof: &Proof) -> Self {
        Self { proof: Some(proof.compact().to_owned()), confirmation: Some(Confirmation::Key(proof.jkt().to_owned())), ..self }
    }

    /// The caller with the certificate of its connection.
    pub(crate) fn certified(self, certificate: &PeerCertificate) -> Self {
        Self { confirmation: Some(Confirmation::Certificate(certificate.thumbprint().to_owned())), ..self }
    }
}
