//! A client of the admin API, authenticated with the admin token that the configuration names.

use super::{agent_client::server_refusal, http_client::HttpClient};
use crate::{
    args::AdminArg,
    config::{self, ServerSection},
    keys,
};
use anyhow::{Context as _, Result};
use http::Method;
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

/// The server answered, and refused.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// The admin API as the configuration reaches it.
#[derive(Debug)]
pub(crate) struct AdminClient {
    web: HttpClient,
    url: String,
    credential: String,
    pub(crate) base: PathBuf,
    /// Where the server's keys lie.
    pub(crate) keys_dir: PathBuf,
    pub(crate) first_account: Option<String>,
}

impl AdminClient {
    /// The admin API of the server that this configuration describes.
    ///
    /// # Errors
    /// The configuration has problems, its admin credential cannot be read, or the URL given is not safe to send it to.
    pub(crate) fn of(args: &AdminArg) -> Result<Self> {
        let loaded = config::load(&args.config.config).map_err(|problems| config::report(&problems))?;
        let credential = keys::read_secret(&loaded.at(&loaded.config.server.admin_token_file))?;
        let mut accounts = config::accounts(&loaded.config.identity_providers);
        let first_account = accounts.next().map(|account| remit_model::PrincipalKind::Human.subject(&account.name));
        Ok(Self {
            web: HttpClient::new()?,
            url: admin_url(args.admin_url.as_deref(), &loaded.config.server)?,
            credential,
            keys_dir: loaded.at(&loaded.config.server.keys_dir),
            base: loaded.base,
            first_account,
        })
    }

    /// One request; anything but success is an error that says the server's reason.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let authorization = format!("Bearer {}", self.credential);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.web.send(method, &format!("{}/admin/v1/{path}", self.url), &headers, body).await;
        let answer = answer.context("the admin API does not answer; `--admin-url` says where it is")?;
        let value = answer.json()?;
        if !answer.status.is_success() {
            return Err(Refused(server_refusal(answer.status, &value).to_string()).into());
        }
        Ok(value)
    }
}

/// Where the admin API is: as given, as configured, or at the address that the server listens on. Over TLS that is `public_url`.
///
/// # Errors
/// A URL that is neither https nor loopback: the credential would cross the network in the clear.
fn admin_url(given: Option<&str>, server: &ServerSection) -> Result<String> {
    if let Some(url) = given {
        config::public_url(url).map_err(|reason| anyhow::anyhow!("--admin-url: {reason}"))?;
        return Ok(url.to_owned());
    }
    if let Some(url) = &server.admin_url {
        return Ok(url.clone());
    }
    if server.tls.is_some() {
        // The name that the certificate is for.
        return Ok(server.public_url.clone());
    }
    let mut address: SocketAddr = server.listen.parse().context("server.listen is not ADDRESS:PORT")?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) });
    }
    Ok(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_api_is_where_it_is_said_to_be_or_where_the_server_listens() {
        let server = |listen: &str, admin: Option<&str>| ServerSection {
            listen: listen.into(),
            public_url: "https://remit.example".into(),
            admin_url: admin.map(str::to_owned),
            ..ServerSection::default()
        };
        let url = |given, server: &ServerSection| admin_url(given, server).map_err(|error| error.to_string());
        let plain = server("127.0.0.1:8420", None);
        assert_eq!(url(None, &plain).unwrap(), "http://127.0.0.1:8420");
        assert_eq!(url(None, &server("0.0.0.0:80", None)).unwrap(), "http://127.0.0.1:80");
        assert_eq!(url(None, &server("[::]:80", None)).unwrap(), "http://[::1]:80");
        assert_eq!(url(None, &server("10.1.2.3:80", None)).unwrap(), "http://10.1.2.3:80");
        assert_eq!(url(None, &server("0.0.0.0:80", Some("https://admin.example"))).unwrap(), "https://admin.example");
        assert_eq!(url(Some("http://localhost:1"), &plain).unwrap(), "http://localhost:1");
        assert!(url(Some("http://admin.example"), &plain).unwrap_err().contains("must be https"));
    }
}
