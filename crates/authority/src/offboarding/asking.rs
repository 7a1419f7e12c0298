//! Asking providers at an interval whether their people may still act: some, such as Keycloak, send nothing when a person is
//! disabled or deleted.
//!
//! A person is asked about while something that they handed out can still act. The provider's "no" ends it all; its silence ends
//! nothing: what is there lives to its end, nothing new is let in, and the question is put again. A start begins the interval anew.

use super::{
    end::{self, Cause, Means},
    held::Held,
    question::{self, Answer},
    schedule::Undecided,
};
use crate::{
    Server,
    signin::provider::settings::{Check, ProviderSettings},
};
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Code, Refusal, ToolClass, UnixTime, bounds};
use remit_store::{Batch, Change, StoredProviderSession};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How often it is looked who is due: a small part of the shortest interval.
const LOOK: Duration = Duration::from_millis(50);
/// Looks between two in which those are forgotten of whom nothing can act any more: a minute.
const FORGET_EVERY: u32 = 1_200;
/// Wait between two tries to keep a new refresh token.
const AGAIN: Duration = Duration::from_secs(1);

/// After so many, the provider's refusal of the old one ends the sign-in.
const KEEP_TRIES: usize = 30;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The provider confirms the person, or did so a moment ago.
    Confirmed,
    /// It does not, and what they handed out has ended.
    Gone,
    /// It did not say.
    Unknown(String),
    /// There is nothing to ask with.
    Silent,
}

