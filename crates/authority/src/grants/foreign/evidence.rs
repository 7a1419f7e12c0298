//! What a foreign token proves: who the person is here, that it was meant for this agent, and that its holder wants this.
//!
//! Implements TX-02, TX-06, DC-05 (2) to (4), IR-01, IR-03, IR-05, IR-06. A token that is bound to a key is exchanged with a proof
//! of that key. The agent may have another key of its own: then it brings the holder's proof (`subject_token_proof`), and what is
//! issued is bound to the agent's key. Both proofs are kept.

use crate::{
    clients::client::Client,
    grants::{attempt::Once, request::TokenRequest, requested},
    issuers::TrustedIssuer,
    tokens::record::hash,
};
use remit_model::{Authority, Code, Identity, Principal, Refusal, Server, json};
use remit_store::JtiKind;
use remit_token::{
    Jws, Skew,
    dpop::{self, NonceRule},
    foreign::{ForeignToken, Kind},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Verified evidence.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) token: ForeignToken,
    /// The agent that acts: the client.
    pub(super) delegate: Principal,
    /// Local name of the person's account.
    pub(super) account: String,
    /// The holder's proof, where the token is bound to another key than the agent's.
    holder_proof: Option<String>,
    /// Scopes of the token's issuer, with those here.
    scopes: BTreeMap<String, String>,
    single_use: bool,
    pub(super) once: Vec<Once>,
}

/// Whether an assertion says that it is an ID-JAG. Nothing of it is verified.
pub(super) fn is_id_jag(assertion: &str) -> bool {
    let typ = Jws::parse(assertion).ok().and_then(|jws| jws.header().get("typ")?.as_str().map(str::to_ascii_lowercase));
    typ.is_some_and(|typ| typ.strip_prefix("application/").unwrap_or(&typ) == "oauth-id-jag+jwt")
}

/// Verifies a foreign token and what ties it to this request.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn gather(request: &TokenRequest<'_>, compact: &str, kind: Kind) -> Result<Evidence, Refusal> {
    let server = request.server;
    // SPEC: JB-06
    if request.form.one("client_assertion") == Some(compact) {
        return Err(Refusal::new(Code::TokenTypeWrong, "one JWT cannot authenticate the client and be its grant"));
    }
    if kind == Kind::IdJag && !server.settings.id_jag {
        return Err(Refusal::new(Code::TokenTypeWrong, "ID-JAG is not accepted here"));
    }
    let skew = Skew::seconds(server.settings.skew);
    let (token, issuer) = server.issuers.verify(compact, kind, &server.issuer, request.now, skew).await?;
    let delegate = Principal::agent(&server.issuer, &request.client.agent.id);
    addressed(&request.client, &delegate, issuer, &token)?;
    // SPEC: IR-05: by issuer and subject, and nothing else.
    let account = account(issuer, &token)
        .ok_or_else(|| Refusal::new(Code::HumanUnknown, "the person whom the token is about has no account here"))?;
    let single_use = kind.is_grant() || issuer.single_use || token.restrictions.single_use;
    let mut once = Vec::new();
    if single_use {
        // SPEC: IR-03: named by issuer and `jti`, which have no space in common.
        let until = token.exp.plus(skew.as_seconds());
        once.push(Once { kind: JtiKind::SubjectToken, key: format!("{} {}", token.iss, token.name()), until });
    }
    let holder_proof = possession(request, &token, &mut once)?;
    Ok(Evidence { delegate, account, holder_proof, scopes: issuer.scopes.clone(), single_use, once, token })
}

/// The account of the person: one that is configured for them, or the one that their identity provider's sign-in made.
fn account(issuer: &TrustedIssuer, token: &ForeignToken) -> Option<String> {
    let identity = || Identity { issuer: token.iss.clone(), subject: token.sub.clone(), withdrawn: false, provisioned: None };
    let signed_in = || Some(identity().local_name(issuer.provider.as_deref()?));
    issuer.people.get(&token.sub).cloned().or_else(signed_in)
}

/// Whether the token was meant for this agent. SPEC: DC-05 (3) and (4), TX-02, IR-01, N-IR-03, N-TX-15
fn addressed(client: &Client, delegate: &Principal, issuer: &TrustedIssuer, token: &ForeignToken) -> Result<(), Refusal> {
    if !token.restrictions.admits(delegate, &token.iss) {
        let reason = format!("the token lets another party than `{}` act with it (`may_act`)", delegate.sub);
        return Err(Refusal::new(Code::DelegateNotNamed, reason));
    }
    let named = token.client.as_deref();
    let ours = named == Some(delegate.sub.as_str());
    let theirs = named.and_then(|name| issuer.clients.get(name)) == Some(&client.agent.id);
    let meant = match token.kind {
        Kind::IdJag => ours,
        Kind::JwtGrant => ours || theirs || (named.is_none() && token.restrictions.may_act.is_some()),
        Kind::AccessToken => theirs || token.restrictions.may_act.is_some(),
    };
    if meant { Ok(()) } else { Err(Refusal::new(Code::ChainSpliced, "the token was issued to another client than this agent")) }
}

