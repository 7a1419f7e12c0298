//! The record writer against an oracle: the same record as a tree of values, canonicalised as a whole.

use crate::world::{intent, plain, rich_decision, sealer};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use proptest::prelude::*;
use remit_ledger::{
    Draft, Hash, Keyring, Record, Sealed, Sealer, Side,
    record::*,
    tree,
    vault::{Key, KeyId, Subject, SubjectKey},
};
use remit_model::{EdgeProof, Moment, Principal, TenantId, UnixTime, json};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Everything a record says that its draft does not know.
struct Place<'a> {
    sealer: &'a Sealer,
    at: &'a Position,
    hlc: (u64, u64),
    now: &'a Moment,
    record_id: &'a str,
}

/// The record without `record_hash` and `sigs`.
fn build(draft: Draft, place: &Place<'_>, side: &Side) -> Value {
    let chain = chain_of(&draft, place.sealer.identity());
    let tenant = draft.tenant.as_str();
    let pseudonym = |issuer: &str, subject: &str| place.sealer.pepper().subject_ref(tenant, issuer, subject);
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
    record.put("env", place.sealer.identity().env);
    record.put("producer", producer(&draft, place));
    record.put("seq", place.at.seq.to_string());
    record.some("session_seq", draft.session_seq.map(|seq| seq.to_string()));
    record.put("prev_hash", place.at.prev_hash);
    record.put("chain_uid", chain_uid(place.sealer.identity()));
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
    let src_ip = draft.src_ip.map(|ip| place.sealer.pepper().resource_ref(tenant, "ip", &ip.to_string()));
    record.some("net", src_ip.map(|reference| json!({ "src_ip_ref": reference })));
    let resources: Vec<Value> =
        draft.resources.into_iter().map(|resource| resource_node(resource, tenant, place.sealer.pepper())).collect();
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
    Value::Object(record.0)
}

/// The drafted chain; where it is empty, the producer itself.
fn chain_of(draft: &Draft, identity: &Identity) -> Vec<Party> {
    if !draft.chain.is_empty() {
        return draft.chain.clone();
    }
    vec![Party::new(PartyKind::Service, &identity.producer_id, &identity.producer_id)]
}

/// Names the hash chain this record is a link of: one per producer, across its epochs.
fn chain_uid(identity: &Identity) -> String {
    format!("chain:{}", Hash::of(&[identity.producer_id.as_bytes()]).hex().get(..32).unwrap())
}

fn producer(draft: &Draft, place: &Place<'_>) -> Value {
    json!({
        "id": place.sealer.identity().producer_id,
        "kind": draft.producer,
        "version": place.sealer.identity().version,
        "build_digest": place.sealer.identity().build_digest,
        "epoch": place.at.epoch.to_string(),
    })
}

fn time(draft: &Draft, place: &Place<'_>) -> Value {
    let now = place.now;
    let node = Hash::of(&[place.sealer.identity().producer_id.as_bytes()]).hex();
    let mut time = Members::default();
    time.put("wall", rfc3339_ns(now.wall_ns));
    time.put("wall_ns", now.wall_ns.to_string());
    time.put("error_bound_ns", now.error_bound_ns.to_string());
    time.put("clock_status", now.status);
    time.put("source", now.source);
    time.put("mono_ns", now.mono_ns.to_string());
    time.put("boot_id", uuid::Uuid::from_bytes(now.boot_id).hyphenated().to_string());
    time.put("hlc", format!("{}.{}.{}", place.hlc.0, place.hlc.1, node.get(..8).unwrap()));
    time.some("start_ns", draft.span_ns.map(|(start, _)| start.to_string()));
    time.some("end_ns", draft.span_ns.map(|(_, end)| end.to_string()));
    Value::Object(time.0)
}

