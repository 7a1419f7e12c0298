//! One record as a person reads it: who, what, why, how and when.
//!
//! Every sentence restates a field of the record or a disclosed value. A withheld value is named as withheld; nothing is
//! guessed.

use crate::{
    counterfactual,
    record_json::{array, member, short},
    recorded_question::{EVALUATION, Pins, Stop, question},
    replay::decided_at,
    side_values::{opened, written},
};
use jiff::Timestamp;
use remit_ledger::{Reader, Record, Side, dir::ReadError};
use remit_model::{Authority, Call, Chain, Hop, display};
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// Longest value shown in full, in characters.
const SHOWN: usize = 400;

/// Who, what, why, how and when, each as lines of plain words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub who: Vec<String>,
    pub what: Vec<String>,
    pub why: Vec<String>,
    pub how: Vec<String>,
    pub when: Vec<String>,
}

/// Explains a record. `side` holds the disclosed values; without them names and arguments are left out.
pub fn explain(record: &Record, side: Option<&Side>) -> Explanation {
    let altered = side.is_some_and(|side| side.root() != record.commit_root());
    let side = side.filter(|_| !altered);
    let mut explanation = View { record, side, held: None }.explain();
    if altered {
        explanation.how.push("The values beside this record are not those it commits to, so none is shown.".to_owned());
    }
    explanation
}

/// Explains record `index` with what the rest of the log says about it: for a call, which hop of the delegation that its
/// token rests on covers it, and which does not.
///
/// # Errors
/// When the record cannot be read.
pub fn explain_at(reader: &Reader, index: u64) -> Result<Explanation, ReadError> {
    let record = reader.record(index)?;
    let side = reader.side(index)?;
    let held = presented_token(&record).and_then(|jti_hash| issued(reader, index, jti_hash));
    let label = label(reader, index, &record);
    if side.as_ref().is_none_or(|side| side.root() != record.commit_root()) {
        let mut explanation = explain(&record, side.as_ref());
        explanation.why.extend(label);
        let refused = record.decision().and_then(counterfactual::refused);
        explanation.why.extend(refused.map(|code| counterfactual::in_general(code).unwrap_or(NOT_HERE).to_owned()));
        return Ok(explanation);
    }
    let view = View { record: &record, side: side.as_ref(), held: held.as_ref() };
    let mut explanation = view.explain();
    explanation.why.extend(label);
    explanation.why.extend(view.enough(reader, index));
    Ok(explanation)
}

/// Shown where the token and every hop cover the call: the agent's ceiling or the person's entitlements were narrower.
const ABOVE: &str = "The token and every hop cover it: what was narrower is an agent's ceiling or the person's entitlements at the time, of which the record holds a digest only.";

/// Shown for AuthZEN evaluations, where the caller is not the subject.
const OF_THE_SUBJECT: &str = "This would have been enough: a wider ceiling of the agent, or wider entitlements of the person, asked about; the record holds their digest only.";

/// Shown where the values that decided are withheld or erased.
const NOT_HERE: &str = "What would have been enough cannot be said: the values that decided are not with this copy.";

struct View<'a> {
    record: &'a Record,
    side: Option<&'a Side>,
    /// For a call: its token, as the record of its issue states it.
    held: Option<&'a Issued>,
}

/// A token as the record of its issue states it.
struct Issued {
    index: u64,
    chain: Chain,
    /// What the token carries, which a narrowed token has less of than the last hop.
    authority: Option<Authority>,
}

