"""Numbers that stand for a user or a request: the same in every process, at every site and after every restart.

They are made with BLAKE2b (RFC 7693), which the standard library has and which costs half a microsecond. A faster hash that is
not installed everywhere would give other numbers on some gateways than on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

from voltgw.routing.cookies import cookie_reader
from voltgw.routing.problems import at

if TYPE_CHECKING:
    from voltgw.config.objects.route import CookieForHashing, HashPolicyType
    from voltgw.routing.cookies import Reader
    from voltgw.routing.route import HashKey
    from voltgw.values.exchange import Exchange

_number: Final = int.from_bytes
#: One input of the key, None = this exchange has none.
_Input: TypeAlias = "Callable[[Exchange], bytes | None]"


def stable_hash(data: bytes) -> int:
    """64 bits of `data`."""
    return _number(blake2b(data, digest_size=8).digest(), "big")


def fraction(data: bytes) -> float:
    """A number in [0, 1) that `data` always leads to; equally likely everywhere."""
    return (_number(blake2b(data, digest_size=8).digest(), "big") >> 11) * 2.0**-53


def hash_key(policies: Sequence[HashPolicyType]) -> HashKey | None:
    """The key of a route's `hash_policy` list; None when the list is empty. Raises ValueError.

    All inputs that give something count, in their order; a `terminal` one that gave something is the last. When none does, the
    key is None, and the scheduler chooses as it likes.
    """
    inputs: list[tuple[_Input, bool]] = []
    for number, policy in enumerate(policies):
        with at(number):
            inputs.append((_input(policy), policy.terminal))
    if not inputs:
        return None
    return _Key(inputs).of_one if len(inputs) == 1 else _Key(inputs).of_all


class _Key:
    """The key of a route."""

    __slots__ = ("_inputs", "_only")

    def __init__(self, inputs: list[tuple[_Input, bool]]) -> None:
        self._only = inputs[0][0]
        self._inputs = inputs

    def of_one(self, exchange: Exchange) -> int | None:
        """By the only input."""
        value = self._only(exchange)
        return None if value is None else _number(blake2b(value, digest_size=8).digest(), "big")

    def of_all(self, exchange: Exchange) -> int | None:
        """By all that there are up to a terminal one."""
        values: list[bytes] = []
        for get, terminal in self._inputs:
            value = get(exchange)
            if value is not None:
                values.append(value)
                if terminal:
                    break
        # No value holds a NUL, so different lists stay different.
        return stable_hash(b"\0".join(values)) if values else None


def _input(policy: HashPolicyType) -> _Input:
    if policy.header_name is not None:
        return _Header(policy.header_name.lower().encode("ascii")).value
    if policy.cookie is not None:
        with at("cookie"):
            return _cookie(policy.cookie)
    if policy.source_ip:
        return _client_address
    raise ValueError("this entry needs header_name, cookie or source_ip: true")


def _client_address(exchange: Exchange) -> bytes:
    return exchange.client_address.encode("ascii")


class _Header:
    """A header of the request."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def value(self, exchange: Exchange) -> bytes | None:
        """Its first value, None where it is not there."""
        return exchange.request.get(self._name)


class _Cookie:
    """A cookie of the request."""

    __slots__ = ("_read",)

    def __init__(self, read: Reader) -> None:
        self._read = read

    def value(self, exchange: Exchange) -> bytes | None:
        """It, None where it is not there."""
        return self._read(exchange.request)


def _cookie(spec: CookieForHashing) -> _Input:
    """The cookie's value; where it is missing and has a time to live, one is made and the client told to keep it."""
    read = cookie_reader(spec.name)
    return _Cookie(read).value if spec.ttl_s is None else _Kept(read, *_set_cookie(spec)).value


class _Kept:
    """A cookie that is made where it is missing; `before` and `behind` stand around its value in Set-Cookie."""

    __slots__ = ("_before", "_behind", "_read")

    def __init__(self, read: Reader, before: bytes, behind: bytes) -> None:
        self._read = read
        self._before = before
        self._behind = behind

    def value(self, exchange: Exchange) -> bytes:
        """It."""
        value = self._read(exchange.request)
        if value is None:
            client = exchange.client
            # The connection's addresses (objects.md 22.9): requests sent before the cookie arrives agree with those after.
            value = b"%016x" % stable_hash(
                f"{client.peer_address} {client.peer_port} {client.local_address} {client.local_port}".encode("ascii"))
            line = self._before + value + self._behind
            if exchange.cookies_to_set is None:
                exchange.cookies_to_set = [line]
            else:
                exchange.cookies_to_set.append(line)
        return value


def _set_cookie(spec: CookieForHashing) -> tuple[bytes, bytes]:
    """What stands before and behind the value in Set-Cookie (RFC 6265 4.1)."""
    parts = []
    if spec.ttl_s:
        parts.append(f"Max-Age={max(1, round(spec.ttl_s))}")
    if spec.path:
        with at("path"):
            if ";" in spec.path or not spec.path.isprintable():
                raise ValueError("the path of a cookie may hold neither a semicolon nor control characters")
        parts.append(f"Path={spec.path}")
    if spec.add_secure:
        parts.append("Secure")
    if not spec.ignore_httponly:                # no script has a use for it
        parts.append("HttpOnly")
    for chosen, name in ((spec.samesite_strict, "Strict"), (spec.samesite_lax, "Lax"), (spec.samesite_none, "None")):
        if chosen:
            parts.append(f"SameSite={name}")
    with at("name"):
        if any(character in spec.name for character in " \t;,=\"\\") or not spec.name.isascii() or not spec.name.isprintable():
            raise ValueError(f"{spec.name!r} is not the name of a cookie")
    return f"{spec.name}=".encode("ascii"), "".join(f"; {part}" for part in parts).encode("utf-8")
