"""Signing requests to a CA: JWK (RFC 7517), thumbprints (RFC 7638) and flattened JWS (RFC 7515), as far as RFC 8555 needs them.

Account keys are P-256 and sign by ES256, which every CA takes (RFC 8555 6.2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

#: Bytes of a number of P-256 (RFC 7518 6.2.1).
_SIZE: Final = 32


class AccountKey:
    """The key that is the account: whoever has it may ask for certificates in its name."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        self.jwk: dict[str, str] = {
            "crv": "P-256", "kty": "EC", "x": encoded(numbers.x.to_bytes(_SIZE, "big")),
            "y": encoded(numbers.y.to_bytes(_SIZE, "big"))}
        self.thumbprint = encoded(hashlib.sha256(_json(self.jwk)).digest())     # its members stand in order (RFC 7638 3)

    @classmethod
    def new(cls) -> AccountKey:
        """A new one, from the system's randomness."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> AccountKey:
        """Raises ValueError for what is no P-256 key in PEM without a password."""
        try:
            key = load_pem_private_key(pem, None)
        except TypeError as error:          # that is how it says that there is a password
            raise ValueError("the account key is encrypted") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("the account key is not of the kind P-256")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """For keeping it; nobody else may read that."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, payload: Mapping[str, Any] | None, url: str, nonce: str, account: str = "") -> bytes:
        """The body of a POST to `url`; `payload` None is what RFC 8555 6.3 calls POST-as-GET.

        `account` is the account's URL; "" puts the key itself into the request, which only newAccount wants.
        """
        said: dict[str, Any] = {"alg": "ES256", "nonce": nonce, "url": url}
        if account:
            said["kid"] = account
        else:
            said["jwk"] = self.jwk
        protected = encoded(_json(said))
        body = "" if payload is None else encoded(_json(payload))
        r, s = decode_dss_signature(self._key.sign(f"{protected}.{body}".encode(), ec.ECDSA(SHA256())))
        signature = encoded(r.to_bytes(_SIZE, "big") + s.to_bytes(_SIZE, "big"))
        return _json({"payload": body, "protected": protected, "signature": signature})

    def authorization(self, token: str) -> str:
        """The key authorization of a challenge's token (RFC 8555 8.1)."""
        return f"{token}.{self.thumbprint}"

    def bound_to(self, key_id: str, secret: bytes, url: str) -> dict[str, str]:
        """The external account binding of a newAccount at `url` (RFC 8555 7.3.4), by a key that the CA has given out."""
        protected = encoded(_json({"alg": "HS256", "kid": key_id, "url": url}))
        payload = encoded(_json(self.jwk))
        mac = hmac.digest(secret, f"{protected}.{payload}".encode(), "sha256")
        return {"payload": payload, "protected": protected, "signature": encoded(mac)}


def encoded(data: bytes) -> str:
    """Base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decoded(text: str) -> bytes:
    """The bytes of such a text. Raises ValueError."""
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
