//! The second half of the story: everything that must not work, tried for real.

use super::{
    agents::{Mcp, Said, Tokens, request, summarizer_grants},
    tell::{Teller, Told},
    world::World,
};
use crate::client::{Granted, JWT, Narrower, ServerRefusal, TOKEN_EXCHANGE, narrow};
use anyhow::Result;
use http::Method;
use remit_model::{Authority, UnixTime};
use remit_token::{Delegation, statement};
use serde_json::{Value, json};

pub(super) async fn tell(tell: &mut Teller, world: &World, tokens: &Tokens) -> Result<()> {
    tell.chapter("What must not work: stolen and replayed proof");
    stolen(tell, world, tokens).await?;
    replayed(tell, world, tokens).await?;
    tell.chapter("What must not work: a sub-agent asking for more than its parent has");
    widened(tell, world, tokens).await?;
    tell.chapter("What must not work: calls beyond the authority");
    beyond(tell, world, tokens).await?;
    tell.chapter("What must not work: acting after being stopped");
    stopped(tell, world, tokens).await?;
    let (refunds, purges) = (world.ran("refund_create"), world.ran("admin_purge"));
    tell.step(
        "None of the refused calls reached the helpdesk",
        Told {
            shown: vec![format!("refund_create ran {refunds} time (the granted one), admin_purge {purges} times")],
            held: (refunds, purges) == (1, 0),
            result: "no effect".into(),
            record: None,
        },
    );
    Ok(())
}

async fn stolen(tell: &mut Teller, world: &World, tokens: &Tokens) -> Result<()> {
    let token = tokens.planner.access_token.as_str();
    let said = Mcp::of(&world.thief, token, &world.helpdesk).tool("tickets_read", json!({"id": "T-1001"})).await?;
    refused(tell, world, "A thief uses the planner's token with a key of its own", &["dpop_key_mismatch"], said.refusal())
        .await?;
    let (mut headers, body) = request("tools/call", json!({"name": "tickets_read", "arguments": {"id": "T-1001"}}));
    headers.push(("authorization".into(), format!("Bearer {token}")));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let said = Said::of(world.web.open(Method::POST, &world.helpdesk, &headers, body).await?).await?;
    refused(tell, world, "The thief sends it as a plain bearer token, without any proof", &["dpop_proof_missing"], said.refusal())
        .await
}

async fn replayed(tell: &mut Teller, world: &World, tokens: &Tokens) -> Result<()> {
    let token = tokens.planner.access_token.as_str();
    let proof = world.planner.proof(&Method::POST, &world.helpdesk, Some(token))?;
    let (mut headers, body) = request("tools/call", json!({"name": "tickets_read", "arguments": {"id": "T-1001"}}));
    headers.extend([("authorization".to_owned(), format!("DPoP {token}")), ("dpop".to_owned(), proof)]);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let first = Said::of(world.web.open(Method::POST, &world.helpdesk, &headers, body.clone()).await?).await?;
    let second = Said::of(world.web.open(Method::POST, &world.helpdesk, &headers, body).await?).await?;
    let mut refusal = second.refusal();
    if first.body.get("result").is_none() {
        refusal.code = format!("first use failed: {}", first.refusal());
    }
    refused(tell, world, "A captured request is sent a second time, proof and all", &["dpop_proof_replayed"], refusal).await
}

/// Four dimensions, each through the delegation statement the planner signed for less.
async fn widened(tell: &mut Teller, world: &World, tokens: &Tokens) -> Result<()> {
    let changed = |name: &str, value: Value| {
        let mut grants = json!([{"type": "tool_access", "locations": [world.helpdesk], "actions": ["tickets_read"],
            "arguments": {"/id": {"eq": "T-1001"}}, "fields": ["/id", "/subject", "/messages"]}]);
        for grant in grants.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            grant.insert(name.to_owned(), value.clone());
        }
        grants
    };
    let scope = changed("actions", json!(["tickets_read", "customers_read"]));
    let field = changed("fields", json!(["/id", "/subject", "/messages", "/customer/email"]));
    let argument = json!([refunds_up_to(5000, &world.helpdesk)]);
    let lifetime = changed("not_after", json!(tokens.planner.expires_at + 86_400));
    for (title, code, asked) in [
        ("a tool its parent was never given", "widens_scope", scope),
        ("refunds up to 5000 where its parent has 50", "widens_argument", argument),
        ("the e-mail address its parent cannot see", "widens_field", field),
        ("a day more than its parent's token lives", "widens_lifetime", lifetime),
    ] {
        let told = match ask(world, tokens, &asked).await? {
            Err(told) => told,
            Ok(_) => {
                ServerRefusal { code: "issued".into(), reason: "a wider token was issued".into(), ..ServerRefusal::default() }
            }
        };
        refused(tell, world, &format!("The summarizer asks for {title}"), &[code], told).await?;
    }
    Ok(())
}

