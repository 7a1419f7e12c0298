import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from remit_agent import KeyUnusable
from remit_agent.key import Key


def write(path, key, encryption=None):
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return path


def parts(token):
    return [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]


def test_a_p256_signature_has_the_form_that_jws_wants(tmp_path):
    private = ec.generate_private_key(ec.SECP256R1())
    key = Key(write(tmp_path / "key.pem", private))
    proof = key.proof("POST", "https://gw.example/mcp/desk", "token", "nonce")
    header, claims, signature = parts(proof)
    assert len(signature) == 64
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    private.public_key().verify(encode_dss_signature(r, s), proof.rpartition(".")[0].encode(), ec.ECDSA(SHA256()))
    assert json.loads(header) == {"alg": "ES256", "typ": "dpop+jwt", "jwk": key.public}
    claims = json.loads(claims)
    assert claims["ath"] == "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A"
    assert (claims["htm"], claims["htu"], claims["nonce"]) == ("POST", "https://gw.example/mcp/desk", "nonce")


def test_an_ed25519_key_signs_as_well(tmp_path):
    private = ed25519.Ed25519PrivateKey.generate()
    key = Key(write(tmp_path / "key.pem", private))
    assertion = key.assertion("agent:planner", "https://gw.example")
    header, claims, signature = parts(assertion)
    private.public_key().verify(signature, assertion.rpartition(".")[0].encode())
    assert json.loads(header)["alg"] == "EdDSA"
    assert json.loads(claims)["aud"] == "https://gw.example"


def test_the_thumbprint_is_that_of_rfc_8037(tmp_path):
    # RFC 8037, appendix A.
    private = ed25519.Ed25519PrivateKey.from_private_bytes(
        base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    )
    assert Key(write(tmp_path / "key.pem", private)).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_every_proof_and_assertion_is_used_once(tmp_path):
    key = Key(write(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1())))
    proofs = [parts(key.proof("GET", "https://gw.example", None, None))[1] for _ in range(3)]
    assert len({json.loads(claims)["jti"] for claims in proofs}) == 3
    assert "ath" not in json.loads(proofs[0]) and "nonce" not in json.loads(proofs[0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path, "cannot read"),
        (lambda path: path.write_text("-----BEGIN") and path, "no unencrypted private key"),
        (lambda path: write(path, rsa.generate_private_key(65537, 2048)), "P-256 or Ed25519"),
        (lambda path: write(path, ec.generate_private_key(ec.SECP384R1())), "P-256 or Ed25519"),
        (lambda path: write(path, ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")), "no unencrypted"),
    ],
)
def test_an_unusable_key_is_named(tmp_path, make, words):
    with pytest.raises(KeyUnusable, match=words) as raised:
        Key(make(tmp_path / "planner.pem"))
    assert "planner.pem" in str(raised.value)
