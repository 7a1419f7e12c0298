//! How a conversation begins: `initialize` in the older era, `server/discover` in the stateless one.

use crate::mcp::{
    envelope::Request,
    revision::{self, ClientProfile, Revision},
    upstream::message::About,
};
use remit_model::{
    refusal::{Code, Refusal},
    resource::Server,
};
use serde_json::{Map, Value, json};

/// Most bytes of declarations kept for a session.
const CAPABILITIES_LIMIT: usize = 16 * 1024;

/// What a client asks for with `initialize`.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) revision: Revision,
    pub(crate) client: ClientProfile,
}

/// Reads `initialize`: a version we do not speak gets our latest of that era, as the specification has it.
pub(crate) fn hello(request: &Request) -> Result<Hello, Refusal> {
    let version = request.params.get("protocolVersion").and_then(Value::as_str);
    let version = version.ok_or_else(|| Refusal::new(Code::RequestMalformed, "`params.protocolVersion` must be a string"))?;
    let revision = Revision::parse(version).filter(|revision| !revision.is_modern()).unwrap_or(Revision::LEGACY_LATEST);
    let mut capabilities = request.params.get("capabilities").cloned().unwrap_or_default();
    if let Value::Object(members) = &mut capabilities {
        // Only what the gateway can carry: questions of the upstream to the client.
        members.retain(|name, _| matches!(name.as_str(), "roots" | "sampling" | "elicitation"));
    }
    if capabilities.to_string().len() > CAPABILITIES_LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("`params.capabilities` has at most {CAPABILITIES_LIMIT} bytes")));
    }
    Ok(Hello { revision, client: ClientProfile { capabilities, log_level: None } })
}

pub(crate) fn welcome(about: &About, server: &Server, revision: Revision) -> Value {
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": capabilities(about),
        "serverInfo": server_info(about, server),
    });
    instructed(result, about)
}

pub(crate) fn discovered(about: &About, server: &Server) -> Value {
    let result = json!({
        "resultType": "complete",
        "supportedVersions": revision::supported(),
        "capabilities": capabilities(about),
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": server_info(about, server)},
    });
    instructed(result, about)
}

fn instructed(mut result: Value, about: &About) -> Value {
    if let (Value::Object(members), Some(instructions)) = (&mut result, &about.instructions) {
        members.insert("instructions".to_owned(), instructions.clone());
    }
    result
}

/// What the upstream offers, less what does not cross the gateway.
fn capabilities(about: &About) -> Value {
    let known = ["tools", "resources", "prompts", "completions", "logging"];
    let offered = about.capabilities.as_object().into_iter().flatten();
    Value::Object(
        offered
            .filter(|(name, _)| known.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Map<_, _>>(),
    )
}

fn server_info(about: &About, server: &Server) -> Value {
    let complete = about.server_info.get("name").is_some_and(Value::is_string)
        && about.server_info.get("version").is_some_and(Value::is_string);
    if complete { about.server_info.clone() } else { json!({"name": server.id, "title": server.title, "version": "0"}) }
}
