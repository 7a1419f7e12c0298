//! Polling transmitters for security events, at an interval. SPEC: RFC 8936 §2; SS-07
//!
//! What was taken is acknowledged with the next poll. After a crash the transmitter sends it again, and it has no second effect.

use super::{push, take};
use crate::{
    Server,
    grants::{attempt::Attempt, outcome::Facts},
    http::{
        error::{At, Rejection, printable},
        origin::RequestOrigin,
    },
    signin::provider::{EventSettings, PollSettings, ProviderSettings},
    tokens::{issue, record::Entry},
};
use axum::http::{HeaderValue, Method, StatusCode, header};
use remit_model::{Code, Refusal, UnixTime, bounds};
use remit_outbound::{Limit, Request, Source};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::task::{Id, JoinError, JoinSet};

/// How often it is looked which transmitter is due.
const LOOK: Duration = Duration::from_secs(1);

/// Polls from now on, until the future is dropped.
pub async fn keep_polling(server: Arc<Server>) {
    let mut polls = EventPolls::default();
    loop {
        polls.begin_those_due(&server);
        tokio::time::sleep(LOOK).await;
    }
}

/// What is still to be said to each transmitter, and when. It lives in memory.
#[derive(Debug, Default)]
pub struct EventPolls {
    /// Of those that are not being polled, by the name of their provider.
    idle: HashMap<String, Poll>,
    /// Each poll is a task of its own: a transmitter that is slow keeps no other waiting.
    running: JoinSet<(String, Poll)>,
    /// Whom each task polls.
    polled: HashMap<Id, String>,
}

#[derive(Debug, Default)]
struct Poll {
    next: Option<UnixTime>,
    acknowledge: Vec<String>,
    errors: Map<String, Value>,
    /// Whether the log knows that it does not work.
    told: bool,
}

impl EventPolls {
    /// Begins to ask every transmitter that is due, unless it is still being asked.
    pub fn begin_those_due(&mut self, server: &Arc<Server>) {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended(ended);
        }
        let methods = server.sign_in_methods();
        self.idle.retain(|name, _| methods.provider(name).is_some_and(|provider| polled(&provider).is_some()));
        for provider in &methods.providers {
            let Some((_, settings)) = polled(provider) else { continue };
            if self.polled.values().any(|name| *name == provider.name) {
                continue;
            }
            let mut poll = self.idle.remove(&provider.name).unwrap_or_default();
            let now = server.now();
            if poll.next.is_some_and(|next| now < next) {
                self.idle.insert(provider.name.clone(), poll);
                continue;
            }
            poll.next = Some(now.plus(i64::from(settings.every)));
            let (server, provider) = (Arc::clone(server), Arc::clone(provider));
            let name = provider.name.clone();
            let task = self.running.spawn(async move {
                poll.ask(&server, &provider).await;
                (provider.name.clone(), poll)
            });
            self.polled.insert(task.id(), name);
        }
    }

    /// Asks every transmitter that is due, and waits for what they say: each answer for five seconds at most.
    pub async fn poll_those_due(&mut self, server: &Arc<Server>) {
        self.begin_those_due(server);
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(Id, (String, Poll)), JoinError>) {
        match ended {
            Ok((task, (name, poll))) => {
                self.polled.remove(&task);
                self.idle.insert(name, poll);
            }
            Err(error) => {
                self.polled.remove(&error.id());
                tracing::error!(%error, "a poll for security events ended");
            }
        }
    }
}

fn polled(provider: &ProviderSettings) -> Option<(&EventSettings, &PollSettings)> {
    let events = provider.events.as_ref()?;
    Some((events, events.poll.as_ref()?))
}

impl Poll {
    async fn ask(&mut self, server: &Server, provider: &ProviderSettings) {
        let Some((events, settings)) = polled(provider) else { return };
        match self.rounds(server, provider, events, settings).await {
            Ok(()) => self.told = false,
            Err(reason) => {
                if !self.told {
                    tracing::error!(provider = provider.name, reason, "the provider cannot be polled for security events");
                }
                self.told = true;
            }
        }
    }

