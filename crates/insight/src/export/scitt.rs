//! A SCITT Signed Statement about one record: COSE_Sign1 (RFC 9052) with CWT claims in the protected header (RFC 9597),
//! EdDSA over Ed25519, the entry's canonical bytes as payload.

use super::Item;

/// COSE_Sign1's tag.
const TAG: u64 = 18;
const HEADER_ALG: u64 = 1;
const HEADER_CONTENT_TYPE: u64 = 3;
const HEADER_KID: u64 = 4;
const HEADER_CWT_CLAIMS: u64 = 15;
const CLAIM_ISS: u64 = 1;
const CLAIM_SUB: u64 = 2;
/// EdDSA is -8, in CBOR the major type 1 with argument 7.
const EDDSA: u64 = 7;

/// The tagged COSE_Sign1, or `None` when `sign` refuses.
///
/// `entry` are the record's bytes in the log, `kid` names the key behind `sign`, which gets the `Sig_structure`.
pub fn statement(item: &Item<'_>, entry: &[u8], kid: &str, sign: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let subject = format!("urn:uuid:{}", item.record.record_id());
    let mut claims = head(5, 2);
    claims.extend(unsigned(CLAIM_ISS));
    claims.extend(text(item.record.producer_id()));
    claims.extend(unsigned(CLAIM_SUB));
    claims.extend(text(&subject));
    let mut protected = head(5, 4);
    protected.extend(unsigned(HEADER_ALG));
    protected.extend(head(1, EDDSA));
    protected.extend(unsigned(HEADER_CONTENT_TYPE));
    protected.extend(text("application/json"));
    protected.extend(unsigned(HEADER_KID));
    protected.extend(bytes(kid.as_bytes()));
    protected.extend(unsigned(HEADER_CWT_CLAIMS));
    protected.extend(claims);

    let mut signed = head(4, 4);
    signed.extend(text("Signature1"));
    signed.extend(bytes(&protected));
    signed.extend(bytes(b""));
    signed.extend(bytes(entry));
    let signature = sign(&signed)?;

    let mut statement = head(6, TAG);
    statement.extend(head(4, 4));
    statement.extend(bytes(&protected));
    statement.extend(head(5, 0));
    statement.extend(bytes(entry));
    statement.extend(bytes(&signature));
    Some(statement)
}

/// A CBOR head in its shortest form. SPEC: RFC 8949 §4.2.1.
fn head(major: u8, argument: u64) -> Vec<u8> {
    let first = |low: u8| (major << 5) | low;
    let (low, width) = match argument {
        0..24 => return vec![first(u8::try_from(argument).unwrap_or(0))],
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    let bytes = argument.to_be_bytes();
    let mut head = vec![first(low)];
    head.extend(bytes.iter().skip(bytes.len() - width));
    head
}

fn unsigned(number: u64) -> Vec<u8> {
    head(0, number)
}

fn bytes(content: &[u8]) -> Vec<u8> {
    [head(2, content.len() as u64).as_slice(), content].concat()
}

fn text(content: &str) -> Vec<u8> {
    [head(3, content.len() as u64).as_slice(), content.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_short_as_they_can_be() {
        // RFC 8949 appendix A.
        for (argument, expected) in [
            (0, vec![0x00]),
            (23, vec![0x17]),
            (24, vec![0x18, 24]),
            (255, vec![0x18, 0xff]),
            (256, vec![0x19, 1, 0]),
            (1_000_000, vec![0x1a, 0, 0x0f, 0x42, 0x40]),
            (1_000_000_000_000, vec![0x1b, 0, 0, 0, 0xe8, 0xd4, 0xa5, 0x10, 0]),
        ] {
            assert_eq!(unsigned(argument), expected);
        }
        assert_eq!(text("IETF"), b"\x64IETF");
        assert_eq!(bytes(&[1, 2, 3, 4]), b"\x44\x01\x02\x03\x04");
    }
}
