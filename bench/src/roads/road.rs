//! The roads that are measured, and requests for each: tokens come from the real endpoints, signatures are made beforehand.

use super::{
    client::{ACCESS_TOKEN, Client, Spoilt, TOKEN_EXCHANGE, call_body, token_of},
    http,
    load::{self, Expect, Prepared},
    world::{ASKER, HOPS, TOOLS, UNGRANTED, World, details},
};
use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// One request in so many is spoilt and must be refused.
const SPOILT_ONE_IN: usize = 100;
/// Connections over which tokens are fetched when every request needs its own.
const FETCHERS: usize = 16;
const SIGNERS: usize = 2;

/// One road through the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// `client_credentials` with `private_key_jwt` and DPoP.
    Credentials,
    /// Token exchange: the chain grows by one; to this many hops.
    Exchange {
        depth: usize,
    },
    /// Token exchange with subject and actor tokens that no request has shown before.
    ExchangeFresh,
    /// A tool call that reads, with a small answer.
    Call,
    /// A tool call that changes something: intent and outcome are recorded.
    Change,
    /// A 10 KB answer of which two fields in six may be seen.
    Masked,
    /// An answer that streams.
    Streamed,
    /// A call of a tool that was not granted.
    Refusal,
    Introspection,
    /// A decision for another enforcement point: AuthZEN.
    Evaluation,
}

pub(crate) const ROADS: [(&str, Road); 11] = [
    ("client-credentials", Road::Credentials),
    ("exchange-1", Road::Exchange { depth: 1 }),
    ("exchange-4", Road::Exchange { depth: 4 }),
    ("exchange-1-fresh", Road::ExchangeFresh),
    ("call", Road::Call),
    ("call-change", Road::Change),
    ("call-masked", Road::Masked),
    ("call-streamed", Road::Streamed),
    ("refusal", Road::Refusal),
    ("introspection", Road::Introspection),
    ("authzen", Road::Evaluation),
];

impl Road {
    pub(crate) fn named(name: &str) -> Option<Self> {
        ROADS.into_iter().find(|(known, _)| *known == name).map(|(_, road)| road)
    }

    /// Records that a good request leaves.
    pub(crate) fn records(self) -> u64 {
        match self {
            Self::Change => 2,
            Self::Introspection => 0,
            _ => 1,
        }
    }

    fn tool(self) -> Option<&'static str> {
        match self {
            Self::Call => Some("small"),
            Self::Change => Some("change"),
            Self::Masked => Some("large"),
            Self::Streamed => Some("stream"),
            Self::Refusal => Some(UNGRANTED),
            _ => None,
        }
    }
}

/// What requests of one road are made of.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) road: Road,
    client: Client,
    address: SocketAddr,
    /// Who asks, by number.
    agent: usize,
    /// The token that is used, handed on or looked at.
    token: String,
    /// Shows who the next agent is.
    actor: String,
    revoked: String,
    /// A good request that was sent already.
    spent: Vec<u8>,
    /// The request that revokes `revoked`.
    revocation: Vec<u8>,
    /// Tokens that were fetched; each left a record.
    fetched: AtomicU64,
}

impl Stock {
    /// Gets the tokens of a road from the server of the world.
    pub(crate) fn gather(world: &World, road: Road) -> Result<Self> {
        let hops = match road {
            Road::Exchange { depth } => depth - 1,
            Road::Credentials | Road::ExchangeFresh | Road::Evaluation => 0,
            _ => 1,
        };
        Self::after(world, road, hops)
    }

    /// The same with a token that was handed on so many times.
    pub(crate) fn after(world: &World, road: Road, hops: usize) -> Result<Self> {
        let client = Client::of(world)?;
        let tokens = || match road {
            Road::Evaluation => Ok((askers(world, &client)?, String::new())),
            _ => chain(world, &client, hops, road == Road::Masked),
        };
        let ((token, actor), (revoked, _)) = (tokens()?, tokens()?);
        // A chain of tokens, and an own one for each of its agents and for the next.
        let (agent, fetched) = if road == Road::Evaluation { (ASKER, 2) } else { (hops, 4 * (hops as u64 + 1)) };
        let revocation = client.form(client.agent(agent)?, "/oauth/revoke", &[("token", &revoked)], Spoilt::No)?;
        let (address, spent, fetched) = (world.address(), Vec::new(), AtomicU64::new(fetched));
        let mut stock = Self { road, client, address, agent, token, actor, revoked, spent, revocation, fetched };
        stock.spent = stock.good(&stock.token, &stock.actor, Spoilt::No)?;
        Ok(stock)
    }

