"""Who listens where: which virtual hosts may share an address and port, and who owns a domain there (objects.md 4.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.config.allocation import range_of, vip_of
from voltgw.config.model import Config, Object
from voltgw.config.networks import Networks, role
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.values import Ref
from voltgw.errors import ConfigError, Severity
from voltgw.values import defaults
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.watch import Touched

#: Address of a listener on all addresses, IPv4 and IPv6.
ANY: Final = "*"
#: Kinds of proxy of which several may share an address and port, also mixed.
_FAMILIES: Final = (
    frozenset((ProxyType.HTTP_PROXY,)),
    frozenset(kind for kind in ProxyType if kind.named),
)
#: Networks whose address is known without an `address` (objects.md 22.15).
_NETWORKS: Final = frozenset((VirtualNetworkType.SITE_LOCAL, VirtualNetworkType.SITE_LOCAL_INSIDE, VirtualNetworkType.PUBLIC))
#: By kind, what of an object `check_sharing` looks at; the gateway's own part and the sites are beside these.
_SHARED: Final[Mapping[str, Callable[[Any], object]]] = {
    "virtual_host": lambda spec: (spec.proxy, spec.domains, spec.advertise_policies),
    "advertise_policy": lambda spec: spec,
    "endpoint": lambda spec: (spec.ip, spec.name, spec.port),
}


class Offer(NamedTuple):
    """A virtual host on one address and port. `port` is the one bound, after `gateway.port_map`."""

    transport: str
    address: str                            # an IP address, a path, ANY, or "interface:<network>" where only the host knows it
    port: int
    host: Object[VirtualHostSpec]
    policy: Object[AdvertisePolicySpec]
    ref: Ref                                # the host's reference to the policy
    network: Network = HOST                 # in which other networks the same address is another one

    @property
    def where(self) -> str:
        """How messages call the address and port."""
        if self.address.startswith("/"):
            return f"unix:{self.address}"
        if self.address == ANY:
            return f"port {self.port} of all addresses"
        if self.address.startswith("interface:"):
            return f"port {self.port} of the {self.address[10:]} interface"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def offers(config: Config) -> Iterator[Offer]:
    """Everything that this gateway listens on."""
    networks = Networks(config)
    for host in config.of("virtual_host").values():
        for ref in host.spec.advertise_policies:
            policy = config.find("advertise_policy", ref, host.namespace)
            if policy is None or not config.here(policy.spec.where, policy.namespace):
                continue
            network = HOST if policy.spec.unix is not None else networks.of(policy.spec.where, policy.namespace)
            address = _address(config, policy)
            for port in policy.spec.ports:
                bound = 0 if policy.spec.unix is not None else config.gateway.bound_port(port)
                yield Offer(host.spec.proxy.transport, address, bound, host, policy, ref, network)


def _address(config: Config, source: Object[AdvertisePolicySpec]) -> str:
    """The address of a policy, as far as configuration tells (objects.md 22.15)."""
    policy = source.spec
    if policy.unix is not None:
        return policy.unix
    if policy.any_address:
        return ANY
    if policy.address is not None:
        return policy.address
    network = role(policy.where)
    if network is None:
        return f"interface:{policy.where.virtual_network.ref[0].name}"      # type: ignore[union-attr]  # it names one
    inside = network is VirtualNetworkType.SITE_LOCAL_INSIDE
    site = config.site
    allocated = vip_of(config, site, source.full_name, inside)
    if allocated is not None:
        return allocated
    vip = None if site is None else site.spec.inside_vip if inside else site.spec.outside_vip
    return vip if vip is not None else f"interface:{'inside' if inside else 'outside'}"


def check_offered(config: Config, host: Object[VirtualHostSpec]) -> Iterator[ConfigError]:
    """Whether a virtual host is offered anywhere at this site."""
    for ref in host.spec.advertise_policies:
        policy = config.find("advertise_policy", ref, host.namespace)
        if policy is not None and config.here(policy.spec.where, policy.namespace) and policy.spec.ports:
            return
    owner = host.owner
    if owner is not None and getattr(owner.spec, "do_not_advertise", False):
        return                                          # that is what it asks for
    elsewhere = bool(host.spec.advertise_policies)
    yield ConfigError(
        "VG0204", host.place("advertise_policies"), f"{host.title} is offered nowhere"
        + (" by this site: its advertise policies are missing, disabled or for other sites" if elsewhere else
           ", so it opens no port and is published nowhere"),
        "" if elsewhere else "give it `advertise_policies`" if owner is None else
        "say where, with `advertise_on_public_default_vip` or `advertise_custom`", Severity.WARNING)


def check_network(config: Config, policy: Object[AdvertisePolicySpec]) -> Iterator[ConfigError]:
    """Whether a policy without an address names a network that this site does not have: outside, strangers would be let in."""
    spec, where = policy.spec, policy.spec.where
    if where is None or spec.any_address or spec.unix is not None:
        return
    if spec.address is not None:
        if role(where) is VirtualNetworkType.PUBLIC:
            yield ConfigError(
                "VG0220", policy.place("address"), f"{policy.title} names an address for the public network, whose addresses "
                "are not given out here", "leave `address` out, or name the outside network")
        return
    if not config.here(where, policy.namespace):
        return
    network = role(where)
    at = policy.place("where", "site" if where.site is not None else "virtual_site", "network_type")
    if network is VirtualNetworkType.SITE_LOCAL_INSIDE_OUTSIDE:
        site = config.site
        if Networks(config).inside is not HOST or site is not None and (
                site.spec.inside_vip is not None or range_of(site.spec, True) is not None):
            return
        yield ConfigError("VG0214", at, f"{policy.title} is for both networks, of which only the outside one is opened",
                          "write one policy for each network", Severity.WARNING)
    elif network is not None and network not in _NETWORKS:
        yield ConfigError("VG0214", at, f"{policy.title} is for {network.value}, which this gateway does not have: it would be "
                          "open on the outside address instead", "name an `address`, or the inside or outside network")


def check_inside(config: Config, host: Object[VirtualHostSpec]) -> Iterator[ConfigError]:
    """Whether an SMA_PROXY is offered on the inside network alone: what it leads to is for the site's own workloads."""
    for ref in host.spec.advertise_policies:
        policy = config.find("advertise_policy", ref, host.namespace)
        if policy is None:
            continue
        where = policy.spec.where
        place = None if where is None else where.site if where.site is not None else where.virtual_site
        inside = place is not None and place.network_type is VirtualNetworkType.SITE_LOCAL_INSIDE
        if policy.spec.any_address or not inside:
            yield ConfigError(
                "VG0215", ref.place, f"{host.title} is an SMA_PROXY, and {policy.title} offers it to more than the inside "
                "network",
                "give the policy `where: {site: {ref: [...], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}`",
                related=(("the policy", policy.place()),))


