//! The hot state in memory: agents, humans, revocations, holds. Readers hold an `Arc` and never wait.
//!
//! [`Snapshot::fold`] is the only way in: loading, committing and following all fold rows of the world. The maps are
//! persistent: a change shares everything it does not touch, so one revocation does not copy 100,000 agents. An agent that
//! does nothing is kept as its row in the database has it, which is a fraction of what an [`Agent`] takes.

use super::{
    agent_index::AgentIndex,
    row::{BLANK, HoldBody, IssuedBody, Kind, Row, RowError, decode},
};
use crate::batch::Revocation;
use remit_model::{
    agent::{Agent, Credential, Human},
    display,
    id::{AgentId, TenantId},
    issuer_keys::{IssuerKey, IssuerKeys},
    time::UnixTime,
};
use rpds::HashTrieMapSync;
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Rows live this much longer than they say, so that skewed clocks and late replays still meet them.
pub(crate) const GRACE_SECONDS: i64 = 600;
/// Agents that may be awake before all are put to rest.
const AWAKE: usize = 16_384;
/// What the row of an agent contains that has a credential of someone else.
const VOUCHED: [&str; 3] = [r#""type":"kubernetes""#, r#""type":"federated""#, r#""type":"spiffe""#];

/// What is true at one revision of one tenant.
#[derive(Clone)]
pub struct Snapshot {
    tenant: TenantId,
    revision: u64,
    agents: HashTrieMapSync<AgentId, Arc<AgentRow>>,
    /// How many of them were asked for since they were last put to rest.
    awake: Arc<AtomicUsize>,
    /// Where agents are called by others, and which say so of themselves.
    endpoints: HashTrieMapSync<Arc<str>, Arc<[AgentId]>>,
    /// What the tokens say that vouch for agents: see `Credential::found_by`.
    vouched: AgentIndex,
    humans: HashTrieMapSync<Arc<str>, HumanRow>,
    /// Whose passkey a credential id is.
    passkeys: HashTrieMapSync<Arc<str>, Arc<str>>,
    revoked: Revoked,
    /// Legal holds: pseudonym of the subject, and since when.
    holds: Until,
    issuer_keys: IssuerKeys,
    /// By criterion: what was issued before this time is dead, and until when that matters. SPEC: RV-05
    issued: HashTrieMapSync<Arc<str>, Issued>,
}

/// The end of what fits a criterion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issued {
    pub(crate) before: UnixTime,
    pub(crate) until: UnixTime,
}

/// A registered agent: its row, and what the row says once it was asked for.
struct AgentRow {
    body: Arc<str>,
    read: OnceLock<Option<Arc<Agent>>>,
}

/// An account: its row, and what the row says unless it cannot be read.
#[derive(Clone)]
struct HumanRow {
    body: Arc<str>,
    read: Option<Arc<Human>>,
}

/// Revocations by kind, so that a look-up on the path of a call allocates nothing.
#[derive(Clone)]
struct Revoked {
    jti: Until,
    txn: Until,
    family: Until,
}

type Until = HashTrieMapSync<Arc<str>, UnixTime>;

impl Snapshot {
    pub(crate) fn empty(tenant: TenantId) -> Self {
        Self {
            tenant,
            revision: 0,
            agents: HashTrieMapSync::new_sync(),
            awake: Arc::default(),
            endpoints: HashTrieMapSync::new_sync(),
            vouched: AgentIndex::new(),
            humans: HashTrieMapSync::new_sync(),
            passkeys: HashTrieMapSync::new_sync(),
            revoked: Revoked { jti: Until::new_sync(), txn: Until::new_sync(), family: Until::new_sync() },
            holds: Until::new_sync(),
            issuer_keys: IssuerKeys::default(),
            issued: HashTrieMapSync::new_sync(),
        }
    }

