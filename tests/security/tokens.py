"""Tokens and key sets, signed by `joserfc` or made by hand where no library would."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any, Final, Literal

from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

#: What the time is in these tests, in seconds since the epoch.
NOW: Final = 1_800_000_000.0
GOOD: Final = {"sub": "ada", "iss": "https://id.example", "aud": "shop", "exp": NOW + 600, "nbf": NOW - 600}
SECRET: Final = OctKey.import_key({"kty": "oct", "k": urlsafe_b64encode(b"0123456789abcdef" * 4).rstrip(b"=").decode(), "kid": "s"})


@cache
def rsa(kid: str = "r", bits: int = 2048) -> RSAKey:
    """An RSA key; it is made once."""
    return RSAKey.generate_key(bits, {"kid": kid})


def short_rsa() -> dict[str, Any]:
    """An RSA key of 1024 bits, which the library does not like to make."""
    return {"kty": "RSA", "kid": "w", "e": "AQAB", "n": part(b"\xc5" + b"\x35" * 127)}


@cache
def ec(kid: str = "e", curve: Literal["P-256", "P-384", "P-521"] = "P-256") -> ECKey:
    """A key on a curve."""
    return ECKey.generate_key(curve, {"kid": kid})


@cache
def okp(kid: str = "o") -> OKPKey:
    """A key of RFC 8037."""
    return OKPKey.generate_key("Ed25519", {"kid": kid})


def public(*keys: Any) -> dict[str, Any]:
    """The key set that an issuer shows."""
    return dict(KeySet(list(keys)).as_dict(private=False))


def jwks(*keys: Any, **more: Any) -> bytes:
    """The same as a file; `more` stands in every key."""
    found = [{**key.as_dict(private=isinstance(key, OctKey)), **more} for key in keys]
    return json.dumps({"keys": found}).encode()


def part(value: object) -> str:
    """One part of a token; bytes and text as they are."""
    data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: Any = None, key: Any = None, alg: str = "RS256", **header: Any) -> str:
    """A token with `claims` (GOOD without any), which may be text that is no JSON, or only nearly."""
    key = rsa() if key is None else key
    payload = claims if isinstance(claims, bytes) else json.dumps(GOOD if claims is None else claims).encode()
    head = {"alg": alg, **({"kid": key.kid} if key.kid else {}), **header}
    return raw(json.dumps({name: value for name, value in head.items() if value is not None}), payload, key, alg)


def raw(header: str, payload: bytes, key: Any, alg: str) -> str:
    """A token of this header, whatever it says, signed with `alg`."""
    text = f"{part(header)}.{part(payload)}"
    signature = jws.JWSRegistry.algorithms[alg].sign(text.encode(), key)
    return f"{text}.{part(signature)}"
