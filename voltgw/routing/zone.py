"""Which answer a question of DNS gets: the zones of this gateway, built once and looked up by name.

A `Zone` is made of its records, and virtual hosts are put into it (RFC 1034 4.3.2; wildcards by RFC 4592; empty non-terminals
by RFC 8020; delegations below it). Every answer that does not depend on the name asked for is in wire form by then: a warm
query is one look-up in a dictionary, another one by type, and a copy. Where a name has several addresses, `Choice` says which
of them go into the next answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from voltgw.wire.dnsmsg import (
    AA,
    AAAA,
    ANY,
    CNAME,
    DS,
    HINFO,
    HTTPS,
    MAX_LABEL_BYTES,
    MAX_NAME_BYTES,
    NS,
    NXDOMAIN,
    SOA,
    A,
    Query,
    Sections,
    checked_labels,
    record,
    text_of,
    type_name,
)

#: A pointer to the name of the question, which stands behind the header.
ASKED: Final = b"\xC0\x0C"
#: CNAMEs that are followed within a zone.
MAX_CHAIN: Final = 8
#: Addresses that one answer has at most.
MAX_ANSWERS: Final = 16
_ANY_TTL_S: Final = 3600
_HINFO: Final = b"\x07RFC8482\x00"
#: As many bits as any client's subnet has: nothing wider than what the client told is known to be answered alike.
_WHOLE_SUBNET: Final = 128

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Order(Enum):
    """How the addresses of a name are put into an answer."""

    ROUND_ROBIN = "round_robin"             # all, beginning with another one each time
    WEIGHTED = "weighted"                   # one, by its share of the weights
    PRIORITY = "priority"                   # those of the best priority, beginning with another one each time
    CLIENT_SUBNET = "client_subnet"         # those whose prefixes have the client in them; else those without prefixes, or all


@dataclass(frozen=True, slots=True)
class Target:
    """One address of a name. The best `priority` is 0; `clients` are prefixes for whose hosts it is the one to give."""

    address: Address
    weight: int = 1
    priority: int = 0
    clients: tuple[Network, ...] = ()
    up: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """A name that stands for virtual hosts. `https` is what its HTTPS record says (RFC 9460), if it has one.

    When no target is up, `serve_down` says whether all are given (somebody may be wrong) or none.
    """

    name: bytes
    targets: tuple[Target, ...]
    order: Order = Order.ROUND_ROBIN
    https: bytes | None = None
    serve_down: bool = True

    @property
    def given(self) -> tuple[Target, ...]:
        """The targets that answers are made of, as if all were up that are given."""
        up = tuple(target for target in self.targets if target.up)
        if up or not self.serve_down:
            return up
        return tuple(replace(target, up=True) for target in self.targets)

    @property
    def common(self) -> frozenset[Address]:
        """The addresses that every client is given, whoever it is and whenever it asks."""
        found: set[Address] = set()
        for version in (4, 6):
            targets = _usable([target for target in self.given if target.address.version == version], self.order)
            if len(targets) == 1 or self.order in (Order.ROUND_ROBIN, Order.PRIORITY) and len(targets) <= MAX_ANSWERS:
                found.update(target.address for target in targets)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class RRset:
    """Records of one name and type; `rdatas` in wire form, names in them not compressed."""

    kind: int
    ttl: int
    rdatas: tuple[bytes, ...]


def _usable(targets: Sequence[Target], order: Order) -> list[Target]:
    """Those of one family that an order uses at all: of weight 0 only where all have it, by priority only the best."""
    usable = [target for target in targets if target.weight > 0] or list(targets)
    if order is Order.PRIORITY and usable:
        best = min(target.priority for target in usable)
        usable = [target for target in usable if target.priority == best]
    return usable


class Choice:
    """Chooses among the addresses of one name and family; an answer is made ahead for everything that can be chosen."""

    __slots__ = ("_cumulative", "_networks", "_random", "_total", "_turn", "_variants")

    def __init__(self, targets: Sequence[Target], order: Order, ttl: int, random: Callable[[], float]) -> None:
        """At least one target; one of weight 0 is given only where all have it.

        Whose turn it is begins at random: a name that is put in anew with every change of health, and servers that answer for
        it side by side, would else give the first address more often than others.
        """
        self._random = random
        self._total = 0
        self._cumulative: list[int] = []
        self._networks: tuple[tuple[Network, Choice], ...] = ()
        targets = _usable(targets, order)
        if order is Order.WEIGHTED:
            for target in targets:
                self._total += max(target.weight, 1)
                self._cumulative.append(self._total)
            self._variants = tuple(_addresses((target,), ttl) for target in targets)
            self._turn = 0
            return
        if order is Order.CLIENT_SUBNET:
            self._networks = tuple(
                (network, Choice([target for target in targets if network in target.clients], Order.ROUND_ROBIN, ttl, random))
                for network in sorted({network for target in targets for network in target.clients}, key=_longest_first))
            targets = [target for target in targets if not target.clients] or targets
        self._variants = tuple(
            _addresses([*targets[turn:], *targets[:turn]][:MAX_ANSWERS], ttl) for turn in range(len(targets)))
        self._turn = int(random() * len(targets)) if len(targets) > 1 else 0

    def sections(self, query: Query, peer: str) -> tuple[Sections, int]:
        """The next answer, and its scope: for how many bits of the client's subnet it is true."""
        scope = 0
        if self._networks:
            address, bits = client_of(query, peer)
            found = next(((network, choice) for network, choice in self._networks
                          if network.prefixlen <= bits and address in network), None)
            if query.subnet is not None:
                scope = self._scope(address, found[0] if found is not None else None)
            if found is not None:
                return found[1].sections(query, peer)[0], scope
        variants = self._variants
        if self._cumulative:
            return variants[bisect_right(self._cumulative, self._random() * self._total)], 0
        turn = self._turn
        self._turn = turn + 1 if turn + 1 < len(variants) else 0
        return variants[turn], scope

    def next(self) -> Sections | None:
        """The next answer, if it does not depend on who asks."""
        if self._networks:
            return None
        variants = self._variants
        if self._cumulative:
            return variants[bisect_right(self._cumulative, self._random() * self._total)]
        turn = self._turn
        self._turn = turn + 1 if turn + 1 < len(variants) else 0
        return variants[turn]

    @property
    def only(self) -> Sections | None:
        """The one answer, if there is no other one for anybody."""
        return self._variants[0] if len(self._variants) == 1 and not self._networks else None

    def _scope(self, client: Address, taken: Network | None) -> int:
        """The bits of the shortest prefix around a client all of whose hosts are answered as it is (RFC 7871 7.2.1); at least
        1, as 0 would speak for clients of the other family, too."""
        scope = 1 if taken is None else max(taken.prefixlen, 1)
        for network, _ in self._networks:
            if network.version == client.version and network is not taken:
                apart = int(client) ^ int(network.network_address)
                common = client.max_prefixlen - apart.bit_length()
                if common < network.prefixlen:
                    scope = max(scope, common + 1)
                elif taken is None or network.prefixlen > taken.prefixlen:
                    return _WHOLE_SUBNET        # too few bits of the client are known to tell
        return scope


