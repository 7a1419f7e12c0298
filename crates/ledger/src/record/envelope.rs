//! The members of `agent.audit.v1`, laid out from a draft. SPEC: record.md §1.11.

use super::{
    AuthMethod, CHAIN_LIMIT, DecisionFacts, Draft, EXPLANATION_LIMIT, Edge, FIELD_LIMIT, Identity, Party, PartyKind, Pepper,
    Position, RESOURCE_LIMIT, Resource, Retention, SCHEMA, SealError, Side, TokenFacts, commit::numbers_are_exact,
};
use crate::{
    hash::{Hash, hex},
    tree,
    vault::{KeyId, Subject},
};
use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use remit_model::Moment;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Everything a record says that its draft does not know.
pub(super) struct Place<'a> {
    pub(super) identity: &'a Identity,
    pub(super) pepper: &'a Pepper,
    pub(super) at: &'a Position,
    pub(super) hlc: (u64, u64),
    pub(super) now: &'a Moment,
    pub(super) record_id: &'a str,
}

/// The record without `record_hash` and `sigs`.
pub(super) fn build(draft: Draft, place: &Place<'_>, side: &Side) -> Result<Value, SealError> {
    check(&draft)?;
    let chain = chain_of(&draft, place.identity);
    let tenant = draft.tenant.as_str();
    let pseudonym = |issuer: &str, subject: &str| place.pepper.subject_ref(tenant, issuer, subject);
    let owner_ref = match (&draft.owner, chain.first()) {
        (Some(owner), _) => pseudonym(&owner.iss, &owner.sub),
        // Without a named owner the origin of the chain is accountable.
        (None, Some(origin)) => pseudonym(&origin.issuer, &origin.subject),
        (None, None) => String::new(),
    };
    let mut record = Members::default();
    record.put("schema", SCHEMA);
    record.put("record_id", place.record_id);
    record.put("record_type", draft.record_type);
    record.put("tenant_id", tenant);
    record.put("env", place.identity.env);
    record.put("producer", producer(&draft, place));
    record.put("seq", place.at.seq.to_string());
    record.some("session_seq", draft.session_seq.map(|seq| seq.to_string()));
    record.put("prev_hash", place.at.prev_hash);
    record.put("chain_uid", chain_uid(place.identity));
    record.put("time", time(&draft, place));
    let nodes: Vec<Value> =
        chain.iter().enumerate().map(|(index, party)| node(index, party, &pseudonym(&party.issuer, &party.subject))).collect();
    record.put("chain_depth", nodes.len());
    record.put("chain", nodes);
    record.some("txn", draft.txn);
    record.put("owner_ref", owner_ref);
    record.some("session", draft.session.id.map(|id| json!({ "id": id })));
    record.some("conversation", draft.session.conversation.map(|id| json!({ "id": id })));
    record.some("run", draft.session.run.map(|id| json!({ "id": id })));
    record.put("protocol", draft.protocol);
    record.put("action", json!({ "name": draft.action.name, "class": draft.action.class.as_str() }));
    record.some("tool", draft.tool);
    record.some("mcp", draft.mcp);
    record.some("http", draft.http);
    let src_ip = draft.src_ip.map(|ip| place.pepper.resource_ref(tenant, "ip", &ip.to_string()));
    record.some("net", src_ip.map(|reference| json!({ "src_ip_ref": reference })));
    let resources: Vec<Value> =
        draft.resources.into_iter().map(|resource| resource_node(resource, tenant, place.pepper)).collect();
    record.put("resource", resources);
    record.put("request", request(side));
    record.put("response", json!({ "hash": body_hash(side, "/response/body") }));
    record.some("decision", draft.decision.map(|facts| decision(facts, place.record_id, side)));
    record.put("human_in_loop", draft.human_in_loop);
    let mut outcome = Members::default();
    outcome.put("status", draft.outcome.status);
    outcome.put("effect_confirmed", draft.outcome.effect_confirmed);
    outcome.some("error_type", draft.outcome.error_type);
    outcome.some("code", draft.outcome.code);
    record.put("outcome", outcome.0);
    record.some("intent_id", draft.intent_id);
    record.list("caused_by", draft.caused_by);
    record.some("trace", draft.trace);
    record.some("purpose", draft.purpose);
    record.put("commit", commitment(side));
    record.put("retention", retention(&draft.retention, place.now));
    if !draft.ext.is_empty() {
        record.put("ext", draft.ext);
    }
    Ok(Value::Object(record.0))
}

