//! To the identity provider and back.
//!
//! Implements OpenID Connect Core §3.1.2 and §3.1.3, RFC 7636, RFC 9207; RFC 9700 §4.4 against mix-up: each provider has a
//! redirect URI of its own, its answer names it where it says that it does, and the state belongs to one provider.

use super::{
    client::{self, Tokens},
    discovery::{Metadata, invalid, unverified},
    evidence::Evidence,
    pending::Pending,
    person,
    settings::ProviderSettings,
};
use crate::{
    Server,
    grants::{
        attempt::{Attempt, Caller, Once},
        outcome::Facts,
    },
    http::{
        error::{At, Rejection, outward},
        form::Form,
        origin::{Incoming, RequestOrigin},
    },
    offboarding::{
        asking,
        held::{Held, With},
    },
    signin::{
        consent,
        login_page::{self, PENDING_SECONDS, foreign, with_cookies},
        pages,
        request::SignInFor,
        seal::Purpose,
        sessions::{self, Browser, BrowserId, SignedIn},
    },
    tokens::{issue, record::Entry},
};
use axum::{body::Body, http::Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_ledger::record::{AuthMethod, HumanInLoop, RecordType};
use remit_model::{Authentication, Code, Fault, Principal, Refusal, UnixTime, display, json};
use remit_outbound::Source;
use remit_store::{Batch, Change, JtiKind, StoredProviderSession};
use remit_token::{
    Skew,
    provider_id_token::{self, ProviderIdToken},
    sign_in,
};
use serde_json::json;
use std::sync::Arc;
use url::Url;

/// Longest answer parameter that is looked at, in bytes.
const PARAMETER_LIMIT: usize = 4_096;

/// POST from the sign-in page: sends the browser to the provider that was chosen there.
pub(crate) async fn leave(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let browser = server.sessions.known(&headers, &server.issuer, now).ok_or_else(foreign)?;
        let request = form.required("request")?;
        let ask = server.seal.open(Purpose::SignIn, &browser.id, request, now).ok_or_else(foreign)?;
        let provider = server.sign_in_methods().provider(form.required("provider")?).ok_or_else(unknown_provider)?;
        Ok((browser, ask, provider))
    });
    let (browser, ask, provider) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    match sent(server, &browser.id, &provider, &ask, false, now).await {
        Ok(response) => response,
        Err(rejection) => refused(server, &origin, &browser, &provider, &ask, rejection, now).await,
    }
}

fn unknown_provider() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such identity provider here; start again from the program that sent you here")
}

/// The page that leads to the provider. Not a redirect: browsers apply the form's policy (`form-action`) to those, and a
/// provider may send its people on to addresses that we do not know.
async fn sent(
    server: &Server,
    browser: &BrowserId,
    provider: &ProviderSettings,
    ask: &SignInFor,
    again: bool,
    now: UnixTime,
) -> Result<Response<Body>, Rejection> {
    let metadata = server.discovery.metadata(&provider.issuer).await?;
    server.discovery.answers(&metadata).await?;
    let pending = Pending {
        provider: provider.name.clone(),
        state: server.entropy.token(32),
        verifier: server.entropy.token(32),
        salt: server.entropy.token(16),
        begun: now,
        again,
        ask: ask.clone(),
    };
    let url = authorization_url(server, provider, &metadata, &pending)?;
    let cookies = pending.cookies(server, browser)?;
    Ok(with_cookies(pages::leaving(&provider.title, &url), cookies))
}

