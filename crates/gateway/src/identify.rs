//! Who is calling, proved, and what they hold at this server now.
//!
//! SPEC: standards 4.1 (order of checks), 5.1 (DP-01 … DP-11), MG-01, DC-07, DC-13. A token's signature is checked once
//! and remembered under the SHA-256 that DPoP's `ath` needs anyway; a proof is checked every time. Standing
//! (revocation, quarantine, expiry) is never remembered.

use crate::settings::Settings;
use axum::http::{HeaderMap, header};
use remit_model::{
    Agent, Authority, HumanStatus,
    agent::AgentStatus,
    id::{AgentId, Principal, PrincipalKind},
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use remit_store::Snapshot;
use remit_token::{
    Actor, KeySet, Skew,
    access::{self, AccessToken},
    dpop::{self, NonceRule, Nonces, Proof, ReplaySet},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Proofs remembered against replay: two windows' worth at some thousand calls a second.
const REPLAY_CAPACITY: usize = 4_000_000;
/// Tokens remembered in each of two generations.
const TOKEN_CAPACITY: usize = 50_000;
/// Longest `Authorization` header read. X-10.
const CREDENTIAL_LIMIT: usize = 32 * 1024;

/// A caller whose token, key and standing were verified for this request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) token: Arc<AccessToken>,
    pub(crate) proof: Option<Arc<Proof>>,
    /// Token ∧ ceilings of every agent of the chain ∧ the human's entitlements, at this server.
    pub(crate) authority: Arc<Effective>,
}

/// What a token amounts to at one revision of the world.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) authority: Authority,
    pub(crate) digest: String,
    revision: u64,
}

/// Which part of the world a refused request still named: what could be learnt before it failed.
#[derive(Debug)]
pub(crate) struct Unidentified {
    pub(crate) refusal: Refusal,
    /// The token, if it was genuine: then the record can name the chain.
    pub(crate) token: Option<Arc<AccessToken>>,
}

impl Caller {
    /// The acting party: the last agent of the chain, or the subject itself.
    pub(crate) fn holder(&self) -> &str {
        self.token.actor()
    }

    /// Whether some grant shows only part of an answer; then nothing that cannot be masked is passed on.
    pub(crate) fn sees_only_fields(&self) -> bool {
        self.authority.authority.grants().iter().any(|grant| grant.fields().is_some())
    }
}

/// Verifies tokens and proofs; one for the process.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    keys: KeySet,
    nonces: Nonces,
    replay: ReplaySet,
    started: UnixTime,
    tokens: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    current: HashMap<[u8; 32], Known>,
    previous: HashMap<[u8; 32], Known>,
}

#[derive(Clone, Debug)]
struct Known {
    token: Arc<AccessToken>,
    effective: Option<Arc<Effective>>,
}

impl Gatekeeper {
    /// `secret` is fresh for this process: it makes old nonces worthless.
    pub(crate) fn new(keys: KeySet, secret: &[u8; 32], settings: &Settings, started: UnixTime) -> Self {
        Self {
            keys,
            nonces: Nonces::new(secret, "rs", dpop::nonce::PERIOD_SECS),
            replay: ReplaySet::new(REPLAY_CAPACITY, settings.proof_window),
            started,
            tokens: Mutex::default(),
        }
    }

    pub(crate) fn nonce(&self, now: UnixTime) -> String {
        self.nonces.issue(now)
    }

    /// Identifies the caller of one HTTP request.
    pub(crate) fn identify(
        &self,
        arrival: &Arrival<'_>,
        settings: &Settings,
        world: &Snapshot,
        now: UnixTime,
    ) -> Result<Caller, Unidentified> {
        let credential = credential(arrival.headers).map_err(Unidentified::nobody)?;
        let digest = access::digest(credential.token);
        let token = self.token(credential.token, &digest, arrival.server, settings, now).map_err(Unidentified::nobody)?;
        let known = |refusal: Refusal| Unidentified { refusal, token: Some(Arc::clone(&token)) };
        let proof = self.proof(arrival, &credential, &token, settings, now).map_err(known)?;
        standing(world, &token, &settings.issuer).map_err(known)?;
        let authority = self.effective(&digest, &token, arrival.server, world);
        Ok(Caller { proof: Some(Arc::new(proof)), authority, token })
    }

