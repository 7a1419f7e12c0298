//! The desk's MCP tools: what they are called, what they take and give, and what each does to the world.

use crate::{
    Desk,
    data::{CURRENCIES, RefundOrder, TicketChange, TicketFilter},
    error::DeskError,
    progress::Progress,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::Duration;

/// One tool as the desk offers it, with what an operator would say about it in front of a gateway.
#[derive(Clone, Debug)]
pub struct Tool {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// `read`, `write`, `payment` or `admin`: what the call does to the world.
    pub class: &'static str,
    /// `internal`, `confidential` or `pii`: the most delicate thing that is in its answer.
    pub classification: &'static str,
    pub input_schema: Value,
    pub output_schema: Value,
}

impl Tool {
    /// The tool as `tools/list` shows it.
    pub fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
            "outputSchema": self.output_schema,
            "annotations": {
                "title": self.title,
                "readOnlyHint": self.class == "read",
                "destructiveHint": self.class == "admin",
                "idempotentHint": self.class != "write",
                "openWorldHint": false,
            },
        })
    }
}

/// Every tool, in the order in which they are listed.
pub fn tools() -> Vec<Tool> {
    vec![tickets_list(), tickets_read(), tickets_update(), customers_read(), refund_create(), tickets_export(), admin_purge()]
}

fn tickets_list() -> Tool {
    Tool {
        name: "tickets_list",
        title: "List support tickets",
        description: "Lists support tickets with their customer's name, oldest first, optionally by status or customer.",
        class: "read",
        classification: "pii",
        input_schema: object(
            &json!({
                "status": { "type": "string", "enum": ["open", "pending", "closed"] },
                "customer_id": { "type": "string" },
                "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 20 },
            }),
            &[],
        ),
        output_schema: object(&json!({ "tickets": { "type": "array", "items": ticket() }, "count": { "type": "integer" } }), &[]),
    }
}

fn tickets_read() -> Tool {
    Tool {
        name: "tickets_read",
        title: "Read a support ticket",
        description: "Reads one support ticket with its whole conversation.",
        class: "read",
        classification: "pii",
        input_schema: object(&json!({ "id": id("T-1001") }), &["id"]),
        output_schema: ticket(),
    }
}

fn tickets_update() -> Tool {
    Tool {
        name: "tickets_update",
        title: "Change a support ticket",
        description: "Changes a ticket's status or priority, or adds a note to its conversation.",
        class: "write",
        classification: "pii",
        input_schema: object(
            &json!({
                "id": id("T-1001"),
                "status": { "type": "string", "enum": ["open", "pending", "closed"] },
                "priority": { "type": "string", "enum": ["low", "normal", "high"] },
                "note": { "type": "string", "maxLength": 4000 },
            }),
            &["id"],
        ),
        output_schema: ticket(),
    }
}

fn customers_read() -> Tool {
    Tool {
        name: "customers_read",
        title: "Read a customer's record",
        description: "Reads one customer: name, e-mail address, telephone number, bank account and plan.",
        class: "read",
        classification: "pii",
        input_schema: object(&json!({ "id": id("C-001") }), &["id"]),
        output_schema: strings(&["id", "name", "email", "phone", "iban", "plan"]),
    }
}

fn tickets_export() -> Tool {
    Tool {
        name: "tickets_export",
        title: "Export all tickets",
        description: "Goes through all tickets page by page, reporting progress, and returns how many there are of each status.",
        class: "read",
        classification: "internal",
        input_schema: object(
            &json!({ "pause_ms": { "type": "integer", "minimum": 0, "maximum": 1000, "default": 20,
                    "description": "How long to wait after each page." } }),
            &[],
        ),
        output_schema: object(
            &json!({ "tickets": { "type": "integer" }, "pages": { "type": "integer" }, "by_status": { "type": "object" } }),
            &[],
        ),
    }
}

fn admin_purge() -> Tool {
    Tool {
        name: "admin_purge",
        title: "Delete all tickets and customers",
        description: "Deletes every ticket, conversation and customer. There is no way back.",
        class: "admin",
        classification: "confidential",
        input_schema: object(&json!({ "confirm": { "type": "string", "const": "purge" } }), &["confirm"]),
        output_schema: object(&json!({ "deleted": { "type": "integer" } }), &[]),
    }
}

