//! From an authorization request to a person's yes or no.
//!
//! Implements AZ-09 to AZ-15: what is shown is computed once, its digest is signed later in the ID token, and exactly that
//! is granted. Consent is asked every time.

use crate::{
    Server,
    clients::{
        admission,
        candidate::{self, Candidate},
    },
    grants::{
        attempt::{Attempt, Caller, Once},
        consented::{self, Consented},
        outcome::Facts,
    },
    http::{
        error::{self, At, Rejection},
        origin::{Incoming, RequestOrigin},
    },
    offboarding::asking,
    policy_check::{self, Checked, Delegation, PolicyCheck},
    signin::{
        authorize::{self, Stopped},
        consent_page::Page,
        login_page::{self, PENDING_SECONDS, foreign},
        pages,
        passkeys::{ceremony::Signing, used::Used},
        provider::evidence::Kept,
        pushed::UsedOnce,
        redirect,
        request::{AuthorizationRequest, ReturnTo, SignInFor},
        seal::Purpose,
        sessions::{Browser, BrowserId, SignedIn},
    },
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use remit_decide::{
    Principals,
    active::{self, TokenIds},
    bearer,
};
use remit_ledger::record::{Draft, HumanInLoop, RecordType};
use remit_model::{
    Agent, AgentId, AgentStatus, Authority, Chain, Code, Fault, Human, Principal, PrincipalKind, Refusal, Registration, UnixTime,
    json,
};
use remit_store::{Batch, Change, JtiKind, Snapshot, StoredCode};
use remit_token::{consent, id_token, sign_in::Handed, webauthn::Assertion};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The first hit: checks the request, and shows the page to sign in or to decide. SPEC: AZ-01, AZ-14, AZ-15
pub(crate) async fn begin(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let read = match form {
        Ok(form) => authorize::read(server, &form, origin.peer, now).await,
        Err(refusal) => Err(Stopped::here(refusal)),
    };
    match read {
        Ok(ask) => proceed(server, origin, &headers, ask, now).await,
        Err(stopped) => stop(server, Attempt::new(At::Authorize, origin), &Facts::default(), None, stopped).await,
    }
}

/// A request that was checked, before its person.
pub(crate) async fn proceed(
    server: &Server,
    origin: RequestOrigin,
    headers: &HeaderMap,
    ask: AuthorizationRequest,
    now: UnixTime,
) -> Response<Body> {
    let browser = server.sessions.browser(headers, &server.issuer, &server.entropy, now);
    if ask.prompt.none {
        // SPEC: N-AZ-12. Consent is never skipped, so silence can only fail.
        let oauth = if must_sign_in(server, &browser, &ask, now) { "login_required" } else { "consent_required" };
        let refusal =
            Refusal::new(Code::LoginRequired, "`prompt=none` forbids to ask, and nothing is granted without asking the person");
        let stopped = Stopped::there(&ask.client, &ask.back, refusal, Some(oauth));
        return stop(server, Attempt::new(At::Authorize, origin), &Facts::default(), None, stopped).await;
    }
    let response = if must_sign_in(server, &browser, &ask, now) {
        match login_page::page(server, &browser, &SignInFor::Request(Box::new(ask.clone())), now) {
            Ok(page) => page,
            Err(rejection) => {
                let stopped = Stopped::there(&ask.client, &ask.back, rejection.into_refusal(), None);
                return stop(server, Attempt::new(At::Authorize, origin), &Facts::default(), None, stopped).await;
            }
        }
    } else {
        page(server, origin, &browser, &ask, now).await
    };
    login_page::with_cookies(response, browser.set_cookie)
}

/// SPEC: AZ-15, AZ-16
fn must_sign_in(server: &Server, browser: &Browser, ask: &AuthorizationRequest, now: UnixTime) -> bool {
    let Some(user) = &browser.user else { return true };
    let snapshot = server.store.snapshot();
    let asked = user.evidence.as_ref().is_some_and(|evidence| evidence.is_for(|salt| ask.committed(salt), now));
    if (!asked || server.sessions.is_taken(&browser.id)) && proves_each(server, &snapshot, &user.name) {
        return true;
    }
    let ended = snapshot.human(&user.name).and_then(|human| human.ended_before);
    ended.is_some_and(|end| user.authentication.time < end)
        || ask.prompt.login
        || ask.max_age.is_some_and(|most| now.since(user.authentication.time) > most)
        || !ask.is_met_by(user.authentication.acr.as_deref())
}

/// Whether this person must sign in at their identity provider for each consent.
fn proves_each(server: &Server, snapshot: &Snapshot, name: &str) -> bool {
    snapshot.human(name).is_some_and(|human| server.sign_in_methods().prove_each_consent(human))
}

/// What a consent page showed. Exactly this is granted, and nothing else; it waits in the page itself.
#[derive(Serialize, Deserialize)]
struct Shown {
    /// Decided once.
    id: String,
    client: AgentId,
    back: ReturnTo,
    consented: Consented,
    /// What allowing it registers.
    candidate: Option<Box<Candidate>>,
    /// The pushed request that the decision uses up.
    pushed: Option<UsedOnce>,
    expires: UnixTime,
    /// `sha-256:…` of the text that it showed.
    page: String,
    /// Whether only a signature allows it.
    must_sign: bool,
    /// Whether the person signed in at an identity provider for this very request.
    asked: bool,
}

/// The world in which the person decides: with the client as it describes itself.
fn world(server: &Server, candidate: Option<&Candidate>) -> Arc<Snapshot> {
    let snapshot = server.store.snapshot();
    match candidate {
        Some(candidate) => Arc::new(candidate::as_if(&snapshot, candidate)),
        None => snapshot,
    }
}

/// The consent page for the person who is signed in with this browser.
pub(crate) async fn page(
    server: &Server,
    origin: RequestOrigin,
    browser: &Browser,
    ask: &AuthorizationRequest,
    now: UnixTime,
) -> Response<Body> {
    let Some(user) = &browser.user else { return pages::problem(&foreign(), None) };
    let snapshot = world(server, ask.candidate.as_deref());
    let Offer { check, offered, must_sign } = offer(server, &snapshot, ask, user, now);
    let shown = offered.and_then(|(agent, human, consented)| {
        let page = Page {
            agent: &agent,
            human: &human,
            consented: &consented,
            candidate: ask.candidate.as_deref(),
            device: ask.back.device.as_deref(),
        };
        let text = page.text(server).map_err(|fault| Rejection::from(fault).into_refusal())?;
        let expires = now.plus(PENDING_SECONDS);
        let shown = Shown {
            id: server.entropy.token(16),
            client: ask.client.clone(),
            back: ask.back.clone(),
            consented: consented.clone(),
            candidate: ask.candidate.clone(),
            pushed: ask.pushed.clone(),
            expires,
            page: json::sha256_label(text.as_bytes()),
            must_sign,
            asked: user.evidence.as_ref().is_some_and(|evidence| evidence.is_for(|salt| ask.committed(salt), now)),
        };
        let signing = Signing::by(server, &human, &consent::challenge(&shown.document(server)));
        let request = server.seal.seal(Purpose::Consent, &browser.id, shown, expires, &server.entropy);
        request.map(|request| page.render(&text, &request, signing, must_sign)).map_err(Rejection::into_refusal)
    });
    match shown {
        Ok(page) => page,
        Err(refusal) => {
            // SPEC: RFC 9470 §5: a better sign-in is asked for, where that is what is missing.
            let better = ask.stepped_up(&refusal).filter(|better| must_sign_in(server, browser, better, now));
            let again =
                better.and_then(|better| login_page::page(server, browser, &SignInFor::Request(Box::new(better)), now).ok());
            if let Some(page) = again {
                return page;
            }
            let stopped = Stopped::there(&ask.client, &ask.back, refusal, None);
            stop(server, by_person(server, origin, user), &Facts::default(), check.as_ref(), stopped).await
        }
    }
}

fn by_person(server: &Server, origin: RequestOrigin, user: &SignedIn) -> Attempt {
    Attempt::new(At::Authorize, origin).by(Caller::person(&server.issuer, user))
}

impl Shown {
    /// What a person with a passkey signs.
    fn document(&self, server: &Server) -> Value {
        let (person, authority) = (PrincipalKind::Human.subject(&self.consented.user), self.consented.authority.to_value());
        let document = consent::Document {
            issuer: &server.issuer,
            person: &person,
            agent: &self.client.subject(),
            redirect_uri: &self.consented.redirect_uri,
            authority: &authority,
            until: self.consented.until,
            purpose: self.consented.purpose.as_deref(),
            page: &self.page,
            nonce: &self.id,
        };
        document.to_value()
    }
}

/// What can be put before the person, with the policy decision if policy was asked.
struct Offer {
    /// Whether policy permits it only with the person's signature.
    must_sign: bool,
    check: Option<PolicyCheck>,
    offered: Result<(Arc<Agent>, Arc<Human>, Consented), Refusal>,
}

/// What this person may hand to this agent of what it asks. SPEC: AZ-07, TX-04, TK-09
fn offer(server: &Server, snapshot: &Snapshot, ask: &AuthorizationRequest, user: &SignedIn, now: UnixTime) -> Offer {
    let (agent, human, authority) = match allowed(server, snapshot, ask, user) {
        Ok(allowed) => allowed,
        Err(refusal) => return Offer { must_sign: false, check: None, offered: Err(refusal) },
    };
    let until = now.plus(ask.asked.lifetime.unwrap_or(server.settings.consent));
    let delegate = Principal::agent(&server.issuer, &agent.id);
    let chain = Chain::new(server.entropy.token(16), Principal::human(&server.issuer, &user.name));
    let delegation = Delegation {
        before: &chain,
        to: &delegate,
        authority: &authority,
        server: None,
        purpose: ask.asked.purpose.as_deref(),
        expires: until,
        authentication: Some(&user.authentication),
        root_signed: false,
    };
    let unsigned = policy_check::check(server, snapshot, &delegation, now);
    // What policy refuses without a signature may be put before a person who can sign.
    let can_sign = server.passkeys.is_some() && !human.passkeys.enrolled.is_empty();
    let signed = (unsigned.allowed.is_err() && unsigned.check.is_some() && can_sign)
        .then(|| policy_check::check(server, snapshot, &Delegation { root_signed: true, ..delegation }, now))
        .filter(|signed| signed.allowed.is_ok());
    let must_sign = signed.is_some();
    let Checked { allowed, check } = signed.unwrap_or(unsigned);
    let offered = allowed.map(|()| {
        let purpose = ask.asked.purpose.as_deref();
        let digest = id_token::consent_digest(&delegate.sub, &authority.to_value(), until, purpose);
        let consented = Consented {
            redirect_uri: ask.back.redirect_uri.clone(),
            challenge: ask.challenge.clone(),
            dpop_jkt: ask.dpop_jkt.clone(),
            nonce: ask.nonce.clone(),
            openid: ask.asked.openid,
            targets: ask.asked.targets.clone(),
            user: user.name.clone(),
            authentication: user.authentication.clone(),
            authority,
            until,
            digest,
            purpose: ask.asked.purpose.clone(),
            signed: None,
            sign_in: None,
            client: consented::fingerprint(&agent),
        };
        (agent, human, consented)
    });
    Offer { must_sign, check, offered }
}

/// The part of the request that is within the person's entitlements and the agent's ceiling.
fn allowed(
    server: &Server,
    snapshot: &Snapshot,
    ask: &AuthorizationRequest,
    user: &SignedIn,
) -> Result<(Arc<Agent>, Arc<Human>, Authority), Refusal> {
    let (agent, human) = parties(snapshot, &ask.client, &user.name, user.authentication.time)?;
    let servers: Vec<&remit_model::Server> = server.servers.iter().map(AsRef::as_ref).collect();
    let usable = bearer::usable(&agent, &servers, &agent.ceiling);
    let authority = ask.asked.offered(&human.entitlements.meet(&usable));
    if authority.is_none() && !ask.asked.openid {
        return Err(empty(ask, &agent, &human, &usable));
    }
    Ok((agent, human, authority))
}

/// Whose limit leaves nothing of what was asked for, and what would be enough.
fn empty(ask: &AuthorizationRequest, agent: &Agent, human: &Human, usable: &Authority) -> Refusal {
    let (subject, person) = (agent.id.subject(), human.subject());
    let nothing = |most: &Authority| ask.asked.offered(most).is_none();
    let reason = if nothing(&agent.ceiling) {
        format!("nothing of what was requested is within the ceiling of `{subject}`; an operator can widen it")
    } else if nothing(usable) {
        format!(
            "what was requested changes something, or is to be handed on, and the tokens of `{subject}` are bound to no key \
             (`binding: danger_bearer`); tools of class `read` can be granted to it"
        )
    } else if nothing(&human.entitlements) {
        format!("nothing of what was requested is among the entitlements of `{person}`; an operator can widen them")
    } else {
        format!("of what was requested, `{person}` may grant nothing that is within the ceiling of `{subject}` as well")
    };
    Refusal::new(Code::AuthorityEmpty, reason)
}

fn parties(snapshot: &Snapshot, client: &AgentId, user: &str, since: UnixTime) -> Result<(Arc<Agent>, Arc<Human>), Refusal> {
    let gone = || Refusal::new(Code::ClientUnknown, "the agent is not registered any more");
    let agent = snapshot.agent(client).cloned().ok_or_else(gone)?;
    active::agent(&agent)?;
    let human = snapshot.human(user).cloned();
    let human = human.ok_or_else(|| Refusal::new(Code::HumanDisabled, "this account is disabled"))?;
    active::human(&human, Some(since))?;
    Ok((agent, human))
}

/// POST: the decision. SPEC: AZ-11, AZ-13, N-AZ-09
pub(crate) async fn decide(server: &Arc<Server>, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let browser = server.sessions.known(&headers, &server.issuer, now).ok_or_else(foreign)?;
        let shown: Shown = server.seal.open(Purpose::Consent, &browser.id, form.required("request")?, now).ok_or_else(foreign)?;
        let user = browser.user.filter(|user| user.name == shown.consented.user).ok_or_else(foreign)?;
        Ok((shown, browser.id, user, form))
    });
    let (mut shown, browser, user, form) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let allow = form.one("decision") == Some("allow");
    // INVARIANT: a page is decided once: its id is used up in the batch that records the decision.
    let once = Once { kind: JtiKind::Other, key: format!("consent page {}", shown.id), until: shown.expires };
    let once = std::iter::once(once).chain(shown.pushed.as_ref().map(UsedOnce::once)).collect();
    let attempt = Attempt { once, ..by_person(server, origin, &user) };
    let human_in_loop = if allow { HumanInLoop::Approved } else { HumanInLoop::Notified };
    let facts = Facts { purpose: shown.consented.purpose.clone(), human_in_loop, ..Facts::default() };
    let facts = facts.fact("consent", shown.consented.digest.clone());
    let (client, back) = (shown.client.clone(), shown.back.clone());
    // The page named the address, and the person pressed a button on it. SPEC: AZ-17
    let refused = |refusal| Stopped { decided: true, ..Stopped::there(&client, &back, refusal, None) };
    if !allow {
        let refusal = Refusal::new(Code::ConsentDenied, "the person refused");
        return stop(server, attempt, &facts, None, refused(refusal)).await;
    }
    let signature = match form.one("passkey").map(|response| RootSignature::check(server, &shown, response, now)).transpose() {
        Ok(None) if shown.must_sign => Err(Refusal::new(Code::PasskeyRequired, "a policy asks for this person's signature")),
        other => other,
    };
    let signature = match signature {
        Ok(signature) => signature,
        // The page stays open: nothing of it is used up, and another passkey may do.
        Err(refusal) => {
            let attempt = Attempt { once: Vec::new(), ..attempt };
            return stop(server, attempt, &facts, None, Stopped { client: Some(client), ..Stopped::here(refusal) }).await;
        }
    };
    if let Err(refusal) = asking::confirm(server, &user.name).await {
        return stop(server, attempt, &facts, None, refused(refusal)).await;
    }
    shown.consented.sign_in = match signed_in(server, &browser, &user, &shown, now) {
        Ok(sign_in) => sign_in,
        Err(refusal) => return stop(server, attempt, &facts, None, refused(refusal)).await,
    };
    let facts = signature.iter().fold(facts, |facts, signature| facts.fact("root_signature", signature.digest.clone()));
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    match hand_over(server, entry, shown, signature, now).await {
        Ok(code) => handed(server, &back, code),
        Err(Rejection::Refusal(refusal)) if refusal.code == Code::SessionForeign => pages::problem(&refusal, None),
        Err(rejection) => stop(server, attempt, &facts, None, refused(rejection.into_refusal())).await,
    }
}

