//! `remit policy …`: are the policies valid, and what do they say to one question.

use crate::{
    args::{PolicyAction, PolicyCommand, PolicyTest},
    client::{AdminClient, Refused},
    config::{self, Loaded, Problem},
    server::reload,
    stdout::print_json,
};
use anyhow::{Context as _, Result, anyhow, bail};
use http::Method;
use remit_clock::Ambient;
use remit_insight::moment_ns;
use remit_model::{AgentId, Authority, PrincipalKind, Server, UnixTime};
use remit_policy::{Action, Bundle, Decision, Effect, Known, Party, Question, ToolFacts};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// Runs the command; `false` when the policies have a mistake, or deny.
///
/// # Errors
/// The configuration has problems, or the question cannot be put.
pub(crate) async fn run(command: &PolicyCommand, ambient: &Ambient) -> Result<bool> {
    match command {
        PolicyCommand::Check(args) => {
            let loaded = config::load(&args.config).map_err(|problems| config::report(&problems))?;
            Ok(check(&loaded, args.json))
        }
        PolicyCommand::Test(args) => test(args, ambient).await,
    }
}

/// What is wrong with the policies of a configuration, each with file and line.
///
/// # Errors
/// The mistakes.
pub(crate) fn read(loaded: &Loaded) -> Result<Bundle, Vec<Problem>> {
    let dir = loaded.at(&loaded.config.policies.dir);
    let files = reload::files(&dir)
        .map_err(|error| vec![Problem { file: dir.clone(), line: None, reason: format!("policies.dir: {error:#}") }])?;
    Bundle::parse_knowing(&files, &Known::default()).map_err(|errors| {
        let line = |line: usize| u64::try_from(line).ok().filter(|line| *line > 0);
        errors
            .into_iter()
            .map(|error| Problem { file: place(&dir, &error.file), line: line(error.line), reason: error.message })
            .collect()
    })
}

fn place(dir: &Path, file: &str) -> std::path::PathBuf {
    if file.is_empty() { dir.to_owned() } else { dir.join(file) }
}

fn check(loaded: &Loaded, as_json: bool) -> bool {
    let (policies, digest, problems) = match read(loaded) {
        Ok(bundle) => (bundle.len(), Some(bundle.digest().to_owned()), Vec::new()),
        Err(problems) => (0, None, problems),
    };
    if as_json {
        let list: Vec<_> = problems.iter().map(Problem::to_json).collect();
        outln!("{}", json!({"ok": problems.is_empty(), "policies": policies, "digest": digest, "problems": list}));
    } else if problems.is_empty() {
        outln!("{}: {policies} policies, fine", loaded.at(&loaded.config.policies.dir).display());
    }
    for problem in problems.iter().filter(|_| !as_json) {
        eprintln!("{problem}");
    }
    problems.is_empty()
}

async fn test(args: &PolicyTest, ambient: &Ambient) -> Result<bool> {
    let loaded = config::load(&args.admin.config.config).map_err(|problems| config::report(&problems))?;
    let bundle = read(&loaded).map_err(|problems| config::report(&problems))?;
    let question = question(args, &loaded, ambient).await?;
    let decision = bundle.decide(&question);
    if args.admin.config.json {
        print_json(&json!({"effect": decision.effect, "decision": decision, "question": question}))?;
    } else {
        print(&question, &decision);
    }
    Ok(decision.permits())
}

/// The question as the gateway or the token service would ask it. Authority is not part of it.
async fn question(args: &PolicyTest, loaded: &Loaded, ambient: &Ambient) -> Result<Question> {
    let issuer = loaded.config.server.public_url.clone();
    let now_ns = ambient.clock.now().wall_ns;
    let at = args.at.as_deref().map_or(Ok(now_ns), |text| moment_ns(text, now_ns)).map_err(|why| anyhow!("--at: {why}"))?;
    let mut parties = Vec::new();
    if let Some(human) = &args.human {
        parties.push(party(&issuer, PrincipalKind::Human, human)?);
    }
    for agent in &args.agents {
        parties.push(registered(args, party(&issuer, PrincipalKind::Agent, agent)?).await?);
    }
    let (Some(root), Some(principal)) = (parties.first().cloned(), parties.last().cloned()) else {
        bail!("say who acts: --agent NAME, --human NAME, or both");
    };
    let chain = parties.iter().skip(1).map(|party| party.sub.clone()).collect();
    let servers = loaded.servers();
    let server = args.server.as_deref().map(|name| named(&servers, name)).transpose()?;
    let (action, tool) = action(args, server, &issuer)?;
    let arguments = args.args.as_deref().map_or(Ok(Value::Null), serde_json::from_str).context("--args is not JSON")?;
    Ok(Question {
        tenant: loaded.tenant.clone(),
        issuer,
        principal,
        on_behalf_of: root,
        chain,
        txn: Some("policy-test".to_owned()),
        action,
        server: server.map(|server| server.id.clone()),
        tool,
        arguments,
        authority_digest: Authority::none().digest(),
        purpose: args.purpose.clone(),
        now: UnixTime(i64::try_from(at / 1_000_000_000)?),
        auth_age: args.human.is_some().then_some(args.auth_age),
        acr: args.acr.clone(),
        amr: args.amr.clone(),
        root_signed: args.root_signed && args.human.is_some(),
    })
}