fn authorization_url(
    server: &Server,
    provider: &ProviderSettings,
    metadata: &Metadata,
    pending: &Pending,
) -> Result<String, Rejection> {
    // SPEC: F-07: what a document names is checked like the document's own address.
    let checked = server.outbound.check(&metadata.authorization_endpoint, Source::Operator);
    let mut url: Url = checked.map_err(|error| invalid(&error.to_string()))?;
    let challenge = URL_SAFE_NO_PAD.encode(json::sha256(pending.verifier.as_bytes()));
    let ask = pending.ask.request();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", &redirect_uri(server, provider))
            .append_pair("scope", &provider.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &sign_in::nonce(&pending.committed()))
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let anew = pending.again.then_some(0);
        if let Some(most) = provider.demand.max_age.into_iter().chain(ask.and_then(|ask| ask.max_age)).chain(anew).min() {
            query.append_pair("max_age", &most.to_string());
        }
        if pending.again || ask.is_some_and(|ask| ask.prompt.login) {
            query.append_pair("prompt", "login");
        }
        if let Some(hint) = ask.and_then(|ask| ask.login_hint.as_ref()) {
            query.append_pair("login_hint", hint);
        }
        if !provider.demand.acr.is_empty() {
            query.append_pair("acr_values", &provider.demand.acr.join(" "));
            let essential = json!({"id_token": {"acr": {"essential": true, "values": provider.demand.acr}}});
            query.append_pair("claims", &essential.to_string());
        } else if let Some(wanted) = ask.filter(|ask| !ask.acr_values.is_empty()) {
            query.append_pair("acr_values", &wanted.acr_values.join(" "));
        }
    }
    Ok(url.into())
}

/// One for each provider. SPEC: RFC 9700 §4.4.2.2
fn redirect_uri(server: &Server, provider: &ProviderSettings) -> String {
    server.url(&format!("/oauth/callback/{}", provider.name))
}

/// GET: the provider's answer, by way of the browser.
pub(crate) async fn answered(server: &Server, name: &str, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let provider = server.sign_in_methods().provider(name).ok_or_else(unknown_provider)?;
        let browser = server.sessions.known(&headers, &server.issuer, now).ok_or_else(foreign)?;
        let state = form.one("state").filter(|state| state.len() <= PARAMETER_LIMIT).ok_or_else(foreign)?;
        // SPEC: AZ-14: begun in this very browser, with this very provider, and not finished yet.
        let pending = Pending::open(server, &headers, &browser.id, state, now).ok_or_else(foreign)?;
        if pending.provider != provider.name {
            return Err(foreign());
        }
        Ok((form, provider, browser, pending))
    });
    let (form, provider, browser, pending) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let ask = &pending.ask;
    let response = match enter(server, &origin, &browser, &provider, &pending, &form, now).await {
        Ok(Entered::SignedIn(browser, cookie)) => {
            let page = match ask {
                SignInFor::Request(ask) => consent::page(server, origin, &browser, ask, now).await,
                SignInFor::Account => pages::see_other("/account/passkeys"),
            };
            with_cookies(page, [cookie])
        }
        Ok(Entered::Again(response)) => response,
        Err(rejection) => refused(server, &origin, &browser, &provider, ask, rejection, now).await,
    };
    with_cookies(response, pending.forget(server))
}

enum Entered {
    /// The browser with its new session, and the cookie for it.
    SignedIn(Browser, String),
    /// The provider is asked once more, to authenticate the person anew.
    Again(Response<Body>),
}

async fn enter(
    server: &Server,
    origin: &RequestOrigin,
    browser: &Browser,
    provider: &Arc<ProviderSettings>,
    pending: &Pending,
    form: &Form,
    now: UnixTime,
) -> Result<Entered, Rejection> {
    let Redeemed { token, tokens, userinfo } = redeemed(server, provider, pending, form, now).await?;
    // A provider's clock may be ahead: an authentication is never later than it is seen.
    let time = token.auth_time.unwrap_or(token.iat).min(now);
    let authentication = Authentication { time, acr: token.acr.clone(), amr: token.amr.clone() };
    strong_enough(server, provider, pending, &authentication, token.auth_time.is_some(), now)?;
    let snapshot = server.store.snapshot();
    let arrival = person::arrive(&snapshot, provider, &token)?;
    // SPEC: DC-13: what was ended is begun again by an authentication after it alone.
    if let Some(end) = arrival.human.ended_before.filter(|end| token.auth_time.is_none() || time < *end) {
        if pending.again {
            let reason =
                format!("your sign-ins before {} were ended, and the identity provider states none after that", end.utc());
            return Err(Refusal::new(Code::SignInEnded, reason).into());
        }
        return sent(server, &browser.id, provider, &pending.ask, true, now).await.map(Entered::Again);
    }
    let evidence = Some(Arc::new(Evidence::new(provider, &token, &pending.salt, pending.committed())));
    let user = SignedIn { name: arrival.human.name.clone(), authentication, evidence };
    let sids = server.asking.sessions_of(&user.name);
    let held = Held::of(provider, tokens, userinfo, &token, sids, now)?;
    let batch = arrival.enter(server, provider, Batch::new(server.tenant.clone()), snapshot.revision());
    open_session(server, origin, browser, provider, pending, user, held, batch, now).await
}