/// What the person's identity provider signed of their sign-in.
///
/// # Errors
/// `login_required` where they must sign in there for each consent, and this sign-in was for another.
fn signed_in(
    server: &Server,
    browser: &BrowserId,
    user: &SignedIn,
    shown: &Shown,
    now: UnixTime,
) -> Result<Option<Kept>, Refusal> {
    let (agent, consented) = (shown.client.subject(), &shown.consented);
    let handed = Handed {
        agent: &agent,
        authority: &consented.authority,
        shown: None,
        purpose: consented.purpose.as_deref(),
        expires: consented.until,
    };
    let handed = shown.asked.then_some(&handed);
    let take = || server.sessions.take(browser);
    let kept = user.evidence.as_ref().and_then(|evidence| evidence.keep(handed, &consented.authentication, take, now));
    let requested = kept.as_ref().is_some_and(Kept::is_requested);
    if !requested && proves_each(server, &server.store.snapshot(), &user.name) {
        let reason = "you sign in at your identity provider for each request, and this sign-in was for another; start again from \
                      the program that sent you here";
        return Err(Refusal::new(Code::LoginRequired, reason));
    }
    Ok(kept)
}

/// The signature of the person at the root of a chain, over everything that the page showed and that is granted.
struct RootSignature {
    /// `sha-256:…` of the document; the challenge that was signed.
    digest: String,
    document: Value,
    assertion: Assertion,
    page: String,
    used: Used,
}

