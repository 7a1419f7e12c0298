//! A registry to decide in: agents and people of every status.

use remit_decide::{Ask, Circumstances, Presented, What};
use remit_model::{
    Agent, AgentStatus, Authentication, Authority, Human, HumanStatus, Principal, Server, ServerId, ToolClass, UnixTime,
    resource::ToolRule,
};
use remit_policy::Bundle;
use remit_store::{Change, Snapshot, Store};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const LOCATION: &str = "https://as.example/mcp/helpdesk";
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);
/// How Alice signed in.
pub(crate) static SIGNED_IN: Authentication = Authentication { time: NOW, acr: None, amr: Vec::new() };

/// Every agent with its status and what it may have at most.
pub(crate) fn agents() -> Vec<(&'static str, AgentStatus, Authority)> {
    vec![
        ("planner", AgentStatus::Active, calls(&["read", "refund"], 100)),
        ("scribe", AgentStatus::Active, calls(&["read"], 50)),
        ("clerk", AgentStatus::Active, calls(&["refund"], 20)),
        ("stopped", AgentStatus::Quarantined, calls(&["read", "refund"], 100)),
        ("gone", AgentStatus::Retired, calls(&["read", "refund"], 100)),
    ]
}

/// Every person with a status and entitlements.
pub(crate) fn humans() -> Vec<(&'static str, HumanStatus, Authority)> {
    vec![
        ("alice", HumanStatus::Active, calls(&["read", "refund"], 200)),
        ("bob", HumanStatus::Active, calls(&["read"], 200)),
        ("carol", HumanStatus::Disabled, calls(&["read", "refund"], 200)),
    ]
}

/// Authority over some actions of the helpdesk, with an amount of at most `most`.
pub(crate) fn calls(actions: &[&str], most: i64) -> Authority {
    let grant =
        json!([{"type": "tool_access", "locations": [LOCATION], "actions": actions, "arguments": {"/amount": {"max": most}}}]);
    Authority::parse(&grant).unwrap()
}

/// A store with that registry; its folder lives as long as it does.
pub(crate) struct Registry {
    pub(crate) store: Store,
    _folder: tempfile::TempDir,
}

impl Registry {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = remit_testkit::quiet_config(folder.path(), remit_testkit::clock());
        let registry = Self { store: Store::open(config).unwrap(), _folder: folder };
        for (name, status, ceiling) in agents() {
            registry.put(Change::PutAgent(agent(name, status, ceiling))).await;
        }
        for (name, status, entitlements) in humans() {
            let human = Human { status, ..remit_testkit::human(name, entitlements) };
            registry.put(Change::PutHuman(human)).await;
        }
        registry
    }

    pub(crate) async fn put(&self, change: Change) {
        remit_testkit::change(&self.store, change).await;
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }
}

pub(crate) fn agent(name: &str, status: AgentStatus, ceiling: Authority) -> Agent {
    let team = if name == "clerk" { "money" } else { "support" };
    let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
    Agent { status, labels, ..remit_testkit::agent(name, ceiling) }
}

pub(crate) fn named(sub: &str) -> Principal {
    Principal::local(ISSUER, sub)
}

pub(crate) fn helpdesk(tools: &[(&str, ToolRule)]) -> Server {
    Server {
        id: ServerId::parse("helpdesk").unwrap(),
        title: "Helpdesk".to_owned(),
        location: LOCATION.to_owned(),
        tools: tools.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect(),
    }
}

pub(crate) fn policies(text: &str) -> Bundle {
    Bundle::parse(&[("p.cedar".to_owned(), text.to_owned())]).unwrap()
}

/// `actors` of `root` call an action with this authority.
pub(crate) fn call<'a>(
    root: &'a Principal,
    actors: &'a [Principal],
    held: &'a Authority,
    (server, action, arguments): (&'a Server, &'a str, &'a Value),
) -> Ask<'a> {
    Ask {
        who: Presented { root, actors, held: Some(held), location: Some(LOCATION), token: None, unbound: false },
        circumstances: Circumstances { txn: Some("t-1"), purpose: None, authentication: Some(&SIGNED_IN), root_signed: false },
        what: What::Call { server, action, class: ToolClass::Read, arguments },
        known: None,
        unconditional: false,
    }
}