fn refunds_up_to(amount: u32, helpdesk: &str) -> Value {
    json!({"type": "tool_access", "locations": [helpdesk], "actions": ["refund_create"], "arguments": {"/amount": {"max": amount}, "/currency": {"in": ["EUR"]}}, "limits": {"calls": 3}})
}

/// The sub-agent's own request (form B): it presents the planner's signed statement and asks for `asked`.
async fn ask(world: &World, tokens: &Tokens, asked: &Value) -> Result<std::result::Result<Granted, ServerRefusal>> {
    let held = remit_token::inspect_unverified(&tokens.planner.access_token).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let parent = held.claims.get("jti").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut given = summarizer_grants(&world.helpdesk);
    if let Some(grants) = given.as_array_mut() {
        grants.push(refunds_up_to(50, &world.helpdesk));
    }
    let given = Authority::parse(&given).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let delegation = Delegation {
        delegate: "agent:summarizer".into(),
        jkt: world.summarizer.key().public().thumbprint().to_owned(),
        parent,
        authority: given,
        expires: UnixTime(tokens.planner.expires_at - 5),
        purpose: Some("summarise one ticket".into()),
    };
    let now = world.ambient.clock.unix();
    let signed = statement::create(
        world.planner.key(),
        "agent:planner",
        &world.issuer,
        &world.ambient.entropy.token(16),
        now,
        &delegation,
    );
    let signed = signed.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let details = asked.to_string();
    let fields = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", signed.as_str()),
        ("subject_token_type", JWT),
        ("resource", &world.helpdesk),
        ("authorization_details", &details),
    ];
    world.summarizer.token(&fields).await
}

async fn beyond(tell: &mut Teller, world: &World, tokens: &Tokens) -> Result<()> {
    let planner = Mcp::of(&world.planner, &tokens.planner.access_token, &world.helpdesk);
    let asked =
        json!({"ticket_id": "T-1001", "amount": 500, "currency": "EUR", "reason": "generous", "idempotency_key": "demo-2"});
    let said = planner.tool("refund_create", asked).await?;
    refused(tell, world, "The planner refunds 500 EUR where it was granted 50", &["argument_not_granted"], said.refusal())
        .await?;
    let said = Mcp::of(&world.planner, &tokens.planner.access_token, &world.payroll)
        .tool("tickets_read", json!({"id": "T-1001"}))
        .await?;
    refused(tell, world, "The helpdesk token is presented at the payroll server", &["token_audience_wrong"], said.refusal())
        .await?;
    let said = planner.tool("admin_purge", json!({"confirm": "purge"})).await?;
    refused(tell, world, "The planner calls a tool that its authority does not name", &["tool_not_granted"], said.refusal())
        .await?;
    let to = Narrower { resource: &world.helpdesk, scope: Some("helpdesk:tickets_list"), ..Narrower::default() };
    let wider = narrow(&world.summarizer, &tokens.summarizer.access_token, None, &to).await?;
    let told = wider.err().unwrap_or_else(|| ServerRefusal { code: "issued".into(), ..ServerRefusal::default() });
    refused(tell, world, "The summarizer tries to exchange its own token for another tool", &["authority_empty"], told).await
}

async fn stopped(tell: &mut Teller, world: &World, tokens: &Tokens) -> Result<()> {
    let answer = world.admin.send(Method::POST, "agents/planner/quarantine", None).await?;
    let record = world.record_number(answer.get("record").and_then(Value::as_str)).await?;
    tell.step(
        "The operator quarantines the planner; its tokens still have minutes to live",
        Told {
            shown: vec![format!("agent:planner is {}", answer.pointer("/agent/status").unwrap_or(&Value::Null))],
            held: answer.pointer("/agent/status").is_some_and(|value| value == "quarantined"),
            result: "quarantined".into(),
            record,
        },
    );
    let said = Mcp::of(&world.planner, &tokens.planner.access_token, &world.helpdesk)
        .tool("tickets_read", json!({"id": "T-1001"}))
        .await?;
    refused(tell, world, "The planner calls with its unexpired token", &["agent_quarantined"], said.refusal()).await?;
    let said = Mcp::of(&world.summarizer, &tokens.summarizer.access_token, &world.helpdesk)
        .tool("tickets_read", json!({"id": "T-1001"}))
        .await?;
    refused(tell, world, "Its sub-agent, itself in good standing, falls with it", &["agent_quarantined"], said.refusal()).await
}

/// Tells a refusal: it must have this code, a reason, and a record.
async fn refused(tell: &mut Teller, world: &World, title: &str, codes: &[&str], told: ServerRefusal) -> Result<()> {
    let record = world.record_number(told.record.as_deref()).await?;
    let held = codes.contains(&told.code.as_str()) && !told.reason.is_empty() && record.is_some();
    let mut shown = vec![format!("{} {}: {}", told.status, told.code, told.reason)];
    if !held {
        shown.push(format!("expected {}", codes.join(" or ")));
    }
    tell.step(title, Told { shown, held, result: told.code, record });
    Ok(())
}