    fn token(
        &self,
        compact: &str,
        digest: &[u8; 32],
        server: &Server,
        settings: &Settings,
        now: UnixTime,
    ) -> Result<Arc<AccessToken>, Refusal> {
        let skew = Skew::seconds(settings.skew);
        let known = self.tokens().get(digest).map(|known| known.token);
        let token = if let Some(token) = known {
            token
        } else {
            // The audience is compared below, on both paths; the cache is shared by all servers.
            let expect = access::Expect { issuer: &settings.issuer, audience: None };
            let token = Arc::new(access::verify(compact, &self.keys, &expect, now, skew)?);
            self.tokens().insert(*digest, Known { token: Arc::clone(&token), effective: None });
            token
        };
        if token.aud != server.location {
            return Err(Refusal::new(
                Code::TokenAudienceWrong,
                format!("the token is for `{}`, not for `{}`", token.aud, server.location),
            ));
        }
        if now >= token.exp.plus(skew.as_seconds()) {
            return Err(Refusal::new(Code::TokenExpired, format!("the token expired at {}; it is {now}", token.exp)));
        }
        Ok(token)
    }

    fn proof(
        &self,
        arrival: &Arrival<'_>,
        credential: &Credential<'_>,
        token: &AccessToken,
        settings: &Settings,
        now: UnixTime,
    ) -> Result<Proof, Refusal> {
        let Some(bound_to) = token.cnf_jkt.as_deref() else {
            return Err(Refusal::new(Code::DpopKeyMismatch, "the token is bound to no key; this server takes only bound tokens"));
        };
        if credential.scheme == Scheme::Bearer {
            // SPEC: DP-11: whoever sends a bound token as Bearer shows no key.
            return Err(Refusal::new(
                Code::DpopProofMissing,
                "the token is bound to a key and must be sent with the `DPoP` scheme and a proof",
            ));
        }
        let mut values = Vec::new();
        for value in arrival.headers.get_all("dpop") {
            values.push(value.to_str().map_err(|_| Refusal::new(Code::DpopProofInvalid, "the `DPoP` header is not ASCII"))?);
        }
        let nonce = if settings.nonce_required {
            NonceRule::Required(&self.nonces)
        } else {
            NonceRule::RequiredBefore(&self.nonces, self.started)
        };
        let expect = dpop::Expect {
            method: arrival.method,
            url: &arrival.server.location,
            access_token: Some(token.digest()),
            bound_to: Some(bound_to),
            nonce,
            replay: Some(&self.replay),
            now,
            window_secs: settings.proof_window,
        };
        dpop::verify(&values, &expect)
    }

    /// Effective authority, remembered until the world changes.
    fn effective(&self, digest: &[u8; 32], token: &Arc<AccessToken>, server: &Server, world: &Snapshot) -> Arc<Effective> {
        let known = self.tokens().get(digest).and_then(|known| known.effective);
        if let Some(known) = known.filter(|known| known.revision == world.revision()) {
            return known;
        }
        let authority = narrowed(world, token).at_location(&server.location);
        let effective = Arc::new(Effective { digest: authority.digest(), authority, revision: world.revision() });
        self.tokens().insert(*digest, Known { token: Arc::clone(token), effective: Some(Arc::clone(&effective)) });
        effective
    }

    fn tokens(&self) -> MutexGuard<'_, Generations> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unidentified {
    fn nobody(refusal: Refusal) -> Self {
        Self { refusal, token: None }
    }
}

/// What of an HTTP request matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) method: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) server: &'a Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Dpop,
}

struct Credential<'a> {
    scheme: Scheme,
    token: &'a str,
}

/// SPEC: one `Authorization` header, scheme in any case, nothing from the query.
fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Refusal::new(Code::TokenMissing, "the request has no `Authorization` header"));
    };
    let malformed = |reason: &str| Refusal::new(Code::TokenMalformed, reason);
    if values.next().is_some() {
        return Err(malformed("the request has more than one `Authorization` header"));
    }
    let value = value.to_str().ok().filter(|value| value.len() <= CREDENTIAL_LIMIT);
    let (scheme, token) =
        value.and_then(|value| value.split_once(' ')).ok_or_else(|| malformed("`Authorization` is not readable"))?;
    let scheme = if scheme.eq_ignore_ascii_case("DPoP") {
        Scheme::Dpop
    } else if scheme.eq_ignore_ascii_case("Bearer") {
        Scheme::Bearer
    } else {
        return Err(Refusal::new(Code::TokenMissing, "`Authorization` must use the `DPoP` scheme"));
    };
    Ok(Credential { scheme, token: token.trim_matches(' ') })
}

