//! Logs to test with: deterministic keys, clock and entropy, and records of every shape.

use remit_ledger::{
    Checkpoint, Draft, Hash, Reader, Record, Sealed, Sealer, Side,
    dir::{self, Published},
    note::SigningKey,
    record::*,
    tile::{self, Level, Tile, WIDTH},
    tree,
};
use remit_model::{Code, EdgeProof, Moment, Principal, Refusal, TenantId, ToolClass, UnixTime};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

pub(crate) const ORIGIN: &str = "log.example/main";
/// What the decisions of these logs were made from.
pub(crate) const PINNED: [&[u8]; 2] = [b"set", b"schema"];
pub(crate) const ISSUER: &str = "http://127.0.0.1:8420";

/// A producer, and what it has sealed so far.
pub(crate) struct World {
    pub(crate) sealer: Sealer,
    pub(crate) sealed: Vec<Sealed>,
    now: Moment,
    random: u64,
    rich: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self { sealer: sealer(None), sealed: Vec::new(), now: Moment::at(1_800_000_000), random: 1, rich: 0 };
        world.start();
        world
    }

    /// A log of the given number of records: starts, decisions, intents with effects, tokens.
    pub(crate) fn of(size: usize) -> Self {
        let mut world = Self::new();
        while world.sealed.len() < size {
            match world.sealed.len() % 4 {
                0 => world.seal(rich_decision()),
                1 => world.seal(intent()),
                2 if world.last().record_type == RecordType::Intent => {
                    let intent = world.last().record_id.clone();
                    world.seal(effect(&intent))
                }
                _ => world.seal(plain(RecordType::Token, "token.issue")),
            };
        }
        world
    }

    pub(crate) fn last(&self) -> &Sealed {
        self.sealed.last().unwrap()
    }

    fn start(&mut self) {
        let keys = json!({ "keys": [] });
        let jwk = self.sealer.key().jwk();
        let draft = Draft::start(TenantId::main(), ProducerKind::AuthzServer, &jwk, &log_key().public().to_string(), &keys);
        self.seal(draft);
    }

    /// Stops and starts the producer: a new epoch.
    pub(crate) fn restart(&mut self) {
        self.seal(Draft::stop(TenantId::main(), ProducerKind::AuthzServer));
        let last = Record::parse(&self.last().bytes).unwrap();
        self.sealer = sealer(Some(&last));
        self.start();
    }

    pub(crate) fn seal(&mut self, mut draft: Draft) -> &Sealed {
        // The one session of rich decisions; a store counts for real.
        if draft.session.id.as_deref() == Some("s") {
            draft.session_seq = Some(self.rich);
            self.rich += 1;
        }
        let sealed = self.try_seal(draft).unwrap();
        self.sealed.push(sealed);
        self.last()
    }

    pub(crate) fn try_seal(&mut self, draft: Draft) -> Result<Sealed, SealError> {
        self.now.wall_ns += 1_234_567;
        self.now.mono_ns += 1_234_567;
        let random = &mut self.random;
        self.sealer.seal(draft, &self.now, |buffer| fill(random, buffer))
    }

    /// Lets time pass without a record.
    pub(crate) fn pass(&mut self, ns: u64) {
        self.now.wall_ns += ns;
        self.now.mono_ns += ns;
    }

    pub(crate) fn set_clock(&mut self, wall_ns: u64) {
        self.now.wall_ns = wall_ns;
    }

    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        self.sealed.iter().map(|sealed| sealed.bytes.clone()).collect()
    }

    pub(crate) fn sides(&self) -> Vec<Option<Side>> {
        self.sealed.iter().map(|sealed| Some(sealed.side.clone())).collect()
    }

    pub(crate) fn record(&self, index: usize) -> Record {
        Record::parse(&self.sealed[index].bytes).unwrap()
    }

    /// The log as a copy of files in memory.
    pub(crate) fn reader(&self) -> Reader {
        reader_of(files(&self.entries(), &self.sides()))
    }
}

fn fill(state: &mut u64, buffer: &mut [u8]) {
    for byte in buffer {
        // SplitMix64.
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        *byte = (mixed >> 56).try_into().unwrap();
    }
}

pub(crate) fn sealer(last: Option<&Record>) -> Sealer {
    let identity = Identity {
        producer_id: "spiffe://remit.test/node/one".to_owned(),
        version: "0.1.0".to_owned(),
        build_digest: Hash::of(&[b"build"]).to_string(),
        env: Environment::Prod,
    };
    Sealer::new(identity, RecordKey::from_seed(&[42; 32]).unwrap(), Pepper::new(b"pepper"), last)
}

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