/// RFC 3339 in UTC with nine digits of fraction.
fn rfc3339_ns(wall_ns: u64) -> String {
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
    node.some("token", party.token.as_ref().map(|facts| token(facts, party.x5t.is_some())));
    let mut cnf = Members::default();
    cnf.some("jkt", party.jkt.as_ref());
    cnf.some("x5t#S256", party.x5t.as_ref());
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

fn token(facts: &TokenFacts, certified: bool) -> Value {
    let mut token = Members::default();
    token.some("jti_hash", facts.jti.as_ref().map(|jti| Hash::of(&[jti.as_bytes()])));
    token.some("iss", facts.issuer.as_ref());
    token.list("aud", facts.audience.clone());
    token.list("scope", facts.scope.clone());
    token.some("binding", if facts.unbound { Some("danger_bearer") } else { certified.then_some("mtls") });
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

/// Seals the draft, and compares every byte with the oracle's.
fn compare(sealer: &mut Sealer, draft: &Draft, now: &Moment, sealed_for: bool) -> Sealed {
    let at = sealer.position();
    let mut random = 7_u8;
    let mut fill = |bytes: &mut [u8]| {
        for byte in bytes {
            random = random.wrapping_mul(13).wrapping_add(7);
            *byte = random;
        }
    };
    let mut keys = |subject: &Subject| Ok(key_of(subject));
    let sealed = if sealed_for { sealer.seal_for(draft, now, &mut fill, &mut keys) } else { sealer.seal(draft, now, &mut fill) };
    let sealed = sealed.unwrap();
    let wall_ms = now.wall_ns / 1_000_000;
    let hlc = if wall_ms > at.hlc.0 { (wall_ms, 0) } else { (at.hlc.0, at.hlc.1 + 1) };
    let place = Place { sealer, at: &at, hlc, now, record_id: &sealed.record_id };
    let mut record = build(draft.clone(), &place, &sealed.side);
    let record_hash = Hash::of(&[&json::canonical(&record)]);
    assert_eq!(sealed.record_hash, record_hash);
    let written: Value = serde_json::from_slice(&sealed.bytes).unwrap();
    let signature = written["sigs"][0]["value"].as_str().unwrap();
    assert!(verify_record_signature(&sealer.key().jwk(), &record_hash, signature));
    let members = record.as_object_mut().unwrap();
    members.insert("record_hash".to_owned(), json!(record_hash));
    let sigs = json!([{ "kid": sealer.key().kid(), "alg": "ed25519", "role": "producer", "value": signature }]);
    members.insert("sigs".to_owned(), sigs);
    assert_eq!(String::from_utf8(sealed.bytes.clone()).unwrap(), String::from_utf8(json::canonical(&record)).unwrap());
    assert_eq!(sealed.leaf_hash, tree::leaf_hash(&sealed.bytes));
    assert_eq!(String::from_utf8(sealed.side.to_bytes()).unwrap(), String::from_utf8(side_bytes(&sealed.side)).unwrap());
    Record::parse(&sealed.bytes).unwrap();
    sealed
}

fn key_of(subject: &Subject) -> Key {
    let name = match subject {
        Subject::Principal { iss, sub } => format!("{iss} {sub}"),
        Subject::Data { kind, id } => format!("{kind} {id}"),
    };
    let hash = Hash::of(&[name.as_bytes()]).0;
    Key { id: KeyId::new(hash[..16].try_into().unwrap()), secret: SubjectKey::new(hash) }
}

fn side_bytes(side: &Side) -> Vec<u8> {
    let fields: Map<String, Value> = side.fields.iter().map(|(path, opening)| (path.clone(), opening_value(opening))).collect();
    json::canonical(&json!({ "decoys": side.decoys, "fields": fields }))
}

fn opening_value(opening: &Opening) -> Value {
    match opening {
        Opening::Open { salt, kind, value } => json!({ "salt": salt, "type": kind, "value": value }),
        Opening::Closed { leaf } => json!({ "leaf": leaf }),
        Opening::Sealed { leaf, sealed } => {
            let keys: Vec<&str> = sealed.keys.iter().map(KeyId::as_str).collect();
            json!({ "keys": keys, "leaf": leaf, "sealed": URL_SAFE_NO_PAD.encode(&sealed.bytes) })
        }
    }
}

/// The leaf of an open value, from the values it is the hash of.
fn leaf_of(path: &str, opening: &Opening) -> Option<Hash> {
    let Opening::Open { salt, kind, value } = opening else { return None };
    Some(tree::leaf_hash(&json::canonical(&json!([salt, path, kind, value]))))
}

fn started() -> Sealer {
    let mut sealer = sealer(None);
    let start = Draft::start(TenantId::main(), ProducerKind::AuthzServer, &sealer.key().jwk(), "log", &json!({ "keys": [] }));
    compare(&mut sealer, &start, &Moment::at(1_800_000_000), true);
    sealer
}

#[test]
fn whole_records_are_written_as_the_tree_of_their_values() {
    let mut sealer = started();
    let mut full = rich_decision();
    full.src_ip = Some([192, 0, 2, 7].into());
    full.intent_id = Some("intent".to_owned());
    full.caused_by = vec!["a".to_owned(), "b".to_owned()];
    full.span_ns = Some((1, u64::MAX));
    full.http.as_mut().unwrap().status = None;
    full.chain[1].auth.method = AuthMethod::ApiKey;
    full.chain[1].edge = Some(Edge::Hash(Hash::ZERO.to_string()));
    full.chain[2].edge = None;
    full.chain[2].agent = Some(AgentFacts {
        charter_digest: Some("c".to_owned()),
        framework: Some("f".to_owned()),
        instance_uid: Some("i".to_owned()),
        uid: "u".to_owned(),
        version: Some("v".to_owned()),
    });
    full.purpose = Some(Purpose { code: "c".to_owned(), ticket_ref: Some("t".to_owned()), declared_by: Some("d".to_owned()) });
    full.tool = Some(Tool {
        server_id: "s".to_owned(),
        name: "n".to_owned(),
        version: Some("v".to_owned()),
        descriptor_digest: Some("d".to_owned()),
        schema_digest: Some("e".to_owned()),
    });
    let facts = full.decision.as_mut().unwrap();
    facts.id = Some("id".to_owned());
    facts.engine = Some(Engine { name: "n".to_owned(), version: "v".to_owned(), build_digest: Some("b".to_owned()) });
    let watched = full.clone().commit("/change/before", json!({ "a": 1 })).commit("/change/after", json!({ "a": 2 }));
    let drafts = [plain(RecordType::Token, "t"), intent(), rich_decision(), full, watched];
    for (draft, sealed_for) in drafts.iter().flat_map(|draft| [(draft, false), (draft, true)]) {
        compare(&mut sealer, draft, &Moment::at(1_800_000_001), sealed_for);
    }
}

#[test]
fn the_largest_side_that_fits_is_exactly_the_limit() {
    let mut sealer = started();
    let now = Moment::at(1_800_000_001);
    let draft = |bytes: usize| intent().commit("/ä\u{1}", json!("x".repeat(bytes))).commit("/more", json!([1.5, "\n"]));
    let overhead = compare(&mut sealer, &draft(0), &now, false).side.to_bytes().len();
    assert!(sealer.seal(draft(SIDE_LIMIT - overhead), &now, |_| {}).is_ok());
    let refused = sealer.seal(draft(SIDE_LIMIT - overhead + 1), &now, |_| {}).unwrap_err();
    assert!(matches!(refused, SealError::SideTooLarge { bytes } if bytes == SIDE_LIMIT + 1), "{refused}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z:/.-]{0,12}", ".{0,8}", "[\"\\\\\u{0}-\u{1f}\u{7f}\u{e000}\u{1f600}]{0,4}"]
}

/// A member name that a reader takes: none with NUL.
fn name() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace('\0', "0"))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| json!(float)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn party()(
        kind in prop_oneof![Just(PartyKind::Human), Just(PartyKind::Subagent)],
        texts in prop::array::uniform6(text()),
        some in prop::array::uniform6(any::<bool>()),
        time in -5_i64..2_000_000_000,
        amr in prop_oneof![prop::collection::vec(text(), 0..3), prop::collection::vec(text(), 129..131)],
    ) -> Party {
        let [iss, sub, a, b, c, d] = texts;
        let mut party = Party::new(kind, iss, sub);
        party.agent = some[0].then(|| AgentFacts { uid: a.clone(), framework: some[1].then(|| b.clone()), ..AgentFacts::default() });
        party.auth = Auth { method: AuthMethod::Sso, time: some[2].then_some(UnixTime(time)), acr: some[3].then(|| c.clone()), amr: amr.clone() };
        party.token = some[4].then(|| TokenFacts {
            jti: some[0].then(|| a.clone()),
            issuer: some[1].then(|| b.clone()),
            audience: amr.clone(),
            scope: amr,
            expires: some[2].then_some(UnixTime(time)),
            issued: some[3].then_some(UnixTime(-time)),
            authorization_details_hash: some[5].then(|| c.clone()),
            unbound: some[1],
        });
        party.jkt = some[1].then(|| d.clone());
        party.x5t = some[4].then(|| c.clone());
        party.proof = some[2].then(|| a.clone());
        party.grant = GrantFacts { id: b, kind: GrantKind::IdJag, parent_jti: some[3].then(|| c.clone()) };
        party.edge = if some[5] { Some(Edge::Proof(EdgeProof::DpopAtToken(d))) } else { some[4].then_some(Edge::Hash(c)) };
        party
    }
}

