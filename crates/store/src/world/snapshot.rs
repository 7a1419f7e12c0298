//! The hot state in memory: agents, humans, revocations. Readers hold an `Arc` and never wait.
//!
//! The maps are persistent: a change shares everything it does not touch, so one revocation does not copy 100,000 agents.
//! An agent that does nothing is kept as its row in the database has it, which is a fraction of what an [`Agent`] takes.

use crate::batch::Revocation;
use remit_model::{
    agent::{Agent, Human},
    id::{AgentId, TenantId},
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

/// Agents that may be awake before all are put to rest.
const AWAKE: usize = 16_384;
/// The row of an agent of which nothing is left.
pub(crate) const BLANK: &str = "{}";

/// What is true at one revision of one tenant.
#[derive(Clone)]
pub struct Snapshot {
    tenant: TenantId,
    revision: u64,
    agents: HashTrieMapSync<AgentId, Arc<Row>>,
    /// How many of them were asked for since they were last put to rest.
    awake: Arc<AtomicUsize>,
    /// Where agents are called by others, and how many say so of themselves.
    endpoints: HashTrieMapSync<Arc<str>, usize>,
    humans: HashTrieMapSync<Arc<str>, Arc<Human>>,
    revoked: Revoked,
    /// Legal holds: pseudonym of the subject, and since when.
    holds: Until,
}

/// A registered agent: its row, and what the row says once somebody has asked.
struct Row {
    body: Arc<str>,
    read: OnceLock<Option<Arc<Agent>>>,
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
            humans: HashTrieMapSync::new_sync(),
            revoked: Revoked { jti: Until::new_sync(), txn: Until::new_sync(), family: Until::new_sync() },
            holds: Until::new_sync(),
        }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Grows by one with every batch that changes what a snapshot shows; never goes back.
    pub fn revision(&self) -> u64 {
        self.revision
    }

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

    pub fn agent_count(&self) -> usize {
        self.agents.size()
    }

    /// Whether some agent is called by others at this URI: its registered label `endpoint`.
    pub fn is_endpoint(&self, uri: &str) -> bool {
        self.endpoints.contains_key(uri)
    }

    /// The agents this subject is accountable for, in no order, and those whose rows mention the subject and cannot be read.
    pub(crate) fn owned_by(&self, owner: &str) -> Vec<Result<Arc<Agent>, AgentId>> {
        // Only rows that mention the owner are worth reading; where one is damaged, its quotes may be, too.
        let mention = serde_json::Value::from(owner).to_string();
        let mention = mention.trim_matches('"');
        // A longer name is somebody else's.
        let ends = |rest: Option<&str>| {
            !rest.is_some_and(|rest| rest.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next)))
        };
        let mentions = |body: &str| body.match_indices(mention).any(|(at, found)| ends(body.get(at + found.len()..)));
        let rows = self.agents.iter().filter(|(_, row)| mentions(&row.body));
        let rows = rows.map(|(id, row)| row.look(id).ok_or_else(|| id.clone()));
        rows.filter(|row| row.as_ref().map_or(true, |agent| agent.owner == owner)).collect()
    }

    pub fn human(&self, name: &str) -> Option<&Arc<Human>> {
        self.humans.get(name)
    }

    /// All humans, in no order.
    pub fn humans(&self) -> impl Iterator<Item = &Arc<Human>> {
        self.humans.values()
    }

    /// Whether this token, one it descends from, or its whole chain was revoked.
    pub fn is_revoked<'a>(&self, jti: &str, ancestors: impl IntoIterator<Item = &'a str>, txn: &str) -> bool {
        let jtis = &self.revoked.jti;
        jtis.contains_key(jti)
            || self.revoked.txn.contains_key(txn)
            || (!jtis.is_empty() && ancestors.into_iter().any(|ancestor| jtis.contains_key(ancestor)))
    }

    /// Whether this revocation is in force.
    pub fn has_revocation(&self, what: &Revocation) -> bool {
        self.revoked_until(what).is_some()
    }

    /// Revocations in force.
    pub fn revocations(&self) -> usize {
        self.revoked.jti.size() + self.revoked.txn.size() + self.revoked.family.size()
    }

    /// Whether a legal hold is on this subject (a pseudonym).
    pub fn is_held(&self, subject_ref: &str) -> bool {
        self.holds.contains_key(subject_ref)
    }

    /// Subjects on legal hold, as pseudonyms, and since when; in no order.
    pub fn holds(&self) -> impl Iterator<Item = (&str, UnixTime)> {
        self.holds.iter().map(|(subject, since)| (subject.as_ref(), *since))
    }

    pub(crate) fn hold(&mut self, subject_ref: &str, since: UnixTime) {
        self.holds.insert_mut(Arc::from(subject_ref), since);
    }

    pub(crate) fn release(&mut self, subject_ref: &str) {
        self.holds.remove_mut(subject_ref);
    }

    pub(crate) fn remove_human(&mut self, name: &str) {
        self.humans.remove_mut(name);
    }

    pub(crate) fn revoked_until(&self, what: &Revocation) -> Option<UnixTime> {
        let kind = match what {
            Revocation::Jti(_) => &self.revoked.jti,
            Revocation::Txn(_) => &self.revoked.txn,
            Revocation::Family(_) => &self.revoked.family,
        };
        kind.get(what.key()).copied()
    }

    /// `body` is the agent's row.
    pub(crate) fn put_agent(&mut self, agent: Agent, body: &str) {
        self.awake.fetch_add(1, Ordering::Relaxed);
        let id = agent.id.clone();
        self.put_row(id, Row { body: Arc::from(body), read: OnceLock::from(Some(Arc::new(agent))) });
    }

    /// An agent as its row has it.
    pub(crate) fn put_sleeping(&mut self, id: AgentId, body: &str) {
        self.put_row(id, Row { body: Arc::from(body), read: OnceLock::new() });
    }

    /// An agent of which nothing is left but its name, which is never used again.
    pub(crate) fn put_blank(&mut self, id: AgentId) {
        self.put_sleeping(id, BLANK);
    }

    fn put_row(&mut self, id: AgentId, row: Row) {
        if let Some(uri) = self.agents.get(&id).and_then(|before| before.endpoint(&id)) {
            match self.endpoints.get(uri.as_str()).copied() {
                Some(count) if count > 1 => self.endpoints.insert_mut(Arc::from(uri), count - 1),
                _ => {
                    self.endpoints.remove_mut(uri.as_str());
                }
            }
        }
        if let Some(uri) = row.endpoint(&id) {
            let count = self.endpoints.get(uri.as_str()).copied().unwrap_or(0);
            self.endpoints.insert_mut(Arc::from(uri), count + 1);
        }
        self.agents.insert_mut(id, Arc::new(row));
    }

    /// Puts agents to rest when many are awake, and says whether it did. Whoever holds one keeps it, and asking wakes it.
    pub(crate) fn rest(&mut self) -> bool {
        if self.awake.load(Ordering::Relaxed) <= AWAKE {
            return false;
        }
        let awake = self.agents.iter().filter(|(_, row)| row.read.get().is_some());
        let rows: Vec<(AgentId, Arc<str>)> = awake.map(|(id, row)| (id.clone(), Arc::clone(&row.body))).collect();
        for (id, body) in rows {
            self.agents.insert_mut(id, Arc::new(Row { body, read: OnceLock::new() }));
        }
        // Older snapshots go on counting for themselves.
        self.awake = Arc::default();
        true
    }

    pub(crate) fn put_human(&mut self, human: Human) {
        self.humans.insert_mut(Arc::from(human.name.as_str()), Arc::new(human));
    }

    pub(crate) fn revoke(&mut self, what: &Revocation, until: UnixTime) {
        self.revoked.kind_mut(what).insert_mut(Arc::from(what.key()), until);
    }

    /// Forgets a revocation whose last token has expired.
    pub(crate) fn forget(&mut self, what: &Revocation) {
        self.revoked.kind_mut(what).remove_mut(what.key());
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }
}

