//! Where a request came from and by which route, for its record.
//!
//! A value that the router makes and hands on with the request. No rule reads more of it than the certificate.

use crate::http::form::Form;
use axum::{
    extract::{ConnectInfo, MatchedPath},
    http::{HeaderMap, request::Parts},
};
use remit_ledger::record::{Draft, Http};
use remit_model::Refusal;
use remit_token::PeerCertificate;
use std::net::{IpAddr, SocketAddr};

/// Method, route and network peer of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestOrigin {
    http: Option<Http>,
    pub(crate) peer: Option<IpAddr>,
    /// The certificate that the client of the connection proved.
    pub(crate) certificate: Option<PeerCertificate>,
}

impl RequestOrigin {
    pub(crate) fn of(parts: &Parts) -> Self {
        let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        Self {
            http: Some(Http { method: parts.method.to_string(), route, ..Http::default() }),
            peer,
            certificate: parts.extensions.get().cloned(),
        }
    }

    /// Adds method, route and peer to a draft.
    pub(crate) fn note(&self, draft: &mut Draft) {
        draft.http.clone_from(&self.http);
        draft.src_ip = self.peer;
    }
}

/// The network that one subscriber has, as limits count it: an IPv4 address, or the first 64 bits of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V6(address) => format!("{:x}", address.to_bits() >> 64),
        IpAddr::V4(address) => address.to_string(),
    }
}

/// A request as the router read it: its parameters, or why they cannot be read.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) origin: RequestOrigin,
    pub(crate) headers: HeaderMap,
    pub(crate) form: Result<Form, Refusal>,
}