    /// The tenant that this snapshot shows.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Grows by one with every batch that changes what a snapshot shows; never goes back.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The agent of this id, unless its row cannot be read.
    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.agent_named(id.as_str())
    }

    /// Whether an agent of this name was ever registered.
    pub fn has_agent(&self, id: &AgentId) -> bool {
        self.agents.contains_key(id)
    }

    /// The agent of this name; a text that is no agent's name finds none.
    pub fn agent_named(&self, name: &str) -> Option<&Arc<Agent>> {
        let (id, row) = self.agents.get_key_value(name)?;
        let read = row.read.get_or_init(|| {
            self.awake.fetch_add(1, Ordering::Relaxed);
            row.parse(id)
        });
        read.as_ref()
    }

    /// All agents, in no order; nothing for one whose row cannot be read, and that is no agent for anything else.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, Option<Arc<Agent>>)> {
        self.agents.iter().map(|(id, row)| (id, row.look(id)))
    }

    /// The agents whose rows cannot be read, by name. Reads every row.
    pub fn unreadable(&self) -> Vec<AgentId> {
        let mut names: Vec<AgentId> = self.agents().filter(|(_, agent)| agent.is_none()).map(|(id, _)| id.clone()).collect();
        names.sort();
        names
    }

    /// The names of all agents, in no order.
    pub fn agent_ids(&self) -> impl Iterator<Item = &AgentId> {
        self.agents.keys()
    }

    /// How many agents were ever registered.
    pub fn agent_count(&self) -> usize {
        self.agents.size()
    }

    /// Whether some agent is called by others at this URI: its registered label `endpoint`.
    pub fn is_endpoint(&self, uri: &str) -> bool {
        self.endpoints.contains_key(uri)
    }

    /// The agents that are called by others at this URI. Registration lets one have it; rows of older builds may say otherwise.
    pub fn called_at(&self, uri: &str) -> &[AgentId] {
        self.endpoints.get(uri).map_or(&[], AsRef::as_ref)
    }

    /// The agents with a credential that is found by this text (see `Credential::found_by`), and not more than `most`.
    pub fn vouched_by(&self, text: &str, most: usize) -> Vec<AgentId> {
        self.vouched.get(text, most)
    }

    /// The agents this subject is accountable for, in no order, and those whose rows mention the subject and cannot be read.
    pub(crate) fn owned_by(&self, owner: &str) -> Vec<Result<Arc<Agent>, AgentId>> {
        // Only rows that mention the owner are worth reading; where one is damaged, its quotes may be, too.
        let rows = self.agents.iter().filter(|(_, row)| mentions(&row.body, owner));
        let rows = rows.map(|(id, row)| row.look(id).ok_or_else(|| id.clone()));
        rows.filter(|row| row.as_ref().map_or(true, |agent| agent.owner == owner)).collect()
    }

    /// The account of this name. One whose row cannot be read is no account.
    pub fn human(&self, name: &str) -> Option<&Arc<Human>> {
        self.humans.get(name)?.read.as_ref()
    }

    /// The person who enrolled the passkey of this credential id.
    pub fn human_of_passkey(&self, credential: &str) -> Option<&Arc<Human>> {
        self.human(self.passkeys.get(credential)?)
    }

    /// Whether there is an account of this name, readable or not.
    pub fn has_human(&self, name: &str) -> bool {
        self.humans.contains_key(name)
    }

    /// All humans, in no order.
    pub fn humans(&self) -> impl Iterator<Item = &Arc<Human>> {
        self.humans.values().filter_map(|row| row.read.as_ref())
    }

    /// The stored bodies, for a rewrite that keeps what this program does not know.
    pub(crate) fn agent_body(&self, id: &AgentId) -> Option<&str> {
        self.agents.get(id).map(|row| &*row.body)
    }

    pub(crate) fn human_body(&self, name: &str) -> Option<&str> {
        self.humans.get(name).map(|row| &*row.body)
    }

    /// Whether this token, one it descends from, or its whole chain was revoked.
    pub fn is_revoked<'a>(&self, jti: &str, ancestors: impl IntoIterator<Item = &'a str>, txn: &str) -> bool {
        let jtis = &self.revoked.jti;
        jtis.contains_key(jti)
            || self.revoked.txn.contains_key(txn)
            || (!jtis.is_empty() && ancestors.into_iter().any(|ancestor| jtis.contains_key(ancestor)))
    }

    /// When what fits one of these criteria must have been issued to count; `None` where what was issued at `issued` counts.
    /// SPEC: RV-05
    pub fn revoked_before(&self, criteria: &[String], issued: UnixTime) -> Option<(&str, UnixTime)> {
        if self.issued.is_empty() {
            return None;
        }
        let found = criteria.iter().filter_map(|criterion| self.issued.get_key_value(criterion.as_str()));
        found.filter(|(_, end)| issued < end.before).map(|(criterion, end)| (criterion.as_ref(), end.before)).next()
    }

    /// What is known of this criterion.
    pub(crate) fn issued(&self, criterion: &str) -> Option<Issued> {
        self.issued.get(criterion).copied()
    }

    /// Whether this revocation is in force.
    pub fn has_revocation(&self, what: &Revocation) -> bool {
        self.revoked_until(what).is_some()
    }

    /// Revocations in force.
    pub fn revocations(&self) -> usize {
        self.revoked.jti.size() + self.revoked.txn.size() + self.revoked.family.size() + self.issued.size()
    }

    /// Whether a legal hold is on this subject (a pseudonym).
    pub fn is_held(&self, subject_ref: &str) -> bool {
        self.holds.contains_key(subject_ref)
    }

    /// Subjects on legal hold, as pseudonyms, and since when; in no order.
    pub fn holds(&self) -> impl Iterator<Item = (&str, UnixTime)> {
        self.holds.iter().map(|(subject, since)| (subject.as_ref(), *since))
    }

    /// The same world with this agent in it: for a decision about a registration that has not happened.
    #[must_use]
    pub fn with_agent(&self, agent: Agent) -> Self {
        let mut with = self.clone();
        let id = agent.id.clone();
        let row = AgentRow { body: Arc::from(BLANK), read: OnceLock::from(Some(Arc::new(agent))) };
        with.agents.insert_mut(id, Arc::new(row));
        with
    }

    /// The keys of the token issuer.
    pub fn issuer_keys(&self) -> &IssuerKeys {
        &self.issuer_keys
    }

    /// Takes in one row. A row of a person or an agent that cannot be read does not fail: it names someone who may do nothing.
    ///
    /// # Errors
    /// The row cannot be what it says, so that leaving it out could permit something.
    pub(crate) fn fold(&mut self, row: Row) -> Result<(), RowError> {
        let Row { kind, key, body, revision, until } = row;
        match (kind, body) {
            (Kind::Agent, body) => {
                let name = AgentId::parse(&key);
                let id = name.map_err(|_| broken(kind, &display::excerpt(&key, 64), "is no name of an agent"))?;
                self.put_agent(id, body.map(|body| AgentRow { body, read: OnceLock::new() }));
            }
            (Kind::Human, Some(body)) => {
                let read = read_human(&key, &body);
                self.forget_passkeys(&key);
                for passkey in read.iter().flat_map(|human| &human.passkeys.enrolled) {
                    self.passkeys.insert_mut(passkey.id.as_str().into(), Arc::clone(&key));
                }
                self.humans.insert_mut(key, HumanRow { body, read });
            }
            (Kind::Human, None) => {
                self.forget_passkeys(&key);
                self.humans.remove_mut(&*key);
            }
            (Kind::RevokedToken | Kind::RevokedChain | Kind::RevokedFamily, Some(_)) => {
                let until = until.ok_or_else(|| broken(kind, &key, "has no end"))?;
                self.revoked.of_mut(kind).insert_mut(key, until);
            }
            (Kind::RevokedToken | Kind::RevokedChain | Kind::RevokedFamily, None) => {
                self.revoked.of_mut(kind).remove_mut(&*key);
            }
            // A hold that cannot be read holds.
            (Kind::Hold, Some(body)) => {
                let since = decode::<HoldBody>(&body).map_or(UnixTime(0), |hold| hold.since);
                self.holds.insert_mut(key, since);
            }
            (Kind::Hold, None) => {
                self.holds.remove_mut(&*key);
            }
            // INVARIANT: a key that cannot be read may be a revoked one, so nothing is served without knowing.
            (Kind::IssuerKey, Some(body)) => {
                let read = decode::<IssuerKey>(&body)?;
                if read.kid != *key {
                    return Err(broken(kind, &display::excerpt(&key, 64), "is about another key"));
                }
                self.issuer_keys = self.issuer_keys.with(read);
            }
            (Kind::IssuerKey, None) => self.issuer_keys = self.issuer_keys.without(&key),
            // INVARIANT: one that cannot be read may end anything, so nothing is served without knowing.
            (Kind::RevokedIssued, Some(body)) => {
                let until = until.ok_or_else(|| broken(kind, &key, "has no end"))?;
                let before = decode::<IssuedBody>(&body)?.before;
                self.issued.insert_mut(key, Issued { before, until });
            }
            (Kind::RevokedIssued, None) => {
                self.issued.remove_mut(&*key);
            }
        }
        self.revision = self.revision.max(revision);
        Ok(())
    }

    /// Takes out an account whose row went without a trace; followers have to load everything.
    pub(crate) fn forget_human(&mut self, name: &str) {
        self.forget_passkeys(name);
        self.humans.remove_mut(name);
    }

    fn forget_passkeys(&mut self, name: &str) {
        let known = self.humans.get(name).and_then(|row| row.read.clone());
        for passkey in known.iter().flat_map(|human| &human.passkeys.enrolled) {
            self.passkeys.remove_mut(passkey.id.as_str());
        }
    }

    /// Forgets what expired. Its last token has expired as well, so the meaning, and therefore the revision, does not change.
    pub(crate) fn expire(&mut self, row: &Row) {
        match row.kind {
            Kind::RevokedToken | Kind::RevokedChain | Kind::RevokedFamily => {
                self.revoked.of_mut(row.kind).remove_mut(&*row.key);
            }
            Kind::RevokedIssued => {
                self.issued.remove_mut(&*row.key);
            }
            Kind::Agent | Kind::Human | Kind::Hold | Kind::IssuerKey => {}
        }
    }

    /// Forgets every revocation that ended before this time. Looks at all of them.
    pub(crate) fn expire_before(&mut self, time: UnixTime) {
        for revoked in [&mut self.revoked.jti, &mut self.revoked.txn, &mut self.revoked.family] {
            let ended = revoked.iter().filter(|(_, until)| **until < time);
            let ended: Vec<Arc<str>> = ended.map(|(key, _)| Arc::clone(key)).collect();
            for key in ended {
                revoked.remove_mut(&key);
            }
        }
        let ended = self.issued.iter().filter(|(_, end)| end.until < time);
        let ended: Vec<Arc<str>> = ended.map(|(key, _)| Arc::clone(key)).collect();
        for key in ended {
            self.issued.remove_mut(&key);
        }
    }

    pub(crate) fn revoked_until(&self, what: &Revocation) -> Option<UnixTime> {
        self.revoked.of(Kind::of(what)).get(what.key()).copied()
    }

    fn put_agent(&mut self, id: AgentId, row: Option<AgentRow>) {
        if let Some(uri) = self.agents.get(&id).and_then(|before| before.endpoint(&id)) {
            let others: Arc<[AgentId]> = self.called_at(&uri).iter().filter(|other| **other != id).cloned().collect();
            if others.is_empty() {
                self.endpoints.remove_mut(uri.as_str());
            } else {
                self.endpoints.insert_mut(Arc::from(uri), others);
            }
        }
        let before = self.agents.get(&id).map(Arc::clone);
        for text in before.iter().flat_map(|before| before.found_by(&id)) {
            self.vouched.remove(&text, &id);
        }
        let Some(row) = row else {
            self.agents.remove_mut(&id);
            return;
        };
        for text in row.found_by(&id) {
            self.vouched.insert(&text, &id);
        }
        if let Some(uri) = row.endpoint(&id) {
            let all = self.called_at(&uri).iter().cloned().chain([id.clone()]).collect();
            self.endpoints.insert_mut(Arc::from(uri), all);
        }
        self.agents.insert_mut(id, Arc::new(row));
    }

    /// Puts agents to rest when many are awake, and says whether it did. A holder of one keeps it, and asking wakes it.
    pub(crate) fn rest(&mut self) -> bool {
        if self.awake.load(Ordering::Relaxed) <= AWAKE {
            return false;
        }
        let awake = self.agents.iter().filter(|(_, row)| row.read.get().is_some());
        let rows: Vec<(AgentId, Arc<str>)> = awake.map(|(id, row)| (id.clone(), Arc::clone(&row.body))).collect();
        for (id, body) in rows {
            self.agents.insert_mut(id, Arc::new(AgentRow { body, read: OnceLock::new() }));
        }
        // Older snapshots go on counting for themselves.
        self.awake = Arc::default();
        true
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }
}