def _longest_first(network: Network) -> tuple[int, int, bytes]:
    return -network.prefixlen, network.version, network.network_address.packed


def client_of(query: Query, peer: str) -> tuple[Address, int]:
    """For whom a query is, and how many bits of that are known: the subnet that a resolver tells of, or the resolver itself."""
    subnet = query.subnet
    if subnet is not None and subnet.bits:
        size = 4 if subnet.family == 1 else 16
        return ip_address(subnet.address.ljust(size, b"\0")), subnet.bits
    address = ip_address(peer)
    address = getattr(address, "ipv4_mapped", None) or address
    return address, address.max_prefixlen


def _addresses(targets: Iterable[Target], ttl: int) -> Sections:
    records = [record(ASKED, A if target.address.version == 4 else AAAA, ttl, target.address.packed) for target in targets]
    return Sections(AA, len(records), 0, 0, b"".join(records))


class Node:
    """What a name has. One that has nothing is there all the same: something stands below it."""

    __slots__ = ("answers", "choices", "cut", "ready", "rrsets", "zone")

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        #: By type, answers that everybody gets until the zone changes.
        self.ready: dict[int, Sections] = {}
        self.rrsets: dict[int, RRset] = {}
        self.choices: dict[int, Choice] = {}
        self.answers: dict[int, Sections] = {}
        self.cut: Sections | None = None    # the name is delegated, or stands below one that is


