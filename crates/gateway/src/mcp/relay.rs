//! Relays what an upstream sends before its answer: notifications, and its own requests to the client.
//!
//! SPEC: MG-11, MG-16. The client is asked only what it declared that it can answer, under a request id of the gateway.

use crate::{
    mcp::{
        act,
        envelope::{Incoming, Request, Response, RpcError},
        mcp_call::McpCall,
        passing, question,
        revision::ClientProfile,
        upstream::link::Link,
    },
    road::{rejection::Rejection, reply::ReplyStream},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Passes one message on to the client, as far as it may see it.
pub(crate) async fn relay(
    call: &McpCall,
    link: &Arc<Link>,
    message: Incoming,
    restricted: bool,
    reply: &mut ReplyStream,
) -> Result<(), Rejection> {
    if let Some(value) = translate(call, link, message, restricted, true).await {
        reply.event(&value).await.map_err(|_| Rejection::Gone)?;
    }
    Ok(())
}

/// What the client gets to read of an upstream's message; questions it cannot be asked are answered here. `restricted`: the
/// caller sees only some fields, so nothing that cannot be masked passes.
pub(crate) async fn translate(
    call: &McpCall,
    link: &Arc<Link>,
    message: Incoming,
    restricted: bool,
    in_call: bool,
) -> Option<Value> {
    match message {
        Incoming::Request(request) => question(call, link, request, restricted).await,
        Incoming::Notification(note) if note.method == "notifications/cancelled" => None,
        Incoming::Notification(note) if note.method == "notifications/message" && !wants_log(call) => None,
        Incoming::Notification(note) if note.method == "notifications/progress" && !in_call => None,
        note @ Incoming::Notification(_) => match passing::passing(note, restricted) {
            Some(Incoming::Notification(note)) => Some(note.to_value()),
            _ => None,
        },
    }
}

/// SPEC: in the stateless era log messages come only to a request that asked for a level.
fn wants_log(call: &McpCall) -> bool {
    !call.revision.is_modern() || call.client.log_level.is_some()
}

/// A request of the upstream to the client: passed on under an id of ours when the client said it can answer it.
async fn question(call: &McpCall, link: &Arc<Link>, request: Request, restricted: bool) -> Option<Value> {
    let session = call.session.as_ref().filter(|session| !restricted && can_answer(&session.client, &request));
    if let Some(id) = session.and_then(|session| session.ask(&request.id, link)) {
        return Some(Request { id: json!(id), ..request }.to_value());
    }
    decline(link, Incoming::Request(request)).await;
    None
}

fn can_answer(client: &ClientProfile, request: &Request) -> bool {
    let params = Value::Object(request.params.clone());
    question::can_answer(client, &request.method, Some(&params))
}

/// The question of an upstream as a stateless client is asked it, if it can be. Then the call waits for the answer.
pub(crate) fn input_request(call: &McpCall, request: &Request, restricted: bool) -> Option<Value> {
    let asked =
        call.revision.is_modern() && !restricted && act::may_ask(&call.request.method) && can_answer(&call.client, request);
    asked.then(|| question::input_request(request)).flatten()
}

/// Answers what an upstream asks when there is no client to ask.
pub(crate) async fn decline(link: &Arc<Link>, message: Incoming) {
    let Incoming::Request(request) = message else { return };
    let outcome = match request.method.as_str() {
        "ping" => Ok(json!({})),
        _ => Err(RpcError::new(-32601, "the caller cannot be asked this")),
    };
    let _ = link.respond(&Response { id: request.id, outcome }).await;
}
