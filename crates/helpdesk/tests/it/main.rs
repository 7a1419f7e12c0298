//! The desk as a client sees it, over a socket: both MCP eras, streaming, and the REST face.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use remit_helpdesk::{Desk, router, tools};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        self.body.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

struct Front {
    desk: Desk,
    address: std::net::SocketAddr,
}

impl Front {
    async fn open() -> Self {
        let desk = Desk::seeded().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router(desk.clone())).into_future());
        Self { desk, address }
    }

    /// HTTP/1.0, so that the answer ends with the connection and nothing is chunked.
    async fn send(&self, request_line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{request_line} HTTP/1.0\r\nhost: desk\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            request = format!("{request}{name}: {value}\r\n");
        }
        stream.write_all(format!("{request}content-type: application/json\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn legacy(&self, method: &str, params: Value) -> Answer {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.send("POST /mcp", &[("accept", "application/json, text/event-stream")], &body.to_string()).await
    }

    async fn modern(&self, method: &str, mut params: Value, headers: &[(&str, &str)]) -> Answer {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let body = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params });
        let mut all = vec![("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2026-07-28")];
        all.extend_from_slice(headers);
        self.send("POST /mcp", &all, &body.to_string()).await
    }
}

#[tokio::test]
async fn the_older_revisions_say_initialize_and_call() {
    let front = Front::open().await;
    for version in ["2025-11-25", "2025-06-18"] {
        let hello = front.legacy("initialize", json!({ "protocolVersion": version })).await.json();
        assert_eq!(hello["result"]["protocolVersion"], version);
    }
    assert_eq!(
        front.legacy("initialize", json!({ "protocolVersion": "1999" })).await.json()["result"]["protocolVersion"],
        "2025-11-25"
    );
    assert_eq!(front.send("POST /mcp", &[], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await.status, 202);
    let listed = front.legacy("tools/list", json!({})).await.json();
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), tools().len());
    let read = front.legacy("tools/call", json!({ "name": "tickets_read", "arguments": { "id": "T-1003" } })).await.json();
    assert_eq!(read["result"]["structuredContent"]["customer"]["id"], "C-011");
    let text: Value = serde_json::from_str(read["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, read["result"]["structuredContent"]);
    assert_eq!(front.legacy("resources/list", json!({})).await.json()["error"]["code"], -32601);
    assert_eq!(front.send("GET /mcp", &[], "").await.status, 405);
    assert_eq!(front.send("POST /mcp", &[], "[]").await.status, 400);
    assert_eq!(front.send("POST /mcp", &[("origin", "https://evil.example")], "{}").await.status, 403);
}

#[tokio::test]
async fn the_newest_revision_is_stateless_and_checks_its_headers() {
    let front = Front::open().await;
    let hello = front.modern("server/discover", json!({}), &[("mcp-method", "server/discover")]).await.json();
    assert_eq!(hello["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(hello["result"]["resultType"], "complete");
    let call = json!({ "name": "customers_read", "arguments": { "id": "C-002" } });
    let good = [("mcp-method", "tools/call"), ("mcp-name", "customers_read")];
    assert_eq!(
        front.modern("tools/call", call.clone(), &good).await.json()["result"]["structuredContent"]["name"],
        "Jonas Weber"
    );
    let encoded = [("mcp-method", "tools/call"), ("mcp-name", "=?base64?Y3VzdG9tZXJzX3JlYWQ=?=")];
    assert_eq!(front.modern("tools/call", call.clone(), &encoded).await.status, 200);
    for wrong in [
        [("mcp-method", "tools/call"), ("mcp-name", "tickets_list")],
        [("mcp-method", "tools/list"), ("mcp-name", "customers_read")],
        [("mcp-method", "tools/call"), ("mcp-other", "x")],
    ] {
        let answer = front.modern("tools/call", call.clone(), &wrong).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (400, json!(-32020)), "{wrong:?}");
    }
    assert_eq!(front.modern("ping", json!({}), &[("mcp-method", "ping")]).await.status, 404);
    assert_eq!(
        front
            .send("POST /mcp", &[("mcp-protocol-version", "2026-07-28")], r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn an_export_streams_its_progress() {
    let front = Front::open().await;
    let params = json!({ "name": "tickets_export", "arguments": { "pause_ms": 1 }, "_meta": { "progressToken": "p" } });
    let answer = front.legacy("tools/call", params).await;
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    let events = answer.events();
    assert_eq!(events.len(), 7);
    assert_eq!(events[0]["params"]["progressToken"], "p");
    assert_eq!(events[5]["params"], json!({ "progressToken": "p", "progress": 6, "total": 6, "message": "page 6 of 6" }));
    assert_eq!(events[6]["result"]["structuredContent"]["tickets"], 24);
    let quiet = front.legacy("tools/call", json!({ "name": "tickets_export", "arguments": { "pause_ms": 0 } })).await;
    assert_eq!(quiet.json()["result"]["structuredContent"]["pages"], 6);
}

#[tokio::test]
async fn wrong_arguments_are_a_result_that_says_so_and_change_nothing() {
    let front = Front::open().await;
    for (name, arguments) in [
        ("tickets_read", json!({ "id": "T-9" })),
        ("tickets_read", json!({ "id": "T-1001", "extra": 1 })),
        ("refund_create", json!({ "ticket_id": "T-1001", "amount": -5, "currency": "EUR", "idempotency_key": "k" })),
        ("admin_purge", json!({ "confirm": "yes" })),
    ] {
        let answer = front.legacy("tools/call", json!({ "name": name, "arguments": arguments })).await.json();
        assert_eq!(answer["result"]["isError"], true, "{name}: {answer}");
    }
    assert_eq!(front.legacy("tools/call", json!({ "name": "no.such" })).await.json()["error"]["code"], -32602);
    assert!(front.desk.refunds().unwrap().is_empty());
    assert_eq!(front.desk.calls_of("tickets_read"), 2);
}

#[tokio::test]
async fn rest_and_mcp_are_one_desk() {
    let front = Front::open().await;
    let order = json!({ "ticket_id": "T-1006", "amount": 12.5, "currency": "EUR", "idempotency_key": "k1" });
    let made = front.send("POST /api/refunds", &[("authorization", "Bearer x")], &order.to_string()).await;
    assert_eq!((made.status, made.json()["amount"].clone()), (201, json!(12.5)));
    let again = front.legacy("tools/call", json!({ "name": "refund_create", "arguments": order })).await.json();
    assert_eq!(again["result"]["structuredContent"], made.json());
    assert_eq!(front.send("GET /api/refunds", &[], "").await.json()["refunds"].as_array().unwrap().len(), 1);
    assert_eq!(front.send("GET /api/tickets?status=closed", &[], "").await.json()["tickets"].as_array().unwrap().len(), 3);
    assert_eq!(front.send("PATCH /api/tickets/T-1006", &[], r#"{"status":"closed"}"#).await.json()["status"], "closed");
    assert_eq!(front.send("GET /api/customers/C-999", &[], "").await.status, 404);
    assert_eq!(front.send("POST /api/refunds", &[], &order.to_string().replace("12.5", "13")).await.status, 409);
    assert_eq!(front.desk.received()[0].header("authorization"), Some("Bearer x"));
}
