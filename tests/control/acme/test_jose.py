"""Signatures, thumbprints and bindings, held against the library's own verification."""

from __future__ import annotations

import hashlib
import hmac
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from tests.control.acme.ca import thumbprint, verify
from voltgw.control.acme.jose import AccountKey, decoded, encoded

URL = "https://ca.example/x"


class KeyTests(SynchronousTestCase):
    def test_kept_and_loaded(self) -> None:
        """The same key, and so the same account."""
        key = AccountKey.new()
        self.assertEqual(AccountKey.load(key.pem).thumbprint, key.thumbprint)
        self.assertEqual(thumbprint(key.jwk), key.thumbprint)

    def test_keys_of_other_kinds(self) -> None:
        """They are refused in words."""
        curve = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        other = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        for pem in (curve, other, locked, b"nonsense"):
            with self.assertRaises(ValueError):
                AccountKey.load(pem)

    def test_numbers_with_leading_zeros(self) -> None:
        """A coordinate is always 32 bytes, also where the number is small (RFC 7518 6.2.1.2)."""
        for scalar in range(1, 600):
            key = AccountKey(ec.derive_private_key(scalar, ec.SECP256R1()))
            self.assertEqual([len(decoded(key.jwk[name])) for name in "xy"], [32, 32])


class SigningTests(SynchronousTestCase):
    def test_signatures(self) -> None:
        """Good for what was signed, and for nothing else; always 64 bytes."""
        key = AccountKey.new()
        for count in range(300):                # one in 128 has a short r or s
            jws = json.loads(key.sign({"count": count}, URL, f"n{count}"))
            verify(key.jwk, jws)
        with self.assertRaises(InvalidSignature):
            verify(key.jwk, {**jws, "payload": encoded(b'{"count":7000}')})

    def test_what_is_protected(self) -> None:
        """The key itself or the account's URL, never both (RFC 8555 6.2); a POST-as-GET has no payload."""
        key = AccountKey.new()
        first = json.loads(key.sign({}, URL, "n1"))
        self.assertEqual(json.loads(decoded(first["protected"])), {"alg": "ES256", "nonce": "n1", "url": URL, "jwk": key.jwk})
        self.assertEqual(decoded(first["payload"]), b"{}")
        later = json.loads(key.sign(None, URL, "n2", "https://ca.example/me"))
        self.assertEqual(json.loads(decoded(later["protected"])),
                         {"alg": "ES256", "nonce": "n2", "url": URL, "kid": "https://ca.example/me"})
        self.assertEqual(later["payload"], "")

    def test_an_external_account(self) -> None:
        """Our key, signed by the CA's (RFC 8555 7.3.4)."""
        key = AccountKey.new()
        bound = key.bound_to("kid-1", b"secret", URL)
        mac = hmac.new(b"secret", f"{bound['protected']}.{bound['payload']}".encode(), hashlib.sha256).digest()
        self.assertEqual((decoded(bound["signature"]), json.loads(decoded(bound["payload"]))), (mac, key.jwk))
