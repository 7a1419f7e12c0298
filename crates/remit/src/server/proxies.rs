//! The proxies whose word about a client's address is taken. Limits and records then see the client, not the proxy. SPEC: TK-11
//!
//! Anyone can send such a header, so it counts only from a named proxy, and of a list only what the named proxies themselves
//! appended: it is read from its end, up to the first address that is no proxy's.

use super::client_certificate;
use crate::config::{ForwardedHeader, Network, TrustedProxies as Section};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use remit_token::PeerCertificate;
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
    /// Whether they also say which certificate the client proved.
    certificates: bool,
}

impl Proxies {
    /// `None` when no proxy is trusted.
    pub(crate) fn of(section: &Section, certificates: bool) -> Option<Self> {
        let networks: Vec<Network> = section.addresses.iter().filter_map(|text| Network::parse(text)).collect();
        (!networks.is_empty()).then_some(Self { networks, header: section.header, certificates })
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

    /// The certificate of a client whose request came from this peer, in place of that of the connection, which is the proxy's
    /// own. SPEC: RFC 9440 §2, §4
    fn certificate(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        own: Option<PeerCertificate>,
    ) -> Result<Option<PeerCertificate>, &'static str> {
        match (self.trusts(peer), self.certificates) {
            (true, true) => client_certificate::read(headers),
            (true, false) => Ok(None),
            (false, _) => Ok(own),
        }
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

/// Puts the client's address in place of the proxy's, and its certificate. The headers with certificates go no further.
pub(crate) async fn forwarded(State(proxies): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let client = proxies.client(peer.ip(), request.headers());
        let own = request.extensions_mut().remove::<PeerCertificate>();
        match proxies.certificate(peer.ip(), request.headers(), own) {
            Ok(Some(certificate)) => drop(request.extensions_mut().insert(certificate)),
            Ok(None) => {}
            // SPEC: RFC 9440 §4: without a certificate that can be read it is not clear who the client is.
            Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        }
        for name in [client_certificate::CERTIFICATE, client_certificate::CHAIN] {
            request.headers_mut().remove(name);
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use remit_token::certificate::{CHAIN_LIMIT, thumbprint};

    fn client(header: ForwardedHeader, peer: &str, values: &[&str]) -> String {
        let addresses = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(str::to_owned).to_vec();
        let proxies = Proxies::of(&Section { addresses, header }, false).unwrap();
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

    /// Two certificates in DER, and the `Client-Cert` of the first.
    fn certificates() -> (Vec<u8>, Vec<u8>, String) {
        let made = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(["client".to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec()
        };
        let (one, other) = (made(), made());
        let header = sequence(&one);
        (one, other, header)
    }

    fn sequence(der: &[u8]) -> String {
        format!(":{}:", STANDARD.encode(der))
    }

    /// The thumbprint that counts, of a request with these headers over a connection with this certificate.
    fn shown(
        certificates: bool,
        peer: &str,
        headers: &[(&'static str, String)],
        own: Option<&[u8]>,
    ) -> Result<Option<String>, &'static str> {
        let section = Section { addresses: vec!["10.0.0.0/8".into()], header: ForwardedHeader::XForwardedFor };
        let proxies = Proxies::of(&section, certificates).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let own = own.map(|der| PeerCertificate::new(der.to_vec(), Vec::new()));
        let found = proxies.certificate(peer.parse().unwrap(), &map, own)?;
        Ok(found.map(|certificate| certificate.thumbprint().to_owned()))
    }

    #[test]
    fn rfc_9440_only_a_trusted_proxy_says_which_certificate_the_client_has() {
        let (one, other, header) = certificates();
        let stated = [("client-cert", header)];
        let print = |der: &[u8]| Ok(Some(thumbprint(der)));
        assert_eq!(shown(true, "10.1.2.3", &stated, None), print(&one));
        assert_eq!(shown(true, "203.0.113.9", &stated, None), Ok(None), "anyone can send the header");
        assert_eq!(shown(true, "203.0.113.9", &stated, Some(&other)), print(&other), "nor does it replace the connection's own");
        assert_eq!(shown(false, "10.1.2.3", &stated, None), Ok(None), "nor a proxy, unless it is said to set it");
        assert_eq!(shown(true, "10.1.2.3", &[], Some(&other)), Ok(None), "a proxy's own certificate is not its client's");
        assert_eq!(shown(false, "10.1.2.3", &[], Some(&other)), Ok(None));
        assert_eq!(shown(true, "10.1.2.3", &stated, Some(&other)), print(&one));
    }

    #[test]
    fn rfc_9440_what_is_not_one_certificate_is_refused() {
        let (one, other, header) = certificates();
        let proxied = |headers: &[(&'static str, String)]| shown(true, "10.1.2.3", headers, None);
        let chain = |value: String| proxied(&[("client-cert", header.clone()), ("client-cert-chain", value)]);
        assert_eq!(
            proxied(&[("client-cert", header.clone()), ("client-cert", sequence(&other))]),
            Err("there is more than one `Client-Cert`")
        );
        assert_eq!(proxied(&[("client-cert-chain", header.clone())]), Err("`Client-Cert-Chain` comes without `Client-Cert`"));
        let bare = STANDARD.encode(&one);
        for broken in [
            String::new(),
            "::".into(),
            bare.clone(),
            format!(":{bare}"),
            format!("\"{bare}\""),
            ":AAAA:".into(),
            format!("{header}, {header}"),
        ] {
            assert!(proxied(&[("client-cert", broken.clone())]).is_err(), "{broken}");
        }
        assert_eq!(chain(format!("{}, {}", sequence(&other), sequence(&one))), Ok(Some(thumbprint(&one))));
        assert!(chain(String::new()).is_err());
        assert!(chain("x".into()).is_err());
        assert!(chain(vec![sequence(&other); CHAIN_LIMIT].join(",")).is_err());
    }
}