    async fn rounds(
        &mut self,
        server: &Server,
        provider: &ProviderSettings,
        events: &EventSettings,
        settings: &PollSettings,
    ) -> Result<(), String> {
        for _ in 0..bounds::SECURITY_EVENTS_ROUNDS.size() {
            let answer = self.send(server, settings).await?;
            let sets = match answer.get("sets") {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(sets)) => sets.clone(),
                Some(_) => return Err("its `sets` is not an object".to_owned()),
            };
            let mut for_later = None;
            for (jti, token) in sets.iter().take(bounds::SECURITY_EVENTS.size()) {
                // What cannot be judged now is neither acknowledged nor refused: it comes again. The others are judged nevertheless.
                if let Err(refusal) = self.one(server, provider, events, jti, token).await {
                    for_later = for_later.or(Some(refusal));
                }
            }
            if let Some(refusal) = for_later {
                return Err(refusal.to_string());
            }
            let more = answer.get("moreAvailable").and_then(Value::as_bool) == Some(true);
            if !more && self.acknowledge.is_empty() && self.errors.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// # Errors
    /// Why the token cannot be judged now.
    async fn one(
        &mut self,
        server: &Server,
        provider: &ProviderSettings,
        events: &EventSettings,
        jti: &str,
        token: &Value,
    ) -> Result<(), Refusal> {
        let refusal = match token.as_str() {
            None => Refusal::new(Code::TokenMalformed, "a security event token is a string"),
            Some(compact) => match take::take(server, provider, events, compact, None).await {
                Ok(()) => {
                    self.acknowledge.push(jti.to_owned());
                    return Ok(());
                }
                Err(rejection) => judged(rejection)?,
            },
        };
        let attempt = Attempt::new(At::SecurityEvent, RequestOrigin::default());
        let facts = Facts::default().fact("provider", provider.name.clone());
        let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
        let (refusal, _) = issue::record_refusal(server, entry, Vec::new(), refusal).await;
        tracing::warn!(provider = provider.name, %refusal, "a security event was refused");
        let said = json!({"err": push::error_code(refusal.code), "description": printable(&refusal.reason)});
        self.errors.insert(jti.to_owned(), said);
        Ok(())
    }

    /// One request and its answer. What it acknowledges is forgotten once the transmitter has it.
    async fn send(&mut self, server: &Server, settings: &PollSettings) -> Result<Value, String> {
        let body = json!({
            "maxEvents": bounds::SECURITY_EVENTS.value(), "returnImmediately": true, "ack": self.acknowledge,
            "setErrs": self.errors,
        });
        let mut request = Request::get(&settings.url, Source::Operator, Limit(bounds::SECURITY_EVENTS_BYTES.size()));
        request.method = Method::POST;
        request.body = body.to_string().into();
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = &settings.credential {
            let value = HeaderValue::from_str(&format!("Bearer {}", secret.as_str()));
            let mut value = value.map_err(|_| "its credential cannot be sent".to_owned())?;
            value.set_sensitive(true);
            request.headers.insert(header::AUTHORIZATION, value);
        }
        let answer = server.outbound.send(request).await.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("its status is {}", answer.status.as_u16()));
        }
        let answer = answer.json().map_err(|error| error.to_string())?;
        self.acknowledge.clear();
        self.errors.clear();
        Ok(answer)
    }
}

/// The refusal of a token that is not good. A fault of ours is no fault of its sender.
fn judged(rejection: Rejection) -> Result<Refusal, Refusal> {
    let refusal = rejection.into_refusal();
    let later =
        matches!(refusal.code, Code::ProviderUnreachable | Code::ProviderAnswerInvalid | Code::Internal | Code::RateLimited);
    if later || refusal.code.is_outage() { Err(refusal) } else { Ok(refusal) }
}