prop_compose! {
    fn resource()(
        texts in prop::array::uniform2(text()),
        some in prop::array::uniform2(any::<bool>()),
        pointers in prop_oneof![prop::collection::vec(text(), 0..3), prop::collection::vec("[a-z]", 128..130)],
        personal in any::<bool>(),
        count in any::<u64>(),
    ) -> Resource {
        let [kind, id] = texts;
        let mut resource = Resource::new(kind, some[0].then_some(id)).projected(pointers.clone(), pointers.clone(), "rule");
        resource.fields = pointers;
        resource.classification = if personal { Classification::Pii } else { Classification::Public };
        resource.record_count = some[1].then_some(count);
        resource.bytes = some[0].then_some(count);
        resource
    }
}

prop_compose! {
    fn draft()(
        chain in prop::collection::vec(party(), 0..4),
        resources in prop::collection::vec(resource(), 0..3),
        texts in prop::array::uniform8(text()),
        some in prop::array::uniform8(any::<bool>()),
        ext in prop::collection::vec((name(), text()), 0..3),
        committed in prop::collection::btree_map("/[a-z\u{e000}\u{1f600}\"]{0,6}", value(), 0..6),
        input in value(),
    ) -> Draft {
        let mut draft = intent().chain(chain);
        let [a, b, c, d, e, f, g, h] = texts;
        draft.resources = resources;
        draft.owner = some[0].then(|| Principal::local(&a, &b));
        draft.txn = some[1].then(|| c.clone());
        draft.session = Session { id: some[2].then(|| d.clone()), conversation: some[3].then(|| e.clone()), run: some[4].then(|| f.clone()) };
        draft.session_seq = some[2].then_some(u64::MAX);
        draft.action.name.clone_from(&g);
        draft.src_ip = some[5].then_some([0_u16; 8].into());
        draft.caused_by = if some[6] { vec![a.clone(); 128] } else { Vec::new() };
        draft.ext = ext.into_iter().map(|(name, text)| (name, json!({ "text": text, "n": 1.25 }))).collect();
        draft.committed.extend(committed);
        draft.outcome.code = some[7].then(|| h.clone());
        draft.outcome.error_type = some[0].then(|| g.clone());
        draft.retention = Retention { class: c.clone(), keep_days: u32::MAX, legal_hold: some[1] };
        let mut facts = DecisionFacts::new(DecisionResult::Mask);
        facts.input = some[3].then_some(input);
        facts.explanation = some[4].then(|| "é".repeat(300));
        facts.nondet = vec![(e, json!([f, 1, 1e-300])); if some[5] { 129 } else { usize::from(some[6]) }];
        facts.reason_code = some[7].then_some(h);
        draft.decision = some[0].then_some(facts);
        draft
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn any_record_is_written_as_the_tree_of_its_values(draft in draft(), sealed_for in any::<bool>(), second in 0_i64..4_000_000_000) {
        let mut sealer = started();
        let sealed = compare(&mut sealer, &draft, &Moment::at(second), sealed_for);
        let mut side = sealed.side.clone();
        if sealed_for {
            let keys = draft.subjects(sealer.identity()).iter().map(key_of).map(|key| (key.id, key.secret)).collect::<BTreeMap<_, _>>();
            side.open(&sealed.record_id, &Keyring::from_fn(move |id| keys.get(id).cloned())).unwrap();
        }
        for (path, opening) in &side.fields {
            if let Some(leaf) = leaf_of(path, opening) {
                prop_assert_eq!(Some(leaf), sealed.side.leaf(path), "{}", path);
            }
        }
        for (path, value) in &draft.committed {
            // A double that is a whole number comes back as an integer.
            prop_assert_eq!(side.value(path).map(|value| json::canonical(&value)), Some(json::canonical(value)));
        }
    }
}
