//! Who is calling, proved, and what they hold at this server now.
//!
//! SPEC: standards 4.1 (order of checks), 5.1 (DP-01 … DP-11), MG-01, DC-07, DC-13. A token's signature is checked once
//! and remembered under the SHA-256 that DPoP's `ath` needs anyway (`verified_token.rs`); a proof is checked every time. Standing
//! (revocation, quarantine) is looked at again whenever the world changed, expiry always.

use crate::{
    road::{
        request_origin::RequestOrigin,
        verified_token::{self, Tokens, VerifiedToken},
    },
    settings::Settings,
};
use axum::http::{HeaderMap, header};
use remit_decide::{Current, Effective, Principals};
use remit_model::{
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
    token_bounds,
};
use remit_store::{Snapshot, Store};
use remit_token::{
    AcceptedKeys, PeerCertificate, Skew,
    access::{self, AccessToken},
    dpop::{self, NonceRule, Nonces, Proof, ReplaySet},
};
use std::{borrow::Cow, sync::Arc};

/// Longest `Authorization` header read: a scheme and a token. SPEC: X-10.
const CREDENTIAL_LIMIT: usize = "Bearer ".len() + token_bounds::TOKEN.size();

/// A caller whose token, key and standing were verified for this request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) token: Arc<VerifiedToken>,
    /// None with a token that is bound to no key.
    pub(crate) proof: Option<Arc<Proof>>,
    /// What the token amounts to at this server.
    pub(crate) authority: Arc<Effective>,
    /// The revision of the registry in which that was found.
    pub(crate) revision: u64,
}

/// Which part of the world a refused request still named: what could be learnt before it failed.
#[derive(Debug)]
pub(crate) struct Unidentified {
    pub(crate) refusal: Refusal,
    /// The token, if it was genuine: then the record can name the chain.
    pub(crate) token: Option<Arc<VerifiedToken>>,
    /// The caller proved that it holds the token's key; it may not act nevertheless.
    pub(crate) proven: bool,
}

impl Unidentified {
    /// Whether the refusal has a record of its own. Those that a caller can repeat at will are counted once they become many,
    /// and a first request without a token is how every client finds the metadata: it is not an attempt at anything.
    pub(crate) fn is_recorded(&self, store: &Store, origin: &RequestOrigin) -> bool {
        let code = self.refusal.code;
        code != Code::TokenMissing && (self.proven || store.records_refusal(origin.endpoint.action, code, origin.peer))
    }
}

impl Caller {
    /// The acting party: the last agent of the chain, or the subject itself.
    pub(crate) fn holder(&self) -> &str {
        self.token.actor()
    }

    /// Looks again at what time and the world made of the caller, after something from outside was waited for.
    ///
    /// # Errors
    /// `token_expired`, or as [`VerifiedToken::current`].
    pub(crate) fn again(&mut self, settings: &Settings, snapshot: &Snapshot, now: UnixTime) -> Result<(), Refusal> {
        unexpired(&self.token, settings, now)?;
        let current = self.token.current(Principals::new(&settings.issuer, snapshot))?;
        (self.authority, self.revision) = (current.effective, current.revision);
        Ok(())
    }

    /// Whether some grant shows only part of an answer; then nothing that cannot be masked is passed on.
    pub(crate) fn sees_only_fields(&self) -> bool {
        self.authority.authority.grants().iter().any(|grant| grant.fields().is_some())
    }
}

/// Verifies tokens and proofs; one for the process.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    accepted: AcceptedKeys,
    nonces: Arc<Nonces>,
    replay: ReplaySet,
    /// Proofs of those who may not act. They have a memory of their own, so that they take no room from those who may.
    refused: ReplaySet,
    tokens: Arc<Tokens>,
}

impl Gatekeeper {
    pub(crate) fn new(nonces: Arc<Nonces>, settings: &Settings, store: &Store) -> Self {
        let tokens = Arc::new(Tokens::new(verified_token::ROOM));
        let remembered = Arc::clone(&tokens);
        store.when_erased(move |_| remembered.clear());
        Self {
            accepted: AcceptedKeys::default(),
            nonces,
            replay: ReplaySet::new(settings.remembered_proofs, settings.proof_window),
            refused: ReplaySet::new(settings.remembered_proofs / 16, settings.proof_window),
            tokens,
        }
    }

    pub(crate) fn remembered(&self) -> usize {
        self.tokens.size().0
    }

    pub(crate) fn nonce(&self, now: UnixTime) -> String {
        self.nonces.issue(now)
    }