pub(crate) fn plain(record_type: RecordType, action: &str) -> Draft {
    Draft::new(TenantId::main(), ProducerKind::AuthzServer, record_type)
        .action(action, ToolClass::Identity)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
        .ext("token", json!({ "kind": "access_token", "lifetime_s": 300 }))
}

pub(crate) fn intent() -> Draft {
    Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Intent)
        .action("refund_create", ToolClass::Payment)
        .request(json!({ "amount": 49.5, "ticket_id": "T-1" }))
}

pub(crate) fn effect(intent_id: &str) -> Draft {
    let mut draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Effect)
        .action("refund_create", ToolClass::Payment)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Acked)
        .caused_by(intent_id);
    draft.intent_id = Some(intent_id.to_owned());
    draft.span_ns = Some((1, 2));
    draft
}

fn party(sub: &str, kind: PartyKind) -> Party {
    let mut party = Party::new(kind, ISSUER, sub);
    party.agent = Some(AgentFacts { uid: sub.to_owned(), version: Some("1".to_owned()), ..AgentFacts::default() });
    party.auth = Auth {
        method: AuthMethod::ClientAssertion,
        time: Some(UnixTime(1_800_000_000)),
        acr: Some("1".to_owned()),
        amr: vec!["pwd".to_owned()],
    };
    party.token = Some(TokenFacts {
        jti: Some(format!("jti-{sub}")),
        issuer: Some(ISSUER.to_owned()),
        audience: vec![format!("{ISSUER}/mcp/helpdesk")],
        scope: vec!["helpdesk:tickets_read".to_owned()],
        expires: Some(UnixTime(1_800_000_300)),
        issued: Some(UnixTime(1_800_000_000)),
        authorization_details_hash: Some(Hash::of(&[b"authority"]).to_string()),
        ..TokenFacts::default()
    });
    party.jkt = Some("thumbprint".to_owned());
    party.proof = Some("dpop.proof.jws".to_owned());
    party.grant = GrantFacts { id: "g".to_owned(), kind: GrantKind::TokenExchange, parent_jti: Some("jti-parent".to_owned()) };
    party.edge = Some(Edge::Proof(EdgeProof::DpopAtToken(format!("edge.of.{sub}"))));
    party
}

/// A decision with every member a draft can bring.
pub(crate) fn rich_decision() -> Draft {
    let mut decision = DecisionFacts::refused(&Refusal::new(Code::ArgumentNotGranted, "the amount 60 is above the granted 50"));
    decision.policies = vec![PolicyFact {
        id: "p".to_owned(),
        version: "1".to_owned(),
        effect: "forbid".to_owned(),
        digest: Hash::of(&[b"p"]).to_string(),
    }];
    decision.errors = vec![PolicyFailure { policy_id: "q".to_owned(), message: "no such attribute".to_owned() }];
    decision.policy_set_digest = Some(Hash::of(&[b"set"]).to_string());
    decision.schema_digest = Some(Hash::of(&[b"schema"]).to_string());
    decision.entities_digest = Some(Hash::of(&[b"entities"]).to_string());
    decision.engine = Some(Engine { name: "cedar".to_owned(), version: "4.14".to_owned(), build_digest: None });
    decision.input = Some(json!({ "action": "call", "arguments": { "amount": 60 } }));
    decision.nondet = vec![("now".to_owned(), json!("1800000000"))];
    decision.latency_ns = Some(12_345);
    let mut draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
        .action("refund_create", ToolClass::Payment)
        .protocol(Protocol::Mcp)
        .chain(vec![
            Party::of(&Principal::local(ISSUER, "user:alice")),
            party("agent:planner", PartyKind::Agent),
            party("agent:summarizer", PartyKind::Subagent),
        ])
        .owner(Principal::local(ISSUER, "user:olga"))
        .decision(decision)
        .outcome(OutcomeStatus::Denied, EffectConfirmed::None)
        .purpose("support")
        .request(json!({ "amount": 60, "customer": "carol@example.com", "order": 9_007_199_254_740_993_u64 }))
        .response(json!("sha-256 of nothing"))
        .ext("limits", json!({ "calls": 100 }));
    draft.txn = Some("chain-1".to_owned());
    draft.session = Session { id: Some("s".to_owned()), conversation: Some("c".to_owned()), run: Some("r".to_owned()) };
    draft.session_seq = Some(0);
    draft.tool = Some(Tool { server_id: "helpdesk".to_owned(), name: "refund_create".to_owned(), ..Tool::default() });
    draft.mcp = Some(Mcp {
        method: "tools/call".to_owned(),
        request_id: Some("1".to_owned()),
        protocol_version: Some("2025-11-25".to_owned()),
    });
    draft.http = Some(Http {
        method: "POST".to_owned(),
        host: Some("gw".to_owned()),
        route: Some("/mcp/{server}".to_owned()),
        status: Some(200),
    });
    let mut resource = Resource::new("ticket", Some("T-4711".to_owned())).projected(
        vec!["/id".to_owned()],
        vec!["/customer/email".to_owned()],
        "grant",
    );
    resource.fields = vec!["/id".to_owned(), "/customer/email".to_owned()];
    resource.classification = Classification::Pii;
    resource.record_count = Some(1);
    resource.bytes = Some(512);
    draft.resources.push(resource);
    draft.outcome.error_type = Some("refused".to_owned());
    draft.outcome.code = Some("argument_not_granted".to_owned());
    draft.trace = Some(Trace { trace_id: "0af7".to_owned(), span_id: "b7ad".to_owned(), flags: "01".to_owned() });
    draft
}

