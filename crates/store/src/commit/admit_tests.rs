use super::*;
use crate::{
    batch::{Budget, JtiKind, KeyedHash, Party, Revocation, StoredCode, StoredRefresh, StoredToken},
    db::{
        error::DbError,
        group::{BudgetFact, CodeFact, FamilyFact, Head, RefreshFact},
        sqlite::Db,
    },
};
use proptest::{collection::vec, prelude::*, sample::select};
use remit_ledger::{Draft, Hash, record::ProducerKind, record::RecordType};
use remit_model::{Agent, AgentStatus, Authority, Chain, Human, HumanStatus, Principal, TenantId, id::AgentId};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const NOW: i64 = 100;

/// Everything as one straightforward program would keep it: no groups, no facts read beforehand, no staging.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    facts: Facts,
    agents: BTreeMap<AgentId, AgentStatus>,
    humans: BTreeMap<String, (HumanStatus, Option<UnixTime>)>,
    revoked: BTreeMap<(&'static str, String), UnixTime>,
    holds: BTreeSet<String>,
    revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum No {
    Conflict,
    Invalid,
}

impl Model {
    fn apply(&mut self, batch: &Batch) -> Result<u64, No> {
        let before = self.clone();
        let applied = self.try_apply(batch);
        if applied.is_err() {
            *self = before;
        }
        applied.map(|()| self.revision)
    }

    fn try_apply(&mut self, batch: &Batch) -> Result<(), No> {
        for need in &batch.require {
            if !self.holds(need)? {
                return Err(No::Conflict);
            }
        }
        let mut visible = false;
        for change in &batch.changes {
            visible |= self.change(change)?;
        }
        self.revision += u64::from(visible);
        Ok(())
    }

    fn holds(&mut self, need: &Precondition) -> Result<bool, No> {
        Ok(match need {
            Precondition::Unused(code) => self.facts.codes.get(code).is_some_and(|code| !code.used && code.expires.0 > NOW),
            Precondition::Once { kind, key, .. } => self.facts.once.insert((*kind, key.clone())),
            Precondition::NewAgent(id) => !self.agents.contains_key(id),
            Precondition::Revision(revision) => self.revision == *revision,
            Precondition::Before(time) => NOW < time.0,
            Precondition::Budget(budget) if budget.add < 0 => return Err(No::Invalid),
            Precondition::Budget(Budget { key, add, limit, until }) => {
                let known = self.facts.budgets.get(key).copied();
                match known.map_or(0, |known| known.spent).checked_add(*add) {
                    Some(spent) if spent <= *limit => {
                        self.count(key, spent, *until);
                        true
                    }
                    _ => false,
                }
            }
            Precondition::Passkeys { human, enrolled } => self.humans.contains_key(human) && enrolled.is_empty(),
            Precondition::NotHeld(subject) => !self.holds.contains(subject),
            Precondition::Held(subject) => self.holds.contains(subject),
            Precondition::RefreshCurrent(hash) => self.facts.refresh.get(hash).is_some_and(|token| {
                let family = self.facts.families[&token.family];
                token.expires.0 > NOW && !family.revoked && family.generation == token.generation
            }),
            Precondition::Active { parties, tokens, txn, since, .. } => {
                let active = parties.iter().all(|party| match party {
                    Party::Agent(id) => self.agents.get(id) == Some(&AgentStatus::Active),
                    Party::Human(name) => self.humans.get(name).is_some_and(|(status, ended)| {
                        let over = matches!((ended, since), (Some(ended), Some(since)) if since < ended);
                        *status == HumanStatus::Active && !over
                    }),
                });
                let dead = tokens.iter().any(|jti| self.revoked.contains_key(&("jti", jti.clone())));
                active && !dead && !self.revoked.contains_key(&("txn", txn.clone()))
            }
        })
    }

    fn count(&mut self, key: &str, spent: i64, until: Option<UnixTime>) {
        let until = match self.facts.budgets.get(key) {
            Some(BudgetFact { until: None, .. }) => None,
            Some(BudgetFact { until: Some(known), .. }) => until.map(|until| until.max(*known)),
            None => until,
        };
        self.facts.budgets.insert(key.to_owned(), BudgetFact { spent, until });
    }

    /// Whether a snapshot shows it.
    fn change(&mut self, change: &Change) -> Result<bool, No> {
        match change {
            Change::PutAgent(agent) => drop(self.agents.insert(agent.id.clone(), agent.status)),
            Change::SetAgentStatus { agent, status } => *self.agents.get_mut(agent).ok_or(No::Invalid)? = *status,
            Change::PutHuman(human) => {
                let ended = self.humans.get(&human.name).and_then(|(_, ended)| *ended);
                self.humans.insert(human.name.clone(), (human.status, human.ended_before.max(ended)));
            }
            Change::EndHuman { name, before } => {
                let (_, ended) = self.humans.get_mut(name).ok_or(No::Invalid)?;
                *ended = (*ended).max(Some(*before));
            }
            Change::Revoke { what, until } => {
                if let Revocation::Family(name) = what
                    && let Some(family) = self.facts.families.get_mut(name)
                {
                    family.revoked = true;
                }
                let known = self.revoked.entry((what.kind(), what.key().to_owned())).or_insert(*until);
                *known = (*known).max(*until);
            }
            Change::Hold { subject_ref, .. } => {
                if !self.holds.insert(subject_ref.clone()) {
                    return Err(No::Invalid);
                }
            }
            Change::Release { subject_ref } => return Ok(self.holds.remove(subject_ref)),
            hidden => {
                self.change_hidden(hidden)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn change_hidden(&mut self, change: &Change) -> Result<(), No> {
        match change {
            Change::PutCode(code) => match self.facts.codes.insert(code.hash, CodeFact { expires: code.expires, used: false }) {
                Some(_) => Err(No::Invalid),
                None => Ok(()),
            },
            Change::UseCode { code, .. } => {
                self.facts.codes.get_mut(code).ok_or(No::Invalid)?.used = true;
                Ok(())
            }
            Change::FailCode(code) => self.facts.codes.get(code).map(drop).ok_or(No::Invalid),
            Change::PutRefresh(new) => {
                let revoked = self.revoked.contains_key(&("family", new.family.clone()));
                let family = FamilyFact { generation: 0, revoked, until: new.expires };
                match self.facts.families.insert(new.family.clone(), family) {
                    Some(_) => Err(No::Invalid),
                    None => self.put_refresh(new, 0),
                }
            }
            Change::RotateRefresh { old, new } => {
                let known = self.facts.refresh.get(old).filter(|known| known.family == new.family).ok_or(No::Invalid)?;
                let generation = known.generation + 1;
                let family = self.facts.families.get_mut(&new.family).unwrap();
                *family = FamilyFact { generation, until: family.until.max(new.expires), ..*family };
                self.put_refresh(new, generation)
            }
            Change::IssueToken(token) => self.facts.tokens.insert(token.jti.clone()).then_some(()).ok_or(No::Invalid),
            Change::Spend { key, amount, until } => {
                let known = self.facts.budgets.get(key).map_or(0, |known| known.spent);
                self.count(key, known.checked_add(*amount).ok_or(No::Invalid)?, *until);
                Ok(())
            }
            Change::PutObject(_) | Change::Erased { .. } => Ok(()),
            other => panic!("{other:?} is visible or goes alone"),
        }
    }

    fn put_refresh(&mut self, new: &StoredRefresh, generation: u64) -> Result<(), No> {
        let token = RefreshFact { family: new.family.clone(), generation, expires: new.expires };
        self.facts.refresh.insert(new.hash, token).is_none().then_some(()).ok_or(No::Invalid)
    }

    /// What a database that holds this would answer.
    fn answer(&self, needs: &Needs<'_>) -> Facts {
        let mut facts = Facts::default();
        let all = &self.facts;
        facts.codes.extend(needs.codes.iter().filter_map(|hash| Some((**hash, *all.codes.get(*hash)?))));
        facts.refresh.extend(needs.refresh.iter().filter_map(|hash| Some((**hash, all.refresh.get(*hash)?.clone()))));
        let named = needs.families.iter().map(|name| (*name).to_owned());
        let families: BTreeSet<String> = named.chain(facts.refresh.values().map(|token| token.family.clone())).collect();
        facts.families.extend(families.into_iter().filter_map(|name| Some((name.clone(), *all.families.get(&name)?))));
        facts.budgets.extend(needs.budgets.iter().filter_map(|key| Some(((*key).to_owned(), *all.budgets.get(*key)?))));
        facts.once.extend(needs.once.iter().map(|(kind, key)| (*kind, (*key).to_owned())).filter(|one| all.once.contains(one)));
        facts.tokens.extend(needs.tokens.iter().map(|jti| (*jti).to_owned()).filter(|jti| all.tokens.contains(jti)));
        facts
    }

    fn shows(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.revision(), self.revision);
        let agents: BTreeMap<AgentId, AgentStatus> =
            snapshot.agents().map(|(id, agent)| (id.clone(), agent.unwrap().status)).collect();
        assert_eq!(agents, self.agents);
        let humans: BTreeMap<String, (HumanStatus, Option<UnixTime>)> =
            snapshot.humans().map(|human| (human.name.clone(), (human.status, human.ended_before))).collect();
        assert_eq!(humans, self.humans);
        assert_eq!(snapshot.holds().map(|(subject, _)| subject.to_owned()).collect::<BTreeSet<_>>(), self.holds);
        assert_eq!(snapshot.revocations(), self.revoked.len());
        for ((kind, key), until) in &self.revoked {
            let what = match *kind {
                "jti" => Revocation::Jti(key.clone()),
                "txn" => Revocation::Txn(key.clone()),
                _ => Revocation::Family(key.clone()),
            };
            assert_eq!(snapshot.revoked_until(&what), Some(*until));
        }
    }
}

fn kind_of(error: &ApplyError) -> No {
    match error {
        ApplyError::Conflict(_) => No::Conflict,
        ApplyError::Invalid(_) => No::Invalid,
        ApplyError::Unavailable(outage) => panic!("{outage}"),
    }
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn hash() -> impl Strategy<Value = KeyedHash> {
    (0..4_u8).prop_map(|byte| [byte; 32])
}

fn until() -> impl Strategy<Value = UnixTime> {
    select(vec![NOW - 50, NOW, NOW + 50, NOW + 90]).prop_map(UnixTime)
}

fn forever() -> impl Strategy<Value = Option<UnixTime>> {
    proptest::option::of(until())
}

fn code() -> impl Strategy<Value = StoredCode> {
    (hash(), until()).prop_map(|(hash, expires)| StoredCode {
        hash,
        client: "agent:a".to_owned(),
        subject: Principal::human("https://as.test", "alice"),
        payload: json!({}),
        expires,
        used: None,
        failures: 0,
    })
}

fn refresh() -> impl Strategy<Value = StoredRefresh> {
    (hash(), name(), until()).prop_map(|(hash, family, expires)| StoredRefresh {
        hash,
        family,
        client: "agent:a".to_owned(),
        subject: Principal::human("https://as.test", "alice"),
        jkt: Some("thumb".to_owned()),
        payload: json!({}),
        expires,
        generation: 0,
        current: true,
    })
}

fn token(jti: String) -> StoredToken {
    StoredToken {
        jti,
        chain: Chain::new("txn".to_owned(), Principal::human("https://as.test", "alice")),
        authority: Authority::none(),
        parent: None,
        client: "agent:a".to_owned(),
        jkt: Some("thumb".to_owned()),
        audience: "https://as.test/mcp".to_owned(),
        issued: UnixTime(NOW),
        expires: UnixTime(NOW + 60),
        family: None,
        keys: Vec::new(),
    }
}

fn agent(name: &str, status: AgentStatus) -> Agent {
    let body = json!({
        "id": name, "display_name": name, "owner": "user:alice", "status": status, "keys": [], "redirect_uris": [],
        "ceiling": [], "labels": {}, "registered": 1,
    });
    serde_json::from_value(body).unwrap()
}

fn human(name: &str, status: HumanStatus) -> Human {
    let display_name = name.to_owned();
    Human {
        name: display_name.clone(),
        display_name,
        status,
        password_hash: None,
        entitlements: Authority::none(),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    }
}

fn ended() -> impl Strategy<Value = Option<UnixTime>> {
    proptest::option::of((0..4_i64).prop_map(UnixTime))
}

fn agent_status() -> impl Strategy<Value = AgentStatus> {
    select(vec![AgentStatus::Active, AgentStatus::Quarantined])
}

fn revocation() -> impl Strategy<Value = Revocation> {
    prop_oneof![name().prop_map(Revocation::Jti), name().prop_map(Revocation::Txn), name().prop_map(Revocation::Family),]
}

fn kind() -> impl Strategy<Value = JtiKind> {
    select(vec![JtiKind::Statement, JtiKind::Other])
}

fn precondition() -> impl Strategy<Value = Precondition> {
    let party = prop_oneof![name().prop_map(|name| Party::Agent(AgentId::parse(&name).unwrap())), name().prop_map(Party::Human),];
    prop_oneof![
        1 => hash().prop_map(Precondition::Unused),
        3 => (kind(), name(), until()).prop_map(|(kind, key, until)| Precondition::Once { kind, key, until }),
        1 => name().prop_map(|name| Precondition::NewAgent(AgentId::parse(&name).unwrap())),
        1 => (0..6_u64).prop_map(Precondition::Revision),
        1 => (NOW - 1..NOW + 3).prop_map(|time| Precondition::Before(UnixTime(time))),
        3 => (name(), -1..5_i64, 0..12_i64, forever())
            .prop_map(|(key, add, limit, until)| Precondition::Budget(Budget { key, add, limit, until })),
        1 => name().prop_map(Precondition::NotHeld),
        1 => name().prop_map(Precondition::Held),
        1 => hash().prop_map(Precondition::RefreshCurrent),
        1 => (vec(party, 0..2), vec(name(), 0..2), name(), ended()).prop_map(|(parties, tokens, txn, since)| {
            Precondition::Active { parties, tokens, txn, since, keys: Vec::new(), issued: Box::default() }
        }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (name(), agent_status()).prop_map(|(name, status)| Change::PutAgent(agent(&name, status))),
        (name(), agent_status())
            .prop_map(|(name, status)| Change::SetAgentStatus { agent: AgentId::parse(&name).unwrap(), status }),
        (name(), any::<bool>(), ended()).prop_map(|(name, active, ended_before)| {
            let status = if active { HumanStatus::Active } else { HumanStatus::Disabled };
            Change::PutHuman(Human { ended_before, ..human(&name, status) })
        }),
        (name(), 0..4_i64).prop_map(|(name, before)| Change::EndHuman { name, before: UnixTime(before) }),
        code().prop_map(Change::PutCode),
        (hash(), name()).prop_map(|(code, txn)| Change::UseCode { code, txn }),
        hash().prop_map(Change::FailCode),
        refresh().prop_map(Change::PutRefresh),
        (hash(), refresh()).prop_map(|(old, new)| Change::RotateRefresh { old, new }),
        name().prop_map(|jti| Change::IssueToken(Arc::new(token(jti)))),
        (revocation(), until()).prop_map(|(what, until)| Change::Revoke { what, until }),
        (name(), prop_oneof![-5..5_i64, Just(i64::MAX)], forever()).prop_map(|(key, amount, until)| Change::Spend {
            key,
            amount,
            until
        }),
        name().prop_map(|subject_ref| Change::Hold { subject_ref, basis: "case".to_owned() }),
        name().prop_map(|subject_ref| Change::Release { subject_ref }),
        name().prop_map(|text| Change::PutObject(text.into_bytes())),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    (vec(precondition(), 0..3), vec(change(), 0..4), 0..2_usize).prop_map(|(require, changes, records)| {
        let draft = || Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision);
        let records = (0..records).map(|_| draft()).collect();
        Batch { require, changes, records, ..Batch::new(TenantId::main()) }
    })
}

/// Seals without keys: rows as they are, and a record of its index.
fn plain<'a>(next: &mut u64) -> impl FnMut(&Snapshot, &'a Batch, &[Private<'a>]) -> Result<Sealed, ApplyError> {
    move |_, batch, private| {
        let mut sealed = Sealed::default();
        for row in private {
            let (subject, payload) = (String::new(), "{}".to_owned());
            match *row {
                Private::Code(code) => {
                    let (hash, client, until) = (code.hash, code.client.clone(), code.expires);
                    sealed.private.push(PrivateRow::Code { hash, client, payload, until, subject });
                }
                Private::Refresh(token, generation) => {
                    let (family, until) = (token.family.clone(), token.expires);
                    if generation == 0 {
                        sealed.private.push(PrivateRow::Family { family: family.clone(), until, subject });
                    }
                    let (hash, client, jkt) = (token.hash, token.client.clone(), token.jkt.clone().unwrap_or_default());
                    sealed.private.push(PrivateRow::Refresh { hash, family, generation, client, jkt, payload, until });
                }
                Private::Token(token) => {
                    let (jti, txn, until) = (token.jti.clone(), token.chain.id.clone(), token.expires);
                    sealed.private.push(PrivateRow::Token { jti, txn, body: payload, until, subject });
                }
                Private::ProviderSession(session) => {
                    let (human, until) = (session.human.clone(), session.expires);
                    sealed.private.push(PrivateRow::ProviderSession { human, payload, until, subject });
                }
                Private::NoProviderSession(human) => {
                    sealed.private.push(PrivateRow::NoProviderSession { human: human.to_owned() });
                }
            }
        }
        for _ in &batch.records {
            let (index, record_id) = (*next, format!("record-{next}"));
            sealed.records.push(RecordRow {
                index,
                record_id,
                leaf_hash: Hash::ZERO,
                until: 0,
                bytes: vec![0],
                side: Vec::new(),
            });
            *next += 1;
        }
        Ok(sealed)
    }
}

fn calm() -> Surroundings {
    Surroundings { now: UnixTime(NOW), outage: None }
}

/// Commits groups to a database of its own as the writer does: not exact, unless an identifier was not new.
struct Database {
    db: Db,
    snapshot: Snapshot,
    next: u64,
    _dir: tempfile::TempDir,
}

impl Database {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &TenantId::main()).unwrap();
        Self { db, snapshot: Snapshot::empty(TenantId::main()), next: 0, _dir: dir }
    }

    fn commit(&mut self, group: &[Batch]) -> Vec<Result<u64, No>> {
        let before = self.next;
        let verdicts = self.transact(group, false).unwrap_or_else(|error| {
            assert!(error.is_clash(), "{error}");
            None
        });
        verdicts.unwrap_or_else(|| {
            self.db.rollback();
            self.next = before;
            self.transact(group, true).unwrap().expect("identifiers were read")
        })
    }

    /// `None` when identifiers have to be read first.
    fn transact(&mut self, group: &[Batch], exact: bool) -> Result<Option<Vec<Result<u64, No>>>, DbError> {
        self.db.begin(Head::default())?;
        let facts = self.db.facts(&needs(group, exact))?;
        let admitted = admit(&self.snapshot, facts, group, &calm(), plain(&mut self.next));
        if !exact && guessed(group, &admitted.verdicts) {
            return Ok(None);
        }
        self.db.write(&admitted.writes)?;
        self.db.commit()?;
        self.snapshot = admitted.snapshot;
        let verdicts = admitted.verdicts.iter().map(|verdict| verdict.as_ref().map(|(revision, _)| *revision).map_err(kind_of));
        Ok(Some(verdicts.collect()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A group is decided as if its batches came one at a time, and a refused one leaves nothing.
    #[test]
    fn a_group_is_admitted_as_its_batches_would_be_one_at_a_time(groups in vec(vec(batch(), 1..6), 1..5)) {
        let mut model = Model::default();
        let mut snapshot = Snapshot::empty(TenantId::main());
        for group in groups {
            let facts = model.answer(&needs(&group, true));
            let mut next = 0;
            let admitted = admit(&snapshot, facts, &group, &calm(), plain(&mut next));
            let mut records = 0;
            for (batch, verdict) in group.iter().zip(&admitted.verdicts) {
                let expected = model.apply(batch);
                prop_assert_eq!(verdict.as_ref().map(|(revision, _)| *revision).map_err(kind_of), expected, "{:?}", batch);
                records += verdict.as_ref().map_or(0, |_| batch.records.len());
            }
            prop_assert_eq!(admitted.writes.records.len(), records);
            model.shows(&admitted.snapshot);
            // What is written is what a snapshot folds: rows alone lead to the same world.
            for row in &admitted.writes.world {
                snapshot.fold(row.clone()).unwrap();
            }
            model.shows(&snapshot);
            for (key, budget) in &admitted.writes.budgets {
                prop_assert_eq!(model.facts.budgets.get(key), Some(budget));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What a group writes is what its batches would have written one at a time, and the verdicts are the same.
    #[test]
    fn a_group_writes_what_its_batches_would_write_one_at_a_time(groups in vec(vec(batch(), 1..6), 1..5)) {
        let (mut together, mut alone, mut model) = (Database::new(), Database::new(), Model::default());
        for group in &groups {
            let verdicts = together.commit(group);
            let expected: Vec<_> = group.iter().flat_map(|batch| alone.commit(std::slice::from_ref(batch))).collect();
            prop_assert_eq!(&verdicts, &expected);
            prop_assert_eq!(together.db.dump(), alone.db.dump());
            let expected: Vec<_> = group.iter().map(|batch| model.apply(batch)).collect();
            prop_assert_eq!(&verdicts, &expected);
        }
        let all: Vec<Batch> = groups.concat();
        let needs = needs(&all, true);
        prop_assert_eq!(together.db.facts(&needs).unwrap(), model.answer(&needs), "the database holds what the model does");
    }
}

#[test]
fn a_batch_that_cannot_be_sealed_is_refused_alone() {
    let put = |name: &str| Batch::new(TenantId::main()).change(Change::PutAgent(agent(name, AgentStatus::Active)));
    let group = [put("a"), put("b"), put("c").require(Precondition::NewAgent(AgentId::parse("b").unwrap()))];
    let mut seals = 0;
    let admitted = admit(&Snapshot::empty(TenantId::main()), Facts::default(), &group, &calm(), |world, _, _| {
        seals += 1;
        if seals == 2 {
            assert!(world.has_agent(&AgentId::parse("b").unwrap()), "it is sealed in the world as it leaves it");
            return Err(ApplyError::Invalid("too large".to_owned()));
        }
        Ok(Sealed::default())
    });
    assert!(admitted.verdicts[0].is_ok() && admitted.verdicts[1].is_err() && admitted.verdicts[2].is_ok());
    assert_eq!(admitted.writes.world.iter().map(|row| &*row.key).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(admitted.snapshot.revision(), 2);
}

#[test]
fn during_an_outage_only_notes_are_admitted_and_they_change_nothing() {
    let around = Surroundings { outage: Some(Outage::Witnesses), ..calm() };
    let act = Batch::new(TenantId::main());
    let changing = Batch::new(TenantId::main()).note().change(Change::PutObject(vec![1]));
    let group = [act.clone(), changing, Batch::new(TenantId::main()).note()];
    let mut next = 0;
    let admitted = admit(&Snapshot::empty(TenantId::main()), Facts::default(), &group, &around, plain(&mut next));
    assert_eq!(admitted.verdicts[0], Err(ApplyError::Unavailable(Outage::Witnesses)));
    assert!(matches!(admitted.verdicts[1], Err(ApplyError::Invalid(_))));
    assert_eq!(admitted.verdicts[2], Ok((0, 0)));
    let other = [Batch::new(TenantId::parse("other").unwrap())];
    let admitted = admit(&Snapshot::empty(TenantId::main()), Facts::default(), &other, &calm(), plain(&mut next));
    assert!(matches!(admitted.verdicts[0], Err(ApplyError::Invalid(_))), "nor another tenant's");
}