impl AgentRow {
    /// What the row says. One that cannot be read is no agent: whatever is asked of it is refused.
    fn parse(&self, id: &AgentId) -> Option<Arc<Agent>> {
        match decode::<Agent>(&self.body) {
            Ok(agent) if agent.id == *id => Some(Arc::new(agent)),
            Ok(agent) => {
                tracing::error!(%id, "the row of this agent is about `{}`", agent.id);
                None
            }
            Err(error) => {
                tracing::error!(%id, %error, "the row of this agent cannot be read; it may do nothing");
                None
            }
        }
    }

    /// The same without keeping it awake.
    fn look(&self, id: &AgentId) -> Option<Arc<Agent>> {
        self.read.get().map_or_else(|| self.parse(id), Clone::clone)
    }

    fn endpoint(&self, id: &AgentId) -> Option<String> {
        // Few agents have one, and only their rows are worth reading for it.
        let read = self.body.contains("\"endpoint\"").then(|| self.look(id))??;
        read.labels.get("endpoint").cloned()
    }

    /// The texts by which tokens lead to the agent.
    fn found_by(&self, id: &AgentId) -> Vec<String> {
        // Few agents have someone else who vouches for them, and only their rows are worth reading for it.
        let vouched = VOUCHED.iter().any(|kind| self.body.contains(kind));
        let read = vouched.then(|| self.look(id)).flatten();
        read.iter().flat_map(|agent| &agent.client.credentials).filter_map(Credential::found_by).collect()
    }
}

