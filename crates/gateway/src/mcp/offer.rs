//! What an upstream offers, for the operator who describes its tools: asked without a caller and without the gateway.

use crate::{
    mcp::{
        relay,
        revision::ClientProfile,
        upstream::{
            link::Link,
            message::{ExchangeEvent, Outgoing},
            pool::{LinkKey, Pool},
            process_group::ProcessGroups,
        },
    },
    settings::{Route, Settings},
};
use remit_model::refusal::{Code, Refusal};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// Most pages of a list that are asked for.
const PAGES: usize = 100;
/// How long a stdio server may take to end afterwards.
const CLOSE_WAIT: Duration = Duration::from_secs(6);

/// Asks an upstream for its tools, as it states them.
///
/// # Errors
/// `upstream_unavailable`, `upstream_malformed`, `rate_limited`.
pub async fn tools(route: &Route, settings: Settings) -> Result<Vec<Value>, Refusal> {
    let name = route.server.id.to_string();
    let wait = settings.call_timeout;
    let groups = ProcessGroups::new(settings.guard.clone());
    let pool = Pool::new(route, Arc::new(settings), groups.clone());
    let asked = async {
        let (_, link) = pool.link(LinkKey::Session("tools".to_owned()), &ClientProfile::silent(), 0).await?;
        pages(&link, &name).await
    };
    let late = || Refusal::new(Code::UpstreamUnavailable, "the upstream server did not answer in time");
    let tools = tokio::time::timeout(wait, asked).await.unwrap_or_else(|_| Err(late()));
    pool.close_all();
    groups.all_ended(CLOSE_WAIT).await;
    tools
}

async fn pages(link: &Arc<Link>, server: &str) -> Result<Vec<Value>, Refusal> {
    let mut tools = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let params: Map<String, Value> = cursor.map(|cursor| ("cursor".to_owned(), cursor)).into_iter().collect();
        let mut page = page(link, params, server).await?;
        match page.get_mut("tools").map(Value::take) {
            Some(Value::Array(more)) => tools.extend(more),
            _ => return Err(Refusal::new(Code::UpstreamMalformed, "the upstream server's list has no `tools`")),
        }
        cursor = page.get("nextCursor").filter(|cursor| cursor.is_string()).cloned();
        if cursor.is_none() {
            return Ok(tools);
        }
    }
    Err(Refusal::new(Code::UpstreamMalformed, format!("the upstream server's list has more than {PAGES} pages")))
}

async fn page(link: &Arc<Link>, params: Map<String, Value>, server: &str) -> Result<Value, Refusal> {
    let mut exchange = link.send(Outgoing::bare("tools/list", params)).await.map_err(|failure| failure.refusal(server))?;
    loop {
        match exchange.next().await {
            ExchangeEvent::Answer(Ok(result)) => return Ok(result),
            ExchangeEvent::Answer(Err(error)) => {
                let reason = format!("the upstream server refused `tools/list`: {}", json!(error.message));
                return Err(Refusal::new(Code::UpstreamMalformed, reason));
            }
            ExchangeEvent::Failed(failure) => return Err(failure.refusal(server)),
            ExchangeEvent::Message(message) => relay::decline(link, message).await,
        }
    }
}
