//! What a consent page says: in words that a person can act on, and the same bytes each time for the same consent.
//!
//! Implements AZ-09. It decides nothing.

use crate::{
    Server,
    clients::candidate::{self, Candidate, Publisher},
    grants::consented::Consented,
    signin::{
        devices::Device,
        pages::{self, Phrase},
        passkeys::ceremony::Signing,
        redirect,
    },
};
use askama::Template as _;
use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use remit_model::{Agent, Authority, Clauses, Fault, Human, Part, Sentence, UnixTime, display};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a consent page is made of.
pub(crate) struct Page<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) human: &'a Human,
    pub(crate) consented: &'a Consented,
    /// What allowing it registers.
    pub(crate) candidate: Option<&'a Candidate>,
    /// The device that asks, if one does.
    pub(crate) device: Option<&'a Device>,
}

impl Page<'_> {
    /// What it says, to the letter: the same for the same consent, so that what was signed can be shown to be what was read.
    ///
    /// # Errors
    /// Only when the template fails.
    pub(crate) fn text(&self, server: &Server) -> Result<String, Fault> {
        let Self { agent, human, consented, candidate, device } = self;
        let uri = &consented.redirect_uri;
        let purpose = consented.purpose.as_deref().map(Part::shown);
        let until_words = in_words(consented.until);
        let publisher = match candidate::publisher(agent) {
            Publisher::Host(host) => Some(Part::shown(&host)),
            Publisher::Administrator | Publisher::None => None,
        };
        let destination = match device {
            Some(_) => "nowhere: the program is on another device".to_owned(),
            None => Part::shown(&redirect::host(uri)),
        };
        let text = pages::ConsentText {
            agent_name: &display::escape(&agent.display_name),
            agent_subject: &agent.id.subject(),
            owner: &agent.owner,
            human_name: &display::escape(&human.display_name),
            human_subject: &human.subject(),
            publisher: publisher.as_deref(),
            notes: notes(agent, *candidate).into_iter().chain(device.map(device_note)).collect(),
            redirect_host: &destination,
            loopback: device.is_none() && redirect::is_loopback(uri),
            purpose: purpose.as_deref(),
            grants: consented.authority.clauses().iter().map(|clauses| offered(server, clauses)).collect(),
            until: &when(consented.until, "%Y-%m-%dT%H:%M:%SZ"),
            until_words: &until_words,
            others: others(&consented.authority),
        };
        text.render().map_err(Fault::new)
    }

    /// The whole page. `signing` is how the person signs it.
    pub(crate) fn render(&self, text: &str, request: &str, signing: Option<Signing>, must_sign: bool) -> Response<Body> {
        let consent = pages::Consent { text, request, signing, must_sign };
        pages::scripted(StatusCode::OK, &consent, &redirect::form_action(&self.consented.redirect_uri))
    }
}

/// What a person must know before they let a device act for them. SPEC: DG-02
fn device_note(device: &Device) -> String {
    let from = device.from.map_or_else(|| "an unknown address".to_owned(), |from| from.to_string());
    format!(
        "A device at {from} asks for this. It must be showing the code {} now. Allow it only if you started the program there yourself.",
        device.user_code
    )
}

/// What a person must know about a client that registered itself, or whose tokens anyone can use. SPEC: AZ-09, AZ-10, CM-05
fn notes(agent: &Agent, candidate: Option<&Candidate>) -> Vec<String> {
    let mut notes = Vec::new();
    if agent.is_bearer() {
        notes.push(
            "Its access tokens are not bound to a key: any program that gets hold of one can use it until it expires.".to_owned(),
        );
    }
    match candidate::publisher(agent) {
        Publisher::Administrator => return notes,
        Publisher::None => {
            notes.push(
                "This program registered itself and chose its own name. Nobody has checked that it is what it says it is."
                    .to_owned(),
            );
        }
        Publisher::Host(_) if agent.redirect_uris.iter().all(|uri| redirect::is_loopback(uri)) => {
            notes.push(
                "Any program on this computer can use this name. Continue only if you have just started the program yourself."
                    .to_owned(),
            );
        }
        Publisher::Host(_) => {}
    }
    match candidate {
        Some(candidate) if candidate.is_new() => {
            notes.push("This program is new here: you are the first person it asks.".to_owned());
        }
        Some(candidate) => {
            let what = candidate.changed.join(", and ");
            notes.push(format!(
                "This program has changed since it was last let in: {what}. If you allow it, everyone else must consent to it again."
            ));
        }
        None => {}
    }
    notes
}

fn offered(server: &Server, clauses: &Clauses) -> pages::Offered {
    let limits = clauses.limits.iter().map(|limit| phrases(server, limit, &[])).collect();
    pages::Offered { may: phrases(server, &clauses.subject, &clauses.locations), limits }
}

/// The parts of a sentence. Where the operator gave a title, to a server or to a tool at `locations`, it stands before the name.
fn phrases(server: &Server, sentence: &Sentence, locations: &[String]) -> Vec<Phrase> {
    let data = |value: &str| Phrase::Data(Part::shown(value));
    let ours = |text: &str| Phrase::Words(display::escape(text).into_owned());
    let at = |location: &str| server.servers.iter().find(|known| known.location == *location);
    let tool_title = |tool: &str| {
        let titles = locations.iter().filter_map(|location| at(location)?.tools.get(tool)?.title.as_deref());
        let mut titles: Vec<&str> = titles.collect();
        titles.dedup();
        <[&str; 1]>::try_from(titles).ok().map(|[title]| title.to_owned())
    };
    let mut phrases = Vec::new();
    for part in sentence.flat() {
        match part {
            Part::Words(words) => phrases.push(ours(&words)),
            Part::Resource(location) => phrases.push(at(&location).map_or_else(|| data(&location), |known| ours(&known.title))),
            Part::Action(tool) => match tool_title(&tool) {
                Some(title) => phrases.extend([ours(&format!("{title} (")), data(&tool), ours(")")]),
                None => phrases.push(data(&tool)),
            },
            Part::Value(value) => phrases.push(data(&value)),
            Part::List { .. } => {}
        }
    }
    phrases
}

/// A time as people read it.
pub(crate) fn in_words(time: UnixTime) -> String {
    when(time, "%e %B %Y, %H:%M UTC").trim().to_owned()
}

fn when(time: UnixTime, format: &str) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.to_string(), |time| time.strftime(format).to_string())
}

/// Whether other agents may come to hold a part of this. SPEC: AZ-09
fn others(authority: &Authority) -> Vec<Phrase> {
    let details = authority.to_value();
    let named = |detail: &Value| detail.pointer("/delegate/to").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: BTreeSet<String> =
        details.as_array().into_iter().flatten().flat_map(named).filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let words = |text: &str| Phrase::Words(text.to_owned());
    let depth = authority.depth();
    if names.is_empty() || depth == 0 {
        return vec![words("It may not pass any of this on to other agents.")];
    }
    let mut phrases = vec![words("It may pass parts of this on to ")];
    if names.contains("*") {
        phrases.push(words("any registered agent"));
    } else {
        for (at, name) in names.iter().enumerate() {
            phrases.extend((at > 0).then(|| words(", ")));
            phrases.push(Phrase::Data(Part::shown(name)));
        }
    }
    phrases.push(if depth == 1 {
        words(", which may not pass it on again.")
    } else {
        Phrase::Words(format!(
            ", and from there through at most {} more.",
            if depth == 2 { "1 agent".to_owned() } else { format!("{} agents", depth - 1) }
        ))
    });
    phrases
}