/// What a code came to.
struct Redeemed {
    token: ProviderIdToken,
    tokens: Tokens,
    /// The provider has a userinfo endpoint.
    userinfo: bool,
}

/// The code for an ID token that is verified. SPEC: OpenID Connect Core §3.1.3
async fn redeemed(
    server: &Server,
    provider: &ProviderSettings,
    pending: &Pending,
    form: &Form,
    now: UnixTime,
) -> Result<Redeemed, Rejection> {
    let metadata = server.discovery.metadata(&provider.issuer).await?;
    let code = code(provider, &metadata, form)?;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri(server, provider)),
        ("code_verifier", &pending.verifier),
    ];
    let tokens = client::grant(server, provider, &metadata, &fields).await?;
    let compact = tokens.id_token.as_ref().ok_or_else(|| invalid("its token endpoint gave no ID token"))?;
    let keys = server.discovery.keys(&metadata, Some(compact)).await?;
    let nonce = sign_in::nonce(&pending.committed());
    let expect = provider_id_token::Expect { issuer: &provider.issuer, client_id: &provider.client_id, nonce: &nonce };
    let skew = Skew::seconds(server.settings.skew);
    let token = provider_id_token::verify(compact, &keys, &expect, tokens.access_token.as_deref(), now, skew)
        .map_err(|refusal| unverified(&refusal))?;
    Ok(Redeemed { token, tokens, userinfo: metadata.userinfo_endpoint.is_some() })
}

/// The code of an answer that is this provider's. SPEC: RFC 9207 §2.4
fn code<'f>(provider: &ProviderSettings, metadata: &Metadata, form: &'f Form) -> Result<&'f str, Refusal> {
    match form.one("iss") {
        Some(issuer) if issuer != provider.issuer => {
            return Err(invalid("another issuer than the one that you were sent to answered (`iss`)"));
        }
        None if metadata.states_issuer => {
            return Err(invalid("it does not name its issuer (`iss`), though its metadata says that it does"));
        }
        _ => {}
    }
    if let Some(error) = form.one("error") {
        return Err(invalid(&format!("it refuses with `{}`", display::excerpt(error, 64))));
    }
    form.one("code").filter(|code| code.len() <= PARAMETER_LIMIT).ok_or_else(|| invalid("it has neither a code nor an error"))
}

/// SPEC: AZ-16
fn strong_enough(
    server: &Server,
    provider: &ProviderSettings,
    pending: &Pending,
    how: &Authentication,
    stated: bool,
    now: UnixTime,
) -> Result<(), Refusal> {
    let skew = server.settings.skew;
    let ask = pending.ask.request();
    let anew = pending.again || ask.is_some_and(|ask| ask.prompt.login);
    let fresh = anew.then(|| now.since(pending.begun));
    let most = provider.demand.max_age.into_iter().chain(ask.and_then(|ask| ask.max_age)).chain(fresh).min();
    // The browser may have taken `max_age` out of the request: without the claim nothing is known of the time.
    if most.is_some() && !stated {
        let reason = "the identity provider does not state when you signed in (`auth_time`), and here that matters";
        return Err(Refusal::new(Code::SignInTooWeak, reason));
    }
    let demand = super::Demand { max_age: most.map(|most| most.saturating_add(skew)), ..provider.demand.clone() };
    demand.check(how.acr.as_deref(), &how.amr, now.since(how.time))
}