/// Checks again, in the middle of something long, that the caller may go on. SPEC: MG-12.
pub(crate) fn recheck(caller: &Caller, settings: &Settings, world: &Snapshot) -> Result<(), Refusal> {
    if caller.authority.revision == world.revision() {
        return Ok(());
    }
    standing(world, &caller.token, &settings.issuer)
}

/// Whether everyone the authority came through may still act. SPEC: DC-13.
///
/// # Errors
/// `token_revoked`, `agent_quarantined` or `agent_retired` naming the agent, `client_unknown`, `human_disabled`.
pub(crate) fn standing(world: &Snapshot, token: &AccessToken, issuer: &str) -> Result<(), Refusal> {
    if world.is_revoked(&token.jti, token.ancestors.iter().map(String::as_str), &token.txn) {
        return Err(Refusal::new(Code::TokenRevoked, "the token, or one it descends from, was revoked"));
    }
    for party in parties(token) {
        if party.iss != issuer {
            return Err(Refusal::new(Code::ClientUnknown, format!("`{}` of another issuer is not known here", party.sub)));
        }
        match party.kind() {
            PrincipalKind::Human => human(world, &party)?,
            PrincipalKind::Agent => agent(world, &party)?,
        }
    }
    Ok(())
}

fn human(world: &Snapshot, party: &Principal) -> Result<(), Refusal> {
    let name = party.sub.strip_prefix("user:").unwrap_or_default();
    match world.human(name) {
        Some(human) if human.status == HumanStatus::Active => Ok(()),
        _ => Err(Refusal::new(Code::HumanDisabled, format!("`{}` may no longer act or delegate", party.sub))),
    }
}

fn agent(world: &Snapshot, party: &Principal) -> Result<(), Refusal> {
    let agent = registered(world, party);
    match agent.map(|agent| agent.status) {
        Some(AgentStatus::Active) => Ok(()),
        Some(AgentStatus::Quarantined) => Err(Refusal::new(
            Code::AgentQuarantined,
            format!("`{}` is quarantined, and with it everything it handed on", party.sub),
        )),
        Some(AgentStatus::Retired) => Err(Refusal::new(Code::AgentRetired, format!("`{}` is retired", party.sub))),
        None => Err(Refusal::new(Code::ClientUnknown, format!("`{}` is not registered", party.sub))),
    }
}

pub(crate) fn registered<'w>(world: &'w Snapshot, party: &Principal) -> Option<&'w Arc<Agent>> {
    AgentId::from_subject(&party.sub).ok().and_then(|id| world.agent(&id))
}

/// The chain as principals: the subject first, the caller last.
pub(crate) fn parties(token: &AccessToken) -> Vec<Principal> {
    let mut actors: Vec<Principal> = token.act.iter().flat_map(Actor::chain).map(Actor::principal).collect();
    actors.push(Principal { iss: token.iss.clone(), sub: token.sub.clone() });
    actors.reverse();
    actors
}

/// Token ∧ every agent's ceiling ∧ the human's entitlements. SPEC: DC-07.
fn narrowed(world: &Snapshot, token: &AccessToken) -> Authority {
    within_limits(world, token.authority.clone(), &parties(token))
}

/// An authority as far as everyone it came through may hold it now.
pub(crate) fn within_limits(world: &Snapshot, mut authority: Authority, parties: &[Principal]) -> Authority {
    for party in parties {
        authority = most(world, party).map_or_else(Authority::none, |most| authority.meet(most));
    }
    authority
}

/// The most a party may have: an agent's ceiling, a human's entitlements.
pub(crate) fn most<'w>(world: &'w Snapshot, party: &Principal) -> Option<&'w Authority> {
    match party.kind() {
        PrincipalKind::Human => world.human(party.sub.strip_prefix("user:").unwrap_or_default()).map(|human| &human.entitlements),
        PrincipalKind::Agent => registered(world, party).map(|agent| &agent.ceiling),
    }
}

impl Generations {
    fn get(&mut self, digest: &[u8; 32]) -> Option<Known> {
        if let Some(known) = self.current.get(digest) {
            return Some(known.clone());
        }
        let known = self.previous.remove(digest)?;
        self.insert(*digest, known.clone());
        Some(known)
    }

    fn insert(&mut self, digest: [u8; 32], known: Known) {
        if self.current.len() >= TOKEN_CAPACITY {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(digest, known);
    }
}
