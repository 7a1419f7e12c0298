//! A ledger of decisions made from a seed: for tests of the decision replay and for measuring it.
//!
//! Calls, listings, delegations and fields; permits, denials, step-ups, policies that fail, and later checks that refuse
//! what policies permit; three policy sets, each in force for a third of the time. The same seed and count give the same
//! bytes. It is no ledger of anything that happened, and its keys are known to everybody.

use remit_ledger::{
    Sealed, Sealer, Writer,
    dir::Published,
    note::SigningKey,
    record::{
        DecisionFacts, DecisionResult, Draft, EffectConfirmed, Engine, Environment, Identity, OutcomeStatus, Party, Pepper,
        PolicyFact, PolicyFailure, ProducerKind, Protocol, RecordKey, RecordType, Resource, Tool,
    },
};
use remit_model::{
    ClockStatus, Fault, Moment, Principal, PrincipalKind, ServerId, TenantId, TimeSource, ToolClass, UnixTime, json,
};
use remit_policy::{Action, Bundle, Decision, Effect, Party as PolicyParty, Question, ToolFacts};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

const ISSUER: &str = "https://remit.example";
const BEGIN: u64 = 1_790_000_000;
/// Records published at once: whole bundles.
const BATCH: usize = 4096;

const TOOLS: [(&str, ToolClass, Option<&str>); 6] = [
    ("tickets_read", ToolClass::Read, None),
    ("tickets_search", ToolClass::Read, None),
    ("tickets_update", ToolClass::Write, Some("confidential")),
    ("refund_create", ToolClass::Payment, Some("confidential")),
    ("keys.read", ToolClass::Read, Some("secret")),
    ("admin_purge", ToolClass::Admin, Some("confidential")),
];

