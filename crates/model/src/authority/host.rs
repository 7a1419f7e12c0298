//! The host of a URL, read so that no two readers can disagree on it.
//!
//! SPEC: WHATWG URL, "https" and "http". Instead of repairing what that parser repairs (tabs, backslashes, missing or
//! further slashes, credentials, percent-encoding, names outside ASCII), a URL whose host is not written plainly has no
//! host here. A property test holds this reading against the `url` crate.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest host with its port, in bytes.
pub const HOST_LIMIT: usize = 260;

/// Whether a grant may name this: a lower-case name, IPv4 address or bracketed IPv6 address, and a port if it is not the
/// default one. A name outside ASCII is written in its `xn--` form.
pub(crate) fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let plain = address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address && !address.contains('.'));
            return text.len() <= HOST_LIMIT && plain && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    // A name that ends in a number is read as an address, in forms such as `127.1` and `0x7f000001`.
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    let named = host.split('.').all(is_label) && (!numeric || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.to_string() == host));
    text.len() <= HOST_LIMIT && named && port.is_none_or(is_port)
}

fn is_label(label: &str) -> bool {
    let plain = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
}

/// A port other than those that a URL leaves out.
fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|number| number.to_string() == port && !matches!(number, 0 | 80 | 443))
}

/// The host and port of a URL as it is written, in lower case; `None` when it has none that is read in one way only.
/// The host ends the URL, or `/`, `?` or `#` follows it.
fn authority(url: &str) -> Option<(&str, bool)> {
    let (scheme, rest) = url.split_once("://")?;
    if !(scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")) {
        return None;
    }
    let end = rest.find(['/', '?', '#']);
    Some((end.map_or(rest, |end| rest.get(..end).unwrap_or_default()), end.is_some()))
}

/// Whether the URL is at this host.
pub(crate) fn is_at(url: &str, host: &str) -> bool {
    authority(url).is_some_and(|(written, _)| written.eq_ignore_ascii_case(host))
}

/// How much of what begins with a prefix is at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    Some,
    Everything,
}

/// How much of the texts that begin with `prefix` is at `host`.
pub(crate) fn reach(prefix: &str, host: &str) -> Reach {
    if let Some((written, true)) = authority(prefix) {
        return if written.eq_ignore_ascii_case(host) { Reach::Everything } else { Reach::Nothing };
    }
    let begins = |whole: String| whole.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if begins(format!("https://{host}")) || begins(format!("http://{host}")) { Reach::Some } else { Reach::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::{Host, Url};

    const HOSTS: [&str; 5] = ["www.a.com", "a.com:8443", "xn--bcher-kva.example", "127.0.0.1", "[::1]:9000"];

    #[test]
    fn only_plainly_written_hosts_can_be_named() {
        for host in HOSTS.iter().chain(&["a", "1.a", "[2001:db8::1]", "a-b.c0"]) {
            assert!(is_host(host), "{host}");
        }
        for wrong in [
            "",
            "A.com",
            "a.com.",
            ".a.com",
            "a..com",
            "*.a.com",
            "a.com/",
            "a.com:443",
            "a.com:80",
            "a.com:0",
            "a.com:08443",
            "a.com:65536",
            "a.com:",
            "user@a.com",
            "a_b.com",
            "bücher.example",
            "127.1",
            "0x7f000001",
            "2130706433",
            "1.2.3.4.5",
            "010.0.0.1",
            "[::1",
            "[::ffff:127.0.0.1]",
            "[::0001]",
            "[::1]x",
            "-a.com",
            "a-.com",
            "a com",
            "https://a.com",
            "a%2ecom",
            &"a".repeat(64),
            &format!("{}com", "a.".repeat(140)),
        ] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_url_that_another_reader_might_take_elsewhere_is_nowhere() {
        for fine in [
            "https://www.a.com",
            "http://www.a.com/",
            "HTTPS://WWW.A.com/x?y#z",
            "https://www.a.com?@evil.net",
            "https://www.a.com#@b",
        ] {
            assert!(is_at(fine, "www.a.com"), "{fine}");
        }
        for elsewhere in [
            "https://www.a.com.evil.net/",
            "https://www.a.com@evil.net/",
            "https://evil.net/www.a.com",
            "https://evil.net#www.a.com",
            "https://user@www.a.com/",
            "https://:@www.a.com/",
            "https://www.a.com:443/",
            "https://www.a.com:8443/",
            "https://www.a.com./",
            "https://www.a.com\\@evil.net/",
            "https:\\\\www.a.com/",
            "https:/www.a.com/",
            "https:www.a.com",
            "https:///www.a.com/",
            "//www.a.com/",
            "www.a.com",
            "ftp://www.a.com/",
            "javascript://www.a.com/%0aalert(1)",
            " https://www.a.com/",
            "https://www.a.com\t/",
            "https://www.a.com\n.evil.net/",
            "h\tttps://www.a.com/",
            "https://www.а.com/",
            "https://www。a.com/",
            "https://www%2ea.com/",
            "https://www.a.com%2f.evil.net/",
            "https://WWW.A.COM.\u{200b}/",
            "https://[www.a.com]/",
            "",
        ] {
            assert!(!is_at(elsewhere, "www.a.com"), "{elsewhere}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_at_a_host_is_there_for_a_browser_too(
            at in 0..HOSTS.len(),
            url in "(https?|HTTPS|ftp)?[:\\\\/\t ]{0,4}([a-z@:]{0,3}@)?(www\\.a\\.com|a\\.com:8443|xn--bcher-kva\\.example|127\\.0\\.0\\.1|\\[::1\\]:9000)[./?#\\\\@:\t %2f]{0,3}(evil\\.net)?[/?#@]{0,2}[ -~]{0,5}",
        ) {
            let host = HOSTS[at];
            if is_at(&url, host) {
                let read = Url::parse(&url).unwrap();
                let named = match (read.host().unwrap(), read.port()) {
                    (Host::Ipv6(ip), port) => format!("[{ip}]{}", port.map(|port| format!(":{port}")).unwrap_or_default()),
                    (other, port) => format!("{other}{}", port.map(|port| format!(":{port}")).unwrap_or_default()),
                };
                prop_assert_eq!(named, host, "{}", url);
                prop_assert!(read.username().is_empty() && read.password().is_none());
            }
        }

        #[test]
        fn a_prefix_reaches_what_its_continuations_do(cut in 0..40_usize, rest in "[a-z./?#:@]{0,12}") {
            for host in HOSTS {
                let whole = format!("https://{host}/path?x");
                let prefix = whole.get(..cut.min(whole.len())).unwrap();
                let inside = is_at(&format!("{prefix}{rest}"), host);
                match reach(prefix, host) {
                    Reach::Nothing => prop_assert!(!inside),
                    Reach::Everything => prop_assert!(inside),
                    Reach::Some => {}
                }
                prop_assert_eq!(reach(prefix, "other.example") == Reach::Some, "https://other.example".starts_with(prefix));
            }
        }
    }
}