impl View<'_> {
    fn explain(&self) -> Explanation {
        Explanation { who: self.who(), what: self.what(), why: self.why(), how: self.how(), when: self.when() }
    }

    fn who(&self) -> Vec<String> {
        let names: Vec<String> = (0..).zip(self.record.chain()).map(|(at, party)| self.party(at, party)).collect();
        let mut lines = vec![names.join(" → ")];
        let owner = self.value("/owner").and_then(|owner| Some(owner.get("sub")?.as_str()?.to_owned()));
        if let Some(owner) = owner {
            lines.push(format!("Accountable for the agent: {owner}."));
        }
        if let Some(origin) = self.record.chain().first() {
            lines.extend(authentication(origin));
        }
        let involved = self.record.text("/human_in_loop").unwrap_or("none");
        lines.push(match involved {
            "none" => "No person took part in this step.".to_owned(),
            other => format!("A person took part in this step: {}.", spaced(other)),
        });
        lines
    }

    fn party(&self, at: usize, party: &Value) -> String {
        let subject = self.value(&format!("/chain/{at}/subject"));
        let name = subject.as_ref().and_then(|subject| subject.get("sub")).and_then(Value::as_str);
        let kind = match member(party, "/kind") {
            "human" => "person",
            "subagent" => "sub-agent",
            "external_agent" => "unidentified caller",
            other => other,
        };
        match name {
            Some(name) => format!("{name} ({kind})"),
            None => format!("{kind} {} (name withheld)", short(member(party, "/subject_ref"))),
        }
    }

    fn what(&self) -> Vec<String> {
        let mut lines = vec![self.act()];
        if let Some(arguments) = self.value("/call/arguments").filter(|arguments| !arguments.is_null()) {
            lines.push(format!("Arguments: {}", cut(&arguments.to_string())));
        }
        if let Some(asked) = self.value("/evaluation/request") {
            lines.push(format!("The question: {}", cut(&asked.to_string())));
        }
        lines.extend((0..).zip(array(self.record.value(), "/resource")).map(|(at, resource)| self.resource(at, resource)));
        lines.push(self.outcome());
        lines
    }

    fn act(&self) -> String {
        let record = self.record;
        let (name, class) = (record.action(), record.text("/action/class").unwrap_or_default());
        let token = |name: &str| record.ext("token").and_then(|token| token.get(name)).and_then(Value::as_str);
        let at = record.text("/tool/server_id").map(|server| format!(" at server `{server}`")).unwrap_or_default();
        match record.record_type() {
            "delegation" | "token" if token("audience").is_some() => {
                let said =
                    if record.record_type() == "delegation" { "Authority was delegated: a token" } else { "A token was issued" };
                let audience = token("audience").unwrap_or_default();
                let scope = token("scope").filter(|scope| !scope.is_empty());
                format!("{said} for {audience}{}.", scope.map(|scope| format!(" (scope `{scope}`)")).unwrap_or_default())
            }
            "decision" if self.evaluates() => {
                let what = record.text("/tool/name").filter(|name| !name.is_empty()).map(|name| format!(" about `{name}`"));
                format!("Asked the decision point{}{at}; nothing was done.", what.unwrap_or_default())
            }
            "decision" => format!("Asked to do `{name}` ({class}){at}."),
            "intent" => format!("About to do `{name}` ({class}){at}; this was written before it began."),
            "effect" => format!("What became of `{name}` ({class}){at}; this was written when it ended."),
            kind => format!("{}: `{name}`.", capital(&spaced(kind))),
        }
    }

    /// Whether this is an AuthZEN evaluation: a question about another principal, without a call.
    fn evaluates(&self) -> bool {
        self.record.action() == EVALUATION
    }

    fn resource(&self, at: usize, resource: &Value) -> String {
        let id = self.value(&format!("/resource/{at}/id"));
        let id = id.as_ref().and_then(Value::as_str).map(|id| format!(" {id}")).unwrap_or_default();
        let listed = |how: &str, fields: &[&str]| match fields {
            [] => String::new(),
            fields => format!("; fields {how}: {}", fields.join(", ")),
        };
        let masked: Vec<&str> = array(resource, "/fields_masked").iter().map(|field| member(field, "/ptr")).collect();
        format!(
            "On {}{id}, classified {}{}{}.",
            member(resource, "/type"),
            member(resource, "/classification"),
            listed("returned", &pointers(resource, "/fields_returned")),
            listed("masked", &masked)
        )
    }

    fn outcome(&self) -> String {
        let code = self.record.text("/outcome/code").map(|code| format!(" ({code})")).unwrap_or_default();
        let confirmed = match self.record.text("/outcome/effect_confirmed") {
            Some("observed") => "; the effect was observed",
            Some("acked") => "; the other side confirmed it",
            Some("dispatched_only") => "; it was sent, and whether it took effect is not known",
            _ => "",
        };
        format!("Outcome: {}{code}{confirmed}.", spaced(self.record.outcome()))
    }

    fn why(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(decision) = self.record.decision() {
            lines.extend(self.verdict(decision));
            lines.extend(array(decision, "/policies").iter().map(rule));
            lines.extend(array(decision, "/errors").iter().map(|error| {
                format!("Policy `{}` could not be evaluated: {}.", member(error, "/policy_id"), member(error, "/message"))
            }));
        }
        lines.extend(array(self.record.value(), "/ext/read_field").iter().filter_map(withheld));
        let grants = array(self.record.value(), "/ext/grants");
        if !grants.is_empty() {
            let grants: Vec<&str> = grants.iter().filter_map(Value::as_str).map(short).collect();
            lines.push(format!("Covered by the caller's grant {}.", grants.join(", ")));
        }
        if let Some(chain) = disclosed_chain(self.side) {
            lines.extend((1..).zip(&chain.hops).flat_map(|(number, hop)| hop_lines(number, hop)));
        }
        lines.extend(self.coverage());
        if let Some(purpose) = self.record.text("/purpose/code") {
            lines.push(format!("Purpose: {purpose}."));
        }
        lines
    }

    /// The result in the words of what decided it: an annotation, or the algebra's own refusal, which names the value
    /// that decided and the one that would have been enough.
    fn verdict(&self, decision: &Value) -> Vec<String> {
        let result = match member(decision, "/result") {
            "allow" => "Allowed",
            "deny" => "Refused",
            "step_up" => "Held back until a step-up",
            "mask" => "Allowed with fields masked",
            "quota" => "Refused, a limit is used up",
            "error_fail_closed" => "Refused, because a policy could not be evaluated",
            other => other,
        };
        let code = decision.get("reason_code").and_then(Value::as_str);
        let mut lines = vec![format!("{result}{}.", code.map(|code| format!(": {code}")).unwrap_or_default())];
        let reason = self.value("/decision/reason");
        let reason = reason.as_ref().and_then(Value::as_str).or_else(|| decision.get("explanation")?.as_str());
        lines.extend(reason.map(sentence));
        lines
    }

    /// Which hop covers the call and which does not, in the algebra's words.
    fn coverage(&self) -> Vec<String> {
        let Some(Issued { index: issued, chain, authority }) = self.held else { return Vec::new() };
        let location = self.record.chain().last().and_then(|party| party.pointer("/token/aud/0")?.as_str());
        let (Some(location), Some(arguments)) = (location, self.value("/call/arguments")) else { return Vec::new() };
        let now = decided_at(self.record).unwrap_or_else(|| written(self.record));
        let call = Call { location, action: self.record.action(), arguments: &arguments, now };
        let told = |names: &str, authority: &Authority| match authority.permits(&call) {
            Ok(permit) => format!(
                "{names} covers it with grant {}.",
                permit.grants.iter().map(|grant| short(grant)).collect::<Vec<_>>().join(", ")
            ),
            Err(refusal) => format!("{names} does not cover it: {}.", refusal.reason),
        };
        let hops = (1..)
            .zip(&chain.hops)
            .map(|(number, hop)| told(&format!("Hop {number}, {} to {},", hop.delegator.sub, hop.delegate.sub), &hop.authority));
        let token = own(chain, authority.as_ref()).map(|authority| told("The token itself", authority));
        std::iter::once(format!("The delegation it rests on is in record {issued}.")).chain(hops).chain(token).collect()
    }

    /// For a refusal: which smallest change would have made the difference.
    fn enough(&self, reader: &Reader, index: u64) -> Vec<String> {
        let Some((decision, code)) =
            self.record.decision().and_then(|decision| Some((decision, counterfactual::refused(decision)?)))
        else {
            return Vec::new();
        };
        if let Some(line) = counterfactual::in_general(code) {
            return vec![line.to_owned()];
        }
        if decision.get("policy_set_digest").is_some() {
            return match question(reader, index, self.record, decision) {
                Ok(question) => match Pins::new(reader).bundle(decision) {
                    Ok(bundle) => counterfactual::by_policies(&bundle, &question),
                    Err(why) => vec![format!("What would have been enough cannot be said: {why}.")],
                },
                Err(Stop::Undisclosed) => vec![NOT_HERE.to_owned()],
                Err(Stop::Alarm(why)) => vec![format!("What would have been enough cannot be said: {why}.")],
            };
        }
        let location = self.record.chain().last().and_then(|party| party.pointer("/token/aud/0")?.as_str());
        let decided = matches!(code, "tool_not_granted" | "argument_not_granted" | "grant_expired");
        match (self.held, location, self.value("/call/arguments")) {
            _ if !decided => Vec::new(),
            _ if self.evaluates() => vec![OF_THE_SUBJECT.to_owned()],
            (Some(Issued { chain, authority, .. }), Some(location), Some(arguments)) => {
                let now = decided_at(self.record).unwrap_or_else(|| written(self.record));
                let call = Call { location, action: self.record.action(), arguments: &arguments, now };
                let lines = counterfactual::by_authority(chain, own(chain, authority.as_ref()), &call);
                if lines.is_empty() { vec![ABOVE.to_owned()] } else { lines }
            }
            _ => vec![NOT_HERE.to_owned()],
        }
    }

    fn how(&self) -> Vec<String> {
        let record = self.record;
        let mut lines: Vec<String> = (0..).zip(record.chain()).flat_map(|(at, party)| self.evidence(at, party)).collect();
        if let Some(decision) = record.decision().filter(|decision| decision.get("policy_set_digest").is_some()) {
            lines.push(format!(
                "Decided by {} {} with policy set {} and schema {}.",
                member(decision, "/engine/name"),
                member(decision, "/engine/version"),
                short(member(decision, "/policy_set_digest")),
                short(member(decision, "/schema_digest")),
            ));
            let shown = if self.value("/decision/input").is_some() { "disclosed" } else { "withheld" };
            lines.push(format!("Inputs committed as {} ({shown}).", short(member(decision, "/input_hash"))));
        }
        lines.push(format!(
            "Record {} of epoch {} by {} {}, hash {}, signed with key {}.",
            record.seq(),
            record.epoch(),
            record.producer_id(),
            record.text("/producer/version").unwrap_or_default(),
            short(&record.record_hash().to_string()),
            record.text("/sigs/0/kid").unwrap_or_default(),
        ));
        lines
    }

    /// What one party of the chain showed, and what was signed for it.
    fn evidence(&self, at: usize, party: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(hash) = party.get("edge_proof").and_then(Value::as_str) {
            let kind = self.value(&format!("/chain/{at}/edge"));
            let kind = kind.as_ref().and_then(|edge| edge.get("kind")).and_then(Value::as_str).map(proof_kind);
            lines.push(format!(
                "Hop {at}: signed by the delegator ({}), proof {}.",
                kind.unwrap_or("kind withheld"),
                short(hash)
            ));
        }
        let text = |pointer: &str| party.pointer(pointer).and_then(Value::as_str);
        if let (Some(token), Some(key)) = (text("/token/jti_hash"), text("/cnf/jkt")) {
            let proof = text("/cnf/proof_hash").map(|hash| format!(", shown by DPoP proof {}", short(hash)));
            lines.push(format!("Token {} bound to key {key}{}.", short(token), proof.unwrap_or_default()));
        }
        if let (Some(token), Some(certificate)) = (text("/token/jti_hash"), text("/cnf/x5t#S256")) {
            lines.push(format!("Token {} bound to certificate {certificate}.", short(token)));
        }
        lines
    }

    fn when(&self) -> Vec<String> {
        let record = self.record;
        let mut lines = vec![format!("{} ({}).", record.text("/time/wall").unwrap_or_default(), self.accuracy())];
        lines.push(interval(record));
        if let (Some(start), Some(end)) = (record.number("/time/start_ns"), record.number("/time/end_ns")) {
            lines.push(format!("Took {} microseconds.", end.saturating_sub(start) / 1_000));
        }
        if let Some(intent) = record.intent_id() {
            lines.push(format!("Completes the intent in record {intent}."));
        }
        let causes: Vec<&str> = array(record.value(), "/caused_by").iter().filter_map(Value::as_str).collect();
        if !causes.is_empty() && record.intent_id().is_none() {
            lines.push(format!("Caused by {}.", causes.join(", ")));
        }
        lines
    }

    /// The bound and the clock's status are part of the time: the digits alone say nothing about accuracy.
    fn accuracy(&self) -> String {
        let record = self.record;
        let bound = record
            .error_bound_ns()
            .map_or_else(|| "error not known".to_owned(), |ns| format!("within {} microseconds", ns.div_ceil(1_000)));
        let status = spaced(record.text("/time/clock_status").unwrap_or("unknown"));
        let source = record.text("/time/source").filter(|source| *source != "none");
        let source = source.map(|source| format!(" from {}", spaced(source))).unwrap_or_default();
        format!("{bound}; clock {status}{source}")
    }

    fn value(&self, path: &str) -> Option<Value> {
        self.side?.value(path)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("Who", &self.who), ("What", &self.what), ("Why", &self.why), ("How", &self.how), ("When", &self.when)];
        for (word, lines) in parts {
            for (number, line) in lines.iter().enumerate() {
                writeln!(f, "{:<6}{}", if number == 0 { word } else { "" }, display::escape(line))?;
            }
        }
        Ok(())
    }
}