def check_sharing(config: Config) -> Iterator[ConfigError | None]:
    """Problems of virtual hosts that meet on an address and port; None after each that was looked at."""
    by_port: dict[tuple[str, int, str, str], dict[str, list[Offer]]] = {}
    seen: set[tuple[int, str, int, Network]] = set()         # hosts on an address and port, by two policies perhaps
    for offer in offers(config):
        yield None
        if offer.policy.spec.protocol.value != offer.transport:
            yield ConfigError(
                "VG0201", offer.ref.place, f"{offer.host.title} is a {offer.host.spec.proxy.value} and speaks "
                f"{offer.transport}, but {offer.policy.title} offers {offer.policy.spec.protocol.value}",
                related=(("the policy", offer.policy.place("protocol")),))
        once = (id(offer.host), offer.address, offer.port, offer.network)
        if once not in seen:
            seen.add(once)
            at = by_port.setdefault((offer.transport, offer.port, *_world(offer.network)), {})
            at.setdefault(offer.address, []).append(offer)
    for addresses in by_port.values():
        yield from _overlaps(addresses)
        for sharing in addresses.values():
            yield from _kinds(sharing)
            yield from _domains(sharing)
    yield from _admin(config, by_port)


def _world(network: Network) -> tuple[str, str]:
    """Where an address is the same address: sockets of other namespaces or devices do not meet."""
    return network.netns, network.device


def shares_alike(changed: Touched) -> bool:
    """Whether `check_sharing` has to say of a configuration what it said of the one before."""
    for old, new in changed.pairs:
        one = new if new is not None else old
        if one is not None and one.kind in _SHARED and (
                old is None or new is None or old.metadata.disable is not new.metadata.disable
                or _SHARED[one.kind](old.spec) != _SHARED[one.kind](new.spec)):
            return False
    return True


def _overlaps(addresses: dict[str, list[Offer]]) -> Iterator[ConfigError]:
    """All addresses of a port beside one of them: the system cannot open both."""
    for wide in (ANY, "0.0.0.0", "::"):
        for narrow in addresses if wide in addresses else ():
            if wide != narrow and _covers(wide, narrow):
                first, second = addresses[wide][0], addresses[narrow][0]
                yield ConfigError(
                    "VG0210", second.ref.place, f"{second.host.title} wants {second.where}, which {first.host.title} has "
                    f"with {first.where}", "name single addresses, or the same one, in both policies",
                    related=(("the other policy", first.policy.place()),))


