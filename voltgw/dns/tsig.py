"""Messages that are signed with a key which both sides know (TSIG, RFC 8945).

A client that signs its query proves who it is, and gets a signed answer. `Keyring.verify` says whether a query is good; the
`Seal` that comes of it signs the answer, or the many messages of a transfer, one after another.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from voltgw.wire.dnsanswer import BadAnswer, read_name
from voltgw.wire.dnsmsg import HEADER_BYTES, TSIG, Malformed, Query, name_of, refusal

if TYPE_CHECKING:
    from dns.tsig import Key

#: How far the clocks of both sides may differ (RFC 8945 10), in seconds.
FUDGE_S: Final = 300
BADSIG, BADKEY, BADTIME = 16, 17, 18
NAMES: Final = {BADSIG: "BADSIG", BADKEY: "BADKEY", BADTIME: "BADTIME"}
_NOTAUTH: Final = 9
_ANY: Final = 255
_RECORD: Final = struct.Struct("!HHIH")
#: Of a TSIG behind its algorithm: the time, the fudge, the size of the MAC; and behind that the id, an error, other bytes.
_TIMES: Final = struct.Struct("!HIHH")
_BEHIND: Final = struct.Struct("!HHH")
#: A TSIG's bytes beside its names and its MAC: the record's head, time, fudge, sizes, the id, an error, and the time again.
_FIXED_BYTES: Final = 10 + 6 + 2 + 2 + 2 + 2 + 2 + 6


class Unverified(Exception):
    """A signature that does not hold. `error` is the code of RFC 8945 5.2, `answer` what the client gets."""

    def __init__(self, error: int, answer: bytes) -> None:
        super().__init__(NAMES[error])
        self.error = error
        self.answer = answer


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key by its name; `algorithm` as in RFC 8945 6, such as ``hmac-sha256``."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)


class Keyring:
    """The keys by which queries may be signed. `wall` gives seconds since 1970."""

    def __init__(self, keys: Iterable[SharedKey], wall: Callable[[], float]) -> None:
        """Raises ValueError for two keys of one name."""
        self._wall = wall
        self._keys: dict[bytes, Key] = {}
        known: dict[bytes, SharedKey] = {}
        for key in keys:
            name = name_of(key.name)
            if known.setdefault(name, key) != key:
                raise ValueError(f"two keys are named {key.name}: a client that signs by it could mean either")
            self._keys[name] = _made(key)

    def __len__(self) -> int:
        return len(self._keys)

    def verify(self, data: bytes, query: Query) -> Seal:
        """The seal of whoever has signed `query`, which was read from `data`. Raises `Unverified`, and `Malformed`."""
        self._know(data, query)
        from dns.exception import DNSException  # slow to import, and few gateways hand their zones to others
        from dns.tsig import BadSignature, validate
        owner, rdata = self._record(data, query)
        now = int(self._wall())
        key = self._keys.get(owner.canonicalize().to_wire() or b"")
        if key is None or key.algorithm != rdata.algorithm:
            raise Unverified(BADKEY, _unsigned(query, owner, rdata, BADKEY))
        try:
            # First the signature, then the time (RFC 8945 5.2): who has no key must not be given anything that is signed,
            # least of all an answer about a "signature" of its own making. Some versions of dnspython look at the time first.
            validate(data, key, owner, rdata, rdata.time_signed, b"", query.tsig)
        except BadSignature:
            raise Unverified(BADSIG, _unsigned(query, owner, rdata, BADSIG)) from None
        except DNSException:
            raise Malformed("a TSIG that says of itself that it is wrong", refusal(query, 1)) from None
        if abs(rdata.time_signed - now) > min(rdata.fudge, FUDGE_S):
            other = now.to_bytes(6, "big")          # by its own time, so that it can be checked (RFC 8945 5.2.3)
            seal = Seal(key, rdata.mac, lambda: rdata.time_signed, BADTIME, other)
            raise Unverified(BADTIME, seal.sign(refusal(query, _NOTAUTH)))
        return Seal(key, rdata.mac, self._wall)

    def _know(self, data: bytes, query: Query) -> None:
        """Raises `Unverified` for a key that is none of ours. A flood of invented keys must not cost what good ones do."""
        try:
            owner, at = read_name(data, query.tsig)
            if owner in self._keys:
                return
            kind, klass, ttl, _ = _RECORD.unpack_from(data, at)
            algorithm, at = read_name(data, at + _RECORD.size)
            time_high, time_low, fudge, size = _TIMES.unpack_from(data, at)
            identity, _, _ = _BEHIND.unpack_from(data, at + _TIMES.size + size)
        except (BadAnswer, struct.error):
            raise Malformed("a TSIG that cannot be read", refusal(query, 1)) from None
        if kind != TSIG or klass != _ANY or ttl:
            raise Malformed("a TSIG of another class, or with a TTL", refusal(query, 1))
        rdata = algorithm + _TIMES.pack(time_high, time_low, fudge, 0) + _BEHIND.pack(identity, BADKEY, 0)
        raise Unverified(BADKEY, _added(refusal(query, _NOTAUTH), owner, rdata))

    def _record(self, data: bytes, query: Query) -> tuple[Any, Any]:
        from dns.exception import DNSException
        from dns.name import from_wire
        from dns.rdata import from_wire as rdata_from_wire
        from dns.rdataclass import ANY
        from dns.rdatatype import TSIG as TSIG_TYPE
        try:
            owner, used = from_wire(data, query.tsig)
            at = query.tsig + used
            _, klass, ttl, length = _RECORD.unpack_from(data, at)
            if klass != _ANY or ttl:
                raise ValueError("its class or TTL")
            return owner, rdata_from_wire(ANY, TSIG_TYPE, data, at + _RECORD.size, length)
        except (DNSException, ValueError, struct.error):
            raise Malformed("a TSIG that cannot be read", refusal(query, 1)) from None


def _made(key: SharedKey) -> Key:
    from dns.tsig import Key
    return Key(key.name, key.secret, key.algorithm)


def _unsigned(query: Query, owner: Any, rdata: Any, error: int) -> bytes:
    """Who could not prove who it is gets no signature (RFC 8945 5.3.2)."""
    refused = rdata.replace(mac=b"", error=error, other=b"")
    return _with_record(refusal(query, _NOTAUTH), owner, refused)


def _with_record(answer: bytes, owner: Any, rdata: Any) -> bytes:
    return _added(answer, owner.to_wire(), rdata.to_wire())


def _added(answer: bytes, owner: bytes, rdata: bytes) -> bytes:
    """The answer with a TSIG as its last record."""
    count = int.from_bytes(answer[10:HEADER_BYTES], "big") + 1
    return b"".join((answer[:10], count.to_bytes(2, "big"), answer[HEADER_BYTES:], owner,
                     _RECORD.pack(TSIG, _ANY, 0, len(rdata)), rdata))


class Seal:
    """Signs what is sent to one client in answer to one query: one message, or several in a row with `several`."""

    def __init__(
        self, key: Key, mac: bytes, wall: Callable[[], float], error: int = 0, other: bytes = b"",
    ) -> None:
        self._key = key
        self._mac = mac                     # of the query: the answer's signature is about it, too
        self._wall = wall
        self._error = error
        self._other = other
        self._context: Any = None
        #: The name of the key, as text in lower case.
        self.name: str = key.name.to_text(omit_final_dot=True).lower()

    def __repr__(self) -> str:
        return f"<Seal {self.name}>"

    @property
    def room(self) -> int:
        """As many bytes as a signature takes at most."""
        from dns.tsig import mac_sizes
        key = self._key
        return len(key.name.to_wire() or b"") + len(key.algorithm.to_wire() or b"") + mac_sizes[key.algorithm] + _FIXED_BYTES

    def sign(self, answer: bytes, *, several: bool = False) -> bytes:
        """The answer with its signature. Of several, each one's is about all before it (RFC 8945 5.3.1)."""
        from dns.rdataclass import ANY
        from dns.rdatatype import TSIG as TSIG_TYPE
        from dns.rdtypes.ANY.TSIG import TSIG as Record
        from dns.tsig import sign
        now = int(self._wall())
        blank = Record(ANY, TSIG_TYPE, self._key.algorithm, now, FUDGE_S, b"", int.from_bytes(answer[:2], "big"), self._error,
                       self._other)
        first = self._context is None
        rdata, self._context = sign(answer, self._key, blank, now, self._mac if first else None, self._context, several)
        return _with_record(answer, self._key.name, rdata)


def sign_query(message: bytes, key: SharedKey, wall: Callable[[], float]) -> bytes:
    """A message of our own, signed: a NOTIFY."""
    return Seal(_made(key), b"", wall).sign(message)