class Zone:
    """One zone: its static records, and the virtual hosts that are put into it one by one with `set_host`.

    Raises ValueError for records that contradict each other, or stand outside it.
    """

    def __init__(
        self, apex: bytes, soa: RRset, records: Mapping[bytes, Sequence[RRset]], ttl: int, random: Callable[[], float],
    ) -> None:
        self.apex = apex
        self.soa = soa
        self.ttl = ttl
        self._random = random
        self.hosts: dict[bytes, Host] = {}
        self._nothing: dict[tuple[int, int], Sections] = {}     # by flags, and how long the name is
        self.negative_ttl = min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"))    # RFC 2308 3: the SOA's MINIMUM
        self.nodes: dict[bytes, Node] = {apex: Node(self)}
        self._set(apex, soa)
        for name, rrsets in records.items():
            for rrset in rrsets:
                self._set(name, rrset)
        for name in list(self.nodes):
            self._add_parents(name)
        self._delegate()
        for name, node in self.nodes.items():
            self._prepare(name, node)

    def __repr__(self) -> str:
        return f"<Zone {text_of(self.apex)}: {len(self.nodes)} names>"

    # -- building ----------------------------------------------------------------------------------------------------------

    def set_host(self, host: Host) -> bool:
        """Put a virtual host's name in, or in place of what it was before; True when the answers are other ones now.

        Raises ValueError where static records have the name.
        """
        before = self.hosts.get(host.name)
        if before == host:
            return False
        node = self._node(host.name)
        if not {A, AAAA, CNAME}.isdisjoint(node.rrsets):
            raise ValueError(f"{text_of(host.name)} has static addresses, or a CNAME, and is a virtual host's domain too")
        self.hosts[host.name] = host
        if before is None:
            self._add_parents(host.name)
            if node.cut is None:
                above = self.closest(host.name)
                node.cut = above.cut if above is not None else None
        if before is not None and (before.given, before.order, before.https) == (host.given, host.order, host.https):
            return False
        choices = {}
        for kind, version in ((A, 4), (AAAA, 6)):
            targets = [target for target in host.given if target.address.version == version]
            if targets:
                choices[kind] = Choice(targets, host.order, self.ttl, self._random)
        there = node.rrsets.get(HTTPS)
        if before is not None and there is not None and there.rdatas == (before.https,):    # ours, not a static one
            del node.rrsets[HTTPS]
        if host.https is not None and choices and HTTPS not in node.rrsets:
            node.rrsets[HTTPS] = RRset(HTTPS, self.ttl, (host.https,))
        node.choices = choices
        self._prepare(host.name, node)
        servers = self.nodes[self.apex].rrsets.get(NS)
        if servers is not None and host.name in servers.rdatas:
            self._prepare(self.apex, self.nodes[self.apex])
        return True

    @property
    def serial(self) -> int:
        """The SOA's serial number (RFC 1982)."""
        return int.from_bytes(self.soa.rdatas[0][-20:-16], "big")

    def changed(self) -> None:
        """Answers are other ones now: secondaries learn it by the serial number."""
        self._number(self.serial + 1)

    def follow_on(self, before: Zone) -> None:
        """Take the place of the same zone as it was before: secondaries have to see a later serial number."""
        if not is_newer(self.serial, before.serial):
            self._number(before.serial + 1)

    def _number(self, serial: int) -> None:
        rdata = self.soa.rdatas[0]
        self._nothing.clear()               # it has the SOA
        self.soa = RRset(SOA, self.soa.ttl, (rdata[:-20] + (serial & 0xFFFFFFFF).to_bytes(4, "big") + rdata[-16:],))
        node = self.nodes[self.apex]
        node.rrsets[SOA] = self.soa
        self._prepare(self.apex, node)

    def _node(self, name: bytes) -> Node:
        node = self.nodes.get(name)
        if node is None:
            if not is_below(name, self.apex):
                raise ValueError(f"{text_of(name)} is not within the zone")
            node = self.nodes[name] = Node(self)
        return node

    def _set(self, name: bytes, rrset: RRset) -> None:
        node = self._node(name)
        if rrset.kind in node.rrsets:
            raise ValueError(f"{text_of(name)} has two sets of {type_name(rrset.kind)} records")
        if node.rrsets and (CNAME in node.rrsets or rrset.kind == CNAME):
            raise ValueError(f"{text_of(name)} has a CNAME beside other records (RFC 1034 3.6.2)")
        node.rrsets[rrset.kind] = rrset

    def _add_parents(self, name: bytes) -> None:
        """Names between this one and the apex exist, though they may be empty."""
        while name != self.apex:
            name = name[name[0] + 1:]
            if name in self.nodes:
                return
            self.nodes[name] = Node(self)

    def _delegate(self) -> None:
        """Whatever stands at or below a delegation is answered by naming its servers."""
        cuts = [name for name, node in self.nodes.items() if NS in node.rrsets and name != self.apex]
        for cut in sorted(cuts, key=len):
            if self.nodes[cut].cut is not None:
                continue                    # below another one
            servers = self.nodes[cut].rrsets[NS]
            glue, count = self._glue(servers)
            data = b"".join(record(cut, NS, servers.ttl, rdata) for rdata in servers.rdatas)
            referral = Sections(0, 0, len(servers.rdatas), count, data + glue)
            for name, node in self.nodes.items():
                if name == cut or is_below(name, cut):
                    node.cut = referral

    def _glue(self, servers: RRset) -> tuple[bytes, int]:
        """The addresses of name servers within the zone: without them nobody would find the way (RFC 9471)."""
        found = [record(target, kind, self.ttl, rdata)
                 for target in servers.rdatas for kind in (A, AAAA) for rdata in self._rdatas(target, kind)]
        return b"".join(found), len(found)

    def _rdatas(self, name: bytes, kind: int) -> tuple[bytes, ...]:
        node = self.nodes.get(name)
        if node is None:
            return ()
        if kind in node.rrsets:
            return node.rrsets[kind].rdatas
        version = 4 if kind == A else 6
        host = self.hosts.get(name)
        return () if host is None else tuple(
            target.address.packed for target in host.given if target.address.version == version)

    def _prepare(self, name: bytes, node: Node) -> None:
        node.answers = {}
        for kind, rrset in node.rrsets.items():
            node.answers[kind] = Sections(
                AA, len(rrset.rdatas), 0, 0, b"".join(record(ASKED, kind, rrset.ttl, rdata) for rdata in rrset.rdatas))
        if name == self.apex and NS in node.rrsets:
            plain = node.answers[NS]
            glue, count = self._glue(node.rrsets[NS])
            node.answers[NS] = Sections(AA, plain.answers, 0, count, plain.data + glue)
        if node.rrsets or node.choices:
            node.answers[ANY] = Sections(AA, 1, 0, 0, record(ASKED, HINFO, _ANY_TTL_S, _HINFO))     # RFC 8482 4.2
        node.ready = {}
        if node.cut is None:
            node.ready.update(node.answers)
            for kind, choice in node.choices.items():
                node.ready.pop(kind, None)
                if choice.only is not None:
                    node.ready[kind] = choice.only

    # -- answering ---------------------------------------------------------------------------------------------------------

    def closest(self, name: bytes) -> Node | None:
        """What a name that is not there falls to: a delegation above it, or the wildcard of its closest encloser
        (RFC 4592 3.3.1); None: there is no such name."""
        while name != self.apex:
            name = name[name[0] + 1:]
            node = self.nodes.get(name)
            if node is not None:
                return node if node.cut is not None else self.nodes.get(b"\x01*" + name)
        return None

    def follow(self, alias: RRset, query: Query, peer: str) -> tuple[Sections, int]:
        """The answer where an alias stands: it, and what it leads to as far as that is ours (RFC 1034 4.3.2, RFC 6604)."""
        data, count, owner, kind = b"", 0, ASKED, query.kind
        for _ in range(MAX_CHAIN):
            data += record(owner, CNAME, alias.ttl, alias.rdatas[0])
            count += 1
            owner = alias.rdatas[0]
            if owner != self.apex and not is_below(owner, self.apex):
                break
            node = self.nodes.get(owner) or self.closest(owner)
            if node is None:
                return Sections(AA | NXDOMAIN, count, 1, 0, data + self._authority(self.apex)), 0
            if node.cut is not None:
                break
            if kind in node.choices:
                found, scope = node.choices[kind].sections(query, peer)
            elif kind in node.rrsets:
                found, scope = node.answers[kind], 0
            elif CNAME in node.rrsets:
                alias = node.rrsets[CNAME]
                continue
            else:
                return Sections(AA, count, 1, 0, data + self._authority(self.apex)), 0
            return Sections(AA, count + found.answers, 0, 0, data + _owned(found, owner)), scope
        return Sections(AA, count, 0, 0, data), 0

    def nothing(self, name: bytes, flags: int) -> Sections:
        """There is no such name, or it has nothing of this type (RFC 2308 2)."""
        key = flags, len(name)
        sections = self._nothing.get(key)
        if sections is None:
            pointer = (0xC000 | 12 + len(name) - len(self.apex)).to_bytes(2, "big")
            sections = self._nothing[key] = Sections(flags, 0, 1, 0, self._authority(pointer))
        return sections

    def _authority(self, owner: bytes) -> bytes:
        return record(owner, SOA, self.negative_ttl, self.soa.rdatas[0])