/// What the second and the third policy set add to the starter policies; the last one fails on some calls.
const ADDED: [&str; 2] = [
    "@id(\"quiet-hours\") @effect(\"step_up\") forbid (principal, action == Action::\"call\", resource)
     when { resource.class == \"write\" && context.input.hasTag(\"/priority\") &&
            context.input.getTag(\"/priority\") has long && context.input.getTag(\"/priority\").long > 8 };",
    "@id(\"bulk\") forbid (principal, action == Action::\"call\", resource)
     when { context.input.hasTag(\"/count\") && context.input.getTag(\"/count\") has long &&
            context.input.getTag(\"/count\").long * 1000000000000000000 < 0 };",
];

/// Writes `decisions` decisions into an empty folder and gives back how many of them were refused or held back.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(dir: &Path, seed: u64, decisions: u64) -> Result<u64, Fault> {
    let mut corpus = Corpus::new(seed)?;
    let mut writer = Writer::open(dir, SigningKey::from_seed("remit.example/corpus", &[8; 32])?).map_err(Fault::new)?;
    for bundle in &corpus.bundles {
        for object in [bundle.pinned(), bundle.schema().as_bytes().to_vec()] {
            writer.put_object(&object).map_err(Fault::new)?;
        }
    }
    let mut ready = vec![corpus.start()?];
    for number in 0..decisions {
        let bundle = usize::try_from(number * 3 / decisions).unwrap_or(0);
        ready.push(corpus.decide(bundle)?);
        if ready.len() == BATCH {
            publish(&mut writer, &mut ready)?;
        }
    }
    publish(&mut writer, &mut ready)?;
    Ok(corpus.refused)
}

/// The policy sets of the corpus.
///
/// # Errors
/// Never, unless the starter policies are broken.
pub fn bundles() -> Result<Vec<Bundle>, Fault> {
    let mut sets = vec![crate::starter()];
    for (number, added) in ADDED.iter().enumerate() {
        let mut next = sets.last().cloned().unwrap_or_default();
        next.push((format!("added{number}.cedar"), (*added).to_owned()));
        sets.push(next);
    }
    sets.iter().map(|files| Bundle::parse(files).map_err(|errors| Fault::new(format!("{errors:?}")))).collect()
}

fn publish(writer: &mut Writer, ready: &mut Vec<Sealed>) -> Result<(), Fault> {
    let sides: Vec<Vec<u8>> = ready.iter().map(|sealed| sealed.side.to_bytes()).collect();
    let entries = ready.iter().zip(&sides).map(|(sealed, side)| Published { entry: &sealed.bytes, side: Some(side) });
    writer.publish(writer.size(), &entries.collect::<Vec<_>>()).map_err(Fault::new)?;
    ready.clear();
    Ok(())
}

struct Corpus {
    bundles: Vec<Bundle>,
    sealer: Sealer,
    log_key: String,
    dice: Dice,
    now_ms: u64,
    refused: u64,
}

/// SplitMix64: small, well spread, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(self.next().to_le_bytes().get(..chunk.len()).unwrap_or_default());
        }
    }
}

impl Corpus {
    fn new(seed: u64) -> Result<Self, Fault> {
        let identity = Identity {
            producer_id: "spiffe://remit.example/node/corpus".to_owned(),
            version: "0.1.0".to_owned(),
            build_digest: json::sha256_label(b"corpus"),
            env: Environment::Sandbox,
        };
        Ok(Self {
            bundles: bundles()?,
            sealer: Sealer::new(identity, RecordKey::from_seed(&[7; 32])?, Pepper::new(&[9; 32]), None),
            log_key: SigningKey::from_seed("remit.example/corpus", &[8; 32])?.public().to_string(),
            dice: Dice(seed),
            now_ms: BEGIN * 1000,
            refused: 0,
        })
    }

    fn start(&mut self) -> Result<Sealed, Fault> {
        let key = self.sealer.key().jwk();
        self.seal(Draft::start(TenantId::main(), ProducerKind::AuthzServer, &key, &self.log_key.clone(), &Value::Null))
    }

    fn seal(&mut self, draft: Draft) -> Result<Sealed, Fault> {
        self.now_ms += 1 + self.dice.below(40);
        let now = Moment {
            wall_ns: self.now_ms * 1_000_000,
            error_bound_ns: 1_500_000,
            status: ClockStatus::Synchronized,
            source: TimeSource::Ntp,
            ..Moment::at(self.seconds())
        };
        let dice = &mut self.dice;
        self.sealer.seal(draft, &now, |bytes| dice.fill(bytes)).map_err(Fault::new)
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.now_ms / 1000).unwrap_or(i64::MAX)
    }

    fn decide(&mut self, bundle: usize) -> Result<Sealed, Fault> {
        let question = self.question()?;
        let bundle = self.bundles.get(bundle.min(self.bundles.len() - 1)).ok_or_else(|| Fault::new("no policies"))?;
        let decision = bundle.decide(&question);
        self.refused += u64::from(!decision.permits());
        let draft = self.draft(&question, &decision);
        self.seal(draft)
    }

    fn question(&mut self) -> Result<Question, Fault> {
        let at = usize::try_from(self.dice.below(TOOLS.len() as u64)).unwrap_or(0);
        let (tool, class, classification) = TOOLS.get(at).copied().unwrap_or(("tickets_read", ToolClass::Read, None));
        let human = format!("user:u{}", self.dice.below(200));
        let depth = 1 + self.dice.below(3);
        let chain: Vec<String> = (0..depth).map(|hop| format!("agent:a{}", hop * 100 + self.dice.below(50))).collect();
        let party = |kind: PrincipalKind, sub: &str| PolicyParty {
            kind,
            sub: sub.to_owned(),
            iss: ISSUER.to_owned(),
            owner: (kind == PrincipalKind::Agent).then(|| human.clone()),
            labels: BTreeMap::from([("team".to_owned(), "support".to_owned())]),
            binding: remit_model::Binding::default(),
        };
        let action = match self.dice.below(20) {
            0 => Action::List,
            1 => Action::ReadField { class: if depth > 1 { "secret" } else { "pii" }.to_owned() },
            2 => Action::Delegate {
                to: "agent:helper".to_owned(),
                depth: 1,
                lifetime: i64::try_from(self.dice.below(172_800)).unwrap_or(60),
            },
            _ => Action::Call,
        };
        let about_tool = matches!(action, Action::Call | Action::ReadField { .. });
        let holder = chain.last().cloned().unwrap_or_default();
        Ok(Question {
            tenant: TenantId::main(),
            issuer: ISSUER.to_owned(),
            principal: party(PrincipalKind::Agent, &holder),
            on_behalf_of: party(PrincipalKind::Human, &human),
            chain,
            txn: Some(format!("txn-{}", self.dice.below(100_000))),
            arguments: if action == Action::Call { self.arguments(tool) } else { Value::Null },
            action,
            server: Some(ServerId::parse("helpdesk").map_err(|refusal| Fault::new(refusal.to_string()))?),
            tool: about_tool.then(|| ToolFacts {
                name: tool.to_owned(),
                class,
                classification: classification.map(str::to_owned),
            }),
            authority_digest: json::sha256_label(tool.as_bytes()),
            purpose: (self.dice.below(2) == 0).then(|| "close the ticket".to_owned()),
            now: UnixTime(self.seconds()),
            auth_age: (self.dice.below(4) > 0).then(|| i64::try_from(self.dice.below(2_000)).unwrap_or(0)),
            acr: None,
            amr: Vec::new(),
            root_signed: false,
        })
    }

    fn arguments(&mut self, tool: &str) -> Value {
        let id = format!("T-{}", 1000 + self.dice.below(9000));
        match tool {
            "refund_create" if self.dice.below(10) == 0 => json!({"ticket": id, "amount": "much"}),
            "refund_create" => {
                json!({"ticket": id, "amount": f64::from(u32::try_from(self.dice.below(30_000)).unwrap_or(0)) / 100.0, "currency": "EUR"})
            }
            "tickets_update" => json!({"id": id, "priority": self.dice.below(11), "note": "Called back; waits for the part."}),
            "tickets_search" => json!({"query": "late parcel", "count": self.dice.below(15)}),
            _ => json!({"id": id}),
        }
    }

    fn draft(&mut self, question: &Question, decision: &Decision) -> Draft {
        let mut facts = facts(question, decision);
        // Now and then a later check refuses what policies permit, or fields are masked.
        match self.dice.below(16) {
            0 if decision.permits() => facts.result = DecisionResult::Mask,
            1 if decision.permits() => {
                facts.result = DecisionResult::Quota;
                facts.reason_code = Some("limit_exhausted".to_owned());
            }
            _ => {}
        }
        let status = if decision.permits() { OutcomeStatus::Success } else { OutcomeStatus::Denied };
        let name = question.tool.as_ref().map_or(question.action.as_str(), |tool| tool.name.as_str()).to_owned();
        let class = question.tool.as_ref().map_or(ToolClass::Identity, |tool| tool.class);
        let parties = std::iter::once(&question.on_behalf_of.sub).chain(&question.chain);
        let chain = parties.map(|sub| Party::of(&Principal::local(ISSUER, sub))).collect();
        let mut draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
            .protocol(Protocol::Mcp)
            .action(name.clone(), class)
            .chain(chain)
            .outcome(status, EffectConfirmed::None)
            .resource(Resource::new("mcp.tool", Some(name.clone())));
        if !question.arguments.is_null() {
            draft = draft.request(question.arguments.clone());
        }
        draft.outcome.code.clone_from(&facts.reason_code);
        draft.decision = Some(facts);
        draft.txn.clone_from(&question.txn);
        draft.owner = Some(Principal::local(ISSUER, &question.on_behalf_of.sub));
        draft.tool = question.tool.as_ref().map(|_| Tool { server_id: "helpdesk".to_owned(), name, ..Tool::default() });
        draft
    }
}

