//! Clients of a Remit server: an agent at work, the admin API, and the stdio bridge.

mod admin_client;
mod agent_client;
mod agent_profile;
pub(crate) mod connect;
mod exchange;
mod http_client;
pub(crate) mod login;
mod sign_in;

pub(crate) use admin_client::{AdminClient, Refused};
pub(crate) use agent_client::{
    ACCESS_TOKEN, AgentClient, Granted, JWT, ServerRefusal, TOKEN_EXCHANGE, TokenSource, server_refusal,
};
pub(crate) use agent_profile::AgentProfile;
pub(crate) use exchange::{Narrower, narrow};
pub(crate) use http_client::{Answer, HttpClient};
