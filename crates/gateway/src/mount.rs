//! One MCP server behind the gateway: its registration, the links to its upstream, and what its tool lists declared.

use crate::{
    mcp::{
        headers::{self, Declared},
        list::List,
        tool_listing::Finding,
        upstream::{pool::Pool, process_group::ProcessGroups},
    },
    road::record::Described,
    settings::{Captures, Denials, Route, Settings},
};
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, Protocol, RecordType, Tool};
use remit_model::{TenantId, ToolClass, json, resource::Server};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// Tools of one server whose declarations are remembered.
const DECLARED_LIMIT: usize = 4096;
/// Largest input schema that is remembered, and most of them together, in bytes of their JSON text.
const SCHEMA_LIMIT: usize = 64 << 10;
const SCHEMAS_LIMIT: usize = 8 << 20;

/// Input schemas by tool, with their sizes.
#[derive(Debug, Default)]
struct Schemas {
    tools: HashMap<String, (Arc<Value>, usize)>,
    bytes: usize,
}

impl Schemas {
    fn put(&mut self, tool: &str, schema: Option<&Value>) {
        if let Some((_, bytes)) = self.tools.remove(tool) {
            self.bytes -= bytes;
        }
        let Some(schema) = schema else { return };
        let bytes = schema.to_string().len();
        if bytes <= SCHEMA_LIMIT && self.bytes + bytes <= SCHEMAS_LIMIT && self.tools.len() < DECLARED_LIMIT {
            self.bytes += bytes;
            self.tools.insert(tool.to_owned(), (Arc::new(schema.clone()), bytes));
        }
    }
}

/// One server and the links to its upstream.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) server: Arc<Server>,
    pub(crate) pool: Pool,
    pub(crate) captures: Captures,
    pub(crate) reads_in_outage: bool,
    pub(crate) denials: Denials,
    pub(crate) list_requestable: bool,
    declared: Mutex<HashMap<String, Arc<Declared>>>,
    described: Mutex<HashMap<String, Described>>,
    schemas: Mutex<Schemas>,
    /// Contradictions that were found, each with the digest of the tool's definition that holds it.
    findings: Mutex<BTreeSet<(Finding, Option<String>)>>,
    /// Those that are not recorded yet.
    unrecorded: Mutex<Vec<Draft>>,
}

impl Mount {
    pub(crate) fn new(route: Route, settings: &Arc<Settings>, groups: &ProcessGroups) -> Self {
        let pool = Pool::new(&route, Arc::clone(settings), groups.clone());
        let Route { server, captures, reads_in_outage, denials, list_requestable, .. } = route;
        Self {
            server,
            pool,
            captures,
            reads_in_outage,
            denials,
            list_requestable,
            declared: Mutex::default(),
            described: Mutex::default(),
            schemas: Mutex::default(),
            findings: Mutex::default(),
            unrecorded: Mutex::default(),
        }
    }

    /// The parameter headers a tool declares, as far as its list was seen.
    pub(crate) fn declared(&self, tool: &str) -> Option<Arc<Declared>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }

    /// What the upstream last said a tool is, as far as its list was seen.
    pub(crate) fn described(&self, tool: &str) -> Option<Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }

    /// A tool's input schema, as far as its list was seen.
    pub(crate) fn input_schema(&self, tool: &str) -> Option<Arc<Value>> {
        let schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.tools.get(tool).map(|(schema, _)| Arc::clone(schema))
    }

    /// Notes where the upstream contradicts the operator: each contradiction once for each definition of the tool.
    pub(crate) fn found(&self, findings: Vec<Finding>, tenant: &TenantId) {
        for finding in findings {
            let digest = self.described(&finding.tool).map(|(digest, _)| digest);
            let mut known = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < DECLARED_LIMIT && known.insert((finding.clone(), digest.clone())) {
                drop(known);
                let Finding { tool, hint, class, said } = &finding;
                let server = self.server.id.as_str();
                tracing::warn!(server, tool, hint, said, class, "the upstream's hint contradicts the tool's class");
                let draft = self.finding(&finding, digest, tenant);
                self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).push(draft);
            }
        }
    }

    fn finding(&self, finding: &Finding, digest: Option<String>, tenant: &TenantId) -> Draft {
        let Finding { tool, hint, class, said } = finding;
        let mut draft = Draft::new(tenant.clone(), ProducerKind::Gateway, RecordType::Reconcile)
            .protocol(Protocol::Mcp)
            .action("tool.annotations", ToolClass::Read)
            .outcome(OutcomeStatus::Success, EffectConfirmed::None)
            .ext("finding", json!({"kind": "annotations", "hint": hint, "upstream": said, "class": class}));
        let server_id = self.server.id.to_string();
        draft.tool = Some(Tool { server_id, name: tool.clone(), descriptor_digest: digest, ..Tool::default() });
        draft
    }

    /// What was found since the last time, as records that are still to be written.
    pub(crate) fn unrecorded(&self) -> Vec<Draft> {
        std::mem::take(&mut *self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Learns declarations from a list on its way through.
    pub(crate) fn learn(&self, list: List, result: &Value) {
        let Some(tools) = result.get("tools").and_then(Value::as_array).filter(|_| list == List::Tools) else { return };
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in tools {
            let Some(name) = tool.get("name").and_then(Value::as_str) else { continue };
            if described.len() < DECLARED_LIMIT || described.contains_key(name) {
                let digest = |value: &Value| json::sha256_label(&json::canonical(value));
                described.insert(name.to_owned(), (digest(tool), tool.get("inputSchema").map(digest)));
            }
            schemas.put(name, tool.get("inputSchema"));
            let found = tool.get("inputSchema").map(headers::declared_params).unwrap_or_default();
            if found.is_empty() {
                declared.remove(name);
            } else if declared.len() < DECLARED_LIMIT || declared.contains_key(name) {
                declared.insert(name.to_owned(), Arc::new(found));
            }
        }
    }
}
