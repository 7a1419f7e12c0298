//! What the server accepts its verifiers accept: random traffic, honest and clumsy, with restarts in between, leaves a ledger
//! that verifies.

use crate::{flow::*, world::*};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use remit_insight::{custody, replay};
use remit_ledger::Reader;
use remit_token::dpop::{self, ProofFor};

/// One thing that a client does. Numbers choose among the tokens so far.
#[derive(Clone, Debug)]
enum Act {
    /// Two people's programs redeem equal consents within one second.
    Consents,
    Own,
    Narrow(usize),
    /// Names a child, with a proof dated this far ahead.
    Name {
        from: usize,
        ahead: i64,
    },
    State(usize),
    Refresh(usize),
    /// Sends the form of an earlier request again, with its proof; only the client assertion is new.
    Again(usize),
    Wait(u64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        2 => Just(Act::Consents),
        1 => Just(Act::Own),
        2 => any::<usize>().prop_map(Act::Narrow),
        4 => (any::<usize>(), -290_i64..290).prop_map(|(from, ahead)| Act::Name { from, ahead }),
        2 => any::<usize>().prop_map(Act::State),
        2 => any::<usize>().prop_map(Act::Refresh),
        5 => any::<usize>().prop_map(Act::Again),
        3 => (0_u64..60).prop_map(Act::Wait),
        3 => Just(Act::Restart),
    ];
    prop::collection::vec(one, 4..16)
}

/// A request as it was sent, without what authenticates the client.
#[derive(Clone)]
struct Sent {
    form: Vec<(String, String)>,
    proof: String,
}

#[derive(Default)]
struct Traffic {
    sent: Vec<Sent>,
    /// The planner's tokens.
    tokens: Vec<String>,
    refresh: Vec<String>,
    nonce: Option<String>,
}

impl Traffic {
    /// Sends a request of the planner's, as an ordinary client does: with the newest nonce, and again when one is asked for.
    async fn send(&mut self, world: &World, form: &[(&str, &str)], ahead: i64) -> Option<Reply> {
        for _ in 0..2 {
            let jti = fresh();
            let now = world.now().plus(ahead);
            let made =
                ProofFor { method: "POST", url: TOKEN, now, jti: &jti, nonce: self.nonce.as_deref(), ..ProofFor::default() };
            let proof = dpop::create(&world.planner.dpop, &made).unwrap();
            let sent = Sent { form: fields(form), proof };
            let reply = self.post(world, &sent).await;
            self.sent.push(sent);
            match reply.body["remit_code"].as_str() {
                None => return Some(reply),
                Some("dpop_nonce_required") => {}
                Some(_) => return None,
            }
        }
        panic!("a fresh nonce was refused");
    }

    async fn post(&mut self, world: &World, sent: &Sent) -> Reply {
        let mut form = world.authenticated(&world.planner);
        form.extend(sent.form.iter().cloned());
        let reply = world.post("/oauth/token", &form, &[("dpop", sent.proof.clone())]).await;
        assert!(!reply.status.is_server_error(), "{}", reply.text);
        self.nonce = reply.headers.get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
        reply
    }

    fn keep(&mut self, reply: Option<Reply>) {
        let Some(reply) = reply else { return };
        self.tokens.push(reply.access_token());
        self.refresh.extend(reply.body["refresh_token"].as_str().map(str::to_owned));
    }