def _covers(wide: str, narrow: str) -> bool:
    """Whether a listener on the address `wide` takes what one on `narrow` wants."""
    if wide == ANY:
        return True
    if narrow == ANY or narrow in ("0.0.0.0", "::"):
        return False
    if wide == "0.0.0.0":
        return narrow.startswith("interface:") or ":" not in narrow
    return wide == "::" and ":" in narrow and not narrow.startswith("interface:")


def _kinds(sharing: list[Offer]) -> Iterator[ConfigError | None]:
    """Kinds of proxy that cannot share."""
    first = sharing[0]
    for offer in sharing[1:]:
        yield None
        kinds = (offer.host.spec.proxy, first.host.spec.proxy)
        if any(family.issuperset(kinds) for family in _FAMILIES):
            continue
        alone = next((kind for kind in kinds if not any(kind in family for family in _FAMILIES)), None)
        why = "the two cannot be told apart there" if alone is None else f"{alone.value} must have an address and port alone"
        yield ConfigError(
            "VG0201", offer.ref.place, f"{offer.host.title} ({kinds[0].value}) wants {offer.where}, which {first.host.title} "
            f"({kinds[1].value}) has; {why}", related=(("the other virtual host", first.host.place()),))


def _domains(sharing: list[Offer]) -> Iterator[ConfigError | None]:
    """Two owners of one domain, and a bare ``*`` beside others."""
    if len(sharing) < 2:
        return
    owners: dict[str, Offer] = {}
    for offer in sharing:
        yield None
        spec = offer.host.spec
        if not (spec.proxy.http or spec.proxy.named):
            continue
        for index, domain in enumerate(spec.domains):
            owner = owners.setdefault(domain, offer)
            if owner is not offer:
                yield ConfigError(
                    "VG0202", offer.host.place("domains", index), f'domain "{domain}" of {offer.host.title} belongs to '
                    f"{owner.host.title} already on {offer.where}",
                    related=(("the first one", owner.host.place("domains", owner.host.spec.domains.index(domain))),))
            elif domain == "*" and spec.proxy is not ProxyType.HTTP_PROXY:
                yield ConfigError("VG0212", offer.host.place("domains", index),
                                  f'{offer.host.title} may not have the domain "*", since it shares {offer.where}')


def _admin(config: Config, by_port: dict[tuple[str, int, str, str], dict[str, list[Offer]]]) -> Iterator[ConfigError | None]:
    """Traffic must reach neither the admin interface's port nor, through an endpoint, the interface itself."""
    gateway = config.gateway
    if gateway.monitor is not None and gateway.monitor.port:
        yield from _taken(by_port, "monitor", gateway.monitor.address, gateway.monitor.port)
    admin = gateway.admin
    if admin is not None and admin.unix is not None:
        return
    address = (admin.address if admin is not None else None) or defaults.ADMIN_ADDRESS
    port = admin.port if admin is not None and admin.port is not None else defaults.ADMIN_PORT
    if port == 0:
        return
    mine = "127.0.0.1" if address == "localhost" else address.strip("[]")
    yield from _taken(by_port, "admin", mine, port)
    monitor = gateway.monitor
    if monitor is not None and monitor.port == port and (
            monitor.address == mine or _covers(monitor.address, mine) or _covers(mine, monitor.address)):
        yield ConfigError("VG0205", config.gateway_place, f"the monitor and the admin interface both want port {port}",
                          "choose another port for one of them")
    for endpoint in config.of("endpoint").values():
        yield None
        if endpoint.spec.port == port and _reaches(endpoint.spec.ip or endpoint.spec.name, mine):
            yield ConfigError(
                "VG0205", endpoint.place("port"), f"{endpoint.title} points at the admin interface ({address}:{port})",
                "clients must not reach it through a cluster")


def _taken(
    by_port: dict[tuple[str, int, str, str], dict[str, list[Offer]]], name: str, address: str, port: int,
) -> Iterator[ConfigError]:
    """Virtual hosts that want the address and port of one of our own interfaces."""
    here = [pair for key, found in by_port.items() if key[:3] == ("TCP", port, "") for pair in found.items()]
    for other, sharing in here:
        if other == address or _covers(other, address) or _covers(address, other):
            offer = sharing[0]
            yield ConfigError(
                "VG0205", offer.ref.place, f"{offer.host.title} wants {offer.where}, where the {name} interface is ({address}:"
                f"{port})", f"choose another port for one of them: `gateway: {{{name}: {{port: ...}}}}`")


def _reaches(host: str | None, admin: str) -> bool:
    """Whether connecting to `host` ends at the admin interface's address."""
    if host is None:
        return False
    if host == admin:
        return True
    try:
        local = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    if local.is_loopback or local.is_unspecified:
        return admin in ("0.0.0.0", "::") or (local.is_unspecified and ipaddress.ip_address(admin).is_loopback)
    return False
