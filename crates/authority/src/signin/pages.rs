//! The pages a person sees: plain HTML, one stylesheet, and where passkeys are used one script file of ours.
//!
//! Implements AZ-09 and AZ-11: the pages cannot be framed, cached, or made to load anything from elsewhere.

use crate::{
    http::error::{At, outward},
    signin::{
        passkeys::ceremony::{Making, Signing},
        redirect,
    },
};
use askama::Template;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use remit_model::{Code, Refusal};

pub(crate) const SCRIPT: &str = include_str!("../../templates/passkey.js");
pub(crate) const STYLE: &str = include_str!("../../templates/style.css");

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login<'a> {
    /// Who asks to act for the person, if they sign in for that.
    pub(crate) agent_name: Option<&'a str>,
    pub(crate) request: &'a str,
    pub(crate) username: &'a str,
    pub(crate) message: Option<&'a str>,
    /// How a passkey signs in, where there are passkeys.
    pub(crate) signing: Option<Signing>,
    /// The identity providers that are offered.
    pub(crate) providers: Vec<OfferedProvider<'a>>,
    /// Whether there are local accounts.
    pub(crate) local: bool,
}

/// An identity provider on the sign-in page.
pub(crate) struct OfferedProvider<'a> {
    pub(crate) name: &'a str,
    pub(crate) title: &'a str,
}

/// The page that leads to an identity provider.
#[derive(Template)]
#[template(path = "leaving.html")]
struct Leaving<'a> {
    title: &'a str,
    url: &'a str,
}

#[derive(Template)]
#[template(path = "second_factor.html")]
pub(crate) struct SecondFactor<'a> {
    /// Why it is asked for.
    pub(crate) why: &'a str,
    /// Where the answer goes.
    pub(crate) action: &'a str,
    pub(crate) message: Option<&'a str>,
    pub(crate) request: &'a str,
    pub(crate) signing: Signing,
}

#[derive(Template)]
#[template(path = "passkeys.html")]
pub(crate) struct Passkeys<'a> {
    pub(crate) human_name: &'a str,
    pub(crate) human_subject: &'a str,
    pub(crate) rows: Vec<PasskeyRow>,
    /// Whether a link brought the person here, without a session.
    pub(crate) by_link: bool,
    pub(crate) request: &'a str,
    pub(crate) making: Making<'a>,
    pub(crate) message: Option<&'a str>,
}

/// One passkey as the page lists it.
pub(crate) struct PasskeyRow {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) added: String,
    pub(crate) used: Option<String>,
    pub(crate) synced: bool,
}

#[derive(Template)]
#[template(path = "passkey_added.html")]
pub(crate) struct PasskeyAdded<'a> {
    pub(crate) human_name: &'a str,
}

/// The consent page: what it says, and the buttons.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    /// [`ConsentText`], rendered.
    pub(crate) text: &'a str,
    pub(crate) request: &'a str,
    /// How the person signs it, when they have a passkey.
    pub(crate) signing: Option<Signing>,
    /// Whether it can only be allowed by signing it.
    pub(crate) must_sign: bool,
}

/// What a consent page says. A person with a passkey signs the digest of exactly this text.
#[derive(Template)]
#[template(path = "consent_text.html")]
pub(crate) struct ConsentText<'a> {
    pub(crate) agent_name: &'a str,
    pub(crate) agent_subject: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) human_name: &'a str,
    pub(crate) human_subject: &'a str,
    /// The host of the document that describes the agent.
    pub(crate) publisher: Option<&'a str>,
    /// Warnings, in our words.
    pub(crate) notes: Vec<String>,
    pub(crate) redirect_host: &'a str,
    pub(crate) loopback: bool,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) grants: Vec<Offered>,
    pub(crate) until: &'a str,
    pub(crate) until_words: &'a str,
    pub(crate) others: Vec<Phrase>,
}

/// One grant as the page lists it.
pub(crate) struct Offered {
    /// What may be done, and where.
    pub(crate) may: Vec<Phrase>,
    /// What limits it, one entry each.
    pub(crate) limits: Vec<Vec<Phrase>>,
}

