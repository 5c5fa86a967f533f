"""From objects to publications: which domains of virtual hosts are to stand in which registry, and with which VIPs.

A registry is one method of one discovery object whose `where` covers this site. Each is kept by itself: what becomes of one
touches no other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from voltgw.app.zones import Name, names_of, offers_of, unfit
from voltgw.config.objects.publishing import PublishPolicy
from voltgw.control.publish.names import Vip, Wanted
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.zone import is_below
from voltgw.wire.dnsmsg import text_of

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.sites import InterfaceAddress
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.control.publish.registrar import Registrar
    from voltgw.registry import Registry as Names
    from voltgw.routing.route import VirtualHost

#: Names in one step of building.
_STEP: Final = 64


class Registry(Protocol):
    """One registry, as a discovery object describes it; equal where nothing about it is different.

    `kind` is the field that describes it; `identity` is the same as long as it is the same registry and owner, by whatever
    credentials; `place` (of `server`) what holds several zones, so that a name goes to the deepest of them; `zone` is the wire
    form of the zone whose names it can have, None = it can have any.
    """

    kind: str
    owner: str
    interval_s: float                               # where the policy names none

    @property
    def identity(self) -> Hashable:
        """Which registry it is, and whose names."""

    @property
    def server(self) -> Hashable:
        """Who holds it."""

    @property
    def zone(self) -> bytes | None:
        """Which names it can have."""

    def refuses(self, name: str, /) -> str:
        """Why it cannot have `name`, which is in its zone; "" = it can."""

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float], /) -> Registrar:
        """What keeps names in it. Raises ValueError for credentials that cannot be."""


#: Kind -> what makes a `Registry` of a discovery object, or None where the object describes none of the kind, and which fields
#: lead to that. Imported when a configuration first has one.
KINDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "dns_update": ("voltgw.app.registries:dns_update", ("voltgw", "dns_update")),
    "route53": ("voltgw.app.clouds:route53", ("voltgw", "route53")),
    "google_dns": ("voltgw.app.clouds:google_dns", ("voltgw", "google_dns")),
    "azure_dns": ("voltgw.app.clouds:azure_dns", ("voltgw", "azure_dns")),
    "consul": ("voltgw.app.services:consul", ("discovery_consul", "publish_info")),
    "kubernetes": ("voltgw.app.services:kubernetes", ("discovery_k8s", "publish_info")),
    "cluster_dns": ("voltgw.app.cluster_dns:cluster_dns", ("discovery_k8s", "publish_info", "dns_delegation")),
}


@dataclass
class Publication:
    """One registry of one object: the names that are to stand there, and domains that cannot, with the reason."""

    object: Object[DiscoverySpec]
    registry: Registry
    policy: PublishPolicy
    path: tuple[str, ...]                       # of the field that describes it
    names: dict[bytes, Name] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def hosts(self) -> tuple[VirtualHost, ...]:
        """The virtual hosts behind its names, each once."""
        return tuple(dict.fromkeys(offer.host for name in self.names.values() for offer in name.offers))

    @property
    def zone_text(self) -> str:
        """Its zone, "" = none in particular."""
        return "" if self.registry.zone is None else text_of(self.registry.zone)

    def wanted(self, name: Name, up: Callable[[VirtualHost], bool]) -> Wanted:
        """How a name should be held now: with the VIPs behind which somebody can serve, or as the policy says if nobody can."""
        offers = [offer for offer in name.offers if up(offer.host)]
        if not offers and self.policy.when_down.value == "serve_all":
            offers = name.offers
        vips = tuple(sorted({Vip(str(offer.address), offer.port, offer.tls) for offer in offers}))
        return Wanted(name.text, vips, name.offers[0].host.namespace)


class Delegation(Publication):
    """A registry that has one zone, whatever is in it: it leads to where we answer (`Registry.delegates`)."""

    def wanted(self, name: Name, up: Callable[[VirtualHost], bool]) -> Wanted:
        """Always the same: what is answered there follows health by itself."""
        registry: Any = self.registry
        return Wanted(name.text, registry.delegates)


def publications(
    runtime: Runtime, interface_address: InterfaceAddress, names: Names,
) -> Generator[None, None, list[Publication]]:
    """What the discovery objects of this site publish, in steps. Raises `ConfigErrors` for registries that cannot be.

    `names` finds what installed packages add.
    """
    config = runtime.config
    made: list[Publication] = []
    problems: list[ConfigError] = []
    known: dict[Hashable, Object[DiscoverySpec]] = {}
    own: set[Hashable] = {(spec.address, spec.port) for spec in config.gateway.dns}
    for one in config.of("discovery").values():
        if not config.here(one.spec.where, one.namespace):
            continue
        policy = one.spec.voltgw.publish if one.spec.voltgw is not None else None
        try:
            registries = list(_registries(one, names, config))
        except ConfigErrors as errors:
            problems += errors.problems
            continue
        for kind, path, registry in registries:
            first = known.setdefault(registry.identity, one)
            try:
                if registry.server in own:
                    raise ValueError("that is this gateway's own DNS server, which takes no updates: its zones stand in "
                                     "`dns_delegation`")
                if first is not one:
                    raise ValueError(f"{first.title} keeps the names of owner {registry.owner!r} there already: the two would "
                                     "take each other's out")
                registry.registrar(None, None, float)
            except ValueError as error:
                problems.append(ConfigError("VG0231", one.place(*path), f"{one.title}: {kind}: {error}"))
                continue
            policy = policy or PublishPolicy(owner=registry.owner)
            if registry.zone is not None and getattr(registry, "delegates", None):
                text = text_of(registry.zone)
                made.append(Delegation(one, registry, policy, path, {registry.zone: Name(text, registry.zone)}))
            else:
                made.append(Publication(one, registry, policy, path))
        yield
    if problems:
        raise ConfigErrors(tuple(problems))
    filled = [each for each in made if not isinstance(each, Delegation)]
    if filled:
        yield from _fill(runtime, filled, interface_address)
    return made


def _registries(
    one: Object[DiscoverySpec], names: Names, config: Config,
) -> Iterator[tuple[str, tuple[str, ...], Registry]]:
    """Kind, field and registry of each that the object describes. Raises `ConfigErrors`."""
    extension = one.spec.voltgw
    if extension is not None and extension.registrar is not None and extension.publish is not None:
        made: Registry = import_module("voltgw.app.registries").installed(one, names)
        yield "registrar", ("voltgw", "registrar"), made
    for kind, (maker, path) in KINDS.items():
        value: Any = one.spec
        for step in path:
            value = getattr(value, step, None)
        if value is not None:
            module, _, name = maker.partition(":")
            registry = getattr(import_module(module), name)(one, config)
            if registry is not None:
                yield kind, path, registry


def _fill(runtime: Runtime, made: list[Publication], interface_address: InterfaceAddress) -> Generator[None, None, None]:
    for count, (full_name, host) in enumerate(runtime.hosts.items()):
        if count % _STEP == 0:
            yield
        source: Object[VirtualHostSpec] = runtime.sources[full_name].objects[0].object
        if not source.spec.disable_dns_resolve:
            _put(runtime.config, made, source, host, interface_address)


def _put(config: Config, made: list[Publication], source: Object[VirtualHostSpec], host: VirtualHost,
         interface_address: InterfaceAddress) -> None:
    """The domains of one virtual host."""
    offers: list[Any] | None = None
    for text, wire in names_of(host):
        for each in _takers(made, wire, text):
            why = unfit(text) or each.registry.refuses(text_of(wire))
            if not why and offers is None:
                offers = list(offers_of(config, source, host, interface_address))
            if not why and not offers:
                why = f"{source.title} has no address that is known here"
            if why:
                each.left_out.append((text, why))
                continue
            name = each.names.setdefault(wire, Name(text_of(wire), wire))
            name.offers += offers or ()


def _takers(made: list[Publication], wire: bytes, text: str) -> Iterator[Publication]:
    """The registries that should have a name: of zones at one server the deepest."""
    deepest: dict[Hashable, int] = {}
    fits: list[Publication] = []
    for each in made:
        zone = each.registry.zone
        if zone is not None:
            if wire != zone and not is_below(wire, zone):
                continue
            server = each.registry.server
            deepest[server] = max(deepest.get(server, 0), len(zone))
        fits.append(each)
    for each in fits:
        zone = each.registry.zone
        if zone is not None and len(zone) < deepest[each.registry.server]:
            continue
        if not each.policy.domains or text.lower() in map(str.lower, each.policy.domains):
            yield each