    /// Records that making requests left at the server of the world, and showing it what to refuse.
    pub(crate) fn records(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed) + 1 + self.road.records()
    }

    /// Shows a server what it must refuse from now on: the revoked token, and the request that was used before.
    pub(crate) fn prime(&self, address: SocketAddr) -> Result<()> {
        let revoked = http::once(address, &self.revocation)?;
        ensure!(revoked.status == 200, "the revocation was answered {}", revoked.status);
        let spent = http::once(address, &self.spent)?;
        let text = String::from_utf8_lossy(&spent.body);
        ensure!(spent.status == 200, "{:?} was answered {}: {text}", self.road, spent.status);
        Ok(())
    }

    /// The call without a proof, for a program that asks for none.
    pub(crate) fn bearer(&self) -> Result<Prepared> {
        let authorization = format!("Bearer {}", self.token);
        let tool = self.road.tool().context("not a call")?;
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let bytes = http::request("POST", "/mcp", "127.0.0.1", &headers, &call_body(tool));
        Ok(Prepared { bytes, expect: self.expect() })
    }

    /// So many requests, signed now; every hundredth must be refused.
    pub(crate) fn requests(&self, count: usize) -> Result<Arc<Vec<Prepared>>> {
        self.signed(count, true)
    }

    /// So many good requests, signed now.
    pub(crate) fn good_requests(&self, count: usize) -> Result<Arc<Vec<Prepared>>> {
        self.signed(count, false)
    }

    fn signed(&self, count: usize, spoil: bool) -> Result<Arc<Vec<Prepared>>> {
        let fresh = if self.road == Road::ExchangeFresh { self.fresh(count)? } else { Vec::new() };
        signed(count, |at| self.one(at, &fresh, spoil))
    }

    fn one(&self, at: usize, fresh: &[(String, String)], spoil: bool) -> Result<Prepared> {
        let (token, actor) = fresh.get(at).map_or((&self.token, &self.actor), |(token, actor)| (token, actor));
        if !spoil || at % SPOILT_ONE_IN != SPOILT_ONE_IN / 2 {
            return Ok(Prepared { bytes: self.good(token, actor, Spoilt::No)?, expect: self.expect() });
        }
        let bytes = match (at / SPOILT_ONE_IN) % 4 {
            0 => self.good(token, actor, Spoilt::Signature)?,
            1 if self.road != Road::Introspection => self.good(token, actor, Spoilt::Proof)?,
            // There a revoked token is an answer, and where no token is shown there is none to revoke.
            2 if !matches!(self.road, Road::Introspection | Road::Credentials) => self.good(&self.revoked, actor, Spoilt::No)?,
            _ => self.spent.clone(),
        };
        Ok(Prepared { bytes, expect: Expect::Refused })
    }

    fn expect(&self) -> Expect {
        Expect::Good(match self.road {
            Road::Credentials | Road::Exchange { .. } | Road::ExchangeFresh => "\"access_token\"",
            Road::Introspection => "\"active\":true",
            Road::Evaluation => "\"decision\":true",
            Road::Refusal => "\"error\"",
            _ => "\"result\"",
        })
    }

    fn good(&self, token: &str, actor: &str, spoilt: Spoilt) -> Result<Vec<u8>> {
        let agent = self.client.agent(self.agent)?;
        if let Some(tool) = self.road.tool() {
            return self.client.call(agent, token, tool, spoilt);
        }
        match self.road {
            Road::Evaluation => self.client.evaluation(agent, token, "small", spoilt),
            Road::Introspection => self.client.form(agent, "/oauth/introspect", &[("token", token)], spoilt),
            Road::Credentials => {
                let fields = [
                    ("grant_type", "client_credentials"),
                    ("resource", self.client.resource()),
                    ("scope", "bench:small bench:large"),
                ];
                self.client.form(agent, "/oauth/token", &fields, spoilt)
            }
            _ => {
                let details = [("scope", "bench:small bench:large")];
                let fields = hand_over(token, actor, self.client.resource());
                self.client.form(agent, "/oauth/token", &[&fields[..], &details].concat(), spoilt)
            }
        }
    }

    /// A subject and an actor token for each request, none of which was shown to anybody yet.
    fn fresh(&self, count: usize) -> Result<Vec<(String, String)>> {
        let (resource, issuer) = (self.client.resource(), self.client.issuer.as_str());
        let grant = details(resource, &TOOLS, 1).to_string();
        let fetch = |number: usize, fields: &[(&str, &str)]| {
            let agent = self.client.agent(number)?;
            let expect = Expect::Good("\"access_token\"");
            let asked: Result<Vec<_>> = (0..count)
                .map(|_| Ok(Prepared { bytes: self.client.form(agent, "/oauth/token", fields, Spoilt::No)?, expect }))
                .collect();
            let outcome = load::collect(self.address, &Arc::new(asked?), FETCHERS)?;
            self.fetched.fetch_add(outcome.good, Ordering::Relaxed);
            outcome.answers.iter().map(|body| token_of(&serde_json::from_slice(body)?)).collect::<Result<Vec<_>>>()
        };
        let subjects =
            fetch(0, &[("grant_type", "client_credentials"), ("resource", resource), ("authorization_details", &grant)])?;
        let actors = fetch(1, &[("grant_type", "client_credentials"), ("resource", issuer)])?;
        Ok(subjects.into_iter().zip(actors).collect())
    }
}