    /// Identifies the caller of one HTTP request. `count` takes the acting party and refuses it when it asks too often; a party
    /// that may not act is counted too. SPEC: MG-21
    pub(crate) fn identify(
        &self,
        arrival: &IncomingRequest<'_>,
        settings: &Settings,
        store: &Store,
        now: UnixTime,
        count: impl FnOnce(&str) -> Result<(), Refusal>,
    ) -> Result<Caller, Unidentified> {
        let snapshot = store.snapshot();
        let credential = credential(arrival.headers, settings).map_err(Unidentified::nobody)?;
        let digest = access::digest(credential.token);
        let (token, remembered) =
            self.token(credential.token, &digest, arrival.server, (settings, &snapshot), now).map_err(Unidentified::nobody)?;
        let known = |refusal: Refusal| Unidentified { refusal, token: Some(Arc::clone(&token)), proven: false };
        let proof = self.proof(arrival, &credential, &token, settings, now).map_err(known)?;
        if let Some(proof) = &proof {
            // A proof that comes again is its sender's own refusal: it counts for no client's limit.
            self.refused.look(proof, now).and_then(|()| self.replay.look(proof, now)).map_err(known)?;
        }
        // A request over the limit takes no room in the memory of those who are served.
        let refused = || proof.as_ref().map(|proof| self.refused.remember(proof, now));
        count(&counted_as(&token, Principals::new(&settings.issuer, &snapshot))).map_err(|refusal| {
            let _ = refused();
            known(refusal)
        })?;
        let current = token.current(Principals::new(&settings.issuer, &snapshot)).map_err(|refusal| {
            // The token of someone who may not act any more, or was erased, is not kept in memory either.
            self.tokens.remove(&digest);
            // Used up is its proof nevertheless: the request must not be sent again once the caller may act. When there is no room
            // left, this cannot be promised; the request is refused in any case.
            let _ = refused();
            Unidentified { proven: true, ..known(refusal) }
        })?;
        if let Some(proof) = &proof {
            self.replay.remember(proof, now).map_err(known)?;
        }
        if !remembered {
            self.remember(&token, credential.token, &current, store, settings);
        }
        Ok(Caller { proof: proof.map(Arc::new), authority: current.effective, revision: current.revision, token })
    }

    fn remember(&self, token: &Arc<VerifiedToken>, compact: &str, current: &Current, store: &Store, settings: &Settings) {
        self.tokens.put(*token.digest(), Arc::clone(token), VerifiedToken::bytes(compact, &current.effective));
        // An erasure that came in between emptied this memory before.
        let snapshot = store.snapshot();
        let principals = Principals::new(&settings.issuer, &snapshot);
        if snapshot.revision() != current.revision && token.still_active(principals).is_err() {
            self.tokens.remove(token.digest());
        }
    }

    /// The verified token, and whether it was remembered.
    fn token(
        &self,
        compact: &str,
        digest: &[u8; 32],
        server: &Server,
        (settings, snapshot): (&Settings, &Snapshot),
        now: UnixTime,
    ) -> Result<(Arc<VerifiedToken>, bool), Refusal> {
        let skew = Skew::seconds(settings.skew);
        // The audience is compared below, on both paths; the memory is shared by all servers.
        let expect = access::Expect { issuer: &settings.issuer, audience: None };
        let known = self.tokens.get(digest).filter(|token| token.meets(&expect, now, skew));
        let remembered = known.is_some();
        let token = if let Some(token) = known {
            token
        } else {
            let keys = self.accepted.at(snapshot.issuer_keys(), now);
            Arc::new(VerifiedToken::new(access::verify(compact, &keys, &expect, now, skew)?))
        };
        if token.aud != server.location {
            return Err(Refusal::new(
                Code::TokenAudienceWrong,
                format!("the token is for `{}`, not for `{}`", token.aud, server.location),
            ));
        }
        Ok((token, remembered))
    }

    /// The proof of the token's key; none where the token is bound to no key. Whether its holder may have such a token is for
    /// the decision point.
    fn proof(
        &self,
        arrival: &IncomingRequest<'_>,
        credential: &Credential<'_>,
        token: &VerifiedToken,
        settings: &Settings,
        now: UnixTime,
    ) -> Result<Option<Proof>, Refusal> {
        if let Some(bound_to) = token.cnf_x5t.as_deref() {
            return certified(arrival, credential, bound_to, settings).map(|()| None);
        }
        let Some(bound_to) = token.cnf_jkt.as_deref() else {
            return unbound(credential, settings).map(|()| None);
        };
        if credential.scheme == Scheme::Bearer {
            // SPEC: DP-11: a caller that sends a bound token as Bearer shows no key.
            return Err(Refusal::new(
                Code::DpopProofMissing,
                "the token is bound to a key and must be sent with the `DPoP` scheme and a proof",
            ));
        }
        let mut values = Vec::new();
        for value in arrival.headers.get_all("dpop") {
            values.push(value.to_str().map_err(|_| Refusal::new(Code::DpopProofInvalid, "the `DPoP` header is not ASCII"))?);
        }
        let nonce = if settings.nonce_required { NonceRule::Required(&self.nonces) } else { NonceRule::Optional(&self.nonces) };
        let expect = dpop::Expect {
            method: arrival.method,
            url: arrival.url,
            access_token: Some(token.digest()),
            bound_to: Some(bound_to),
            known: token.proof_header(),
            nonce,
            replay: Some(&self.replay),
            now,
            window_secs: settings.proof_window,
        };
        let proof = dpop::verify(&values, &expect)?;
        token.remember(&proof);
        Ok(Some(proof))
    }
}

