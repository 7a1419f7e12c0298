//! Random lives of tokens over a real server, against a small model of who is alive: grant, exchange, refresh, revoke, expire,
//! rotate, disable. No token lives after anything that it rests on has died, and none permits what its root did not.
//!
//! `REMIT_LIFETIMES` says how many lives are played; an ordinary run plays few.

use crate::{flow::*, keys::kid_of, world::*};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use remit_model::{AgentStatus, Human, HumanStatus, UnixTime};
use remit_store::Change;
use std::{cell::RefCell, collections::HashMap, collections::HashSet};

/// Lives that an ordinary run plays.
const CASES: u32 = 8;

#[derive(Clone, Debug)]
enum Step {
    SignIn,
    Wait(u64),
    Narrow(usize),
    Hand(usize),
    Refresh(usize),
    Revoke(usize),
    Quarantine(usize),
    Activate(usize),
    Rotate,
    RevokeKey,
    Disable,
    Enable,
}

/// A token that was issued, and what it rests on.
struct Token {
    text: String,
    /// The agent that holds it, and those above it.
    chain: Vec<usize>,
    parent: Option<usize>,
    kid: String,
    expires: i64,
    revoked: bool,
    /// Of a sign-in before the person was disabled.
    ended: bool,
}

/// What is true, told without the server.
#[derive(Default)]
struct Model {
    tokens: Vec<Token>,
    refresh: Vec<(String, bool)>,
    stopped: HashSet<usize>,
    revoked_keys: HashSet<String>,
    disabled: bool,
    ended_before: Option<UnixTime>,
    rotations: u8,
}

impl Model {
    fn add(&mut self, text: String, chain: Vec<usize>, parent: Option<usize>) {
        let (kid, expires) = (kid_of(&text), claims(&text)["exp"].as_i64().unwrap());
        let ended = parent.is_some_and(|parent| self.tokens[parent].ended);
        self.tokens.push(Token { text, chain, parent, kid, expires, revoked: false, ended });
    }

    fn alive(&self, at: usize, now: i64) -> bool {
        let token = &self.tokens[at];
        let itself = !token.revoked && !token.ended && !self.revoked_keys.contains(&token.kid);
        let above = token.parent.is_none_or(|parent| self.alive(parent, now));
        let parties = !self.disabled && !token.chain.iter().any(|agent| self.stopped.contains(agent));
        itself && above && parties && now < token.expires
    }