/// Asks from now on, until the future is dropped. [`load`] comes first.
pub async fn keep_asking(server: Arc<Server>) {
    let room = Arc::new(Semaphore::new(bounds::PROVIDER_QUESTIONS.size()));
    let (mut last_late, mut looks) = (None, 0_u32);
    loop {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(FORGET_EVERY) {
            server.asking.forget_ended(server.now());
        }
        let late_ms = ask_those_due(&server, &room);
        // Said once, until it was well for a while: the bound that the start states does not hold now.
        if late_ms > 1_000 {
            if last_late.is_none_or(|last: u32| looks.wrapping_sub(last) > FORGET_EVERY) {
                tracing::error!(late_ms, "identity providers confirm people later than their interval says");
            }
            last_late = Some(looks);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks about everyone who is due and waits for the answers, for tests that move the clock themselves.
pub async fn ask_now(server: &Arc<Server>) {
    let room = Arc::new(Semaphore::new(bounds::PROVIDER_QUESTIONS.size()));
    ask_those_due(server, &room);
    let all = u32::try_from(bounds::PROVIDER_QUESTIONS.size()).unwrap_or(u32::MAX);
    drop(room.acquire_many(all).await);
}

/// Takes up what an earlier process asked about, before requests are served.
///
/// # Errors
/// The store cannot be read.
pub async fn load(server: &Server) -> Result<(), remit_store::ReadError> {
    let (now, methods) = (server.now(), server.sign_in_methods());
    for (stored, acts) in server.store.provider_sessions(now).await? {
        let Some(held) = Held::read(&stored) else { continue };
        // Also of a provider that is not configured now: it may be again.
        let check = methods.with_issuer(&held.issuer).map_or_else(Check::default, |provider| provider.check);
        let now_ms = now_ms(server);
        server.asking.signed_in(&stored.human, held.person(check, stored.expires), now_ms, spread(server));
        if acts {
            server.asking.found(&stored.human, stored.expires, now_ms, spread(server));
        }
    }
    Ok(())
}

/// Begins as many questions as there is room for; by how much the longest unconfirmed of those due is late, in milliseconds.
fn ask_those_due(server: &Arc<Server>, room: &Arc<Semaphore>) -> u64 {
    let (now_ms, now) = (now_ms(server), server.now());
    let (due, late) = server.asking.take_due(now_ms, now, room.available_permits(), spread(server));
    for name in due {
        let Ok(place) = Arc::clone(room).try_acquire_owned() else {
            server.asking.again(&name, now_ms);
            continue;
        };
        let server = Arc::clone(server);
        tokio::spawn(async move {
            ask(&server, &name, now_ms).await;
            drop(place);
        });
    }
    late
}

/// Whether a person may hand out something new: their provider confirmed them within its interval, or does so now.
///
/// # Errors
/// `sign_in_ended` when it does not, `provider_unreachable` when it does not say.
pub(crate) async fn confirm(server: &Arc<Server>, name: &str) -> Result<(), Refusal> {
    let now_ms = now_ms(server);
    let Some((age_ms, every_ms)) = server.asking.confirmed(name, now_ms) else { return Ok(()) };
    if age_ms <= every_ms {
        return Ok(());
    }
    // A question is never broken off: the provider may have replaced the refresh token, and the new one is not kept yet.
    let asking = {
        let (server, name) = (Arc::clone(server), name.to_owned());
        tokio::spawn(async move { ask(&server, &name, now_ms.saturating_sub(every_ms)).await })
    };
    let standing = asking.await.unwrap_or_else(|_| Standing::Unknown("the question failed here".to_owned()));
    match standing {
        Standing::Confirmed | Standing::Silent => Ok(()),
        Standing::Gone => {
            Err(Refusal::new(Code::SignInEnded, "your identity provider no longer confirms your session; sign in again"))
        }
        Standing::Unknown(reason) => Err(Refusal::new(
            Code::ProviderUnreachable,
            format!("whether you may still act cannot be asked at your identity provider now: {reason}"),
        )),
    }
}

/// Asks about one person, one question at a time, unless one that began after `since_ms` was answered well.
async fn ask(server: &Server, name: &str, since_ms: u64) -> Standing {
    let Some(one_at_a_time) = server.asking.one_at_a_time(name) else { return Standing::Silent };
    let _one = one_at_a_time.lock().await;
    let (began_ms, now) = (now_ms(server), server.now());
    match server.asking.confirmed(name, began_ms) {
        Some((age_ms, _)) if began_ms.saturating_sub(age_ms) > since_ms => return Standing::Confirmed,
        Some(_) => {}
        None => return Standing::Silent,
    }
    let stored = match server.store.provider_session(name).await {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            server.asking.forget(name);
            return Standing::Silent;
        }
        Err(error) => {
            server.asking.again(name, began_ms);
            return Standing::Unknown(error.to_string());
        }
    };
    let Some(mut held) = Held::read(&stored) else {
        server.asking.forget(name);
        return Standing::Silent;
    };
    // INVARIANT: what one issuer gave is shown to that issuer alone, whatever a provider is called here.
    let Some(provider) = server.sign_in_methods().with_issuer(&held.issuer) else {
        return unconfigured(server, name, &held, began_ms).await;
    };
    match question::put(server, &provider, &mut held, now).await {
        Answer::Yes { changed } => {
            if changed {
                keep(server, stored, held).await;
            }
            if server.asking.answered(name, began_ms, provider.check.every_ms(), spread(server)) {
                note(server, &provider, true).await;
            }
            Standing::Confirmed
        }
        Answer::No(word) => gone(server, &provider, name, word, began_ms).await,
        Answer::Undecided(reason) => undecided(server, &provider, name, reason, began_ms).await,
        Answer::Unknown(reason) => {
            if server.asking.unanswered(name, now_ms(server), spread(server)) {
                tracing::error!(provider = provider.name, reason, "an identity provider cannot be asked about its people");
                note(server, &provider, false).await;
            }
            Standing::Unknown(reason)
        }
        Answer::CannotAsk => {
            tracing::warn!(provider = provider.name, "an identity provider can no longer be asked about a person");
            server.asking.silent(name);
            Standing::Silent
        }
    }
}

/// The provider neither confirms nor refuses the person.
async fn undecided(server: &Server, provider: &ProviderSettings, name: &str, reason: String, began_ms: u64) -> Standing {
    match server.asking.undecided(name, now_ms(server), spread(server)) {
        Undecided::NoLongerVouched => return gone(server, provider, name, "no_longer_confirmed", began_ms).await,
        Undecided::New => {
            let provider = provider.name.as_str();
            tracing::warn!(provider, reason, "an identity provider neither confirms nor refuses one of its people");
        }
        Undecided::Again => {}
    }
    Standing::Unknown(reason)
}

/// Keeps the refresh token that takes the place of the one that was used. CRASH: if the process ends before it is durable, a
/// provider that rotates refuses the old one: the person signs in again.
async fn keep(server: &Server, stored: StoredProviderSession, held: Held) {
    let Ok(payload) = held.to_value() else { return };
    let change = Change::PutProviderSession(StoredProviderSession { payload, ..stored });
    for _ in 0..KEEP_TRIES {
        match server.store.apply(Batch::new(server.tenant.clone()).change(change.clone())).await {
            Err(remit_store::ApplyError::Unavailable(outage)) => {
                tracing::error!(%outage, "a provider's new refresh token cannot be kept yet");
                tokio::time::sleep(AGAIN).await;
            }
            // Kept, or the person was erased meanwhile.
            Ok(_) | Err(_) => return,
        }
    }
}

async fn gone(server: &Server, provider: &ProviderSettings, name: &str, word: &'static str, began_ms: u64) -> Standing {
    let answered = server.asking.well(&provider.issuer);
    let human = server.store.snapshot().human(name).cloned();
    let mut cause = Cause::new(provider.name.as_str(), Means::ProviderRefused);
    cause.facts.insert("answer".to_owned(), json!(word));
    cause.facts.insert("check_every_s".to_owned(), json!(provider.check.every));
    let Some(human) = human else {
        server.asking.forget(name);
        return Standing::Gone;
    };
    if let Err(rejection) = end::end_people(server, &[human], &cause, &[]).await {
        let refusal = rejection.into_refusal();
        tracing::error!(%refusal, "a person whom their provider refuses cannot be ended yet");
        server.asking.again(name, began_ms);
        return Standing::Unknown(refusal.reason);
    }
    if answered {
        note(server, provider, true).await;
    }
    Standing::Gone
}

/// No one can be asked about the person. Their account is disabled for as long as that is so, and they are not forgotten: the
/// provider may be configured again.
async fn unconfigured(server: &Server, name: &str, held: &Held, now_ms: u64) -> Standing {
    if server.asking.unconfigured(name, now_ms) {
        let (provider, issuer) = (held.provider.as_str(), held.issuer.as_str());
        tracing::error!(provider, issuer, "people of an identity provider that is not configured any more cannot be asked about");
        record(server, OutcomeStatus::Failure, json!({"provider": provider, "answers": false, "configured": false})).await;
    }
    Standing::Unknown("no identity provider with the issuer that you signed in at is configured".to_owned())
}

/// Records that a provider does not answer, or does so again.
async fn note(server: &Server, provider: &ProviderSettings, answers: bool) {
    let status = if answers { OutcomeStatus::Success } else { OutcomeStatus::Failure };
    let facts = json!({"provider": provider.name, "answers": answers, "check_every_s": provider.check.every});
    record(server, status, facts).await;
}

async fn record(server: &Server, status: OutcomeStatus, facts: Value) {
    let record = Draft::new(server.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("provider.ask", ToolClass::Admin)
        .outcome(status, EffectConfirmed::Observed)
        .ext("provider", facts);
    if let Err(error) = server.store.apply(Batch::new(server.tenant.clone()).note().record(record)).await {
        tracing::error!(%error, "whether a provider answers could not be recorded");
    }
}

/// Milliseconds of the clock that only runs.
pub(crate) fn now_ms(server: &Server) -> u64 {
    server.clock.now().mono_ns / 1_000_000
}

/// A number that puts people at different moments.
pub(crate) fn spread(server: &Server) -> u64 {
    u64::from(u32::from_be_bytes(server.entropy.bytes()))
}

/// Until when something may act that is handed out in a session that begins now.
pub(crate) fn ends(server: &Server, now: UnixTime) -> UnixTime {
    now.plus(server.settings.session.saturating_add(server.settings.consent))
}
