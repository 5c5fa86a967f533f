"""From objects to delegated zones: which domains of virtual hosts stand in which zone, and with which VIPs.

A domain has the VIP of every policy by which its virtual hosts are advertised: here, what this gateway is bound to; at other
sites that the policy selects, its address or the site's own VIP, as far as objects say it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.sites import NO_ROUTE, spots
from voltgw.config.allocation import vip_of
from voltgw.config.networks import Networks
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.where import selected_sites
from voltgw.dns.signing import Signer
from voltgw.dns.transfers import Secondary
from voltgw.dns.tsig import Keyring, SharedKey
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.zone import Address, Host, Network, Order, RRset, Target, Zone, Zones, is_below
from voltgw.values.defaults import DNS_TTL_S
from voltgw.wire.dnsmsg import AAAA, NS, SOA, TYPES, A, https_rdata, name_of, text_of

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.sites import InterfaceAddress
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.delegation import DnsDelegation
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.where import Selected
    from voltgw.routing.route import VirtualHost

#: Times of a zone that secondaries go by (RFC 1912 2.2), in seconds: refresh, retry, expire; MINIMUM is the zone's TTL.
_SOA_TIMES: Final = (3600, 600, 604800)
#: Names in one step of building.
_STEP: Final = 64
#: Stands for an address of this host that only the host itself knows.
THIS_HOST: Final = ip_address("0.0.0.0")
_EVERY: Final = (None, "0.0.0.0", "::")
#: Types that a zone has of its own, or that only a signer writes.
_NOT_STATIC: Final = frozenset(("SOA", "OPT", "TSIG", "RRSIG", "NSEC", "DNSKEY", "CDS", "CDNSKEY", "AXFR", "IXFR", "ANY"))


@dataclass(frozen=True, slots=True)
class Offer:
    """One VIP of a name: where it is, by which policy, and for which virtual host."""

    address: Address
    host: VirtualHost
    policy: str
    site: str
    own: bool
    port: int
    tls: bool
    weight: int = 1
    priority: int = 0
    clients: tuple[Network, ...] = ()
    said: bool = False                      # weight, priority and clients are what the policy says, not what it leaves out


@dataclass(slots=True)
class Name:
    """A name of a delegated zone that virtual hosts have as a domain."""

    text: str
    wire: bytes
    offers: list[Offer] = field(default_factory=list)

    def host(self, up: Callable[[VirtualHost], bool], spec: DnsDelegation) -> Host:
        """What the zone is told of it now; an address is up when one of the hosts behind it is.

        Of several policies that have one address (on several ports), the first counts that says anything of DNS.
        """
        terms: dict[Address, Offer] = {}
        is_up: dict[Address, bool] = {}
        for offer in self.offers:
            before = terms.get(offer.address)
            if before is None or offer.said and not before.said:
                terms[offer.address] = offer
            is_up[offer.address] = is_up.get(offer.address, False) or up(offer.host)
        targets = tuple(Target(address, offer.weight, offer.priority, offer.clients, is_up[address])
                        for address, offer in terms.items())
        host = Host(self.wire, targets, Order(spec.order.value), None, spec.when_down.value == "serve_all")
        return replace(host, https=self._https(spec, host))

    def _https(self, spec: DnsDelegation, host: Host) -> bytes | None:
        """Its hints are addresses that every client would be given; one that is told one address is not led to another."""
        given = {target.address for target in host.given}
        secure = [offer for offer in self.offers if offer.tls and offer.address in given]
        if not secure or spec.disable_https_records:
            return None
        ports = {offer.port for offer in secure}
        port = 443 if 443 in ports else min(ports)
        version_2 = all(offer.host.version_2 for offer in secure)
        version_1 = all(offer.host.version_1 for offer in secure)
        alpn = [name for name, spoken in ((b"h2", version_2), (b"http/1.1", version_1)) if spoken]
        common = host.common
        return https_rdata(alpn, port if port != 443 else None, list(dict.fromkeys(
            offer.address for offer in secure if offer.port == port and offer.address in common)))


@dataclass(slots=True)
class Delegated:
    """One delegated zone: the object that declares it, the names in it, and domains that it cannot have, with the reason."""

    object: Object[DiscoverySpec]
    spec: DnsDelegation
    zone: Zone
    secondaries: tuple[Secondary, ...] = ()
    signer: Signer | None = None
    names: dict[bytes, Name] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    looked: dict[VirtualHost, bool] | None = None       # who could serve when that was last looked at

    def hosts(self) -> Iterable[VirtualHost]:
        """The virtual hosts behind its names, each once."""
        if self.looked is not None:
            return self.looked
        return dict.fromkeys(offer.host for name in self.names.values() for offer in name.offers)

    @property
    def keys(self) -> list[SharedKey]:
        """The keys by which its secondaries sign."""
        return [each.key for each in self.secondaries if each.key is not None]


@dataclass(slots=True)
class Delegations:
    """All delegated zones of one configuration."""

    all: list[Delegated] = field(default_factory=list)
    zones: Zones = field(default_factory=Zones)

    @property
    def signers(self) -> dict[bytes, Signer]:
        """Of signed zones, by their apex."""
        return {each.zone.apex: each.signer for each in self.all if each.signer is not None}

    @property
    def keys(self) -> list[SharedKey]:
        """The keys by which secondaries sign."""
        return [key for delegated in self.all for key in delegated.keys]

    def find(self, zone: Zone) -> Delegated:
        """The delegation of a zone of ours."""
        return next(each for each in self.all if each.zone is zone)


def delegations(
    runtime: Runtime, interface_address: InterfaceAddress, random: Callable[[], float],
    wall: Callable[[], float], up: Callable[[VirtualHost], bool] = lambda host: True,
) -> Generator[None, None, Delegations]:
    """The zones that discovery objects of this site declare, in steps. `wall` gives seconds since 1970; `up` says whether a
    virtual host can serve.

    Raises `ConfigErrors` for zones and records that cannot be.
    """
    config = runtime.config
    servers = [spec.address for spec in config.gateway.dns]
    problems: list[ConfigError] = []
    made = Delegations()
    claimed: dict[bytes, Object[DiscoverySpec]] = {}
    for one in config.of("discovery").values():
        extension = one.spec.voltgw
        spec = extension.dns_delegation if extension is not None else None
        if spec is None or one.metadata.disable or not config.here(one.spec.where, one.namespace):
            continue
        place = one.place("voltgw", "dns_delegation", "zone")
        try:
            apex = name_of(spec.zone)
            if apex in claimed:
                raise ValueError(f"the zone {spec.zone} is {claimed[apex].title}'s already")
            claimed[apex] = one
            signer = Signer(apex, spec.dnssec.private_key.data, wall) if spec.dnssec is not None else None
            zone = _zone(spec, apex, config, interface_address, random, int(wall()), servers, signer)
        except ValueError as error:
            problems.append(ConfigError("VG0230", place, f"{one.title}: {error}"))
            continue
        delegated = Delegated(one, spec, zone, _secondaries(spec), signer)
        try:
            if delegated.keys:
                Keyring([*made.keys, *delegated.keys], float)
        except ValueError as error:
            delegated.secondaries = ()      # the others are not wrong because of them
            place = one.place("voltgw", "dns_delegation", "secondaries")
            problems.append(ConfigError("VG0230", place, f"{one.title}: {error}"))
        made.all.append(delegated)
        yield
    problems += _within_signed(made)
    if problems:
        raise ConfigErrors(tuple(problems))
    if made.all:
        made.zones = Zones(each.zone for each in made.all)
        yield from _fill(runtime, made, interface_address)
        for delegated in made.all:
            yield from _put(delegated, up)
        made.zones = Zones(each.zone for each in made.all)
    return made


def _put(delegated: Delegated, up: Callable[[VirtualHost], bool]) -> Generator[None, None, None]:
    for count, name in enumerate(list(delegated.names.values())):
        try:
            delegated.zone.set_host(name.host(up, delegated.spec))
        except ValueError as error:
            delegated.left_out.append((name.text, str(error)))
            del delegated.names[name.wire]
        if count % _STEP == 0:
            yield


def names_of(host: VirtualHost) -> Iterator[tuple[str, bytes]]:
    """The domains of a virtual host that can be names of DNS, without their ports, as text and in wire form."""
    for domain in host.domains:
        text = domain.rpartition(":")[0] if domain.rpartition(":")[2].isdigit() else domain
        if text == "*" or not text:
            continue
        try:
            wire = name_of(text)
        except ValueError:
            continue
        yield text, wire


def unfit(text: str) -> str:
    """Why a domain cannot stand in DNS, "" = it can."""
    return "a wildcard of DNS is a whole label" if "*" in text.removeprefix("*.") else ""


def _fill(runtime: Runtime, made: Delegations, interface_address: InterfaceAddress) -> Generator[None, None, None]:
    by_zone = {id(each.zone): each for each in made.all}
    for count, (full_name, host) in enumerate(runtime.hosts.items()):
        if count % _STEP == 0:
            yield
        source: Object[VirtualHostSpec] = runtime.sources[full_name].objects[0].object
        if source.spec.disable_dns_resolve:
            continue
        offers: list[Offer] | None = None
        for text, wire in names_of(host):
            zone = made.zones.zone_of(wire)
            if zone is None:
                continue
            delegated = by_zone[id(zone)]
            if why := unfit(text):
                delegated.left_out.append((text, why))
                continue
            if offers is None:
                offers = list(offers_of(runtime.config, source, host, interface_address))
            if not offers:
                delegated.left_out.append((text, f"{source.title} has no address that is known here"))
                continue
            name = delegated.names.setdefault(wire, Name(text_of(wire), wire))
            name.offers += offers


def offers_of(
    config: Config, source: Object[VirtualHostSpec], host: VirtualHost, interface_address: InterfaceAddress,
) -> Iterator[Offer]:
    """The VIPs of one virtual host, at every site."""
    tls = source.spec.proxy.tls and source.spec.proxy.http
    networks = Networks(config)
    for ref in source.spec.advertise_policies:
        policy = config.find("advertise_policy", ref, source.namespace)
        if policy is None or policy.spec.unix is not None:
            continue
        extension = policy.spec.voltgw
        terms = extension.dns if extension is not None else None
        port = next(iter(policy.spec.ports), 0)
        for selected in selected_sites(config, policy.spec.where, policy.namespace):
            if not selected.taken:
                continue
            for address in _addresses(policy, config, networks, interface_address, selected):
                if terms is None:
                    yield Offer(address, host, policy.full_name, selected.name, selected.own, port, tls)
                else:
                    yield Offer(address, host, policy.full_name, selected.name, selected.own, port, tls,
                                1 if terms.weight is None else terms.weight, terms.priority or 0,
                                tuple(ip_network(prefix, strict=False) for prefix in terms.client_prefixes), True)


def _own(text: str) -> Address:
    """An address of this host; where it was not asked (`voltgw.app.dry`), `THIS_HOST`."""
    try:
        return ip_address(text)
    except ValueError:
        return THIS_HOST


def _addresses(
    source: Object[AdvertisePolicySpec], config: Config, networks: Networks, look_up: InterfaceAddress, selected: Selected,
) -> list[Address]:
    policy = source.spec
    if selected.own:
        found: list[Address] = []
        for spot in spots(source, config, networks, look_up):
            if spot.address in _EVERY:
                if spot.address != "::":
                    found.append(_own(look_up(VirtualNetworkType.SITE_LOCAL, networks.outside)))
                if spot.address != "0.0.0.0":
                    found += interface_addresses_6()
            elif spot.address is not None:
                found.append(_own(spot.address))
        return found
    if policy.address is not None and policy.address not in _EVERY:
        return [ip_address(policy.address)]
    if selected.site is None:
        return []
    inside = policy.where is not None and _network(policy.where) is VirtualNetworkType.SITE_LOCAL_INSIDE
    allocated = vip_of(config, selected.site, source.full_name, inside)
    if allocated is not None:
        return [ip_address(allocated)]
    configured = selected.site.spec.inside_vip if inside else selected.site.spec.outside_vip
    return [] if configured is None else [ip_address(configured)]


def _network(where: Any) -> VirtualNetworkType | None:
    place = where.site if where.site is not None else where.virtual_site
    return None if place is None else place.network_type


def interface_addresses_6() -> list[Address]:
    """The IPv6 address by which this host is reached from elsewhere, if it has one. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 9))       # only asks the routing table
            return [ip_address(probe.getsockname()[0])]
    except OSError:
        return []