impl Revoked {
    fn of(&self, kind: Kind) -> &Until {
        match kind {
            Kind::RevokedChain => &self.txn,
            Kind::RevokedFamily => &self.family,
            _ => &self.jti,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Until {
        match kind {
            Kind::RevokedChain => &mut self.txn,
            Kind::RevokedFamily => &mut self.family,
            _ => &mut self.jti,
        }
    }
}

/// What the row of an account says. One that cannot be read is no account: its person may do nothing.
fn read_human(name: &str, body: &str) -> Option<Arc<Human>> {
    match decode::<Human>(body) {
        Ok(human) if human.name == *name => Some(Arc::new(human)),
        Ok(_) => {
            tracing::error!("the row of an account is about another one");
            None
        }
        Err(error) => {
            tracing::error!(%error, "the row of an account cannot be read; its person may do nothing");
            None
        }
    }
}

/// Whether a row mentions a subject, and not only one whose name begins like it.
pub(crate) fn mentions(body: &str, subject: &str) -> bool {
    let mention = serde_json::Value::from(subject).to_string();
    let mention = mention.trim_matches('"');
    let ends = |rest: Option<&str>| {
        !rest.is_some_and(|rest| rest.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next)))
    };
    body.match_indices(mention).any(|(at, found)| ends(body.get(at + found.len()..)))
}

