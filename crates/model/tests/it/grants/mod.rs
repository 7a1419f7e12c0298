//! Reading, comparing and using single authorities, by theme.

mod calls;
mod comparing;
mod reading;

use remit_model::{Authority, Call, Code, UnixTime};
use serde_json::{Value, json};

const HERE: &str = "https://gw.example/mcp/helpdesk";

fn design() -> Value {
    json!([{
        "type": "tool_access",
        "locations": [HERE],
        "actions": ["tickets_read", "refund_create"],
        "arguments": {"/amount": {"max": 50}, "/currency": {"in": ["EUR"]}, "/ticket_id": {"prefix": "T-"}},
        "fields": ["/id", "/subject", "/customer/name"],
        "limits": {"calls": 100, "spend": {"/amount": 500}},
        "delegate": {"to": ["agent:summarizer"], "depth": 1},
        "not_after": 1_798_761_600
    }])
}

/// The design's grant with one dimension replaced.
fn with(dimension: &str, value: Value) -> Value {
    let mut details = design();
    details[0][dimension] = value;
    details
}

fn without(dimension: &str) -> Value {
    let mut details = design();
    details[0].as_object_mut().unwrap().remove(dimension);
    details
}

fn parse(details: &Value) -> Authority {
    Authority::parse(details).unwrap()
}

fn refusal(details: &Value) -> Code {
    Authority::parse(details).expect_err(&details.to_string()).code
}

fn lines(authority: &Authority) -> String {
    authority.describe().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refund(arguments: &Value) -> Call<'_> {
    Call { location: HERE, action: "refund_create", arguments, now: UnixTime(1_790_000_000) }
}
