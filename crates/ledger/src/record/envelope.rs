//! The members of `agent.audit.v1`, written in canonical form from a draft. SPEC: record.md §1.11.

use super::{
    AuthMethod, CHAIN_LIMIT, DecisionFacts, Draft, EXPLANATION_LIMIT, Edge, FIELD_LIMIT, Party, PartyKind, Pepper,
    RESOURCE_LIMIT, Resource, SCHEMA, Side, TokenFacts, Turn,
    canonical_writer::CanonicalWriter,
    error::SealError,
    identity::{Identity, Position},
    leaf::numbers_are_exact,
    rfc3339::rfc3339_ns,
};
use crate::{
    hash::{Hash, hex},
    tree,
    vault::{KeyId, Subject},
};
use remit_model::{Binding, Moment, PrincipalKind, confirmation::X5T};
use serde_json::{Value, json};
use std::{borrow::Cow, collections::BTreeSet};

/// Everything a record says that its draft does not know.
pub(super) struct Place<'a> {
    pub(super) identity: &'a Identity,
    pub(super) names: &'a Names,
    pub(super) pepper: &'a Pepper,
    pub(super) at: &'a Position,
    pub(super) turn: &'a Turn,
    pub(super) hlc: (u64, u64),
    pub(super) now: &'a Moment,
    pub(super) record_id: &'a str,
}

/// What is derived from the producer's name, once.
#[derive(Debug)]
pub(super) struct Names {
    /// The hash chain its records are links of: one per producer, across its epochs.
    chain_uid: String,
    /// Ends its logical times.
    node: String,
}

impl Names {
    pub(super) fn of(identity: &Identity) -> Self {
        let hash = Hash::of(&[identity.producer_id.as_bytes()]).0;
        let digits = |bytes: usize| hex(hash.get(..bytes).unwrap_or_default());
        Self { chain_uid: format!("chain:{}", digits(16)), node: digits(4) }
    }
}

/// A record without `record_hash` and `sigs`, and where these two belong.
pub(super) struct Body {
    bytes: Vec<u8>,
    hash_at: usize,
    sigs_at: usize,
}

