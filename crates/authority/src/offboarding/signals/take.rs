//! Taking one security event: verified, given its effect, recorded, and used up, in one batch. SPEC: SS-11

use super::meaning::{Effect, Meaning};
use crate::{
    Server,
    grants::attempt::Once,
    http::{error::Rejection, origin::RequestOrigin},
    offboarding::{
        EVENT,
        end::{self, Cause, Means},
    },
    signin::provider::{EventSettings, ProviderSettings},
    tokens::{issue, record},
};
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Code, Human, ToolClass, display};
use remit_store::{Batch, JtiKind};
use remit_token::{
    Skew,
    security_event::{self, SecurityEvent, Subject},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Takes an event of this provider. One that was taken before has no second effect, and is good. SPEC: RFC 8935 §2, N-SS-04
///
/// # Errors
/// `token_*` for one that is not good; `provider_unreachable` and `provider_answer_invalid` when the transmitter's keys cannot be
/// had; outages.
pub(super) async fn take(
    server: &Server,
    provider: &ProviderSettings,
    events: &EventSettings,
    compact: &str,
    origin: Option<&RequestOrigin>,
) -> Result<(), Rejection> {
    let event = verified(server, provider, events, compact).await?;
    let key = format!("{EVENT}{} {} {}", provider.name, record::hash(&events.issuer), record::hash(&event.jti));
    let once = [Once { kind: JtiKind::Other, key, until: event.until }];
    let meaning = Meaning::of(&event.event, &event.payload);
    let taken = match whom(server, provider, events, &event, meaning) {
        Ok((name, people)) => {
            let mut cause = Cause::new(&provider.name, Means::SecurityEvent);
            cause.event = Some(&event.jti);
            cause.origin = origin;
            cause.facts.insert("type".to_owned(), json!(name));
            end::end_people(server, &people, &cause, &once).await.map(drop)
        }
        Err(reason) => {
            let shown = display::excerpt(&event.event, 200);
            tracing::info!(provider = provider.name, event = %shown, reason, "a security event has no effect");
            let record = without_effect(server, provider, &event, meaning, reason, origin);
            issue::commit(server, &once, None, Batch::new(server.tenant.clone()).record(record)).await.map(drop)
        }
    };
    match taken {
        Err(Rejection::Refusal(refusal)) if refusal.code == Code::AssertionReplayed => Ok(()),
        taken => taken,
    }
}

async fn verified(
    server: &Server,
    provider: &ProviderSettings,
    events: &EventSettings,
    compact: &str,
) -> Result<SecurityEvent, Rejection> {
    let keys = server.discovery.event_keys(&events.issuer, compact).await?;
    let audience = events.audience.clone().unwrap_or_else(|| server.url(&super::path(&provider.name)));
    let expect = security_event::Expect { issuer: &events.issuer, audience: &audience };
    Ok(security_event::verify(compact, &keys, &expect, server.now(), Skew::seconds(server.settings.skew))?)
}

/// Whose sign-ins end, with the event's name; or why none end, in a word for the record.
fn whom(
    server: &Server,
    provider: &ProviderSettings,
    events: &EventSettings,
    event: &SecurityEvent,
    meaning: Option<Meaning>,
) -> Result<(&'static str, Vec<Arc<Human>>), &'static str> {
    let meaning = meaning.ok_or("type_unknown")?;
    match meaning.effect {
        Effect::Ends => {}
        Effect::Nothing => return Err("nothing_ends"),
        Effect::Stream => return Err("stream"),
    }
    let subject = match &event.subject {
        // INVARIANT: a transmitter speaks about the people of its provider, and about no one else's. SPEC: N-SS-06
        Subject::IssuerSubject { issuer, .. } if *issuer != provider.issuer => return Err("subject_of_another_issuer"),
        Subject::IssuerSubject { subject, .. } => subject,
        // Only the provider itself means its own `sub` by it.
        Subject::Opaque(_) if events.issuer != provider.issuer => return Err("subject_opaque"),
        Subject::Opaque(id) => id,
        // An e-mail address or a telephone number can change its owner.
        Subject::Unusable(_) => return Err("subject_names_no_account"),
    };
    Ok((meaning.name, end::accounts(&server.store.snapshot(), &provider.issuer, subject)))
}

/// The record of an event that changes nothing. An unknown type is a stranger's text: the record has its digest.
fn without_effect(
    server: &Server,
    provider: &ProviderSettings,
    event: &SecurityEvent,
    meaning: Option<Meaning>,
    reason: &'static str,
    origin: Option<&RequestOrigin>,
) -> Draft {
    let mut plain = Map::new();
    plain.insert("provider".to_owned(), json!(provider.name));
    plain.insert("event".to_owned(), json!(record::hash(&event.jti)));
    plain.insert("effect".to_owned(), json!("none"));
    plain.insert("reason".to_owned(), json!(reason));
    match meaning {
        Some(meaning) => plain.insert("type".to_owned(), json!(meaning.name)),
        None => plain.insert("type_digest".to_owned(), json!(record::hash(&event.event))),
    };
    if let Subject::Unusable(format) = event.subject {
        plain.insert("subject".to_owned(), json!(format.as_str()));
    }
    let status = event.payload.get("status").and_then(Value::as_str).filter(|_| reason == "stream");
    if let Some(status) = status.filter(|status| ["enabled", "paused", "disabled"].contains(status)) {
        plain.insert("status".to_owned(), json!(status));
        tracing::warn!(provider = provider.name, status, "the transmitter of security events changed the stream");
    }
    let mut draft = Draft::new(server.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("provider.security_event", ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::None)
        .ext("event", Value::Object(plain));
    if let Some(origin) = origin {
        origin.note(&mut draft);
    }
    draft
}
