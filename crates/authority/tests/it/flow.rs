//! A person with a browser: from the authorization request to the code, and to tokens.

use crate::world::*;
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, request::Builder},
};
use remit_token::dpop::{self, ProofFor};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// A browser with its cookies of ours.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<String>,
    /// The cookie that stays after the session.
    pub(crate) known: Option<String>,
    /// Those of sign-ins that wait for an identity provider.
    pub(crate) pending: BTreeMap<String, String>,
    pub(crate) address: Option<IpAddr>,
}

/// The parameters of a good authorization request; tests change what they are about.
pub(crate) fn request() -> Vec<(String, String)> {
    fields(&[
        ("response_type", "code"),
        ("client_id", "agent:planner"),
        ("redirect_uri", REDIRECT),
        ("state", "s-1"),
        ("code_challenge", &challenge()),
        ("code_challenge_method", "S256"),
        ("resource", HELPDESK),
    ])
}

/// As [`request`], with some parameters replaced, added, or (with an empty value) left out.
pub(crate) fn request_with(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = request();
    for (name, value) in changes {
        all.retain(|(key, _)| key != name);
        if !value.is_empty() {
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    all
}

impl Browser {
    pub(crate) async fn get(&mut self, world: &World, path: &str) -> Reply {
        self.send(world, Request::get(path), Body::empty()).await
    }

    pub(crate) async fn post(&mut self, world: &World, path: &str, form: &[(String, String)]) -> Reply {
        let post = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(world, post, Body::from(encode(form))).await
    }

    async fn send(&mut self, world: &World, mut request: Builder, body: Body) -> Reply {
        let cookies: Vec<&str> = self.cookie.iter().chain(&self.known).chain(self.pending.values()).map(String::as_str).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(address) = self.address {
            request = request.extension(ConnectInfo(SocketAddr::new(address, 4_711)));
        }
        let reply = world.send(request.body(body).unwrap()).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            if let Some((name, value)) = pair.split_once('=').filter(|(name, _)| name.starts_with("remit-provider-")) {
                if value.is_empty() {
                    self.pending.remove(name);
                } else {
                    self.pending.insert(name.to_owned(), pair.clone());
                }
                continue;
            }
            let kept = if pair.starts_with("remit-known=") { &mut self.known } else { &mut self.cookie };
            *kept = Some(pair);
        }
        reply
    }

    /// Starts a request and returns the page it leads to.
    pub(crate) async fn begin(&mut self, world: &World, parameters: &[(String, String)]) -> Reply {
        self.get(world, &format!("/oauth/authorize?{}", encode(parameters))).await
    }

    /// Signs in on the sign-in page that `page` is.
    pub(crate) async fn sign_in(&mut self, world: &World, page: &Reply, name: &str, password: &str) -> Reply {
        let mut form = fields(&[("username", name), ("password", password)]);
        form.extend(hidden(&page.text, &["request"]));
        self.post(world, "/oauth/login", &form).await
    }

    /// Begins, signs in, and returns the consent page.
    pub(crate) async fn consent_page(&mut self, world: &World, user: &str, parameters: &[(String, String)]) -> Reply {
        let login = self.begin(world, parameters).await;
        self.sign_in(world, &login, user, PASSWORD).await
    }

    pub(crate) async fn decide(&mut self, world: &World, page: &Reply, decision: &str) -> Reply {
        let mut form = fields(&[("decision", decision)]);
        form.extend(hidden(&page.text, &["request"]));
        self.post(world, "/oauth/consent", &form).await
    }
}

/// Which page it is.
pub(crate) fn is_sign_in(page: &Reply) -> bool {
    page.text.contains("type=\"password\"")
}

pub(crate) fn is_consent(page: &Reply) -> bool {
    page.text.contains("value=\"allow\"")
}

/// Values of the page's hidden fields.
pub(crate) fn hidden(page: &str, names: &[&str]) -> Vec<(String, String)> {
    let value = |name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name} in {page}"));
        rest.split_once('"').unwrap().0.to_owned()
    };
    names.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

impl World {
    /// A fresh person's consent to these parameters, as a code.
    pub(crate) async fn code(&self, user: &str, parameters: &[(String, String)]) -> String {
        let mut browser = Browser::default();
        let page = browser.consent_page(self, user, parameters).await;
        let back = browser.decide(self, &page, "allow").await.location();
        query(&back, "code").unwrap_or_else(|| panic!("no code in {back}"))
    }

    pub(crate) async fn redeem(&self, actor: &Actor, code: &str, more: &[(&str, &str)]) -> Reply {
        let mut all = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)];
        if !more.iter().any(|(name, _)| *name == "code_verifier") {
            all.push(("code_verifier", VERIFIER));
        }
        all.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        all.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.token(actor, &all).await
    }

    /// The planner's token for a person, for the whole of what both may.
    pub(crate) async fn delegated(&self, user: &str) -> Value {
        self.delegated_with(user, &[]).await
    }

    pub(crate) async fn delegated_with(&self, user: &str, changes: &[(&str, &str)]) -> Value {
        let code = self.code(user, &request_with(changes)).await;
        let reply = self.redeem(&self.planner, &code, &[]).await;
        reply.access_token();
        reply.body
    }

    pub(crate) async fn refresh(&self, actor: &Actor, token: &str, more: &[(&str, &str)]) -> Reply {
        let mut all = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        all.extend_from_slice(more);
        self.token(actor, &all).await
    }
}

impl World {
    /// A refresh as an ordinary client does it: again with a nonce when one is asked for.
    pub(crate) async fn refresh_with_nonce(&self, token: &str) -> Reply {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let reply = self.token(&self.planner, &form).await;
        if reply.body["remit_code"] != "dpop_nonce_required" {
            return reply;
        }
        let nonce = reply.headers["dpop-nonce"].to_str().unwrap();
        let jti = fresh();
        let made = ProofFor { method: "POST", url: TOKEN, now: self.now(), jti: &jti, nonce: Some(nonce), ..ProofFor::default() };
        self.token_with(&self.planner, &dpop::create(&self.planner.dpop, &made).unwrap(), &form).await
    }
}

/// A string member of a reply's body.
pub(crate) fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"))
}
