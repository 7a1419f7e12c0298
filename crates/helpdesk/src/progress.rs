//! Progress notifications of a running tool.

use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Where a running tool reports how far it is; silent when the caller did not ask.
pub(crate) struct Progress {
    token: Option<Value>,
    sender: Option<mpsc::Sender<Value>>,
}

impl Progress {
    pub(crate) fn silent() -> Self {
        Self { token: None, sender: None }
    }

    pub(crate) fn to(token: Option<Value>, sender: mpsc::Sender<Value>) -> Self {
        Self { token, sender: Some(sender) }
    }

    pub(crate) async fn report(&self, done: usize, total: usize, message: &str) {
        if let (Some(token), Some(sender)) = (&self.token, &self.sender) {
            let params = json!({ "progressToken": token, "progress": done, "total": total, "message": message });
            let _ = sender.send(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })).await;
        }
    }
}