impl RootSignature {
    fn check(server: &Server, shown: &Shown, response: &str, now: UnixTime) -> Result<Self, Refusal> {
        let assertion = Assertion::read(response)?;
        let document = shown.document(server);
        let snapshot = world(server, shown.candidate.as_deref());
        let used = Used::check(server, &snapshot, &assertion, &consent::challenge(&document), now)?;
        if used.human.name != shown.consented.user {
            return Err(Refusal::new(Code::PasskeyInvalid, "this passkey is of another account than the one that is signed in"));
        }
        // What is kept is what was read: a page that would say something else by now is not what was signed.
        let (agent, human) = parties(&snapshot, &shown.client, &shown.consented.user, shown.consented.authentication.time)?;
        let candidate = shown.candidate.as_deref();
        let device = shown.back.device.as_deref();
        let text = Page { agent: &agent, human: &human, consented: &shown.consented, candidate, device }.text(server);
        let page = text.ok().filter(|text| json::sha256_label(text.as_bytes()) == shown.page).ok_or_else(|| {
            let reason = "what the page said has changed since; start again from the program that sent you here";
            Refusal::new(Code::SessionForeign, reason)
        })?;
        Ok(Self { digest: json::digest(&document), document, assertion, page, used })
    }

    /// Adds it to the record of the approval, and counts the passkey.
    fn keep(self, batch: Batch, record: Draft) -> Batch {
        let evidence = json!({"document": self.document, "assertion": self.assertion});
        self.used.count(batch).record(record.commit("/approval/signature", evidence).commit("/approval/page", json!(self.page)))
    }
}

