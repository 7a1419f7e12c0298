//! The proxies whose word about a client's address is taken. Limits and records then see the client, not the proxy. SPEC: TK-11
//!
//! Anyone can send such a header, so it counts only from a named proxy, and of a list only what the named proxies themselves
//! appended: it is read from its end, up to the first address that is no proxy's.

use crate::config::{ForwardedHeader, Network, TrustedProxies as Section};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Most addresses of a header that are looked at.
const HOPS: usize = 16;

/// The trusted proxies, and the header that they set.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    networks: Vec<Network>,
    header: ForwardedHeader,
}

impl Proxies {
    /// `None` when no proxy is trusted.
    pub(crate) fn of(section: &Section) -> Option<Self> {
        let networks: Vec<Network> = section.addresses.iter().filter_map(|text| Network::parse(text)).collect();
        (!networks.is_empty()).then_some(Self { networks, header: section.header })
    }

    /// The address that the request came from.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let named = headers.get_all(self.header.name()).iter().rev().flat_map(|value| {
            // What is not text names no address.
            value.to_str().unwrap_or_default().rsplit(',')
        });
        for element in named.take(HOPS) {
            if !self.trusts(client) {
                break;
            }
            match self.address(element) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.holds(address))
    }

    /// RFC 7239 section 4, or one element of `X-Forwarded-For`: an address, perhaps with a port.
    fn address(&self, element: &str) -> Option<IpAddr> {
        let node = match self.header {
            ForwardedHeader::XForwardedFor => element.trim(),
            ForwardedHeader::Forwarded => element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
            })?,
        };
        let bracketed = node.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
        let bare = bracketed.unwrap_or(node);
        bare.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))
    }
}

/// Puts the client's address in place of the proxy's.
pub(crate) async fn forwarded(State(proxies): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let client = proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: ForwardedHeader, peer: &str, values: &[&str]) -> String {
        let addresses = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(str::to_owned).to_vec();
        let proxies = Proxies::of(&Section { addresses, header }).unwrap();
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header.name(), value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn tk_11_only_a_named_proxy_says_where_a_request_came_from() {
        let x = |peer, values: &[&str]| client(ForwardedHeader::XForwardedFor, peer, values);
        assert_eq!(x("203.0.113.9", &["198.51.100.1"]), "203.0.113.9", "anyone can send the header");
        assert_eq!(x("10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(x("::ffff:10.1.2.3", &["198.51.100.1"]), "198.51.100.1", "IPv4 in a socket of IPv6");
        assert_eq!(x("192.0.2.7", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(x("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(x("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn tk_11_of_a_list_only_what_the_proxies_appended_counts() {
        let x = |values: &[&str]| client(ForwardedHeader::XForwardedFor, "10.1.2.3", values);
        assert_eq!(x(&["127.0.0.1, 198.51.100.1"]), "198.51.100.1", "what the client wrote before is not believed");
        assert_eq!(x(&["127.0.0.1", "198.51.100.1, 10.9.9.9"]), "198.51.100.1", "through two proxies, and two headers");
        assert_eq!(x(&["10.0.0.1, 10.0.0.2"]), "10.0.0.1", "proxies alone");
        for broken in ["unknown", "", "198.51.100.300", "a, b", "198.51.100.1, _hidden"] {
            assert_eq!(x(&[broken]), "10.1.2.3", "{broken}: the proxy itself is counted");
        }
        let long = vec!["10.0.0.1"; 2 * HOPS].join(", ");
        assert_eq!(x(&[&format!("198.51.100.1, {long}")]), "10.0.0.1", "no more than so many are looked at");
    }

    #[test]
    fn tk_11_the_standard_header_is_read_when_it_is_the_one_that_the_proxy_sets() {
        let f = |values: &[&str]| client(ForwardedHeader::Forwarded, "10.1.2.3", values);
        assert_eq!(f(&["for=198.51.100.1;proto=https"]), "198.51.100.1");
        assert_eq!(f(&["For=\"[2001:db8::17]:4711\""]), "2001:db8::17");
        assert_eq!(f(&["for=127.0.0.1, by=10.0.0.1;for=198.51.100.1"]), "198.51.100.1");
        assert_eq!(f(&["proto=https"]), "10.1.2.3");
        assert_eq!(f(&["for=unknown"]), "10.1.2.3");
    }
}