/// So many requests, signed on both cores.
pub(crate) fn signed(count: usize, one: impl Fn(usize) -> Result<Prepared> + Sync) -> Result<Arc<Vec<Prepared>>> {
    let (numbers, one): (Vec<usize>, _) = ((0..count).collect(), &one);
    let share = count.div_ceil(SIGNERS).max(1);
    let made = thread::scope(|scope| {
        let signers: Vec<_> = numbers
            .chunks(share)
            .map(|numbers| scope.spawn(move || numbers.iter().map(|at| one(*at)).collect::<Result<Vec<_>>>()))
            .collect();
        signers.into_iter().map(|signer| signer.join().map_err(|_| anyhow!("a signer failed"))?).collect::<Result<Vec<_>>>()
    })?;
    Ok(Arc::new(made.into_iter().flatten().collect()))
}

fn hand_over<'a>(token: &'a str, actor: &'a str, resource: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", actor),
        ("actor_token_type", ACCESS_TOKEN),
        ("resource", resource),
    ]
}

/// A token that was handed on so many times, held by the agent of that number, and the next agent's own token.
fn chain(world: &World, client: &Client, hops: usize, masked: bool) -> Result<(String, String)> {
    let resource = client.resource();
    let identity = |number: usize| {
        let fields = [("grant_type", "client_credentials"), ("resource", client.issuer.as_str())];
        client.token(world, client.agent(number)?, &fields).with_context(|| format!("agent {number} has no token of its own"))
    };
    let grant = details(resource, &TOOLS, HOPS).to_string();
    let first = [("grant_type", "client_credentials"), ("resource", resource), ("authorization_details", &grant)];
    let mut token = client.token(world, client.agent(0)?, &first).context("the first agent has no token")?;
    for hop in 1..=hops {
        let actor = identity(hop)?;
        let mut grant = details(resource, &TOOLS, HOPS - hop);
        if let Some(members) = grant.get_mut(0).and_then(|grant| grant.as_object_mut()).filter(|_| masked) {
            members.insert("fields".to_owned(), json!(["/rows/*/id", "/rows/*/subject"]));
        }
        let grant = grant.to_string();
        let fields = [&hand_over(&token, &actor, resource)[..], &[("authorization_details", grant.as_str())]].concat();
        token = client.token(world, client.agent(hop - 1)?, &fields).with_context(|| format!("hop {hop}"))?;
    }
    let next = (hops + 1).min(HOPS);
    Ok((token, identity(next)?))
}

/// A token for the decision point.
fn askers(world: &World, client: &Client) -> Result<String> {
    let fields = [("grant_type", "client_credentials"), ("resource", client.desk()), ("scope", "access:evaluate")];
    client.token(world, client.agent(ASKER)?, &fields).context("the asker has no token")
}