/// The code, durable with the record of the approval before it leaves. SPEC: AZ-12, AZ-13, X-12
async fn hand_over(
    server: &Server,
    entry: Entry<'_>,
    shown: Shown,
    signature: Option<RootSignature>,
    now: UnixTime,
) -> Result<String, Rejection> {
    let Shown { client, mut consented, candidate, .. } = shown;
    consented.signed = signature.as_ref().map(|signature| signature.digest.clone());
    let snapshot = server.store.snapshot();
    let new = candidate.as_ref().filter(|candidate| candidate.is_new() && !snapshot.has_agent(&client));
    let world = new.map_or_else(|| Arc::clone(&snapshot), |candidate| Arc::new(candidate::as_if(&snapshot, candidate)));
    let since = consented.authentication.time;
    parties(&world, &client, &consented.user, since)?;
    let (person, agent) = (Principal::human(&server.issuer, &consented.user), Principal::agent(&server.issuer, &client));
    let no_token = TokenIds::none(now);
    // An agent that the same batch registers has no status before it.
    let parties = std::iter::once(&person).chain(new.is_none().then_some(&agent));
    let standing = active::at_commit(Principals::new(&server.issuer, &snapshot).since(Some(since)), parties, &no_token)?;
    let batch = Batch::new(server.tenant.clone()).require(standing);
    let batch = match &candidate {
        Some(candidate) => admission::admit(server, &snapshot, entry.attempt, candidate, batch).await?,
        None => batch,
    };
    let code = server.entropy.token(32);
    let stored = StoredCode {
        hash: server.store.keyed_hash("code", code.as_bytes()),
        client: client.subject(),
        subject: person,
        payload: serde_json::to_value(&consented).map_err(Fault::new)?,
        expires: now.plus(server.settings.code),
        used: None,
        failures: 0,
    };
    let shown = json!({"agent": client.subject(), "authority": consented.authority.to_value(), "until": consented.until});
    let record = entry.happened(RecordType::Approval).commit("/approval/shown", shown);
    let batch = batch.change(Change::PutCode(stored));
    let batch = match signature {
        Some(signature) => signature.keep(batch, record),
        None => batch.record(record),
    };
    issue::commit(server, &entry.attempt.once, None, batch).await?;
    server.asking.handed_out(&consented.user, consented.until, asking::now_ms(server), asking::spread(server));
    Ok(code)
}