fn disclosed_chain(side: Option<&Side>) -> Option<Chain> {
    serde_json::from_value(side?.value("/delegation/chain")?).ok()
}

/// Hash of the `jti` of the token a call was made with.
fn presented_token(record: &Record) -> Option<&str> {
    let call = matches!(record.record_type(), "decision" | "intent" | "effect");
    call.then(|| record.chain().last()?.pointer("/token/jti_hash")?.as_str()).flatten()
}

/// What the time says about events of other systems: two intervals that overlap have no order. SPEC: record.md §1.5.
fn interval(record: &Record) -> String {
    let end = |ns: Option<u64>| Timestamp::from_nanosecond(i128::from(ns?)).ok().map(|at| format!("{at:.9}"));
    let ends = record.error_bound_ns().and_then(|bound| {
        let wall = record.wall_ns();
        Some((end(Some(wall.saturating_sub(bound)))?, end(wall.checked_add(bound))?))
    });
    match ends {
        Some((earliest, latest)) => {
            format!(
                "The true time is between {earliest} and {latest}: events of other systems in between have no order to this one."
            )
        }
        None => "This time says nothing about the order of this record and events of other systems.".to_owned(),
    }
}

/// The token of this hash as an earlier record issued it; `None` when that is withheld.
fn issued(reader: &Reader, before: u64, jti_hash: &str) -> Option<Issued> {
    let issues = |record: &Record| record.text("/ext/token/jti_hash") == Some(jti_hash);
    let (index, record) =
        (0..before).rev().filter_map(|index| Some((index, reader.record(index).ok()?))).find(|(_, record)| issues(record))?;
    let side = opened(reader, index, &record).ok()??;
    let access = side.value("/token/access");
    let authority = access.and_then(|claims| Authority::parse(claims.get("authorization_details")?).ok());
    Some(Issued { index, chain: disclosed_chain(Some(&side))?, authority })
}