impl Unidentified {
    fn nobody(refusal: Refusal) -> Self {
        Self { refusal, token: None, proven: false }
    }
}

/// What of an HTTP request matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IncomingRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// What the proof must be for (`htu`).
    pub(crate) url: &'a str,
    /// The certificate that the client of the connection proved.
    pub(crate) certificate: Option<&'a PeerCertificate>,
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

/// What a client hears first. One that only has bearer tokens learns here what it can do.
fn no_token(settings: &Settings) -> String {
    let bound = if settings.danger_bearer { "" } else { CONNECT };
    format!("the request has no `Authorization` header{bound}")
}

const CONNECT: &str = "; access tokens are bound to a key that each request proves (DPoP). A client without DPoP connects through \
                       `remit connect`; or an operator allows `agents.danger_bearer` and registers its agent with `binding: danger_bearer`";

/// SPEC: one `Authorization` header, scheme in any case, nothing from the query.
fn credential<'h>(headers: &'h HeaderMap, settings: &Settings) -> Result<Credential<'h>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Refusal::new(Code::TokenMissing, no_token(settings)));
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

/// Whose limit a request counts against. Many people use one client that has no key, so each has a limit of their own there: one
/// of them cannot use up what the others need. SPEC: TK-11
fn counted_as<'t>(token: &'t VerifiedToken, principals: Principals<'_>) -> Cow<'t, str> {
    let public = principals.agent(token.holder()).is_some_and(|agent| agent.is_public());
    if public { Cow::Owned(format!("{} {}", token.actor(), token.sub)) } else { Cow::Borrowed(token.actor()) }
}

/// SPEC: DP-11: a token that is bound to no key is a bearer token, whatever proof comes with it.
fn unbound(credential: &Credential<'_>, settings: &Settings) -> Result<(), Refusal> {
    let reason = match (settings.danger_bearer, credential.scheme) {
        (true, Scheme::Bearer) => return Ok(()),
        (true, Scheme::Dpop) => "the token is bound to no key, so no proof belongs to it; send it with the `Bearer` scheme",
        (false, _) => "the token is bound to no key; this server takes only bound tokens (`agents.danger_bearer: refused`)",
    };
    Err(Refusal::new(Code::DpopKeyMismatch, reason))
}

/// A token that is bound to a certificate is used over a connection of that certificate, as a `Bearer` token. SPEC: RFC 8705 §3
fn certified(
    arrival: &IncomingRequest<'_>,
    credential: &Credential<'_>,
    bound_to: &str,
    settings: &Settings,
) -> Result<(), Refusal> {
    if credential.scheme == Scheme::Dpop {
        let reason = "the token is bound to a certificate, so no proof belongs to it; send it with the `Bearer` scheme";
        return Err(Refusal::new(Code::CertificateMismatch, reason));
    }
    match arrival.certificate {
        Some(shown) if shown.thumbprint() == bound_to => Ok(()),
        Some(_) => {
            Err(Refusal::new(Code::CertificateMismatch, "the token is bound to another certificate than that of the connection"))
        }
        None => Err(Refusal::new(Code::CertificateMissing, no_certificate(settings.client_certificates))),
    }
}

/// Why there is no certificate where one is needed, and what to do.
fn no_certificate(asked: bool) -> &'static str {
    if asked {
        "the token is bound to a certificate, and the client showed none in the TLS handshake"
    } else {
        "the token is bound to a certificate, and this server asks for none; an operator sets `server.tls.client_certificates: \
         optional` or `server.client_certificate_header`"
    }
}

fn unexpired(token: &AccessToken, settings: &Settings, now: UnixTime) -> Result<(), Refusal> {
    if now >= token.exp.plus(Skew::seconds(settings.skew).as_seconds()) {
        return Err(Refusal::new(Code::TokenExpired, format!("the token expired at {}; it is {now}", token.exp)));
    }
    Ok(())
}

/// Checks again, in the middle of something long, that the caller may go on. SPEC: MG-12.
pub(crate) fn recheck(caller: &Caller, settings: &Settings, snapshot: &Snapshot) -> Result<(), Refusal> {
    if caller.revision == snapshot.revision() {
        return Ok(());
    }
    caller.token.still_active(Principals::new(&settings.issuer, snapshot))
}