/// Gives the code to who waits for it.
fn handed(server: &Server, back: &ReturnTo, code: String) -> Response<Body> {
    match &back.device {
        Some(device) => {
            server.devices.approve(device, code);
            pages::html(StatusCode::OK, &pages::Done, "")
        }
        None => pages::see_other(&redirect::with(&back.redirect_uri, &[("code", &code)], back.state.as_deref(), &server.issuer)),
    }
}

impl Stopped {
    fn here(refusal: Refusal) -> Self {
        Self { refusal, client: None, back: None, oauth: None, decided: false }
    }

    fn there(client: &AgentId, back: &ReturnTo, refusal: Refusal, oauth: Option<&'static str>) -> Self {
        Self { refusal, client: Some(client.clone()), back: Some(back.clone()), oauth, decided: false }
    }
}

/// Records the refusal, then tells the program or the person, as far as the request was checked. SPEC: AZ-01, AZ-12, N-AZ-08
async fn stop(server: &Server, attempt: Attempt, facts: &Facts, check: Option<&PolicyCheck>, stopped: Stopped) -> Response<Body> {
    let Stopped { refusal, client, back, oauth, decided } = stopped;
    let anonymous = attempt.caller.is_none();
    let claimed = client.as_ref().map(|client| Caller::claimed(Principal::agent(&server.issuer, client)));
    let attempt = Attempt { caller: attempt.caller.or(claimed), ..attempt };
    let (refusal, record) = if anonymous && !attempt.may_record(server, refusal.code) {
        (refusal, None)
    } else {
        let record = Entry { tenant: &server.tenant, attempt: &attempt, facts, check }.refused(&refusal);
        match issue::commit(server, &attempt.once, check, Batch::new(server.tenant.clone()).record(record)).await {
            Ok(applied) => (refusal, applied.receipts.into_iter().next().map(|receipt| receipt.record_id)),
            Err(Rejection::Refusal(refusal)) if refusal.code == Code::SessionForeign => return pages::problem(&refusal, None),
            Err(rejection) => (rejection.into_refusal(), None),
        }
    };
    let Some(back) = back else { return pages::problem(&refusal, record.as_deref()) };
    if let Some(device) = &back.device {
        server.devices.refuse(device);
        return pages::problem(&refusal, record.as_deref());
    }
    let asks = !decided && !leads_to_a_known_place(&server.store.snapshot(), client.as_ref(), &back);
    let (_, usual) = error::outward(refusal.code, At::Authorize);
    let reason = error::printable(&refusal.reason);
    let mut parameters =
        vec![("error", oauth.unwrap_or(usual)), ("error_description", reason.as_str()), ("remit_code", refusal.code.as_str())];
    if let Some(record) = &record {
        parameters.push(("remit_record", record));
    }
    let url = redirect::with(&back.redirect_uri, &parameters, back.state.as_deref(), &server.issuer);
    if asks { pages::unknown_target(&refusal, record.as_deref(), &back.redirect_uri, &url) } else { pages::see_other(&url) }
}

/// Whether a browser may be sent to the address without asking its person: an administrator registered it, it is registered for a
/// client that was let in, or it is on the person's own machine. SPEC: AZ-17, RFC 9700 §4.11.2
fn leads_to_a_known_place(snapshot: &Snapshot, client: Option<&AgentId>, back: &ReturnTo) -> bool {
    let registered = client.and_then(|client| snapshot.agent(client)).is_some_and(|agent| {
        let let_in = agent.client.registration == Registration::Administrator || agent.status == AgentStatus::Active;
        let_in && redirect::allowed(&back.redirect_uri, &agent.redirect_uris, agent.is_public())
    });
    registered || redirect::is_loopback(&back.redirect_uri)
}