/// The values that are committed to: those drafted, and every personal value the draft holds in plain form.
pub(super) fn committed(draft: &Draft, identity: &Identity) -> Vec<(String, Value)> {
    let mut values = draft.committed.clone();
    for (index, party) in chain_of(draft, identity).iter().enumerate() {
        let subject = json!({ "iss": party.issuer, "sub": party.subject });
        values.push((format!("/chain/{index}/subject"), subject));
        if let Some(Edge::Proof(proof)) = &party.edge {
            values.push((format!("/chain/{index}/edge"), json!(proof)));
        }
    }
    if let Some(owner) = &draft.owner {
        values.push(("/owner".to_owned(), json!(owner)));
    }
    if let Some(ip) = draft.src_ip {
        values.push(("/net/src_ip".to_owned(), json!(ip.to_string())));
    }
    for (index, resource) in draft.resources.iter().enumerate() {
        if let Some(id) = &resource.id {
            values.push((format!("/resource/{index}/id"), json!(id)));
        }
    }
    if let Some(input) = draft.decision.as_ref().and_then(|facts| facts.input.clone()) {
        values.push(("/decision/input".to_owned(), input));
    }
    values
}

/// Whom a draft is about.
pub(super) struct Subjects {
    /// The chain, origin first.
    pub(super) parties: Vec<Subject>,
    pub(super) owner: Option<Subject>,
    /// Whose personal data it touches, and whom the policy's input names besides; each once.
    pub(super) data: Vec<Subject>,
}

pub(super) fn subjects(draft: &Draft, identity: &Identity) -> Subjects {
    let parties = chain_of(draft, identity).into_iter();
    let parties: Vec<_> = parties.map(|party| Subject::Principal { iss: party.issuer, sub: party.subject }).collect();
    let owner = draft.owner.as_ref().map(|owner| Subject::Principal { iss: owner.iss.clone(), sub: owner.sub.clone() });
    let personal = draft.resources.iter().filter(|resource| resource.classification.is_personal());
    let mut data: BTreeSet<Subject> =
        personal.filter_map(|resource| Some(Subject::Data { kind: resource.kind.clone(), id: resource.id.clone()? })).collect();
    let input = draft.decision.as_ref().and_then(|facts| facts.input.as_ref());
    let named = input.into_iter().flat_map(people);
    data.extend(named.filter(|person| parties.first() != Some(person) && owner.as_ref() != Some(person)));
    Subjects { parties, owner, data: data.into_iter().collect() }
}

/// The people whom a policy's input names: on whose behalf, and who is accountable for each of the agents.
fn people(input: &Value) -> impl Iterator<Item = Subject> {
    let places = ["principal", "on_behalf_of"].into_iter().flat_map(|party| [(party, "sub"), (party, "owner")]);
    places.filter_map(|(party, member)| {
        let party = input.get(party)?;
        let sub = party.get(member)?.as_str().filter(|sub| sub.starts_with("user:"))?;
        Some(Subject::Principal { iss: party.get("iss")?.as_str()?.to_owned(), sub: sub.to_owned() })
    })
}

/// Refuses what would not fit or could not be read back exactly.
fn check(draft: &Draft) -> Result<(), SealError> {
    let bounds = [
        ("chain nodes", draft.chain.len(), CHAIN_LIMIT),
        ("resources", draft.resources.len(), RESOURCE_LIMIT),
        ("causes", draft.caused_by.len(), FIELD_LIMIT),
    ];
    if let Some((what, count, limit)) = bounds.into_iter().find(|(_, count, limit)| count > limit) {
        return Err(SealError::TooMany { what, count, limit });
    }
    let plain = draft.ext.iter();
    let nondet = draft.decision.iter().flat_map(|facts| &facts.nondet).map(|(name, value)| (name, value));
    match plain.chain(nondet).find(|(_, value)| !numbers_are_exact(value)) {
        Some((name, _)) => Err(SealError::Number { member: name.clone() }),
        None => Ok(()),
    }
}