def _owned(sections: Sections, owner: bytes) -> bytes:
    """Answers about the name asked for, as answers about `owner`."""
    data, found, at = sections.data, b"", 0
    for _ in range(sections.answers):
        end = at + 12 + int.from_bytes(data[at + 10:at + 12], "big")
        found += owner + data[at + 2:end]
        at = end
    return found


def is_newer(serial: int, than: int) -> bool:
    """Whether a serial number comes after another one, on a circle (RFC 1982 3.2)."""
    return 0 < (serial - than & 0xFFFFFFFF) < 1 << 31


def is_below(name: bytes, parent: bytes) -> bool:
    """Whether `name` stands below `parent`, label by label."""
    over = len(name) - len(parent)
    at = 0
    while at < over:
        at += name[at] + 1
    return at == over > 0 and name.endswith(parent)


class Zones:
    """All zones of a gateway. Of two that overlap, the deeper one has what is below its apex."""

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.zones = {zone.apex: zone for zone in zones}
        self.nodes: dict[bytes, Node] = {}
        for apex in sorted(self.zones, key=len):
            inherited = [name for name in self.nodes if name == apex or is_below(name, apex)]
            for name in inherited:
                del self.nodes[name]
            self.nodes.update(self.zones[apex].nodes)

    def zone_of(self, name: bytes) -> Zone | None:
        """The zone that a name stands in."""
        while True:
            zone = self.zones.get(name)
            if zone is not None:
                return zone
            if not name[0]:
                return None
            name = name[name[0] + 1:]

    def plain(self, name: bytes, kind: int, node: Node | None) -> Sections | None:
        """What everybody is told who asks for this now, without ECS; None: `answer` has to say it.

        `node` is what the name has, if it is there; else the name may be none at all.
        """
        if node is None:
            at, size = 0, len(name)
            if not 0 < size <= MAX_NAME_BYTES:
                return None
            while node is None:             # the closest encloser: all of it is a name, as it is there
                length = name[at]
                at += length + 1
                if not 0 < length <= MAX_LABEL_BYTES or at >= size:
                    return None
                node = self.nodes.get(name[at:])
            if node.cut is not None:
                return node.cut
            zone = node.zone
            node = zone.nodes.get(b"\x01*" + name[at:])
            if node is None:
                return zone.nothing(name, AA | NXDOMAIN)
        if node.cut is not None:
            return None
        choice = node.choices.get(kind)
        if choice is not None:
            return choice.next()
        sections = node.answers.get(kind)
        if sections is None and CNAME not in node.rrsets:
            return node.zone.nothing(name, AA)
        return sections

    def answer(self, query: Query, peer: str) -> tuple[Sections, int] | None:
        """What is said to a query of class IN from `peer` (an address), and the scope of it; None: the name is in no zone here.

        Raises `Malformed` for a name that is none.
        """
        name, kind = query.name, query.kind
        node = self.nodes.get(name)
        if node is None:
            checked_labels(query)
            zone = self.zone_of(name)
            if zone is None:
                return None
            node = zone.closest(name)
            if node is None:
                return zone.nothing(name, AA | NXDOMAIN), 0
            if node.cut is not None:
                return node.cut, 0
        choice = node.choices.get(kind)
        if choice is not None and node.cut is None:
            return choice.sections(query, peer)
        zone = node.zone
        if node.cut is not None and not (kind == DS and NS in node.rrsets):
            return node.cut, 0
        sections = node.answers.get(kind)
        if sections is not None:
            return sections, 0
        alias = node.rrsets.get(CNAME)
        if alias is not None:
            return zone.follow(alias, query, peer)
        return zone.nothing(name, AA), 0
