//! What is recorded of an evaluation: who asked, about whom, what they said, and what they were told.

use super::{evaluate::Verdict, wire::Evaluation};
use crate::{
    call::Served,
    error::No,
    identify::Caller,
    record::{Came, Entry},
    settings::Settings,
};
use remit_ledger::record::{Action, Draft, EffectConfirmed, Http, Outcome, Protocol, Resource};
use remit_model::{
    mask::Shown,
    resource::{Server, ToolClass},
    time::Moment,
};
use remit_store::Snapshot;
use serde_json::{Value, json};

/// The record's action: the tool and the resource beside it are those that were asked about.
const ACTION: &str = "authzen:evaluation";

/// Everything the records of one request share.
pub(super) struct Asking<'a> {
    pub(super) settings: &'a Settings,
    pub(super) desk: &'a Server,
    pub(super) caller: &'a Caller,
    pub(super) came: &'a Came,
    pub(super) route: &'static str,
    pub(super) request_id: Option<&'a str>,
    pub(super) world: &'a Snapshot,
    pub(super) now: &'a Moment,
}

impl Asking<'_> {
    /// The record of one evaluation, number `item` of its request.
    pub(super) fn record(&self, evaluation: &Evaluation, verdict: Verdict<'_>, item: usize) -> Draft {
        let mut entry = Entry::open(self.settings, verdict.at.unwrap_or(self.desk), self.now);
        entry.from(self.came);
        entry.caller(self.caller, self.world);
        if let (Some(act), Some(server)) = (&verdict.act, verdict.at) {
            entry.act(act, server);
        }
        if let (Some(question), Some((decision, latency_ns))) = (&verdict.question, &verdict.decision) {
            entry.decision(question, decision, *latency_ns);
        }
        let unasked = verdict.result.as_ref().err().filter(|_| verdict.decision.is_none()).map(|refusal| refusal.reason.clone());
        let outcome = verdict.result.map(|()| Served::new(&Value::Null, Shown::whole(Value::Null))).map_err(No::from);
        let mut draft = plain(entry.close(&outcome, self.now), self.route);
        // Where no policy was asked, the question still names whom the record is about, so that it is sealed for them.
        if let (Some(facts), Some(question)) = (&mut draft.decision, &verdict.question) {
            facts.input = facts.input.take().or_else(|| serde_json::to_value(question).ok());
        }
        draft.committed.retain(|(path, _)| path != "/call/arguments" && path != "/decision/reason");
        // A reason that no policy gave names whoever was asked about, and the asker chooses that name.
        if let (Some(facts), Some(reason)) = (&mut draft.decision, unasked) {
            draft.committed.push(("/decision/reason".to_owned(), json!(reason)));
            facts.explanation = Some("No policy was asked; the reason is kept beside the log.".to_owned());
        }
        draft.committed.push(("/evaluation/request".to_owned(), evaluation.whole.clone()));
        if let Some(id) = self.request_id {
            draft.committed.push(("/evaluation/request_id".to_owned(), json!(id)));
        }
        draft.resources.push(Resource::new("authzen.subject", Some(verdict.subject.clone())));
        let authority = verdict.question.map(|question| question.authority_digest);
        draft.ext.insert("evaluation".to_owned(), json!({"item": item, "authority": authority, "grants": verdict.grants}));
        draft
    }

    /// The record of an evaluation that could not be read, or may not be asked for.
    pub(super) fn refused(&self, no: &No) -> Draft {
        let mut entry = Entry::open(self.settings, self.desk, self.now);
        entry.from(self.came);
        entry.caller(self.caller, self.world);
        plain(entry.close(&Err(No::Refusal(no.refusal())), self.now), self.route)
    }
}

/// A gateway's record as one of the decision point: nothing was done, whatever was asked about.
pub(super) fn plain(draft: Draft, route: &'static str) -> Draft {
    let http = draft.http.map(|http| Http { route: Some(route.to_owned()), ..http });
    let mut resources = draft.resources;
    for resource in &mut resources {
        resource.bytes = None;
    }
    Draft {
        protocol: Protocol::Http,
        action: Action { name: ACTION.to_owned(), class: ToolClass::Read },
        http,
        resources,
        outcome: Outcome { effect_confirmed: EffectConfirmed::None, ..draft.outcome },
        ..draft
    }
}