impl Body {
    /// What `record_hash` is the hash of.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole record.
    pub(super) fn signed(&self, record_hash: &Hash, kid: &str, signature: &str) -> Vec<u8> {
        let hash = format!(r#","record_hash":"{record_hash}""#);
        let sigs = format!(r#","sigs":[{{"alg":"ed25519","kid":"{kid}","role":"producer","value":"{signature}"}}]"#);
        let (head, rest) = self.bytes.split_at_checked(self.hash_at).unwrap_or_default();
        let (middle, tail) = rest.split_at_checked(self.sigs_at.saturating_sub(self.hash_at)).unwrap_or_default();
        [head, hash.as_bytes(), middle, sigs.as_bytes(), tail].concat()
    }
}

/// Writes the record without `record_hash` and `sigs`.
pub(super) fn build(draft: &Draft, place: &Place<'_>, side: &Side) -> Result<Body, SealError> {
    check(draft)?;
    let (mut bytes, mut hash_at, mut sigs_at) = (Vec::with_capacity(4096), 0, 0);
    CanonicalWriter::object(&mut bytes, |record| {
        upto_hash(record, draft, place, side);
        hash_at = record.written();
        upto_sigs(record, draft, place, side);
        sigs_at = record.written();
        after_sigs(record, draft, place);
    });
    Ok(Body { bytes, hash_at, sigs_at })
}

/// The members that sort before `record_hash`.
fn upto_hash(record: &mut CanonicalWriter<'_>, draft: &Draft, place: &Place<'_>, side: &Side) {
    let tenant = draft.tenant.as_str();
    let chain = chain_of(draft, place.identity);
    let references: Vec<String> =
        chain.iter().map(|party| place.pepper.subject_ref(tenant, &party.issuer, &party.subject)).collect();
    record.within("action", |action| {
        action.text("class", draft.action.class.as_str());
        action.text("name", &draft.action.name);
    });
    record.list("caused_by", &draft.caused_by);
    record.total("caused_by_total", &draft.caused_by);
    let nodes = chain.iter().zip(&references).enumerate();
    record.each("chain", nodes, |members, (index, (party, reference))| node(members, index, party, reference));
    record.put("chain_depth", chain.len());
    record.text("chain_uid", &place.names.chain_uid);
    record.within("commit", |commit| commitment(commit, side));
    id(record, "conversation", draft.session.conversation.as_deref());
    if let Some(facts) = &draft.decision {
        record.within("decision", |members| decision(members, facts, place.record_id, side));
    }
    record.put("env", place.identity.env);
    if !place.turn.ext.is_empty() {
        let mut ext = draft.ext.clone();
        ext.extend(place.turn.ext.clone());
        record.map("ext", &ext);
    } else if !draft.ext.is_empty() {
        record.map("ext", &draft.ext);
    }
    record.some("http", draft.http.as_ref());
    record.put("human_in_loop", draft.human_in_loop);
    record.some("intent_id", draft.intent_id.as_ref());
    record.some("mcp", draft.mcp.as_ref());
    if let Some(ip) = draft.src_ip {
        let reference = place.pepper.resource_ref(tenant, "ip", &ip.to_string());
        record.within("net", |net| net.text("src_ip_ref", &reference));
    }
    record.within("outcome", |outcome| {
        outcome.some("code", draft.outcome.code.as_ref());
        outcome.put("effect_confirmed", draft.outcome.effect_confirmed);
        outcome.some("error_type", draft.outcome.error_type.as_ref());
        outcome.put("status", draft.outcome.status);
    });
    let owner = draft.owner.as_ref().map(|owner| place.pepper.subject_ref(tenant, &owner.iss, &owner.sub));
    // Without a named owner the origin of the chain is accountable.
    let owner = owner.as_ref().or(references.first());
    record.text("owner_ref", owner.map_or("", String::as_str));
    record.put("prev_hash", place.at.prev_hash);
    record.within("producer", |members| producer(members, draft, place));
    record.put("protocol", draft.protocol);
    record.some("purpose", draft.purpose.as_ref());
}

/// The members between `record_hash` and `sigs`.
fn upto_sigs(record: &mut CanonicalWriter<'_>, draft: &Draft, place: &Place<'_>, side: &Side) {
    record.text("record_id", place.record_id);
    record.put("record_type", draft.record_type);
    record.within("request", |members| request(members, side));
    let tenant = draft.tenant.as_str();
    record.each("resource", &draft.resources, |members, resource| resource_node(members, resource, tenant, place.pepper));
    record.within("response", |response| response.put("hash", body_hash(side, "/response/body")));
    record.within("retention", |members| retention(members, draft, place));
    id(record, "run", draft.session.run.as_deref());
    record.text("schema", SCHEMA);
    record.put("seq", place.at.seq.to_string());
    id(record, "session", draft.session.id.as_deref());
    record.some("session_seq", place.turn.session_seq.map(|seq| seq.to_string()));
}

/// The members that sort after `sigs`.
fn after_sigs(record: &mut CanonicalWriter<'_>, draft: &Draft, place: &Place<'_>) {
    record.text("tenant_id", draft.tenant.as_str());
    record.within("time", |members| time(members, draft, place));
    record.some("tool", draft.tool.as_ref());
    record.some("trace", draft.trace.as_ref());
    record.some("txn", draft.txn.as_ref());
}

/// The values that are committed to: those drafted, and every personal value the draft holds in plain form.
pub(super) fn committed<'d>(draft: &'d Draft, identity: &Identity) -> Vec<(Cow<'d, str>, Cow<'d, Value>)> {
    let drafted = draft.committed.iter().map(|(path, value)| (Cow::Borrowed(path.as_str()), Cow::Borrowed(value)));
    let mut values: Vec<_> = drafted.collect();
    let mut also = |path: String, value: Value| values.push((Cow::Owned(path), Cow::Owned(value)));
    for (index, party) in chain_of(draft, identity).iter().enumerate() {
        also(format!("/chain/{index}/subject"), json!({ "iss": party.issuer, "sub": party.subject }));
        if let Some(Edge::Proof(proof)) = &party.edge {
            also(format!("/chain/{index}/edge"), json!(proof));
        }
    }
    if let Some(owner) = &draft.owner {
        also("/owner".to_owned(), json!(owner));
    }
    if let Some(ip) = draft.src_ip {
        also("/net/src_ip".to_owned(), json!(ip.to_string()));
    }
    for (index, resource) in draft.resources.iter().enumerate() {
        if let Some(id) = &resource.id {
            also(format!("/resource/{index}/id"), json!(id));
        }
    }
    if let Some(input) = draft.decision.as_ref().and_then(|facts| facts.input.as_ref()) {
        values.push((Cow::Borrowed("/decision/input"), Cow::Borrowed(input)));
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

impl Draft {
    /// Everyone this record is about: the parties named, the accountable human, and those whose data it touches.
    pub fn subjects(&self, identity: &Identity) -> Vec<Subject> {
        let Subjects { parties, owner, data } = subjects(self, identity);
        parties.into_iter().chain(owner).chain(data).collect()
    }
}

pub(super) fn subjects(draft: &Draft, identity: &Identity) -> Subjects {
    let principal = |iss: &str, sub: &str| Subject::Principal { iss: iss.to_owned(), sub: sub.to_owned() };
    let parties: Vec<_> = chain_of(draft, identity).iter().map(|party| principal(&party.issuer, &party.subject)).collect();
    let owner = draft.owner.as_ref().map(|owner| principal(&owner.iss, &owner.sub));
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
        let sub = party.get(member)?.as_str().filter(|sub| is_person(party, member, sub))?;
        Some(Subject::Principal { iss: party.get("iss")?.as_str()?.to_owned(), sub: sub.to_owned() })
    })
}

/// An owner is a local person; a party is what the input says it is.
fn is_person(party: &Value, member: &str, sub: &str) -> bool {
    let stated = if member == "sub" { party.get("kind").and_then(Value::as_str) } else { None };
    stated.map_or_else(|| PrincipalKind::of_subject(sub) == PrincipalKind::Human, |kind| kind == "human")
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

/// The drafted chain; where it is empty, the producer itself.
fn chain_of<'d>(draft: &'d Draft, identity: &Identity) -> Cow<'d, [Party]> {
    if !draft.chain.is_empty() {
        return Cow::Borrowed(&draft.chain);
    }
    Cow::Owned(vec![Party::new(PartyKind::Service, &identity.producer_id, &identity.producer_id)])
}