#[expect(clippy::too_many_arguments, reason = "what a session rests on, each checked by another step")]
async fn open_session(
    server: &Server,
    origin: &RequestOrigin,
    browser: &Browser,
    provider: &ProviderSettings,
    pending: &Pending,
    user: SignedIn,
    held: Held,
    batch: Batch,
    now: UnixTime,
) -> Result<Entered, Rejection> {
    // INVARIANT: an answer signs in once: its state is used up in the batch that records it.
    let once = Once {
        kind: JtiKind::Other,
        key: format!("provider state {}", pending.state),
        until: pending.begun.plus(PENDING_SECONDS),
    };
    // INVARIANT: no answer to a question about an earlier sign-in is taken for one about this.
    let one_at_a_time = server.asking.one_at_a_time(&user.name);
    let _one = match &one_at_a_time {
        Some(one_at_a_time) => Some(one_at_a_time.lock().await),
        None => None,
    };
    let before = server.store.provider_session(&user.name).await.map_err(Fault::new)?;
    let held = held.after(before.as_ref().and_then(Held::read));
    let mut caller = Caller::person(&server.issuer, &user);
    caller.auth.method = AuthMethod::Sso;
    let attempt = Attempt::new(At::Authorize, origin.clone()).by(caller);
    let facts = Facts { human_in_loop: HumanInLoop::Approved, ..Facts::default() }
        .fact("provider", provider.name.clone())
        .fact("provider_check", held.with.as_str())
        .fact("provider_check_every_s", provider.check.every);
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let batch = batch.record(entry.happened(RecordType::SessionOpen));
    keep(server, provider, &user.name, held, batch, once, now).await?;
    // A new session, so that an attacker who planted the old cookie is left behind. SPEC: AZ-14
    let token = server.entropy.token(32);
    let id = server.sessions.open(&token, user.clone(), now.plus(server.settings.session), now);
    if server.store.snapshot().human(&user.name).is_none() {
        server.sessions.close(&id);
        return Err(Fault::new("the account was erased while its person signed in").into());
    }
    server.sessions.close(&browser.id);
    let cookie = sessions::session_cookie(&server.issuer, &token);
    Ok(Entered::SignedIn(Browser { id, user: Some(user), set_cookie: None }, cookie))
}

/// Commits the sign-in with what its provider can be asked with from now on. No question about the person is under way.
async fn keep(
    server: &Server,
    provider: &ProviderSettings,
    name: &str,
    held: Held,
    batch: Batch,
    once: Once,
    now: UnixTime,
) -> Result<(), Rejection> {
    if let With::Nothing = held.with {
        let provider = provider.name.as_str();
        tracing::warn!(provider, "the provider gave nothing to ask it with: it cannot say here that a person is disabled");
    }
    let ends = asking::ends(server, now);
    let person = held.person(provider.check, ends);
    let stored = StoredProviderSession {
        human: name.to_owned(),
        subject: Principal::human(&server.issuer, name),
        payload: held.to_value()?,
        expires: ends,
    };
    issue::commit(server, &[once], None, batch.change(Change::PutProviderSession(stored))).await?;
    server.asking.signed_in(name, person, asking::now_ms(server), asking::spread(server));
    Ok(())
}

/// Records why a sign-in failed and shows the sign-in page again, with the reason: another attempt, or another way in, may
/// do. Who is signed in already loses nothing.
async fn refused(
    server: &Server,
    origin: &RequestOrigin,
    browser: &Browser,
    provider: &ProviderSettings,
    ask: &SignInFor,
    rejection: Rejection,
    now: UnixTime,
) -> Response<Body> {
    let refusal = rejection.into_refusal();
    let attempt = Attempt::new(At::Authorize, origin.clone());
    if attempt.may_record(server, refusal.code) {
        let facts = Facts::default().fact("provider", provider.name.clone());
        let record = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None }.refused(&refusal);
        if let Err(rejection) = issue::commit(server, &[], None, Batch::new(server.tenant.clone()).record(record)).await {
            tracing::error!(refusal = %rejection.into_refusal(), "a failed sign-in could not be recorded");
        }
    }
    tracing::warn!(provider = provider.name, %refusal, "a sign-in through an identity provider failed");
    if refusal.code == Code::SessionForeign {
        return pages::problem(&refusal, None);
    }
    let (status, _) = outward(refusal.code, At::Authorize);
    let message = format!("{} ({})", sentence(&refusal.reason), refusal.code);
    match login_page::page_with(server, status, browser, ask, &message, now) {
        Ok(page) => page,
        Err(rejection) => pages::problem(&rejection.into_refusal(), None),
    }
}

/// The reason as a sentence of its own.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