fn broken(kind: Kind, key: &str, why: &'static str) -> RowError {
    RowError::Broken { kind: kind.as_str(), key: key.to_owned(), why }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("tenant", &self.tenant)
            .field("revision", &self.revision)
            .field("agents", &self.agents.size())
            .field("humans", &self.humans.size())
            .field("revoked", &self.revocations())
            .field("holds", &self.holds.size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, owner: &str, endpoint: Option<&str>) -> String {
        let labels = endpoint.map_or_else(|| "{}".to_owned(), |uri| format!("{{\"endpoint\":\"{uri}\"}}"));
        format!(
            "{{\"id\":\"{name}\",\"display_name\":\"x\",\"owner\":\"{owner}\",\"status\":\"active\",\"keys\":[],\
             \"redirect_uris\":[],\"ceiling\":[],\"labels\":{labels},\"registered\":1}}"
        )
    }

    fn id(name: &str) -> AgentId {
        AgentId::parse(name).unwrap()
    }

    impl Snapshot {
        fn put(&mut self, id: &AgentId, body: &str) {
            let row = Row { kind: Kind::Agent, key: id.as_str().into(), body: Some(body.into()), revision: 1, until: None };
            self.fold(row).unwrap();
        }
    }

    fn snapshot(count: usize) -> Snapshot {
        let mut snapshot = Snapshot::empty(TenantId::main());
        for n in 0..count {
            let name = format!("a{n}");
            snapshot.put(&id(&name), &row(&name, "user:alice", None));
        }
        snapshot
    }

    #[test]
    fn a_row_that_cannot_be_read_or_is_of_another_is_no_agent_and_keeps_its_name() {
        let mut snapshot = snapshot(1);
        let whole = row("a1", "user:alice", None);
        for (name, body) in [("bad", "{"), ("empty", ""), ("other", &whole), ("cut", whole.strip_suffix('}').unwrap())] {
            snapshot.put(&id(name), body);
            assert!(snapshot.agent(&id(name)).is_none(), "{name}");
            assert!(snapshot.has_agent(&id(name)), "{name}");
        }
        assert_eq!((snapshot.agents().filter(|(_, agent)| agent.is_some()).count(), snapshot.agent_count()), (1, 5));
        assert_eq!(snapshot.unreadable(), ["bad", "cut", "empty", "other"].map(id), "each is named");
        assert_eq!(snapshot.agent(&id("a0")).unwrap().owner, "user:alice");
    }

    #[test]
    fn rest_comes_only_when_many_are_awake_and_changes_nothing_that_is_seen() {
        let mut snapshot = snapshot(AWAKE + 1);
        let held = Arc::clone(snapshot.agent(&id("a0")).unwrap());
        assert!(!snapshot.rest(), "one is not many");
        for n in 0..=AWAKE {
            assert!(snapshot.agent(&id(&format!("a{n}"))).is_some());
        }
        let before = snapshot.clone();
        assert!(snapshot.rest());
        assert!(snapshot.agents.values().all(|row| row.read.get().is_none()));
        assert!(!snapshot.rest(), "no agent is awake");
        assert_eq!(snapshot.agent(&id("a0")), Some(&held));
        assert_eq!(before.agent(&id("a1")), snapshot.agent(&id("a1")));
    }

    #[test]
    fn an_endpoint_is_known_as_long_as_some_agent_has_it() {
        let (mut snapshot, uri) = (snapshot(1), "https://a.example/mcp");
        assert!(!snapshot.is_endpoint(uri));
        for name in ["b", "c"] {
            snapshot.put(&id(name), &row(name, "user:alice", Some(uri)));
        }
        assert_eq!(snapshot.called_at(uri), [id("b"), id("c")]);
        snapshot.put(&id("b"), &row("b", "user:alice", None));
        assert!(snapshot.is_endpoint(uri), "c has it still");
        assert_eq!(snapshot.called_at(uri), [id("c")]);
        assert!(!snapshot.is_endpoint("https://a.example/"));
        snapshot.put(&id("c"), &row("c", "user:alice", Some("https://c.example")));
        assert!(!snapshot.is_endpoint(uri) && snapshot.is_endpoint("https://c.example"));
    }

    #[test]
    fn an_owner_is_not_who_is_only_mentioned() {
        let mut snapshot = snapshot(3);
        snapshot.put(&id("b"), &row("b", "user:bob", Some("user:alice")));
        snapshot.put(&id("c"), &row("c", "user:alice2", None));
        assert_eq!((snapshot.owned_by("user:alice").len(), snapshot.owned_by("user:bob").len()), (3, 1));
        assert!(snapshot.owned_by("user:carol").is_empty());
        // Whose it is cannot be said any more; that it mentions alice can.
        snapshot.put(&id("d"), &row("d", "user:alice", None).replace("\"status\"", "\"statu"));
        snapshot.put(&id("e"), &row("e", "user:alice2", None).replace("\"status\"", "\"statu"));
        let unreadable: Vec<AgentId> = snapshot.owned_by("user:alice").into_iter().filter_map(Result::err).collect();
        assert_eq!(unreadable, [id("d")]);
    }
}
