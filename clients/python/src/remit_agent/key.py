"""An agent's private key: the PEM file that `remit agent add` writes, P-256 or Ed25519, and what it signs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from .errors import KeyUnusable


class Key:
    def __init__(self, file: str | os.PathLike[str]) -> None:
        try:
            private = load_pem_private_key(Path(file).read_bytes(), None)
        except OSError as error:
            raise KeyUnusable(f"cannot read {file}: {error.strerror}; `remit agent add` writes the key file") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusable(f"{file} holds no unencrypted private key in PEM: {error}") from error
        if isinstance(private, Ed25519PrivateKey):
            point = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.alg, self.public = "EdDSA", {"crv": "Ed25519", "kty": "OKP", "x": base64url(point)}
        elif isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
            place = private.public_key().public_numbers()
            x, y = (base64url(number.to_bytes(32, "big")) for number in (place.x, place.y))
            self.alg, self.public = "ES256", {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        else:
            raise KeyUnusable(f"{file} holds a {type(private).__name__}; Remit's agents use P-256 or Ed25519")
        self._private: Ed25519PrivateKey | EllipticCurvePrivateKey = private

    @property
    def thumbprint(self) -> str:
        """RFC 7638: SHA-256 of the public members in alphabetical order."""
        return digest(json.dumps(self.public, separators=(",", ":"), sort_keys=True))

    def assertion(self, client_id: str, issuer: str) -> str:
        """Says which client sends a token request (RFC 7523)."""
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "exp": int(time.time()) + 60}
        return self._sign({"typ": "client-authentication+jwt"}, claims)

    def proof(self, method: str, url: str, token: str | None, nonce: str | None) -> str:
        """Shows that one request comes from the holder of this key (RFC 9449)."""
        claims = {"htm": method, "htu": url}
        if token:
            claims["ath"] = digest(token)
        if nonce:
            claims["nonce"] = nonce
        return self._sign({"typ": "dpop+jwt", "jwk": self.public}, claims)

    def _sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        parts = ({"alg": self.alg, **header}, {"jti": str(uuid.uuid4()), "iat": int(time.time()), **claims})
        text = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        if isinstance(self._private, Ed25519PrivateKey):
            signature = self._private.sign(text.encode())
        else:
            r, s = decode_dss_signature(self._private.sign(text.encode(), ECDSA(SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{text}.{base64url(signature)}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(text: str) -> str:
    return base64url(hashlib.sha256(text.encode()).digest())