fn id(record: &mut CanonicalWriter<'_>, name: &str, id: Option<&str>) {
    if let Some(id) = id {
        record.within(name, |members| members.text("id", id));
    }
}

fn producer(members: &mut CanonicalWriter<'_>, draft: &Draft, place: &Place<'_>) {
    members.text("build_digest", &place.identity.build_digest);
    members.put("epoch", place.at.epoch.to_string());
    members.text("id", &place.identity.producer_id);
    members.put("kind", draft.producer);
    members.text("version", &place.identity.version);
}

fn time(time: &mut CanonicalWriter<'_>, draft: &Draft, place: &Place<'_>) {
    let now = place.now;
    time.put("boot_id", uuid::Uuid::from_bytes(now.boot_id).hyphenated().to_string());
    time.put("clock_status", now.status);
    time.some("end_ns", draft.span_ns.map(|(_, end)| end.to_string()));
    time.put("error_bound_ns", now.error_bound_ns.to_string());
    time.put("hlc", format!("{}.{}.{}", place.hlc.0, place.hlc.1, place.names.node));
    time.put("mono_ns", now.mono_ns.to_string());
    time.put("source", now.source);
    time.some("start_ns", draft.span_ns.map(|(start, _)| start.to_string()));
    time.put("wall", rfc3339_ns(now.wall_ns));
    time.put("wall_ns", now.wall_ns.to_string());
}

fn node(node: &mut CanonicalWriter<'_>, index: usize, party: &Party, subject_ref: &str) {
    node.some("agent", party.agent.as_ref());
    node.within("auth", |auth| {
        auth.some("acr", party.auth.acr.as_ref());
        auth.list("amr", &party.auth.amr);
        auth.total("amr_total", &party.auth.amr);
        // The record's vocabulary calls a shared key what it is.
        match party.auth.method {
            AuthMethod::ApiKey => auth.text("method", "api_key(legacy)"),
            method => auth.put("method", method),
        }
        auth.some("time", party.auth.time.map(|at| rfc3339_ns(u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000_000))));
    });
    if party.jkt.is_some() || party.x5t.is_some() || party.proof.is_some() {
        node.within("cnf", |cnf| {
            cnf.some("jkt", party.jkt.as_ref());
            cnf.some("proof_hash", party.proof.as_ref().map(|proof| Hash::of(&[proof.as_bytes()])));
            cnf.some(X5T, party.x5t.as_ref());
        });
    }
    if index > 0 {
        let hash = match &party.edge {
            Some(Edge::Proof(proof)) => Some(Hash::of(&[proof.jws().as_bytes()]).to_string()),
            Some(Edge::Hash(hash)) => Some(hash.clone()),
            None => None,
        };
        node.put("edge_proof", hash);
    }
    // SPEC: record.md §1.11 `grant` is mandatory; a root has no parent and says so with null.
    node.within("grant", |grant| {
        grant.text("id", &party.grant.id);
        grant.put("parent_jti_hash", party.grant.parent_jti.as_ref().map(|jti| Hash::of(&[jti.as_bytes()])));
        grant.put("type", party.grant.kind);
    });
    node.text("issuer", &party.issuer);
    node.put("kind", party.kind);
    node.text("subject_ref", subject_ref);
    if let Some(facts) = &party.token {
        node.within("token", |members| token(members, facts, party.x5t.is_some()));
    }
}

