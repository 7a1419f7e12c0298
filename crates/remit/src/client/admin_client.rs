//! A client of the admin API, authenticated with the admin token that the configuration names.

use super::{agent_client::server_refusal, http_client::HttpClient};
use crate::{
    args::ConfigArg,
    config::{self, IdentityProvider},
    keys,
};
use anyhow::{Result, bail};
use http::Method;
use serde_json::Value;
use std::path::PathBuf;

/// The admin API as the configuration reaches it.
#[derive(Debug)]
pub(crate) struct AdminClient {
    web: HttpClient,
    url: String,
    credential: String,
    pub(crate) base: PathBuf,
    pub(crate) first_account: Option<String>,
}

impl AdminClient {
    pub(crate) fn of(args: &ConfigArg) -> Result<Self> {
        let loaded = config::load(&args.config).map_err(|problems| config::report(&problems))?;
        let credential = keys::read_secret(&loaded.at(&loaded.config.server.admin_token_file))?;
        let accounts = loaded.config.identity_providers.iter().flat_map(|IdentityProvider::Local { accounts }| accounts);
        let first_account = accounts.into_iter().next().map(|account| remit_model::PrincipalKind::Human.subject(&account.name));
        Ok(Self {
            web: HttpClient::new()?,
            url: loaded.config.server.public_url.clone(),
            credential,
            base: loaded.base,
            first_account,
        })
    }

    /// One request; anything but success is an error that says the server's reason.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let authorization = format!("Bearer {}", self.credential);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.web.send(method, &format!("{}/admin/v1/{path}", self.url), &headers, body).await?;
        let value = answer.json()?;
        if !answer.status.is_success() {
            bail!("refused: {}", server_refusal(answer.status, &value));
        }
        Ok(value)
    }
}
