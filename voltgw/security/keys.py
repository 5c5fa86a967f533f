"""The keys that tokens are verified with: a JSON web key set (RFC 7517), read once, and the signatures of RFC 7518 and 8037.

What a key may verify follows from the key, never from a token: an RSA key verifies RSA signatures and is never the secret of an
HMAC, and a secret never stands in for a key that everybody knows. `joserfc` does the arithmetic.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

from voltgw.security.tokens import ALGORITHM, MAX_KID, NO_KEYS, SIGNATURE, UNKNOWN_KEY, Refused, Token, read_json

#: Largest key set in bytes, and keys in one.
MAX_JWKS_BYTES: Final = 1 << 20
MAX_KEYS: Final = 100
#: Keys that one token may be tried with: without a key id all would do.
MAX_TRIED: Final = 16
#: Bits of an RSA key (RFC 7518 3.3 asks for 2048; beyond the other, one signature takes a millisecond).
LEAST_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8192
_MOST_EXPONENT_BITS: Final = 33

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC: Final = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_OKP: Final = {"Ed25519": ("EdDSA", "Ed25519"), "Ed448": ("EdDSA", "Ed448")}
#: Bytes that the secret of each must have at least (RFC 7518 3.2).
_HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}

#: Every algorithm that there is here; what anybody may verify, and what needs a secret.
ASYMMETRIC: Final = (*_RSA, *(name for names in _EC.values() for name in names), "EdDSA", "Ed25519", "Ed448")
SYMMETRIC: Final = tuple(_HMAC)
ALGORITHMS: Final = ASYMMETRIC + SYMMETRIC


class VerifyKey(NamedTuple):
    """One key: `kid` None = it has no id; `algs` is all that it may verify."""

    kid: str | None
    algs: frozenset[str]
    key: Any


class KeySet:
    """Some keys. `skipped` says why others of the same set are not used."""

    __slots__ = ("keys", "skipped")

    def __init__(self, keys: Collection[VerifyKey], skipped: Collection[str] = ()) -> None:
        self.keys = tuple(keys)
        self.skipped = tuple(skipped)

    @classmethod
    def parse(cls, data: bytes, *, secrets: bool) -> KeySet:
        """The keys of a set (or of a single JWK). Symmetric ones are used only where `secrets` says so: not from a URL.

        Raises ValueError, which shows nothing of them, when no key of it can be used.
        """
        if len(data) > MAX_JWKS_BYTES:
            raise ValueError(f"a key set of {len(data)} bytes is larger than the {MAX_JWKS_BYTES} that are accepted")
        try:
            value = read_json(data)
        except ValueError as error:
            raise ValueError(f"the key set {error}") from None
        if isinstance(value, dict) and "keys" not in value and "kty" in value:
            value = {"keys": [value]}
        listed = value.get("keys") if isinstance(value, dict) else None
        if not isinstance(listed, list):
            raise ValueError("the key set has no list of keys")
        if len(listed) > MAX_KEYS:
            raise ValueError(f"the key set has {len(listed)} keys, more than the {MAX_KEYS} that are accepted")
        keys: list[VerifyKey] = []
        skipped: list[str] = []
        for number, one in enumerate(listed):
            try:
                keys.append(_key(one, secrets))
            except ValueError as error:
                skipped.append(f"key {number} {error}")
        if not keys:
            raise ValueError("the key set has no key that can be used" + (f": {'; '.join(skipped[:3])}" if skipped else ""))
        return cls(keys, skipped)

    def verify(self, token: Token, allowed: Collection[str]) -> None:
        """Check the signature. `allowed` are the algorithms that the configuration lets be used. Raises `Refused`."""
        if token.alg not in allowed:
            raise Refused(ALGORITHM, "its algorithm is not one of those that are allowed")
        tried = 0
        others = False
        for key in self.keys:
            if key.kid is not None and token.kid is not None and key.kid != token.kid:
                continue
            if token.alg not in key.algs:
                others = True
                continue
            tried += 1
            if tried > MAX_TRIED:
                break
            if _good(key, token):
                return
        if tried:
            raise Refused(SIGNATURE, "its signature is not that of a key of the set")
        if others and token.kid is not None:
            raise Refused(ALGORITHM, "its algorithm is not one of its key's")
        raise Refused(UNKNOWN_KEY, "no key of the set has its key id" if token.kid is not None else "no key of the set fits it")


#: Before a set has come.
NOBODYS: Final = KeySet(())


def no_keys(why: str) -> Refused:
    """There is no key set yet."""
    return Refused(NO_KEYS, why)


def _algorithms() -> Mapping[str, Any]:
    jws = import_module("joserfc.jws")      # it takes a while, and few need it
    found: Mapping[str, Any] = jws.JWSRegistry.algorithms
    return found


def _good(key: VerifyKey, token: Token) -> bool:
    try:
        return bool(_algorithms()[token.alg].verify(token.signed, token.signature, key.key))
    except ValueError:                      # a signature of a length that cannot be
        return False


def _key(one: object, secrets: bool) -> VerifyKey:
    if not isinstance(one, dict):
        raise ValueError("is no JSON object")
    kid, use, operations, said = one.get("kid"), one.get("use"), one.get("key_ops"), one.get("alg")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
        raise ValueError("has an id that is no text, or a very long one")
    if use not in (None, "sig") or (operations is not None and not (isinstance(operations, list) and "verify" in operations)):
        raise ValueError("is not for signatures")
    kind = one.get("kty")
    if kind == "oct" and not secrets:
        raise ValueError("is a secret, which does not stand where everybody may read it")
    able = _able(one, kind)
    if said is not None:
        if said not in able:
            raise ValueError("is for another algorithm than such a key can verify, or is too short for it")
        able = (str(said),)
    jwk = import_module("joserfc.jwk")
    errors = import_module("joserfc.errors")
    members = {name: one[name] for name in _MEMBERS[str(kind)] if name in one}      # never the private ones
    try:
        if kind == "RSA":
            _check_rsa(members)
        key = jwk.JWKRegistry.import_key(members)
        key.get_op_key("verify")
    except (errors.JoseError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(str(error) if isinstance(error, _Unfit) else "is no valid key") from None
    return VerifyKey(kid, frozenset(able), key)


#: What is taken of a key; the rest is not for verifying.
_MEMBERS: Final = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x"), "oct": ("kty", "k")}


def _able(one: Mapping[str, Any], kind: object) -> tuple[str, ...]:
    """What a key can verify."""
    if kind == "RSA":
        return _RSA
    if kind in ("EC", "OKP"):
        curve = one.get("crv")
        found = (_EC if kind == "EC" else _OKP).get(curve) if isinstance(curve, str) else None
        if found is None:
            raise ValueError("is on a curve that is not used for signatures here")
        return found
    if kind == "oct":
        secret = one.get("k")
        length = len(secret) * 3 // 4 if isinstance(secret, str) else 0
        able = tuple(name for name, least in _HMAC.items() if length >= least)
        if not able:
            raise ValueError(f"is a secret of less than {_HMAC['HS256']} bytes")
        return able
    raise ValueError("is of a kind that is not known")


class _Unfit(ValueError):
    """A valid key that is not used."""


def _check_rsa(members: Mapping[str, Any]) -> None:
    modulus, exponent = (
        int.from_bytes(urlsafe_b64decode(members[name] + "=" * (-len(members[name]) % 4))).bit_length() for name in ("n", "e"))
    if not LEAST_RSA_BITS <= modulus <= MOST_RSA_BITS:
        raise _Unfit(f"has {modulus} bits; {LEAST_RSA_BITS} to {MOST_RSA_BITS} are accepted")
    if exponent > _MOST_EXPONENT_BITS:
        raise _Unfit("has an exponent that takes too long")