/// The drafted chain; when nobody else acted, the producer itself.
fn chain_of(draft: &Draft, identity: &Identity) -> Vec<Party> {
    if !draft.chain.is_empty() {
        return draft.chain.clone();
    }
    vec![Party::new(PartyKind::Service, &identity.producer_id, &identity.producer_id)]
}

/// Names the hash chain this record is a link of: one per producer, across its epochs.
fn chain_uid(identity: &Identity) -> String {
    format!("chain:{}", hex(Hash::of(&[identity.producer_id.as_bytes()]).0.get(..16).unwrap_or_default()))
}

fn producer(draft: &Draft, place: &Place<'_>) -> Value {
    json!({
        "id": place.identity.producer_id,
        "kind": draft.producer,
        "version": place.identity.version,
        "build_digest": place.identity.build_digest,
        "epoch": place.at.epoch.to_string(),
    })
}

fn time(draft: &Draft, place: &Place<'_>) -> Value {
    let now = place.now;
    let node = hex(Hash::of(&[place.identity.producer_id.as_bytes()]).0.get(..4).unwrap_or_default());
    let mut time = Members::default();
    time.put("wall", rfc3339_ns(now.wall_ns));
    time.put("wall_ns", now.wall_ns.to_string());
    time.put("error_bound_ns", now.error_bound_ns.to_string());
    time.put("clock_status", now.status);
    time.put("source", now.source);
    time.put("mono_ns", now.mono_ns.to_string());
    time.put("boot_id", uuid::Uuid::from_bytes(now.boot_id).hyphenated().to_string());
    time.put("hlc", format!("{}.{}.{node}", place.hlc.0, place.hlc.1));
    time.some("start_ns", draft.span_ns.map(|(start, _)| start.to_string()));
    time.some("end_ns", draft.span_ns.map(|(_, end)| end.to_string()));
    Value::Object(time.0)
}

/// RFC 3339 in UTC with nine digits of fraction.
pub(super) fn rfc3339_ns(wall_ns: u64) -> String {
    let printer = DateTimePrinter::new().precision(Some(9));
    Timestamp::from_nanosecond(i128::from(wall_ns)).map(|at| printer.timestamp_to_string(&at)).unwrap_or_default()
}

fn node(index: usize, party: &Party, subject_ref: &str) -> Value {
    let mut node = Members::default();
    node.put("kind", party.kind);
    node.put("subject_ref", subject_ref);
    node.put("issuer", &party.issuer);
    node.some("agent", party.agent.as_ref());
    let mut auth = Members::default();
    // The record's vocabulary calls a shared key what it is.
    auth.put("method", if party.auth.method == AuthMethod::ApiKey { json!("api_key(legacy)") } else { json!(party.auth.method) });
    auth.some("time", party.auth.time.map(|at| rfc3339_ns(u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000_000))));
    auth.some("acr", party.auth.acr.as_ref());
    auth.list("amr", party.auth.amr.clone());
    node.put("auth", auth.0);
    node.some("token", party.token.as_ref().map(token));
    let mut cnf = Members::default();
    cnf.some("jkt", party.jkt.as_ref());
    cnf.some("proof_hash", party.proof.as_ref().map(|proof| Hash::of(&[proof.as_bytes()])));
    if !cnf.0.is_empty() {
        node.put("cnf", cnf.0);
    }
    // SPEC: record.md §1.11 `grant` is mandatory; a root has no parent and says so with null.
    node.put(
        "grant",
        json!({
            "id": party.grant.id,
            "type": party.grant.kind,
            "parent_jti_hash": party.grant.parent_jti.as_ref().map(|jti| Hash::of(&[jti.as_bytes()])),
        }),
    );
    if index > 0 {
        let hash = match &party.edge {
            Some(Edge::Proof(proof)) => Some(Hash::of(&[proof.jws().as_bytes()]).to_string()),
            Some(Edge::Hash(hash)) => Some(hash.clone()),
            None => None,
        };
        node.put("edge_proof", hash);
    }
    Value::Object(node.0)
}