    async fn act(&mut self, world: World, act: &Act) -> World {
        match act {
            Act::Consents => {
                let mut codes = Vec::new();
                for _ in 0..2 {
                    codes.push(world.code("alice", &request()).await);
                }
                for code in codes {
                    let form = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
                    let reply = self.send(&world, &form, 0).await;
                    assert!(reply.is_some(), "an honest redemption was refused");
                    self.keep(reply);
                }
            }
            Act::Own => {
                let reply = self.send(&world, &[("grant_type", "client_credentials"), ("resource", HELPDESK)], 0).await;
                self.keep(reply);
            }
            Act::Narrow(from) => {
                if let Some(token) = pick(&self.tokens, *from) {
                    let reply = self.send(&world, &exchange(&token, ACCESS_TOKEN), 0).await;
                    self.keep(reply);
                }
            }
            Act::Name { from, ahead } => {
                if let Some(token) = pick(&self.tokens, *from) {
                    let child = self.child(&world).await;
                    let mut form = exchange(&token, ACCESS_TOKEN);
                    form.extend([("actor_token", child.as_str()), ("actor_token_type", ACCESS_TOKEN)]);
                    self.send(&world, &form, *ahead).await;
                }
            }
            Act::State(from) => {
                if let Some(token) = pick(&self.tokens, *from) {
                    let details = serde_json::json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
                        "fields": ["/id"]}]);
                    let statement = world.statement(&world.planner, &token, &world.scribe, &details);
                    for _ in 0..2 {
                        world.token(&world.scribe, &exchange(&statement, JWT)).await;
                    }
                }
            }
            Act::Refresh(from) => {
                if let Some(token) = pick(&self.refresh, *from) {
                    let reply = self.send(&world, &[("grant_type", "refresh_token"), ("refresh_token", &token)], 0).await;
                    self.keep(reply);
                }
            }
            Act::Again(which) => {
                if let Some(sent) = pick(&self.sent, *which) {
                    self.post(&world, &sent).await;
                }
            }
            Act::Wait(seconds) => world.advance(*seconds),
            Act::Restart => return world.restart().await,
        }
        world
    }

    /// The token with which the summarizer shows itself.
    async fn child(&self, world: &World) -> String {
        let jti = fresh();
        let nonce = self.nonce.as_deref();
        let made = ProofFor { method: "POST", url: TOKEN, now: world.now(), jti: &jti, nonce, ..ProofFor::default() };
        let proof = dpop::create(&world.summarizer.dpop, &made).unwrap();
        let form = [("grant_type", "client_credentials"), ("resource", ISSUER)];
        let reply = world.token_with(&world.summarizer, &proof, &form).await;
        reply.body["access_token"].as_str().unwrap_or("none").to_owned()
    }
}

fn exchange<'a>(subject: &'a str, kind: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("grant_type", EXCHANGE), ("subject_token", subject), ("subject_token_type", kind)]
}

fn pick<T: Clone>(all: &[T], which: usize) -> Option<T> {
    all.get(which.checked_rem(all.len())?).cloned()
}

/// What both verifiers say of the world's ledger.
async fn verified(world: &World) -> Result<(), TestCaseError> {
    world.store.publish().await.unwrap();
    let reader = Reader::open(world.store.ledger_dir()).unwrap();
    let report = custody(&reader);
    prop_assert!(report.ok(), "{report:?}");
    let report = replay(&reader);
    prop_assert!(report.ok(), "{report:?}");
    Ok(())
}

#[test]
fn what_the_server_accepts_its_verifier_accepts() {
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runner.run(&acts(), |acts| {
        runtime.block_on(async {
            let mut world = World::new().await;
            world.record_registrations().await;
            let mut traffic = Traffic::default();
            traffic.tokens.push(text(&world.delegated("alice").await, "access_token").to_owned());
            for act in &acts {
                world = traffic.act(world, act).await;
            }
            verified(&world).await
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn two_equal_consents_redeemed_in_one_second_verify() {
    let world = World::new().await;
    world.record_registrations().await;
    let codes = [world.code("alice", &request()).await, world.code("alice", &request()).await];
    for code in codes {
        world.redeem(&world.planner, &code, &[]).await.access_token();
    }
    verified(&world).await.unwrap();
}

#[tokio::test]
async fn dp_09_a_proof_dated_ahead_is_accepted_once_across_a_restart() {
    for ahead in [1, 60, 290] {
        let world = World::new().await;
        world.record_registrations().await;
        let token = text(&world.delegated("alice").await, "access_token").to_owned();
        let child = world.identity(&world.summarizer).await;
        let mut form = exchange(&token, ACCESS_TOKEN);
        form.extend([("actor_token", child.as_str()), ("actor_token_type", ACCESS_TOKEN)]);
        let jti = fresh();
        let made = ProofFor { method: "POST", url: TOKEN, now: world.now().plus(ahead), jti: &jti, ..ProofFor::default() };
        let proof = dpop::create(&world.planner.dpop, &made).unwrap();
        world.token_with(&world.planner, &proof, &form).await.access_token();
        world.advance(1);
        let world = world.restart().await;
        world.token_with(&world.planner, &proof, &form).await.refused("use_dpop_nonce", "dpop_nonce_required");
        verified(&world).await.unwrap();
    }
}