/// The files of a log over these entries, with every tile by its definition.
pub(crate) fn files(entries: &[Vec<u8>], sides: &[Option<Side>]) -> HashMap<String, Vec<u8>> {
    let size = u64::try_from(entries.len()).unwrap();
    let leaves: Vec<Hash> = entries.iter().map(|entry| tree::leaf_hash(entry)).collect();
    let mut files = hash_tiles(&leaves);
    for (number, bundle) in (0..).zip(entries.chunks(256)) {
        let tile = Tile::at(Level::Entries, number, size).unwrap();
        files.insert(tile.path(), tile::encode_bundle(bundle.iter().map(Vec::as_slice)).unwrap());
    }
    for (index, side) in (0..).zip(sides) {
        let lines = files.entry(dir::side_path(index)).or_default();
        lines.extend(side.iter().flat_map(|side| side.to_line(index)));
    }
    // Logs with openings are whole copies; the others are looked at for their tree alone.
    for pinned in PINNED.into_iter().filter(|_| !sides.is_empty()) {
        files.insert(dir::object_path(&Hash::of(&[pinned])), pinned.to_vec());
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: tree::root(&leaves) };
    files.insert("checkpoint".to_owned(), log_key().sign(&checkpoint.to_text()).unwrap());
    files
}

/// All hash tiles of a tree: LG-08 written down once more, level by level.
pub(crate) fn hash_tiles(leaves: &[Hash]) -> HashMap<String, Vec<u8>> {
    let mut files = HashMap::new();
    let mut hashes = leaves.to_vec();
    for level in 0..8 {
        for (number, chunk) in (0..).zip(hashes.chunks(256)) {
            let tile = Tile { level: Level::Hashes(level), number, width: chunk.len().try_into().unwrap() };
            files.insert(tile.path(), tile::encode_hashes(chunk));
        }
        hashes = hashes.chunks_exact(usize::try_from(WIDTH).unwrap()).map(tree::root).collect();
    }
    files
}

pub(crate) fn reader_of(files: HashMap<String, Vec<u8>>) -> Reader {
    let files = Arc::new(Mutex::new(files));
    Reader::from_fetch(move |path, limit| {
        Ok(files.lock().unwrap().get(path).cloned().inspect(|bytes| assert!(bytes.len() <= limit, "{path}")))
    })
    .unwrap()
}

pub(crate) fn published(world: &World) -> Vec<(Vec<u8>, Vec<u8>)> {
    world.sealed.iter().map(|sealed| (sealed.bytes.clone(), sealed.side.to_bytes())).collect()
}

pub(crate) fn as_published(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<Published<'_>> {
    entries.iter().map(|(entry, side)| Published { entry, side: Some(side) }).collect()
}

/// Every JSON Pointer to a value that is neither object nor array.
pub(crate) fn leaves_of(value: &Value, at: &str, found: &mut Vec<String>) {
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                leaves_of(member, &format!("{at}/{}", escape(name)), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves_of(item, &format!("{at}/{index}"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}