fn token(token: &mut CanonicalWriter<'_>, facts: &TokenFacts, certified: bool) {
    token.list("aud", &facts.audience);
    token.total("aud_total", &facts.audience);
    token.some("authorization_details_hash", facts.authorization_details_hash.as_ref());
    // Without a word, a token is bound to a key.
    let binding = if facts.unbound { Some(Binding::DangerBearer) } else { certified.then_some(Binding::Mtls) };
    token.some("binding", binding.map(Binding::as_str));
    token.some("exp", facts.expires.map(|at| at.to_string()));
    token.some("iat", facts.issued.map(|at| at.to_string()));
    token.some("iss", facts.issuer.as_ref());
    token.some("jti_hash", facts.jti.as_ref().map(|jti| Hash::of(&[jti.as_bytes()])));
    token.list("scope", &facts.scope);
    token.total("scope_total", &facts.scope);
}

fn resource_node(node: &mut CanonicalWriter<'_>, resource: &Resource, tenant: &str, pepper: &Pepper) {
    node.some("bytes", resource.bytes.map(|bytes| bytes.to_string()));
    node.put("classification", resource.classification);
    node.list("fields", &resource.fields);
    node.list("fields_masked", &resource.fields_masked);
    node.total("fields_masked_total", &resource.fields_masked);
    node.list("fields_returned", &resource.fields_returned);
    node.total("fields_returned_total", &resource.fields_returned);
    node.total("fields_total", &resource.fields);
    node.some("id_ref", resource.id.as_ref().map(|id| pepper.resource_ref(tenant, &resource.kind, id)));
    node.some("record_count", resource.record_count.map(|count| count.to_string()));
    node.text("type", &resource.kind);
}

fn commitment(commit: &mut CanonicalWriter<'_>, side: &Side) {
    commit.put("count_padded", side.count());
    let keys: Vec<&str> = side.key_ids().into_iter().map(KeyId::as_str).collect();
    if !keys.is_empty() {
        // At most one a party and one a resource, so every name is there: a cut list would hide a key.
        commit.put("key_ids", keys);
    }
    commit.put("root", side.root());
}

/// The request's hash and, where a change was watched, what binds the states before and after it.
fn request(request: &mut CanonicalWriter<'_>, side: &Side) {
    if let (Some(before), Some(after)) = (side.leaf("/change/before"), side.leaf("/change/after")) {
        request.put("diff_hash", Hash::of(&[&before.0, &after.0]));
    }
    request.put("hash", body_hash(side, "/call/arguments"));
}

/// The salted leaf of a body, or the root of the empty tree when there is none.
fn body_hash(side: &Side, path: &str) -> Hash {
    side.leaf(path).unwrap_or_else(tree::empty_root)
}

fn decision(decision: &mut CanonicalWriter<'_>, facts: &DecisionFacts, record_id: &str, side: &Side) {
    decision.some("engine", facts.engine.as_ref());
    decision.some("entities_digest", facts.entities_digest.as_ref());
    decision.list("errors", &facts.errors);
    decision.total("errors_total", &facts.errors);
    decision.some("explanation", facts.explanation.as_ref().map(|text| cut(text, EXPLANATION_LIMIT)));
    decision.text("id", facts.id.as_deref().unwrap_or(record_id));
    decision.some("input_hash", facts.input.as_ref().and_then(|_| side.leaf("/decision/input")));
    decision.some("latency_ns", facts.latency_ns.map(|ns| ns.to_string()));
    if !facts.nondet.is_empty() {
        decision.each("nondet", facts.nondet.iter().take(FIELD_LIMIT), |input, (name, value)| {
            input.text("name", name);
            input.value("value", value);
        });
        decision.total("nondet_total", &facts.nondet);
    }
    decision.list("policies", &facts.policies);
    decision.total("policies_total", &facts.policies);
    decision.some("policy_set_digest", facts.policy_set_digest.as_ref());
    decision.some("reason_code", facts.reason_code.as_ref());
    decision.put("result", facts.result);
    decision.some("schema_digest", facts.schema_digest.as_ref());
}

fn retention(retention: &mut CanonicalWriter<'_>, draft: &Draft, place: &Place<'_>) {
    let keep_ns = u64::from(place.turn.keep_days).saturating_mul(86_400_000_000_000);
    retention.text("class", &draft.retention.class);
    retention.put("legal_hold", place.turn.legal_hold);
    retention.put("not_before_delete", rfc3339_ns(place.now.wall_ns.saturating_add(keep_ns)));
}

/// The longest prefix of at most `limit` bytes that ends between characters.
fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}
