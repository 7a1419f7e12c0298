//! The authorization server: how a person or an agent hands a part of its authority to an agent.
//!
//! Implements OAuth 2.1 with RFC 8414 metadata, RFC 7636 PKCE, RFC 7523 client authentication, RFC 8693 token exchange,
//! RFC 8707 resource indicators, RFC 9068 access tokens, RFC 9207 issuer identification, RFC 9396 authorization details,
//! RFC 9449 DPoP, RFC 7523 JWT grants of trusted issuers, RFC 7662 and RFC 9701 introspection, RFC 7009 revocation, RFC 7591
//! registration and client metadata documents; the rule ids (`TK-04`, `DC-05`, …) in code and test
//! names are those of our conformance checklist. What it deliberately does not do: opaque access tokens, the implicit
//! and password grants, client secrets.
//!
//! Parameters of our own, beside the standard ones:
//!
//! | Parameter | Where | Means |
//! |---|---|---|
//! | `requested_lifetime` | authorize, token | seconds the consent, or the token, should last; more than the parent has is refused |
//! | `purpose` | authorize, exchange, client credentials | what it is for, in words; shown, put into tokens and records, and seen by policy |
//! | `subject_token_proof` | exchange | the holder's DPoP proof of the call with which it gave the subject token |
//! | `single_use` | exchange, client credentials | `true`: the token, which is for an agent's endpoint, can be exchanged once |
//!
//! An error carries `remit_code` (our stable code) and `remit_record` (the id of its record) beside the standard members.
//!
//! Every token, and every refusal, is one store batch with its record: nothing leaves before it is durable (TK-10).
//!
//! ```no_run
//! use remit_authority::{Parts, Server, router};
//! use std::sync::Arc;
//!
//! # async fn example(parts: Parts) -> std::io::Result<()> {
//! let routes = router(Arc::new(Server::new(parts)));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8420").await?;
//! axum::serve(listener, routes).await
//! # }
//! ```

mod clients;
mod grants;
mod http;
mod issuers;
mod offboarding;
mod policy_check;
mod server;
mod signin;
mod tokens;

pub use clients::rules::{Admission, ClientRules};
pub use clients::workload::{BundleSource, TrustDomain, WorkloadSource, WorkloadTrust};
pub use http::router::router;
pub use issuers::{AssertionAudience, TrustedIssuer};
pub use offboarding::{
    asking::{ask_now, keep_asking, load as load_whom_to_ask},
    backchannel_logout::path as backchannel_logout_path,
    scim::endpoint::path as scim_path,
    signals::{
        path as events_path,
        poll::{EventPolls, keep_polling as keep_polling_for_events},
    },
};
pub use server::{Parts, Server, Settings};
pub use signin::{
    accounts, passkeys::enrolment::link as passkey_link, password::hash_password, provider,
    redirect::registrable as check_redirect_uri,
};
