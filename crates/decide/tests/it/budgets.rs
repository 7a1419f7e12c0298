//! Budgets: a limit holds over everyone who holds a part of it.

use crate::registry::{ISSUER, LOCATION, NOW, Registry, named};
use remit_decide::{
    Presented, Principals,
    active::TokenIds,
    budget::{self, Ancestry},
    effective,
};
use remit_model::{Authority, Call, Chain};
use remit_store::StoredToken;
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

fn limited(calls: u64) -> Authority {
    let grant = json!([{"type": "tool_access", "locations": [LOCATION], "actions": ["read"], "limits": {"calls": calls}}]);
    Authority::parse(&grant).unwrap()
}

#[tokio::test]
async fn a_call_draws_on_its_own_grant_and_on_the_token_above_it() {
    let registry = Registry::new().await;
    let snapshot = registry.snapshot();
    let world = Principals::new(ISSUER, &snapshot);
    let (planner, held) = (named("agent:planner"), limited(2));
    let ancestors = ["parent".to_owned()];
    let token = TokenIds { jti: "own", ancestors: &ancestors, txn: "t", keys: &[], criteria: &[], issued: NOW };
    let who = Presented {
        root: &planner,
        actors: &[],
        held: Some(&held),
        location: Some(LOCATION),
        token: Some(token),
        unbound: false,
    };
    let effective = effective::effective(world, &who).unwrap();
    let arguments = json!({"amount": 1});
    let call = Call { location: LOCATION, action: "read", arguments: &arguments, now: NOW };
    let permit = effective.authority.permits(&call).unwrap();
    assert_eq!(permit.charges.len(), 1);

    let parent = StoredToken {
        jti: "parent".into(),
        chain: Chain::new("t".into(), planner.clone()),
        authority: limited(5),
        parent: None,
        client: "agent:planner".into(),
        jkt: None,
        audience: LOCATION.into(),
        issued: NOW,
        expires: NOW.plus(600),
        family: None,
        keys: Vec::new(),
    };
    let ancestry = Ancestry { own: None, above: vec![Arc::new(parent)] };
    let sources = budget::sources(world, &who, &effective, &ancestry, NOW);
    let draws = budget::draws(&effective, &sources, &call, &permit, &BTreeSet::new()).unwrap();
    let limits: BTreeSet<_> = draws.iter().map(|draw| draw.budget.limit).collect();
    assert_eq!(limits.len(), 2, "its own limit and the one above: {draws:?}");
    let spent = draws.iter().find(|draw| draw.from.0 != budget::OWN).map(|draw| draw.from.clone()).unwrap();
    let unpaid = budget::draws(&effective, &sources, &call, &permit, &BTreeSet::from([spent])).unwrap_err();
    assert_eq!(unpaid, permit.charges[0].grant, "nothing above can pay any more");
}
