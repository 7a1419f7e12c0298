//! Ranges of network addresses, as the configuration names them.

use std::net::IpAddr;

/// A range of addresses; those of IPv4 are taken as IPv4-mapped IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    bits: u128,
    prefix: u32,
}

impl Network {
    /// An address, or a range as RFC 4632 writes it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (most, shift) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.map_or(Some(most), |length| length.parse().ok().filter(|length| *length <= most))?;
        let network = Self { bits: mapped(address), prefix: length + shift };
        // `10.0.0.1/8` is more likely a mistake than a range.
        (network.bits & !network.mask() == 0).then_some(network)
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0)
    }

    /// Whether the address is one of the range.
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        mapped(address) & self.mask() == self.bits
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_an_address_and_a_length_and_nothing_else() {
        for text in ["10.0.0.0/8", "192.0.2.7", "::1", "fd00::/8", "0.0.0.0/0", "::/0", "192.0.2.7/32"] {
            assert!(Network::parse(text).is_some(), "{text}");
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "proxy.example", "10.0.0.0/8/8", "::1/129", " 10.0.0.1"] {
            assert!(Network::parse(text).is_none(), "{text}");
        }
    }
}