/// What the caller called its token, or the nearest token above it that has a label.
fn label(reader: &Reader, index: u64, record: &Record) -> Option<String> {
    if let Some(label) = record.text("/ext/token/label") {
        return Some(format!("Label of the token: {label}."));
    }
    let mut wanted = record.text("/ext/token/parent_jti_hash").or_else(|| presented_token(record))?.to_owned();
    for earlier in (0..index).rev() {
        let record = reader.record(earlier).ok()?;
        if record.text("/ext/token/jti_hash") != Some(&wanted) || record.text("/ext/token/authority_digest").is_none() {
            continue;
        }
        match record.text("/ext/token/label") {
            Some(label) => return Some(format!("Label of the token, given in record {earlier}: {label}.")),
            None => record.text("/ext/token/parent_jti_hash")?.clone_into(&mut wanted),
        }
    }
    None
}

/// What the token carries, where that is not simply what its last hop handed over.
fn own<'a>(chain: &Chain, authority: Option<&'a Authority>) -> Option<&'a Authority> {
    authority.filter(|authority| chain.hops.last().is_none_or(|hop| hop.authority != **authority))
}

fn authentication(origin: &Value) -> Option<String> {
    let method = match member(origin, "/auth/method") {
        "none" | "" => None,
        method => Some(spaced(method)),
    };
    let time = origin.pointer("/auth/time").and_then(Value::as_str);
    match (method, time) {
        (Some(method), Some(time)) => Some(format!("Authenticated by {method} at {time}.")),
        (Some(method), None) => Some(format!("Authenticated by {method}.")),
        (None, Some(time)) => Some(format!("Authenticated at {time}, as the token says.")),
        (None, None) => None,
    }
}

