//! The floor of the roads: one straight-line handler for each, with nothing of the product in it.
//!
//! The same signatures are verified and made, the same JSON is read, one policy evaluation is done, the same cryptography
//! makes the records, each group is written and made durable once, and a call makes one hop to the same upstream. There is
//! no configuration, no database, no second opinion and no error message. It reads the keys of a world, so that what a
//! client of that world signed is good at both servers.

mod call;
mod evaluation;
mod jose;
mod ledger;
mod policy;
mod record;
mod token;

use super::{
    plain::{self, Answer, Upstream},
    world::{self, World},
};
use anyhow::{Context as _, Result, bail};
use http_body_util::BodyExt as _;
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    header::HeaderMap,
};
use jose::{Key, Signer};
use ledger::Ledger;
use policy::Policies;
use record::Facts;
use remit_clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    rc::Rc,
};

/// What the floor knows and remembers.
pub(super) struct Floor {
    issuer: String,
    resource: String,
    desk: String,
    upstream: u16,
    signer: Signer,
    own: Key,
    agents: HashMap<String, Key>,
    policies: Policies,
    ledger: Ledger,
    clock: Clock,
    seen: RefCell<HashSet<[u8; 32]>>,
    used: RefCell<HashSet<[u8; 32]>>,
    revoked: RefCell<HashSet<String>>,
    /// Verified tokens by the digest that `ath` needs anyway.
    tokens: RefCell<HashMap<[u8; 32], Rc<Claims>>>,
}

/// The claims of an access token.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    #[serde(default)]
    scope: String,
    jti: String,
    iat: i64,
    exp: i64,
    cnf: Confirmation,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(default)]
    authorization_details: Vec<Detail>,
    #[serde(default)]
    txn: String,
    #[serde(default, rename = "urn:remit:ancestors")]
    ancestors: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Confirmation {
    jkt: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Detail {
    r#type: String,
    locations: Vec<String>,
    actions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegate: Option<Value>,
}

impl Claims {
    /// The last agent of the chain.
    fn holder(&self) -> &str {
        self.act.as_ref().and_then(|act| act.get("sub")).and_then(Value::as_str).unwrap_or(&self.sub)
    }

    fn depth(&self) -> i64 {
        let (mut depth, mut at) = (0, self.act.as_ref());
        while let Some(act) = at {
            (depth, at) = (depth + 1, act.get("act"));
        }
        depth
    }
}

pub(crate) fn serve(dir: &Path, port: u16) -> Result<()> {
    let floor = Rc::new(Floor::of(&World::open(dir)?)?);
    plain::serve(port, move || {
        let (floor, link) = (Rc::clone(&floor), Rc::new(Upstream::default()));
        move |request: Request<Incoming>| {
            let (floor, link) = (Rc::clone(&floor), Rc::clone(&link));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                floor.answer(head.uri.path(), &head.headers, body, &link).await
            }
        }
    })
}

impl Floor {
    fn of(world: &World) -> Result<Self> {
        let pem = fs::read_to_string(world.dir.join("keys/issuer.pem"))?;
        let issuer = remit_token::PrivateKey::from_pkcs8_pem(pem.trim_end()).ok().context("issuer.pem")?;
        let key = |key: &remit_token::PublicKey| {
            let jwk = key.to_jwk();
            let part = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            Key::of(&part("x"), &part("y"))
        };
        let agents = world::agents()?.into_iter().map(|agent| Ok((agent.subject(), key(agent.key.public())?)));
        Ok(Self {
            issuer: world.issuer(),
            resource: world.resource(),
            desk: world.desk(),
            upstream: world.ports.upstream,
            own: key(issuer.public())?,
            signer: Signer::read(&pem, issuer.public().thumbprint())?,
            agents: agents.collect::<Result<_>>()?,
            policies: Policies::read(&world.dir.join("policies"))?,
            ledger: Ledger::start(&world.dir)?,
            clock: Clock::system(),
            seen: RefCell::default(),
            used: RefCell::default(),
            revoked: RefCell::default(),
            tokens: RefCell::default(),
        })
    }

    async fn answer(self: &Rc<Self>, path: &str, headers: &HeaderMap, body: Bytes, link: &Rc<Upstream>) -> Result<Answer> {
        let outcome = match path {
            "/oauth/token" => token::grant(self, headers, &body).await,
            "/oauth/introspect" => token::introspect(self, &body).await,
            "/oauth/revoke" => token::revoke(self, &body),
            "/access/v1/evaluation" => evaluation::evaluate(self, headers, &body).await,
            "/mcp/bench" => call::call(self, headers, body, link).await,
            _ => bail!("nothing is at {path}"),
        };
        match outcome {
            Ok(answer) => Ok(answer),
            Err(refused) => {
                self.ledger.append(Facts { values: vec![("/refusal", refused.to_string().into())], ..Facts::default() }).await?;
                Ok(plain::json(StatusCode::UNAUTHORIZED, r#"{"error":"refused"}"#))
            }
        }
    }

    fn now(&self) -> i64 {
        self.clock.unix().0
    }

    /// A token of ours, verified once and remembered; expiry and revocation are looked at every time.
    fn token(&self, compact: &str) -> Result<(Rc<Claims>, [u8; 32])> {
        let digest = jose::sha256(compact.as_bytes());
        let known = self.tokens.borrow().get(&digest).map(Rc::clone);
        let claims = if let Some(claims) = known {
            claims
        } else {
            let claims = Rc::new(self.own.claims::<Claims>(compact)?);
            self.tokens.borrow_mut().insert(digest, Rc::clone(&claims));
            claims
        };
        let revoked = self.revoked.borrow();
        let gone = revoked.contains(&claims.jti) || claims.ancestors.iter().any(|jti| revoked.contains(jti));
        if claims.iss != self.issuer || claims.exp <= self.now() || gone {
            bail!("a token that does not count");
        }
        Ok((claims, digest))
    }

    fn proof(&self, headers: &HeaderMap, url: &str, ath: Option<&str>) -> Result<String> {
        let compact = headers.get("dpop").context("no proof")?.to_str()?;
        jose::proof(compact, url, ath, self.now(), &mut self.seen.borrow_mut())
    }
}