/// A piece of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phrase {
    /// Our own words, and titles that the operator gave.
    Words(String),
    /// Data, shown to the letter in a box of its own: what an agent sent, or a name that it can choose.
    Data(String),
}

/// Where a person types the code that a device shows.
#[derive(Template)]
#[template(path = "device.html")]
pub(crate) struct DeviceCode<'a> {
    pub(crate) user_code: &'a str,
    pub(crate) message: Option<&'a str>,
}

/// The end of a request that a device made.
#[derive(Template)]
#[template(path = "done.html")]
pub(crate) struct Done;

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    title: &'a str,
    reason: &'a str,
    code: &'a str,
    record: Option<&'a str>,
}

/// A refusal that a program waits for at an address that no administrator vouches for.
#[derive(Template)]
#[template(path = "unknown_target.html")]
struct UnknownTarget<'a> {
    reason: &'a str,
    code: &'a str,
    record: Option<&'a str>,
    target: &'a str,
    url: &'a str,
}

/// Renders a page; `form_action` is where its form may lead besides ourselves.
pub(crate) fn html(status: StatusCode, page: &impl Template, form_action: &str) -> Response<Body> {
    respond(status, page, form_action, "")
}

/// The same for a page that uses passkeys: our own script file may run, and no other.
pub(crate) fn scripted(status: StatusCode, page: &impl Template, form_action: &str) -> Response<Body> {
    respond(status, page, form_action, " script-src 'self';")
}

fn respond(status: StatusCode, page: &impl Template, form_action: &str, script: &str) -> Response<Body> {
    let text = match page.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            String::from("An internal error occurred. The server's log has the details.")
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    let policy = format!(
        "default-src 'none'; style-src 'self';{script} form-action 'self' {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    // A redirect URI is printable ASCII, so this holds; without it the strict policy alone stays.
    let policy = HeaderValue::from_str(&policy).unwrap_or_else(|_| {
        HeaderValue::from_static("default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'")
    });
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Sends the browser on to an identity provider.
pub(crate) fn leaving(title: &str, url: &str) -> Response<Body> {
    html(StatusCode::OK, &Leaving { title, url }, "")
}

/// A page that says no, without a link to anywhere. SPEC: AZ-01
pub(crate) fn problem(refusal: &Refusal, record: Option<&str>) -> Response<Body> {
    let (status, _) = outward(refusal.code, At::Authorize);
    let title = match refusal.code {
        Code::RateLimited => "Too many attempts",
        Code::Internal | Code::LedgerUnavailable => "The server has a problem",
        _ => "This request was refused",
    };
    refused(status, &Problem { title, reason: &refusal.reason, code: refusal.code.as_str(), record })
}

/// The same where the program waits for the answer at such an address: the person reads its host, and goes on or
/// not. SPEC: AZ-17
pub(crate) fn unknown_target(refusal: &Refusal, record: Option<&str>, redirect_uri: &str, url: &str) -> Response<Body> {
    let (status, _) = outward(refusal.code, At::Authorize);
    let target = redirect::host(redirect_uri);
    refused(status, &UnknownTarget { reason: &refusal.reason, code: refusal.code.as_str(), record, target: &target, url })
}

fn refused(status: StatusCode, page: &impl Template) -> Response<Body> {
    let status = if status == StatusCode::UNAUTHORIZED { StatusCode::BAD_REQUEST } else { status };
    let mut response = html(status, page, "");
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    }
    response
}

/// For a page that is opened without the request it belongs to.
pub(crate) fn not_begun() -> Response<Body> {
    problem(
        &Refusal::new(
            Code::SessionForeign,
            "this page cannot be opened by itself; start again from the program that sent you here",
        ),
        None,
    )
}

pub(crate) fn method_not_allowed() -> Response<Body> {
    let mut response = problem(&Refusal::new(Code::MethodNotAllowed, "use GET or POST"), None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

/// Always 303: the next request is a GET that carries none of this one's fields. SPEC: X-09
pub(crate) fn see_other(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let Ok(value) = HeaderValue::from_str(location) else {
        return problem(&Refusal::new(Code::RequestMalformed, "the address to return to cannot be used"), None);
    };
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, value);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
