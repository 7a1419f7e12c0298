//! Random traffic, honest and clumsy, against the real server, which is killed again and again. Afterwards both verifiers accept
//! the ledger, and it holds everything that was answered.
//!
//! The ordinary test is small. `cargo xtask chaos` sets `REMIT_CHAOS_REQUESTS`, `REMIT_CHAOS_KILLS` and `REMIT_CHAOS_SEED`.

mod acts;
mod answered;
mod cast;
mod client;
mod dice;
mod wire;

use crate::{
    harness::{Remit, Setup, desk, remit, succeed, text},
    ledger::second_opinion,
};
use acts::Act;
use answered::Answered;
use cast::Agent;
use client::{Client, Stage, held};
use dice::Dice;
use std::{
    env, fs,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
pub(crate) use wire::encode;
use wire::{Sent, Wire};

const CLIENTS: u64 = 4;

/// How much is done.
struct Size {
    requests: u64,
    kills: u64,
    seed: u64,
}

impl Size {
    fn read() -> Self {
        let number = |name: &str, usual: u64| env::var(name).map_or(usual, |text| text.parse().unwrap());
        Self {
            requests: number("REMIT_CHAOS_REQUESTS", 400),
            kills: number("REMIT_CHAOS_KILLS", 2),
            seed: number("REMIT_CHAOS_SEED", 20_261_130),
        }
    }
}

fn begin() -> Remit {
    let (_, url) = desk();
    Setup::new().desk(&url).section("\nagents:\n  access_token_lifetime: 3600\n").start()
}

fn stage(server: &Remit) -> Arc<Stage> {
    Arc::new(Stage {
        issuer: server.issuer.clone(),
        helpdesk: server.resource("helpdesk"),
        password: server.password.clone(),
        admin: fs::read_to_string(server.folder().join("keys/admin.token")).unwrap().trim().to_owned(),
        answered: Answered::default(),
    })
}

async fn register(stage: &Stage, wire: &Wire) {
    for name in ["planner", "summarizer", "scribe"] {
        let registration = Agent::new(name, 0).registration(&cast::ceiling(&stage.helpdesk));
        let reply = cast::admin(wire, &stage.admin, "agents", Some(&registration)).await.unwrap();
        assert!(reply.status.is_success(), "{}", reply.text);
    }
}

#[test]
fn what_was_answered_is_in_the_ledger_and_both_verifiers_accept_it() {
    let size = Size::read();
    println!("chaos: {} requests, {} kills, seed {}", size.requests, size.kills, size.seed);
    let began = Instant::now();
    let mut server = begin();
    let (stage, sent) = (stage(&server), Sent::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let wire = Wire::new(&stage.issuer, &sent);
    runtime.block_on(register(&stage, &wire));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = Client::new(&stage, Wire::new(&stage.issuer, &sent), number, size.seed);
            runtime.spawn(play(client, size.requests))
        })
        .collect();
    let mut dice = Dice::seeded(size.seed);
    for kill in 1..=size.kills {
        let at = size.requests * kill / (size.kills + 1);
        while sent.load(Ordering::Relaxed) < at {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client stopped early");
            // PAUSE: the kill is due after so many requests, however long they take.
            thread::sleep(Duration::from_millis(1));
        }
        // PAUSE: at another moment of a request's work each time.
        thread::sleep(Duration::from_micros(dice.below(20_000)));
        server.kill();
        server.restart();
    }
    runtime.block_on(async {
        for client in clients {
            client.await.unwrap();
        }
    });
    println!("chaos: {} requests in {:?}; {}", sent.load(Ordering::Relaxed), began.elapsed(), stage.answered.figures());
    judge(&mut server, &stage.answered);
    let enough = if size.requests >= 10_000 { 10 } else { 1 };
    for what in ["equal consents", "proofs sent again", "double registrations", "calls done"] {
        assert!(stage.answered.counted(what) >= enough, "hardly any {what}: the traffic is not what it should be");
    }
}

async fn play(mut client: Client, requests: u64) {
    // Each begins as a program does: a person consents.
    while client.held.is_empty() {
        client.wire.back().await;
        if let Some(code) = client.code().await {
            client.redeem(&code, None).await;
        }
    }
    // What the verdict asks for happens at least once, whatever the dice say.
    for act in [Act::Read, Act::EqualConsents, Act::RegisterTwice, Act::Again] {
        while client.perform(act).await.is_none() {
            client.wire.back().await;
        }
    }
    while client.wire.sent.load(Ordering::Relaxed) < requests {
        if client.act().await.is_none() {
            client.wire.back().await;
        }
    }
}

/// The verdicts of both verifiers on the disclosed ledger, and whether it holds what was answered. Ends the server.
fn judge(server: &mut Remit, answered: &Answered) {
    let office = TempDir::new().unwrap();
    let keys = office.path().join("keys.json");
    server.published();
    server.run(&["audit", "disclose", "--out", text(&keys)]);
    server.stop();
    let verified = succeed(remit(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey, "--keys", text(&keys)]));
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(told.contains("VERIFIED") && !told.contains("NOT VERIFIED"), "{told}");
    assert!(!last_line(&told).contains("as far as this copy discloses"), "{told}");
    let second = second_opinion(&server.ledger(), &server.vkey, &["--keys", text(&keys)]);
    let other = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(second.status.success() && other.contains("VERIFIED") && !other.contains("NOT VERIFIED"), "{other}");
    let missing = answered.missing(&server.ledger());
    assert!(missing.is_empty(), "answered, and not in the ledger: {missing:#?}");
    println!("chaos: {}\nchaos: verify.py: {}", last_line(&told), last_line(&other));
}

fn last_line(told: &str) -> &str {
    told.trim_end().lines().last().unwrap_or_default()
}

/// The one proof of a delegation is dated ahead, the server is killed, and the proof comes again. It has no nonce, which would
/// have ended with the server.
#[test]
fn dp_09_a_proof_dated_ahead_is_not_accepted_again_after_a_kill() {
    for ahead in [60, 290] {
        let mut server = begin();
        let (stage, sent) = (stage(&server), Sent::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wire = Wire::new(&stage.issuer, &sent);
        runtime.block_on(register(&stage, &wire));
        let mut client = Client::new(&stage, wire.clone(), 0, 1);
        // The same agent in another process, which no answer has told a nonce.
        let mut fresh = Client::new(&stage, wire, 0, 2);
        runtime.block_on(async {
            let code = client.code().await.unwrap();
            client.redeem(&code, None).await.unwrap();
            let identity = [("grant_type", "client_credentials"), ("resource", stage.issuer.as_str())];
            let identity = held(&client.token(client::Who::Summarizer, &identity, 0).await.unwrap()).unwrap();
            let token = client.held.last().unwrap().token.clone();
            let delegate = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", token.as_str()),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("actor_token", identity.token.as_str()),
                ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("authorization_details", &cast::part(&stage.helpdesk).to_string()),
            ];
            let reply = fresh.token(client::Who::Planner, &delegate, ahead).await.unwrap();
            assert!(reply.status.is_success(), "{}", reply.text);
        });
        let [form] = fresh.forms.as_slice() else { panic!("the server asked for a nonce") };
        let form = form.clone();
        server.kill();
        server.restart();
        // The kept connections ended with the server.
        fresh.wire = Wire::new(&stage.issuer, &sent);
        let again = runtime.block_on(fresh.post(client::Who::Planner, &form)).unwrap();
        assert_eq!(again.text("/remit_code"), Some("dpop_nonce_required"), "{} {}", again.status, again.text);
        judge(&mut server, &stage.answered);
    }
}
