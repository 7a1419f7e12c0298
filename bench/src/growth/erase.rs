//! Forgetting one person, however much was recorded.

use crate::{
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::Result;
use remit_ledger::{
    record::{Draft, Party, PartyKind, ProducerKind, RecordType},
    vault::Subject,
};
use remit_model::{Human, HumanStatus, ToolClass, authority::Authority, id::TenantId};
use remit_store::{Batch, Change, Store};
use serde_json::json;

const ISSUER: &str = "https://remit.bench";
/// Records about the person who is forgotten.
const ABOUT: usize = 1_000;

pub(super) async fn run(store: &Store, size: u64, table: &mut Table) -> Result<()> {
    let human = Human {
        name: "bob".to_owned(),
        display_name: "Bob".to_owned(),
        status: HumanStatus::Active,
        password_hash: None,
        entitlements: Authority::none(),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    };
    store.apply(Batch::new(TenantId::main()).change(Change::PutHuman(human))).await?;
    let about = (0..ABOUT).fold(Batch::new(TenantId::main()), |batch, number| {
        let draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
            .action("customers_read", ToolClass::Read)
            .chain(vec![Party::new(PartyKind::Human, ISSUER, "user:bob")])
            .request(json!({"number": number}));
        batch.record(draft)
    });
    store.apply(about).await?;
    let asks = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::Redaction)
        .action("ledger.erase", ToolClass::Admin)
        .chain(vec![Party::new(PartyKind::Service, ISSUER, "admin:bootstrap")])
        .ext("redaction", json!({"legal_basis": "GDPR Art. 17"}));
    let start = rounds::now();
    store.erase(&Subject::Principal { iss: ISSUER.to_owned(), sub: "user:bob".to_owned() }, asks).await?;
    let mut took = Figures::default();
    took.push(start.elapsed().as_secs_f64());
    table.alone(&format!("erase one person with {ABOUT} records among {size}"), "s", &took, Some(Goal::AtMost(60.0)));
    Ok(())
}