impl Row {
    /// What the row says. One that cannot be read is no agent: whatever is asked of it is refused.
    fn parse(&self, id: &AgentId) -> Option<Arc<Agent>> {
        match serde_json::from_str::<Agent>(&self.body) {
            Ok(agent) if agent.id == *id => Some(Arc::new(agent)),
            Ok(agent) => {
                tracing::error!(%id, "the row of this agent is about `{}`", agent.id);
                None
            }
            Err(error) => {
                tracing::error!(%id, %error, "the row of this agent cannot be read");
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
}

impl Revoked {
    fn kind_mut(&mut self, what: &Revocation) -> &mut Until {
        match what {
            Revocation::Jti(_) => &mut self.jti,
            Revocation::Txn(_) => &mut self.txn,
            Revocation::Family(_) => &mut self.family,
        }
    }
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

    fn snapshot(count: usize) -> Snapshot {
        let mut snapshot = Snapshot::empty(TenantId::main());
        for n in 0..count {
            let name = format!("a{n}");
            snapshot.put_sleeping(id(&name), &row(&name, "user:alice", None));
        }
        snapshot
    }

    #[test]
    fn a_row_that_cannot_be_read_or_is_of_another_is_no_agent_and_keeps_its_name() {
        let mut snapshot = snapshot(1);
        let whole = row("a1", "user:alice", None);
        for (name, body) in [("bad", "{"), ("empty", ""), ("other", &whole), ("cut", whole.strip_suffix('}').unwrap())] {
            snapshot.put_sleeping(id(name), body);
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
        assert!(!snapshot.rest(), "nobody is awake");
        assert_eq!(snapshot.agent(&id("a0")), Some(&held));
        assert_eq!(before.agent(&id("a1")), snapshot.agent(&id("a1")));
    }

    #[test]
    fn an_endpoint_is_known_as_long_as_some_agent_has_it() {
        let (mut snapshot, uri) = (snapshot(1), "https://a.example/mcp");
        assert!(!snapshot.is_endpoint(uri));
        for name in ["b", "c"] {
            snapshot.put_sleeping(id(name), &row(name, "user:alice", Some(uri)));
        }
        snapshot.put_sleeping(id("b"), &row("b", "user:alice", None));
        assert!(snapshot.is_endpoint(uri), "c has it still");
        assert!(!snapshot.is_endpoint("https://a.example/"));
        snapshot.put_sleeping(id("c"), &row("c", "user:alice", Some("https://c.example")));
        assert!(!snapshot.is_endpoint(uri) && snapshot.is_endpoint("https://c.example"));
    }

    #[test]
    fn an_owner_is_not_who_is_only_mentioned() {
        let mut snapshot = snapshot(3);
        snapshot.put_sleeping(id("b"), &row("b", "user:bob", Some("user:alice")));
        snapshot.put_sleeping(id("c"), &row("c", "user:alice2", None));
        assert_eq!((snapshot.owned_by("user:alice").len(), snapshot.owned_by("user:bob").len()), (3, 1));
        assert!(snapshot.owned_by("user:carol").is_empty());
        // Whose it is cannot be said any more; that it mentions alice can.
        snapshot.put_sleeping(id("d"), &row("d", "user:alice", None).replace("\"status\"", "\"statu"));
        snapshot.put_sleeping(id("e"), &row("e", "user:alice2", None).replace("\"status\"", "\"statu"));
        let unreadable: Vec<AgentId> = snapshot.owned_by("user:alice").into_iter().filter_map(Result::err).collect();
        assert_eq!(unreadable, [id("d")]);
    }
}
