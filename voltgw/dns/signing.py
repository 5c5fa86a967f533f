"""Answers that are signed as they are given (DNSSEC: RFC 4033 to 4035, 6605, 8080; denial of existence: RFC 9824).

A zone has one key, which signs everything (a combined signing key, RFC 6781 3.1). A name that is not there is denied by one
NSEC record that says no more than that: the zone cannot be walked, and nothing has to be known of its order. Signatures are
kept for as long as they are good; clients that make us sign more than `SIGNATURES_PER_SECOND` are asked to come by TCP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from voltgw.net.pacing import Pace, Rate
from voltgw.routing.zone import ASKED, RRset, Zone
from voltgw.wire.dnsmsg import (
    AA,
    ANY,
    CDNSKEY,
    CDS,
    CNAME,
    DNSKEY,
    DS,
    IN,
    MX,
    NS,
    NSEC,
    NXDOMAIN,
    NXNAME,
    RRSIG,
    SOA,
    SRV,
    Query,
    Sections,
    record,
    text_of,
)

ECDSA_P256, ED25519 = 13, 15
#: Signatures are good for so long, from an hour ago on; they are made anew after `RENEW_S`.
VALID_S: Final = 7 * 86400
RENEW_S: Final = 86400
_SKEW_S: Final = 3600
#: New signatures for clients whose address is not proved; a second's worth may come at once.
SIGNATURES_PER_SECOND: Final = 2000
_RATE: Final = Rate(SIGNATURES_PER_SECOND, SIGNATURES_PER_SECOND)
#: Signatures, and whole answers, that are kept.
MAX_KEPT: Final = 16384
_KEY_FLAGS: Final = 257                     # a zone key, and the one that the parent's DS names (RFC 4034 2.1.1)
_SHA256: Final = 2
_MAX_NAME: Final = 255


class Busy(Exception):
    """Too many new signatures are asked for by UDP."""


class _Set(NamedTuple):
    """Records of one name and type within an answer: how the name is written there, and its wire form in lower case."""

    owner: bytes
    name: bytes
    kind: int
    ttl: int
    rdatas: tuple[bytes, ...]


class Signer:
    """Signs the answers of one zone with the private key in `pem` (P-256 or Ed25519). `wall` gives seconds since 1970."""

    def __init__(self, apex: bytes, pem: bytes, wall: Callable[[], float]) -> None:
        """Raises ValueError for a key that cannot sign a zone."""
        self.apex = apex
        self._wall = wall
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise ValueError(f"the key of the zone is no private key in PEM: {error}") from None
        if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
            self.algorithm = ECDSA_P256
            numbers = key.public_key().public_numbers()
            public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        elif isinstance(key, Ed25519PrivateKey):
            self.algorithm = ED25519
            public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            raise ValueError("the key of a zone is one of P-256 or Ed25519: `openssl ecparam -name prime256v1 -genkey -noout`")
        self._key: EllipticCurvePrivateKey | Ed25519PrivateKey = key
        self._public = public
        self.dnskey = _KEY_FLAGS.to_bytes(2, "big") + bytes((3, self.algorithm)) + public
        self.tag = _tag(self.dnskey)
        self.ds = self.tag.to_bytes(2, "big") + bytes((self.algorithm, _SHA256)) + hashlib.sha256(apex + self.dnskey).digest()
        self.signatures = 0                 # made since the process began
        self._renew_at = 0.0
        self._inception = 0
        self._kept: dict[tuple[bytes, int, int, tuple[bytes, ...]], bytes] = {}
        self._answers: dict[tuple[bytes, int, int, bytes], Sections] = {}
        self._pace = Pace(_RATE)

    def __repr__(self) -> str:
        return f"<Signer {text_of(self.apex)} key {self.tag}>"

    def inherit(self, before: Signer) -> None:
        """After a reload: signatures of the same key over the same records are as good as before."""
        if before.dnskey == self.dnskey and before.apex == self.apex:
            self._kept, self._pace = before._kept, before._pace
            self._renew_at, self._inception = before._renew_at, before._inception

    def records(self, ttl: int) -> list[RRset]:
        """What the apex has of a signed zone: the key, and for the parent, what its DS should be (RFC 7344)."""
        return [RRset(DNSKEY, ttl, (self.dnskey,)), RRset(CDNSKEY, ttl, (self.dnskey,)), RRset(CDS, ttl, (self.ds,))]

    @property
    def ds_text(self) -> str:
        """The record that the parent zone needs, as zone files have it."""
        return f"{text_of(self.apex)}. DS {self.tag} {self.algorithm} {_SHA256} {self.ds[4:].hex().upper()}"

    def signed(self, zone: Zone, query: Query, sections: Sections, proved: bool) -> Sections:
        """The same answer with its signatures, and with the proof of what is not there.

        Raises `Busy` when a client that has not `proved` its address asks for one signature too many.
        """
        if not self._inception <= self._wall() < self._renew_at:       # it is time, or the clock was ahead when we signed
            self._renew()
        key = query.name, query.kind, sections.flags << 1 | query.compact, sections.data
        answer = self._answers.get(key)
        if answer is None:
            answer = self._made(zone, query, sections, proved)
            if len(self._answers) >= MAX_KEPT:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def _renew(self) -> None:
        now = self._wall()
        self._renew_at = now + RENEW_S
        self._inception = int(now) - _SKEW_S
        self._kept.clear()
        self._answers.clear()

    def _made(self, zone: Zone, query: Query, sections: Sections, proved: bool) -> Sections:
        sets, at = _read(sections.data, sections.answers, query, self.apex, 0)
        authority, end = _read(sections.data, sections.authorities, query, self.apex, at)
        parts, answers = [sections.data[:at]], sections.answers
        for each in sets:
            parts.append(self._signature(each, proved))
            answers += 1
        flags, authorities = sections.flags, sections.authorities
        denied = next((each for each in authority if each.kind == SOA), None)
        if denied is not None:
            aliases = [each for each in sets if each.kind == CNAME]
            owner, name = (aliases[-1].rdatas[0],) * 2 if aliases else (ASKED, query.name)
            nsec, there = self._denial(zone, owner, name, query.kind, denied.ttl)
            if not there and not query.compact:
                flags &= ~NXDOMAIN          # the record says it; only who understands that is told by the code (RFC 9824 4)
            if query.kind == NSEC and not aliases:
                parts += [_wire(nsec), self._signature(nsec, proved)]
                return Sections(flags & ~NXDOMAIN, 2, 0, 0, b"".join(parts))
            parts += [sections.data[at:end], self._signature(denied, proved), _wire(nsec), self._signature(nsec, proved)]
            authorities += 3
        elif not flags & AA and authority:
            proof = self._delegation(zone, authority[0])
            parts += [sections.data[at:end], _wire(proof), self._signature(proof, proved)]
            authorities += len(proof.rdatas) + 1
        else:
            parts.append(sections.data[at:end])
        parts.append(sections.data[end:])
        return Sections(flags, answers, authorities, sections.additional, b"".join(parts))

    def _denial(self, zone: Zone, owner: bytes, name: bytes, kind: int, ttl: int) -> tuple[_Set, bool]:
        """The NSEC that says which types a name has (RFC 9824 3), and whether there is such a name."""
        node = zone.nodes.get(name) or zone.closest(name)
        types = {RRSIG, NSEC}
        if node is None:
            types.add(NXNAME)
        elif NS in node.rrsets and name != self.apex:
            types |= {NS, DS} & set(node.rrsets)
        else:
            types |= {*node.rrsets, *node.choices}
        if kind not in (NSEC, ANY):
            types.discard(kind)
        return _Set(owner, name, NSEC, ttl, (successor(name) + _bitmap(types),)), node is not None

    def _delegation(self, zone: Zone, servers: _Set) -> _Set:
        """What stands beside the name servers of a delegation: its DS, or the proof that it has none (RFC 4035 3.1.4)."""
        keys = zone.nodes[servers.name].rrsets.get(DS)
        if keys is not None:
            return _Set(servers.owner, servers.name, DS, keys.ttl, keys.rdatas)
        none = successor(servers.name) + _bitmap({NS, RRSIG, NSEC})
        return _Set(servers.owner, servers.name, NSEC, zone.negative_ttl, (none,))

    def _signature(self, each: _Set, proved: bool) -> bytes:
        key = each.name, each.kind, each.ttl, tuple(sorted(each.rdatas))
        rdata = self._kept.get(key)
        if rdata is None:
            if not proved:
                self._take()
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            rdata = self._kept[key] = self._sign(each)
        return record(each.owner, RRSIG, each.ttl, rdata)

    def _take(self) -> None:
        now = self._wall()
        if self._pace.wait(now) > 1.0:      # more than there can be: the clock has been set back
            self._pace = Pace(_RATE)
        if self._pace.wait(now):
            raise Busy
        self._pace.take(1, now)

    def _sign(self, each: _Set) -> bytes:
        """RDATA of the RRSIG (RFC 4034 3.1); what is signed is in canonical form (RFC 4034 6)."""
        labels = _labels(each.name)
        head = b"".join((
            each.kind.to_bytes(2, "big"), bytes((self.algorithm, labels)), each.ttl.to_bytes(4, "big"),
            (self._inception + _SKEW_S + VALID_S & 0xFFFFFFFF).to_bytes(4, "big"),
            (self._inception & 0xFFFFFFFF).to_bytes(4, "big"),
            self.tag.to_bytes(2, "big"), self.apex))
        rdatas = sorted({_canonical(each.kind, one) for one in each.rdatas})
        data = head + b"".join(record(each.name, each.kind, each.ttl, rdata) for rdata in rdatas)
        self.signatures += 1
        if isinstance(self._key, Ed25519PrivateKey):
            return head + self._key.sign(data)
        r, s = decode_dss_signature(self._key.sign(data, ECDSA(hashes.SHA256())))
        return head + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _read(data: bytes, count: int, query: Query, apex: bytes, at: int) -> tuple[list[_Set], int]:
    """The sets among `count` records of one section from `at` on, and where they end."""
    sets: list[_Set] = []
    for owner, name, kind, ttl, rdata, after in _records(data, count, query, apex, at):
        last = sets[-1] if sets else None
        if last is not None and (last.name, last.kind) == (name, kind):
            sets[-1] = last._replace(rdatas=(*last.rdatas, rdata))
        else:
            sets.append(_Set(owner, name, kind, ttl, (rdata,)))
        at = after
    return sets, at


def _records(
    data: bytes, count: int, query: Query, apex: bytes, at: int,
) -> Iterator[tuple[bytes, bytes, int, int, bytes, int]]:
    for _ in range(count):
        if data[at] >= 0xC0:                # to the question, or to the apex within it: nothing else is compressed
            owner = data[at:at + 2]
            name = query.name if owner == ASKED else apex
        else:
            end = at
            while data[end]:
                end += data[end] + 1
            owner = name = data[at:end + 1]
        at += len(owner)
        kind, ttl = int.from_bytes(data[at:at + 2], "big"), int.from_bytes(data[at + 4:at + 8], "big")
        assert data[at + 2:at + 4] == IN.to_bytes(2, "big")     # all of it is ours
        after = at + 10 + int.from_bytes(data[at + 8:at + 10], "big")
        yield owner, name, kind, ttl, data[at + 10:after], after
        at = after


def _wire(each: _Set) -> bytes:
    return b"".join(record(each.owner, each.kind, each.ttl, rdata) for rdata in each.rdatas)


def _labels(name: bytes) -> int:
    count, at = 0, 0
    while name[at]:
        count += 1
        at += name[at] + 1
    return count - (name[:2] == b"\x01*")


def _canonical(kind: int, rdata: bytes) -> bytes:
    """Names within it in lower case (RFC 4034 6.2); those of NS, CNAME, SOA and PTR are so already."""
    start = {MX: 2, SRV: 6}.get(kind)
    return rdata if start is None else rdata[:start] + rdata[start:].lower()


def _tag(dnskey: bytes) -> int:
    """RFC 4034, Appendix B."""
    total = sum(byte << 8 if index % 2 == 0 else byte for index, byte in enumerate(dnskey))
    return total + (total >> 16) & 0xFFFF


def _bitmap(types: set[int]) -> bytes:
    """Which types there are (RFC 4034 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for kind in sorted(types):
        bits = windows.setdefault(kind >> 8, bytearray())
        low = kind & 0xFF
        bits.extend(bytes(max(0, low // 8 + 1 - len(bits))))
        bits[low // 8] |= 0x80 >> low % 8
    return b"".join(bytes((window, len(bits))) + bits for window, bits in windows.items())


def successor(name: bytes) -> bytes:
    """The name that comes next in the order of names, so that nothing is denied but the name itself (RFC 9824 3.1).

    That is the one with an empty label of one zero byte before it. Where that is too long, it is the next one of the same
    length: what lies between them is too long to be.
    """
    if len(name) + 2 <= _MAX_NAME:
        return b"\x01\x00" + name
    label, rest = bytearray(name[1:1 + name[0]]), name[1 + name[0]:]
    while label and label[-1] == 0xFF:
        del label[-1]
    if not label:
        return rest
    label[-1] += 1
    return bytes((len(label),)) + bytes(label) + rest