fn named<'s>(servers: &'s [Server], name: &str) -> Result<&'s Server> {
    let known = || servers.iter().map(|server| server.id.as_str()).collect::<Vec<_>>().join(", ");
    servers
        .iter()
        .find(|server| server.id.as_str() == name)
        .with_context(|| format!("no server is called `{name}`; the configuration has: {}", known()))
}

fn action(args: &PolicyTest, server: Option<&Server>, issuer: &str) -> Result<(Action, Option<ToolFacts>)> {
    let tool = || -> Result<ToolFacts> {
        let (Some(server), Some(name)) = (server, &args.tool) else { bail!("say which tool: --server NAME --tool TOOL") };
        let rule = server.tools.get(name);
        if rule.is_none() && !server.tools.is_empty() {
            let known = server.tools.keys().cloned().collect::<Vec<_>>().join(", ");
            bail!("`{}` has no tool `{name}`; the configuration lists: {known}", server.id);
        }
        Ok(ToolFacts {
            name: name.clone(),
            class: rule.map(|rule| rule.class).unwrap_or_default(),
            classification: rule.and_then(|rule| rule.classification.clone()),
        })
    };
    Ok(match args.action {
        PolicyAction::Call => (Action::Call, Some(tool()?)),
        PolicyAction::ReadField => {
            let class = args.class.clone().context("say which class of fields: --class CLASS")?;
            (Action::ReadField { class }, Some(tool()?))
        }
        PolicyAction::List => {
            server.context("say which server: --server NAME")?;
            (Action::List, None)
        }
        PolicyAction::Delegate => {
            let to = args.to.as_deref().context("say to which agent: --to NAME")?;
            (Action::Delegate { to: party(issuer, PrincipalKind::Agent, to)?.sub, depth: 0, lifetime: args.lifetime }, None)
        }
    })
}

/// A party of this issuer, by its name or its subject.
fn party(issuer: &str, kind: PrincipalKind, name: &str) -> Result<Party> {
    let name = kind.name_in(name).unwrap_or(name);
    let name = AgentId::parse(name).map_err(|refusal| anyhow!("{}", refusal.reason))?;
    Ok(Party {
        kind,
        sub: kind.subject(name.as_str()),
        iss: issuer.to_owned(),
        owner: None,
        labels: BTreeMap::new(),
        binding: remit_model::Binding::default(),
    })
}

/// The agent with the owner and the labels that it has: as given, else as the running server knows it.
async fn registered(args: &PolicyTest, mut party: Party) -> Result<Party> {
    if args.owner.is_some() || !args.labels.is_empty() || args.offline {
        party.owner.clone_from(&args.owner);
        for label in &args.labels {
            let (name, value) = label.split_once('=').with_context(|| format!("`{label}` is not NAME=VALUE"))?;
            party.labels.insert(name.to_owned(), value.to_owned());
        }
        return Ok(party);
    }
    let name = PrincipalKind::Agent.name_in(&party.sub).unwrap_or_default();
    match AdminClient::of(&args.admin)?.send(Method::GET, &format!("agents/{name}"), None).await {
        Ok(answer) => {
            party.owner = answer.pointer("/agent/owner").and_then(Value::as_str).map(str::to_owned);
            let labels = answer.pointer("/agent/labels").cloned().unwrap_or_default();
            party.labels = serde_json::from_value(labels).unwrap_or_default();
        }
        Err(error) if error.is::<Refused>() => {
            return Err(error.context(format!("{}: register it, or say `--offline`", party.sub)));
        }
        Err(_) => eprintln!("The server does not answer: {} is asked about without its owner and labels.", party.sub),
    }
    Ok(party)
}

fn print(question: &Question, decision: &Decision) {
    let word = match decision.effect {
        Effect::Permit => "allow",
        Effect::Deny => "deny",
        Effect::StepUp => "deny until stepped up",
    };
    let chain = question.chain.iter().map(String::as_str);
    let who = std::iter::once(question.on_behalf_of.sub.as_str()).chain(chain).collect::<Vec<_>>().join(" → ");
    outln!("{word}: {} by {who} at {} (UTC)", question.action.as_str(), remit_insight::rfc_3339(question.now));
    for policy in &decision.policies {
        outln!("  {:?} {} ({})", policy.effect, policy.id, policy.source);
    }
    for error in &decision.errors {
        outln!("  cannot be evaluated: {} {}", error.id, error.message);
    }
    if !decision.permits() {
        outln!("  {}", decision.explanation);
        for advice in decision.advice() {
            outln!("  enough would be: {advice}");
        }
    }
    outln!("Only the policies were asked. The caller's authority must cover the call, too.");
}