def _within_signed(made: Delegations) -> Iterator[ConfigError]:
    """A zone that is within a signed one needs a delegation there, or who checks signatures takes it for a forgery."""
    for outer in made.all:
        for inner in made.all:
            if outer.signer is not None and is_below(inner.zone.apex, outer.zone.apex):
                yield ConfigError(
                    "VG0230", inner.object.place("voltgw", "dns_delegation", "zone"),
                    f"{inner.object.title}: the zone {inner.spec.zone} is within {outer.spec.zone}, which is signed, and "
                    "nothing there delegates it", "do not sign the outer zone, or declare them at different gateways")


def _secondaries(spec: DnsDelegation) -> tuple[Secondary, ...]:
    return tuple(
        Secondary(
            each.address, 53 if each.port is None else each.port,
            None if each.tsig is None else SharedKey(each.tsig.name, each.tsig.algorithm.value, each.tsig.secret.data),
            not each.disable_notify)
        for each in spec.secondaries)


# -- the zone itself -----------------------------------------------------------------------------------------------------------


def _zone(
    spec: DnsDelegation, apex: bytes, config: Config, interface_address: InterfaceAddress, random: Callable[[], float],
    serial: int, servers: list[str], signer: Signer | None,
) -> Zone:
    ttl = int(DNS_TTL_S if spec.ttl_s is None else spec.ttl_s)
    records: dict[bytes, list[RRset]] = {}
    named = [(server.name, list(server.addresses)) for server in spec.name_servers]
    if not named:
        named = [(f"ns1.{spec.zone}", _reachable(servers, config, interface_address))]
    records[apex] = [RRset(NS, ttl, tuple(name_of(name) for name, _ in named))]
    grouped: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
    for name, addresses in named:
        wire = name_of(name)
        if wire == apex or is_below(wire, apex):
            for address in map(ip_address, addresses):
                grouped.setdefault((wire, A if address.version == 4 else AAAA), (ttl, []))[1].append(address.packed)
    for one in spec.records:
        owner = apex if one.name == "@" else name_of(f"{one.name}.{spec.zone}")
        kind, rdata = _rdata(one.type.upper(), one.data, spec.zone)
        own_ttl = ttl if one.ttl_s is None else int(one.ttl_s)
        known = grouped.setdefault((owner, kind), (own_ttl, []))[1]
        if rdata not in known:
            known.append(rdata)
    for (owner, kind), (own_ttl, rdatas) in grouped.items():
        if owner == apex and kind == NS:
            raise ValueError("name servers of the zone stand in `name_servers`, not in `records`")
        records.setdefault(owner, []).append(RRset(kind, own_ttl, tuple(rdatas)))
    if signer is not None:
        records[apex] += signer.records(ttl)
    hostmaster = name_of(spec.hostmaster or f"hostmaster.{spec.zone}")
    times = b"".join(each.to_bytes(4, "big") for each in (serial, *_SOA_TIMES, ttl))
    soa = RRset(SOA, ttl, (name_of(named[0][0]) + hostmaster + times,))
    return Zone(apex, soa, records, ttl, random)