/// The holder's proof, where the token is bound to a key that is not the agent's. SPEC: TX-06, IR-06, N-TX-09
fn possession(request: &TokenRequest<'_>, token: &ForeignToken, once: &mut Vec<Once>) -> Result<Option<String>, Refusal> {
    let brought = request.form.one("subject_token_proof");
    let Some(jkt) = token.jkt.as_deref() else {
        return match brought {
            None => Ok(None),
            Some(_) => Err(Refusal::new(Code::EdgeProofInvalid, "the token is bound to no key, so there is nothing to prove")),
        };
    };
    if jkt == request.proven()?.jkt() {
        return Ok(None);
    }
    let other = |reason: &str| Err(Refusal::new(Code::DpopKeyMismatch, reason));
    // SPEC: IR-06, N-IR-05: an assertion is redeemed with its own key.
    if token.kind.is_grant() {
        return other("the assertion is bound to another key than the one that the request proves");
    }
    let Some(proof) = brought else {
        return other(
            "the subject token is bound to another key; bring its holder's proof as `subject_token_proof`: a DPoP proof with `ath`, \
             for the token endpoint or for this agent's registered endpoint",
        );
    };
    let server = request.server;
    let token_endpoint = server.url("/oauth/token");
    let window = server.settings.dpop_window;
    let digest = token.digest();
    let verify = |url: &str| {
        let expect = dpop::Expect {
            method: "POST",
            url,
            access_token: Some(&digest),
            bound_to: Some(jkt),
            known: None,
            nonce: NonceRule::Ignored,
            replay: None,
            now: request.now,
            window_secs: window,
        };
        dpop::verify(&[proof], &expect)
    };
    let seen = verify(&token_endpoint)
        .or_else(|refusal| requested::endpoint(&request.client.agent).ok_or(refusal).and_then(verify))
        .map_err(|refusal| {
            let reason = format!("`subject_token_proof` is not the proof of the token's holder: {}", refusal.reason);
            Refusal::new(Code::EdgeProofInvalid, reason)
        })?;
    once.push(Once { kind: JtiKind::DpopAtCall, key: format!("{} {}", seen.jkt(), seen.jti), until: seen.iat.plus(2 * window) });
    Ok(Some(seen.compact().to_owned()))
}

impl Evidence {
    /// What the token's scopes stand for here. A token without any hands over nothing. SPEC: TX-04
    pub(super) fn handed(&self, servers: &[Arc<Server>]) -> Result<Authority, Refusal> {
        let servers: Vec<&Server> = servers.iter().map(AsRef::as_ref).collect();
        let scopes = self.token.scope.as_deref().unwrap_or_default().split(' ').filter(|scope| !scope.is_empty());
        let mut grants = Vec::new();
        for scope in scopes {
            let here = match self.token.kind {
                // It was made for this server, so its scopes are those of this server.
                Kind::IdJag => Some(scope),
                Kind::AccessToken | Kind::JwtGrant => self.scopes.get(scope).map(String::as_str),
            };
            if let Some(here) = here {
                grants.extend(Authority::from_scope(here, &servers)?.grants().iter().cloned());
            }
        }
        Ok(Authority::from_grants(grants))
    }

    /// The resources that the token is for, as this server knows them; none when it does not say. SPEC: IR-04
    pub(super) fn resources(&self, servers: &[Arc<Server>]) -> Result<Vec<String>, Refusal> {
        let mut known = Vec::new();
        for resource in &self.token.resources {
            let resource = requested::canonical(resource)?;
            if servers.iter().any(|server| server.location == resource) {
                known.push(resource);
            }
        }
        if known.is_empty() && !self.token.resources.is_empty() {
            return Err(Refusal::new(Code::ResourceUnknown, "the assertion is for resources that are not registered here"));
        }
        Ok(known)
    }

    /// Plain facts for the record. SPEC: TX-12, IR-07
    pub(super) fn facts(&self) -> [(&'static str, Value); 4] {
        [
            ("proved_by", "foreign_token".into()),
            ("subject_issuer", self.token.iss.as_str().into()),
            ("subject_jti_hash", hash(&self.token.name()).into()),
            ("subject_token_hash", json::label(&self.token.digest()).into()),
        ]
    }

    /// What an auditor needs besides the token itself: committed beside the record.
    pub(super) fn committed(&self) -> Value {
        let mut committed = json!({
            "kind": self.token.kind, "jwk": self.token.jwk(), "single_use": self.single_use,
        });
        if let (Some(proof), Some(members)) = (&self.holder_proof, committed.as_object_mut()) {
            members.insert("proof".to_owned(), json!(proof));
        }
        committed
    }
}