fn refund_create() -> Tool {
    Tool {
        name: "refund_create",
        title: "Pay money back",
        description: "Refunds an amount to the customer of a ticket. The same idempotency key never pays twice.",
        class: "payment",
        classification: "confidential",
        input_schema: object(
            &json!({
                "ticket_id": id("T-1001"),
                "amount": { "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000, "description": "With at most two decimals." },
                "currency": { "type": "string", "enum": CURRENCIES },
                "reason": { "type": "string", "maxLength": 400 },
                "idempotency_key": { "type": "string", "minLength": 1, "maxLength": 128 },
            }),
            &["ticket_id", "amount", "currency", "idempotency_key"],
        ),
        output_schema: object(
            &json!({
                "id": { "type": "string" }, "ticket_id": { "type": "string" }, "amount": { "type": "number" },
                "currency": { "type": "string" }, "reason": { "type": "string" }, "idempotency_key": { "type": "string" },
            }),
            &[],
        ),
    }
}

/// Runs a tool. An error of the caller's making becomes a tool result that says so; `Storage` is ours.
pub(crate) async fn call(desk: &Desk, name: &str, arguments: Value, progress: &Progress) -> Option<Result<Value, DeskError>> {
    Some(match name {
        "tickets_list" => parse(arguments).and_then(|filter: TicketFilter| {
            let tickets = desk.tickets(&filter)?;
            Ok(json!({ "count": tickets.len(), "tickets": tickets }))
        }),
        "tickets_read" => parse(arguments).and_then(|ById { id }| Ok(json!(desk.ticket(&id)?))),
        "tickets_update" => update(desk, arguments),
        "customers_read" => parse(arguments).and_then(|ById { id }| Ok(json!(desk.customer(&id)?))),
        "refund_create" => parse(arguments).and_then(|order: RefundOrder| Ok(json!(desk.refund(&order)?))),
        "tickets_export" => export(desk, arguments, progress).await,
        "admin_purge" => parse(arguments).and_then(|Purge { confirm }| match confirm.as_str() {
            "purge" => Ok(json!({ "deleted": desk.purge()? })),
            _ => Err(DeskError::Invalid("confirm must be \"purge\"".to_owned())),
        }),
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    confirm: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    #[serde(default = "Export::usual_pause")]
    pause_ms: u64,
}

impl Export {
    fn usual_pause() -> u64 {
        20
    }
}

fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T, DeskError> {
    serde_json::from_value(arguments).map_err(|cause| DeskError::Invalid(format!("wrong arguments: {cause}")))
}

fn update(desk: &Desk, mut arguments: Value) -> Result<Value, DeskError> {
    let id = arguments.as_object_mut().and_then(|members| members.shift_remove("id"));
    let Some(Value::String(id)) = id else {
        return Err(DeskError::Invalid("wrong arguments: id must be a string".to_owned()));
    };
    let change: TicketChange = parse(arguments)?;
    Ok(json!(desk.update_ticket(&id, &change)?))
}

/// Tickets on one page of an export.
const PAGE: usize = 4;

async fn export(desk: &Desk, arguments: Value, progress: &Progress) -> Result<Value, DeskError> {
    let Export { pause_ms } = parse(arguments)?;
    let tickets = desk.tickets(&TicketFilter { limit: Some(100), ..TicketFilter::default() })?;
    let pages = tickets.len().div_ceil(PAGE);
    let mut by_status = serde_json::Map::new();
    for (page, chunk) in tickets.chunks(PAGE).enumerate() {
        for ticket in chunk {
            let count = by_status.get(&ticket.status).and_then(Value::as_u64).unwrap_or(0);
            by_status.insert(ticket.status.clone(), json!(count + 1));
        }
        progress.report(page + 1, pages, &format!("page {} of {pages}", page + 1)).await;
        tokio::time::sleep(Duration::from_millis(pause_ms.min(1000))).await;
    }
    Ok(json!({ "tickets": tickets.len(), "pages": pages, "by_status": by_status }))
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// Nothing is required of an answer, so that one from which a gateway removed fields is still a valid one.
fn strings(names: &[&str]) -> Value {
    let properties = names.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" })));
    object(&Value::Object(properties.collect()), &[])
}

fn id(example: &str) -> Value {
    json!({ "type": "string", "examples": [example] })
}

fn ticket() -> Value {
    let mut schema = strings(&["id", "subject", "status", "priority", "opened"]);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("revision".to_owned(), json!({ "type": "integer" }));
        properties.insert("customer".to_owned(), strings(&["id", "name", "email"]));
        properties.insert("messages".to_owned(), json!({ "type": "array", "items": strings(&["author", "body"]) }));
    }
    schema
}