fn token(facts: &TokenFacts) -> Value {
    let mut token = Members::default();
    token.some("jti_hash", facts.jti.as_ref().map(|jti| Hash::of(&[jti.as_bytes()])));
    token.some("iss", facts.issuer.as_ref());
    token.list("aud", facts.audience.clone());
    token.list("scope", facts.scope.clone());
    token.some("exp", facts.expires.map(|at| at.to_string()));
    token.some("iat", facts.issued.map(|at| at.to_string()));
    token.some("authorization_details_hash", facts.authorization_details_hash.as_ref());
    Value::Object(token.0)
}

fn resource_node(resource: Resource, tenant: &str, pepper: &Pepper) -> Value {
    let mut node = Members::default();
    node.some("id_ref", resource.id.as_ref().map(|id| pepper.resource_ref(tenant, &resource.kind, id)));
    node.put("type", resource.kind);
    node.list("fields", resource.fields);
    node.list("fields_returned", resource.fields_returned);
    node.list("fields_masked", resource.fields_masked);
    node.put("classification", resource.classification);
    node.some("record_count", resource.record_count.map(|count| count.to_string()));
    node.some("bytes", resource.bytes.map(|bytes| bytes.to_string()));
    Value::Object(node.0)
}

fn commitment(side: &Side) -> Value {
    let mut commit = Members::default();
    commit.put("root", side.root());
    commit.put("count_padded", side.count());
    let keys: Vec<&str> = side.key_ids().into_iter().map(KeyId::as_str).collect();
    if !keys.is_empty() {
        // At most one a party and one a resource, so every name is there: a cut list would hide a key.
        commit.put("key_ids", keys);
    }
    Value::Object(commit.0)
}

/// The request's hash and, where a change was watched, what binds the states before and after it.
fn request(side: &Side) -> Value {
    let mut request = Members::default();
    request.put("hash", body_hash(side, "/call/arguments"));
    if let (Some(before), Some(after)) = (side.leaf("/change/before"), side.leaf("/change/after")) {
        request.put("diff_hash", Hash::of(&[&before.0, &after.0]));
    }
    Value::Object(request.0)
}

/// The salted leaf of a body, or the root of the empty tree when there is none.
fn body_hash(side: &Side, path: &str) -> Hash {
    side.leaf(path).unwrap_or_else(tree::empty_root)
}

fn decision(facts: DecisionFacts, record_id: &str, side: &Side) -> Value {
    let mut decision = Members::default();
    decision.put("id", facts.id.unwrap_or_else(|| record_id.to_owned()));
    decision.put("result", facts.result);
    decision.some("reason_code", facts.reason_code);
    decision.list("policies", facts.policies);
    decision.list("errors", facts.errors);
    decision.some("policy_set_digest", facts.policy_set_digest);
    decision.some("schema_digest", facts.schema_digest);
    decision.some("entities_digest", facts.entities_digest);
    decision.some("engine", facts.engine);
    decision.some("input_hash", facts.input.as_ref().and_then(|_| side.leaf("/decision/input")));
    let nondet = facts.nondet.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    decision.list("nondet", nondet);
    decision.some("latency_ns", facts.latency_ns.map(|ns| ns.to_string()));
    decision.some("explanation", facts.explanation.map(|text| cut(text, EXPLANATION_LIMIT)));
    Value::Object(decision.0)
}

fn retention(retention: &Retention, now: &Moment) -> Value {
    let keep_ns = u64::from(retention.keep_days).saturating_mul(86_400_000_000_000);
    json!({
        "class": retention.class,
        "not_before_delete": rfc3339_ns(now.wall_ns.saturating_add(keep_ns)),
        "legal_hold": retention.legal_hold,
    })
}

/// The longest prefix of at most `limit` bytes that ends between characters.
fn cut(mut text: String, limit: usize) -> String {
    while text.len() > limit {
        text.pop();
    }
    text
}

/// Members of a JSON object under construction.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: impl Serialize) {
        self.0.insert(name.to_owned(), json!(value));
    }

    fn some(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// A list, absent when empty; cut at [`FIELD_LIMIT`] with the true length beside it as `<name>_total`.
    fn list(&mut self, name: &str, mut items: Vec<impl Serialize>) {
        if items.is_empty() {
            return;
        }
        if items.len() > FIELD_LIMIT {
            self.put(&format!("{name}_total"), items.len().to_string());
            items.truncate(FIELD_LIMIT);
        }
        self.put(name, items);
    }
}