    /// No token permits what its root did not, nor lives longer than any token above it.
    fn within_ancestors(&self, at: usize) -> Result<(), TestCaseError> {
        let mut next = self.tokens[at].parent;
        let mine = claims(&self.tokens[at].text);
        while let Some(above) = next {
            let theirs = claims(&self.tokens[above].text);
            let within = grants(&mine["authorization_details"]).within(&grants(&theirs["authorization_details"]));
            prop_assert!(within.is_ok() && self.tokens[at].expires <= self.tokens[above].expires, "{} exceeds {}", mine, theirs);
            next = self.tokens[above].parent;
        }
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = any::<usize>();
    let one = prop_oneof![
        2 => Just(Step::SignIn),
        2 => (1_u64..250).prop_map(Step::Wait),
        4 => at.prop_map(Step::Narrow),
        6 => at.prop_map(Step::Hand),
        2 => at.prop_map(Step::Refresh),
        2 => at.prop_map(Step::Revoke),
        1 => at.prop_map(Step::Quarantine),
        2 => at.prop_map(Step::Activate),
        1 => Just(Step::Rotate),
        1 => Just(Step::RevokeKey),
        1 => Just(Step::Disable),
        2 => Just(Step::Enable),
    ];
    prop::collection::vec(one, 4..14)
}

async fn play(world: &World, steps: &[Step]) -> Result<Vec<String>, TestCaseError> {
    let agents = [&world.planner, &world.summarizer, &world.scribe];
    let (mut model, mut seen) = (Model::default(), Vec::new());
    sign_in(world, &mut model).await;
    for step in steps {
        let count = model.tokens.len();
        match step {
            Step::SignIn if !model.disabled && !model.stopped.contains(&0) => sign_in(world, &mut model).await,
            Step::Wait(seconds) => world.advance(*seconds),
            Step::Narrow(at) => {
                let at = at % count;
                let (text, chain) = (model.tokens[at].text.clone(), model.tokens[at].chain.clone());
                let reply = world.narrow(agents[chain[0]], &text, &[]).await;
                issued(world, &mut model, &mut seen, at, &reply, chain)?;
            }
            Step::Hand(at) => {
                let at = at % count;
                let (text, mut chain) = (model.tokens[at].text.clone(), model.tokens[at].chain.clone());
                let child = (chain[0] + 1) % agents.len();
                if !model.stopped.contains(&child) {
                    let reply = world.hand(agents[chain[0]], &text, agents[child], &[]).await;
                    chain.insert(0, child);
                    issued(world, &mut model, &mut seen, at, &reply, chain)?;
                }
            }
            Step::Refresh(at) => refresh(world, &mut model, &mut seen, *at).await?,
            Step::Revoke(at) => {
                let at = at % count;
                let holder = model.tokens[at].chain[0];
                let mut form = world.authenticated(agents[holder]);
                form.extend(fields(&[("token", &model.tokens[at].text)]));
                if world.post("/oauth/revoke", &form, &[]).await.status == 200 {
                    model.tokens[at].revoked = true;
                }
            }
            Step::Quarantine(agent) => set(world, &mut model, agent % 3, AgentStatus::Quarantined).await,
            Step::Activate(agent) => set(world, &mut model, agent % 3, AgentStatus::Active).await,
            Step::Rotate | Step::RevokeKey => rotate(world, &mut model, matches!(step, Step::RevokeKey)).await,
            Step::Disable => disable(world, &mut model).await,
            Step::Enable => {
                model.disabled = false;
                world.change(Change::PutHuman(Human { ended_before: model.ended_before, ..human("alice") })).await;
                world.advance(2);
            }
            Step::SignIn => {}
        }
        for at in 0..model.tokens.len() {
            let token = &model.tokens[at];
            let reply = world.introspect(agents[token.chain[0]], &token.text).await;
            let active = reply.body["active"].as_bool().unwrap_or(false);
            let alive = model.alive(at, world.now().0);
            prop_assert_eq!(active, alive, "after {:?}, token {} of {:?}: {}", step, at, &token.chain, reply.text);
            seen.push(if alive { "alive" } else { "dead" }.to_owned());
        }
    }
    Ok(seen)
}

async fn rotate(world: &World, model: &mut Model, revoke: bool) {
    let old = world.kid();
    model.rotations += 1;
    world.rotate(100 + model.rotations, 0).await;
    if revoke {
        world.revoke_key(&old).await;
        model.revoked_keys.insert(old);
    }
}

async fn disable(world: &World, model: &mut Model) {
    let ended = world.now().plus(1);
    (model.disabled, model.ended_before) = (true, Some(ended));
    let disabled = Human { status: HumanStatus::Disabled, ended_before: Some(ended), ..human("alice") };
    world.change(Change::PutHuman(disabled)).await;
    model.tokens.iter_mut().for_each(|token| token.ended = true);
    model.refresh.iter_mut().for_each(|(_, ended)| *ended = true);
}

async fn sign_in(world: &World, model: &mut Model) {
    let answer = world.delegated("alice").await;
    model.add(text(&answer, "access_token").to_owned(), vec![0], None);
    model.refresh.push((text(&answer, "refresh_token").to_owned(), false));
}

async fn set(world: &World, model: &mut Model, agent: usize, status: AgentStatus) {
    world.set_status([&world.planner, &world.summarizer, &world.scribe][agent], status).await;
    if status == AgentStatus::Active {
        model.stopped.remove(&agent);
    } else {
        model.stopped.insert(agent);
    }
}

/// Takes in what an exchange gave, which only a token that is alive may have.
fn issued(
    world: &World,
    model: &mut Model,
    seen: &mut Vec<String>,
    from: usize,
    reply: &Reply,
    chain: Vec<usize>,
) -> Result<(), TestCaseError> {
    seen.push(reply.body["remit_code"].as_str().unwrap_or("issued").to_owned());
    if reply.status == 200 {
        prop_assert!(model.alive(from, world.now().0), "a dead token gave another one");
        model.add(reply.access_token(), chain, Some(from));
        model.within_ancestors(model.tokens.len() - 1)?;
    }
    Ok(())
}

async fn refresh(world: &World, model: &mut Model, seen: &mut Vec<String>, at: usize) -> Result<(), TestCaseError> {
    let at = at % model.refresh.len();
    let (token, ended) = model.refresh[at].clone();
    let reply = world.refresh(&world.planner, &token, &[]).await;
    seen.push(format!("refresh {}", reply.body["remit_code"].as_str().unwrap_or("issued")));
    if reply.status == 200 {
        prop_assert!(!ended && !model.disabled && !model.stopped.contains(&0), "a refresh token outlived its sign-in");
        model.add(reply.access_token(), vec![0], None);
        text(&reply.body, "refresh_token").clone_into(&mut model.refresh[at].0);
    } else if model.refresh[at].0 == token && !ended && !model.disabled && !model.stopped.contains(&0) {
        // Whatever happened to keys and access tokens, the sign-in stands.
        prop_assert_eq!(reply.body["remit_code"].as_str(), None, "{}", reply.text);
    }
    Ok(())
}

#[test]
fn dc_13_no_token_outlives_what_it_rests_on_and_none_exceeds_its_root() {
    #[expect(clippy::disallowed_methods, reason = "only a test reads how long it is to run")]
    let cases = std::env::var("REMIT_LIFETIMES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, max_shrink_iters: 32, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let counts = RefCell::new(HashMap::<String, usize>::new());
    runner
        .run(&steps(), |steps| {
            let seen = runtime.block_on(async { play(&World::new().await, &steps).await })?;
            for what in seen {
                *counts.borrow_mut().entry(what).or_default() += 1;
            }
            Ok(())
        })
        .unwrap();
    let seen = counts.into_inner();
    for what in ["alive", "dead", "issued"] {
        assert!(seen.get(what).is_some_and(|count| *count >= 5), "too little to mean anything: {seen:?}");
    }
}
