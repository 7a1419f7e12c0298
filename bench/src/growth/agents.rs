//! Decisions among the policies of few and of many agents, in process.

use crate::{
    Scale,
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::{Result, anyhow, ensure};
use remit_model::{
    id::{PrincipalKind, ServerId, TenantId},
    resource::ToolClass,
    time::UnixTime,
};
use remit_policy::{Action, Bundle, Party, Question, ToolFacts};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Policies of one file.
const FILE: usize = 2_000;
/// Agents that ask in turn: as many beside few others as beside many.
const ASKING: usize = 10;
/// Decisions of a round.
const DECISIONS: usize = 4_000;

/// The name of an agent.
pub(super) fn name(number: usize) -> String {
    format!("w{number:06}")
}

/// One policy for each of so many agents, in files, beside those that `remit init` writes.
pub(super) fn policies(agents: usize, server: &str) -> Vec<(String, String)> {
    let starter = Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let numbers: Vec<usize> = (0..agents).collect();
    let own = numbers.chunks(FILE).enumerate().map(|(file, numbers)| {
        let one = |number: &usize| {
            let name = name(*number);
            format!("permit (principal == Agent::\"{name}\", action, resource in Server::\"{server}\");\n")
        };
        (format!("agents-{file:04}.cedar"), numbers.iter().map(one).collect::<String>())
    });
    starter.chain(own).collect()
}

pub(super) fn run(scale: &Scale, table: &mut Table) -> Result<()> {
    let (Some(few), Some(many)) = (scale.agents.first(), scale.agents.last()) else { return Ok(()) };
    let read = |agents: usize| Bundle::parse(&policies(agents, "helpdesk")).map_err(|errors| anyhow!("{errors:?}"));
    let small = read(*few)?;
    let start = rounds::now();
    let large = read(*many)?;
    let mut took = Figures::default();
    took.push(start.elapsed().as_secs_f64());
    table.alone(&format!("{many} policies: parsed and validated"), "s", &took, None);
    let (known, mut files, mut took) = (large.to_known(), policies(*many, "helpdesk"), Figures::default());
    if let Some((_, text)) = files.last_mut() {
        text.push('\n');
    }
    for _ in 0..scale.rounds {
        let start = rounds::now();
        let again = Bundle::parse_knowing(&files, &known).map_err(|errors| anyhow!("{errors:?}"))?;
        took.push(start.elapsed().as_secs_f64());
        ensure!(again.checked() == 1, "{} files were validated", again.checked());
    }
    table.alone(&format!("{many} policies: reloaded after one file of {FILE} changed"), "s", &took, None);
    decisions(scale, table, (&small, *few), (&large, *many))
}

fn decisions(scale: &Scale, table: &mut Table, few: (&Bundle, usize), many: (&Bundle, usize)) -> Result<()> {
    let (mut small, mut large, mut cold) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..scale.rounds {
        small.push(decide(few.0, 0, ASKING)?);
        large.push(decide(many.0, many.1 - ASKING, ASKING)?);
        cold.push(decide(many.0, 0, many.1)?);
    }
    let name = format!("decision of {ASKING} agents in turn: {} registered against {}", many.1, few.1);
    table.against(&name, "µs", &large, &small, Some(Goal::AtMost(1.10)));
    table.alone(&format!("decision of all {} agents in turn", many.1), "µs", &cold, None);
    let considered = |bundle: &Bundle, number| {
        let mut figure = Figures::default();
        figure.push(f64::from(u32::try_from(bundle.decide(&question(number)?).considered)?));
        anyhow::Ok(figure)
    };
    table.against(
        &format!("policies considered: {} registered against {}", many.1, few.1),
        "policies",
        &considered(many.0, many.1 - 1)?,
        &considered(few.0, 0)?,
        Some(Goal::AtMost(1.0)),
    );
    Ok(())
}

/// Microseconds of a decision, over `count` agents in turn from the one of this number.
fn decide(bundle: &Bundle, first: usize, count: usize) -> Result<f64> {
    let questions: Vec<Question> =
        (0..DECISIONS.min(count)).map(|at| question(first + at * (count / DECISIONS.min(count)))).collect::<Result<_>>()?;
    let start = rounds::now();
    for question in questions.iter().cycle().take(DECISIONS) {
        ensure!(bundle.decide(question).permits(), "refused");
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    Ok(start.elapsed().as_secs_f64() * 1e6 / DECISIONS as f64)
}

/// An agent reads a ticket for its person.
fn question(number: usize) -> Result<Question> {
    let issuer = "https://remit.bench".to_owned();
    let party = |kind, sub: String, owner| Party {
        kind,
        sub,
        iss: issuer.clone(),
        owner,
        labels: BTreeMap::new(),
        binding: remit_model::Binding::default(),
    };
    let (agent, alice) = (format!("agent:{}", name(number)), "user:alice".to_owned());
    Ok(Question {
        tenant: TenantId::main(),
        issuer: issuer.clone(),
        principal: party(PrincipalKind::Agent, agent.clone(), Some(alice.clone())),
        on_behalf_of: party(PrincipalKind::Human, alice, None),
        chain: vec![agent],
        txn: Some("txn-1".to_owned()),
        action: Action::Call,
        server: Some(ServerId::parse("helpdesk").map_err(|refusal| anyhow!("{refusal}"))?),
        tool: Some(ToolFacts { name: "tickets_read".to_owned(), class: ToolClass::Read, classification: None }),
        arguments: arguments(),
        authority_digest: "sha-256:00".to_owned(),
        purpose: None,
        now: UnixTime(1_795_321_800),
        auth_age: Some(60),
        acr: None,
        amr: Vec::new(),
        root_signed: false,
    })
}

fn arguments() -> Value {
    json!({ "id": "T-1001" })
}