/// A decision as the record states it.
fn facts(question: &Question, decision: &Decision) -> DecisionFacts {
    let mut facts = DecisionFacts::new(match decision.effect {
        Effect::Permit => DecisionResult::Allow,
        _ if !decision.errors.is_empty() => DecisionResult::ErrorFailClosed,
        Effect::Deny => DecisionResult::Deny,
        Effect::StepUp => DecisionResult::StepUp,
    });
    facts.reason_code = decision.code().map(|code| code.as_str().to_owned());
    let policy = |policy: &remit_policy::Determining| PolicyFact {
        id: policy.id.clone(),
        version: policy.source.clone(),
        effect: policy.effect.name().to_owned(),
        digest: policy.digest.clone(),
    };
    facts.policies = decision.policies.iter().map(policy).collect();
    let failure =
        |error: &remit_policy::PolicyFailure| PolicyFailure { policy_id: error.id.clone(), message: error.message.clone() };
    facts.errors = decision.errors.iter().map(failure).collect();
    facts.policy_set_digest = Some(decision.policy_set_digest.clone());
    facts.schema_digest = Some(decision.schema_digest.clone());
    facts.engine =
        Some(Engine { name: decision.engine_name.clone(), version: decision.engine_version.clone(), build_digest: None });
    facts.input = serde_json::to_value(question).ok();
    facts.nondet = vec![("now".to_owned(), json!(question.now))];
    facts.explanation = Some(decision.explanation.clone());
    facts
}