def _reachable(servers: list[str], config: Config, interface_address: InterfaceAddress) -> list[str]:
    """The addresses of `gateway.dns` as others see them."""
    found: list[str] = []
    for address in servers:
        if address == "0.0.0.0":
            found.append(str(_own(interface_address(VirtualNetworkType.SITE_LOCAL, Networks(config).outside))))
        elif address == "::":
            found += map(str, interface_addresses_6())
        else:
            found.append(address)
    return list(dict.fromkeys(found)) or [NO_ROUTE]


def _rdata(kind: str, data: str, zone: str) -> tuple[int, bytes]:
    """A record's type and wire form, from the words of a zone file. Raises ValueError."""
    from dns.exception import DNSException  # it takes 100 ms to import, and most gateways answer no zone
    from dns.name import from_text as parsed_name
    from dns.rdata import from_text
    from dns.rdataclass import IN
    from dns.rdatatype import RdataType

    number = TYPES.get(kind)
    if number is None or kind in _NOT_STATIC:
        raise ValueError(f"records of type {kind} cannot be given here")
    try:
        rdata = from_text(IN, RdataType.make(number), data, origin=parsed_name(zone), relativize=False)
        wire = rdata.to_wire()
    except (DNSException, ValueError, OSError) as error:
        raise ValueError(f"{data!r} is no {kind} record: {error or type(error).__name__}") from error
    assert wire is not None                     # only writing to a file gives nothing
    return number, wire.lower() if kind in ("CNAME", "NS", "PTR") else wire