fn hop_lines(number: usize, hop: &Hop) -> Vec<String> {
    let until = Timestamp::from_second(hop.expires.0).map_or_else(|_| hop.expires.to_string(), |end| end.to_string());
    let head = format!("Hop {number}: {} handed to {}, until {until}:", hop.delegator.sub, hop.delegate.sub);
    let held = hop.authority.describe();
    std::iter::once(head).chain(held.into_iter().map(|line| format!("  {line}"))).collect()
}

/// A class of fields that the policies did not let through.
fn withheld(field: &Value) -> Option<String> {
    if member(field, "/result") == "allow" {
        return None;
    }
    let mut which = pointers(field, "/fields").join(", ");
    if field.get("rest").and_then(Value::as_bool) == Some(true) {
        which = if which.is_empty() { "every field".to_owned() } else { format!("{which}, and every field") };
        which.push_str(" without a class of its own");
    }
    let said = sentence(member(field, "/explanation"));
    Some(format!("Fields of class `{}` are withheld ({which}): {said}", member(field, "/class")))
}

fn rule(policy: &Value) -> String {
    let said = match member(policy, "/effect") {
        "permit" => "permits it",
        "forbid" => "forbids it",
        "step_up" => "asks for a step-up",
        other => other,
    };
    format!("Policy `{}` {said} ({}).", member(policy, "/id"), short(member(policy, "/digest")))
}

fn proof_kind(kind: &str) -> &str {
    match kind {
        "id_token" => "the identity provider's ID token with the consent in it",
        "client_assertion" => "the agent's client assertion",
        "client_certificate" => "the agent's certificate",
        "dpop_at_token" => "its DPoP proof at the token endpoint",
        "statement" => "a delegation statement",
        "dpop_at_call" => "its DPoP proof on the call",
        other => other,
    }
}

fn pointers<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    array(value, pointer).iter().filter_map(Value::as_str).collect()
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

fn sentence(text: &str) -> String {
    if text.ends_with(['.', '…']) { text.to_owned() } else { format!("{text}.") }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
