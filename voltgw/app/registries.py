"""The registries that discovery objects can describe: a class and a function for each of `voltgw.app.publications.KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

from voltgw.values.defaults import DNS_TTL_S, PUBLISH_CLOUD_INTERVAL_S, PUBLISH_INTERVAL_S
from voltgw.wire.dnsmsg import name_of

if TYPE_CHECKING:
    from voltgw.config.model import Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.publishing import DnsUpdate as DnsUpdateSpec
    from voltgw.config.objects.publishing import Route53 as Route53Spec
    from voltgw.control.publish.registrar import Registrar

_DNS_PORT: Final = 53
#: Room for the marker's labels before a name (RFC 1035 2.3.4: 255 bytes in wire form).
_LONGEST: Final = 253 - len("_voltgw._wildcard")


def _too_long(name: str) -> str:
    return f"with its mark it would be longer than a name may be ({_LONGEST} characters)" if len(name) > _LONGEST else ""


@dataclass(frozen=True, slots=True)
class DnsUpdate:
    """A zone of a server that takes DNS UPDATE."""

    kind: ClassVar[str] = "dns_update"
    interval_s: ClassVar[float] = PUBLISH_INTERVAL_S
    owner: str
    spec: DnsUpdateSpec

    @property
    def identity(self) -> Hashable:
        """Server, zone and owner."""
        return self.kind, self.server, self.spec.zone.lower(), self.owner

    @property
    def server(self) -> Hashable:
        """Its address."""
        return self.spec.address, self.spec.port or _DNS_PORT

    @property
    def zone(self) -> bytes | None:
        """Its name."""
        return name_of(self.spec.zone)

    def refuses(self, name: str) -> str:
        """Names that leave no room for their mark."""
        return _too_long(name)

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        spec, tsig = self.spec, self.spec.tsig
        client: Any = import_module("voltgw.control.publish.dnsclient")     # dnspython takes 100 ms to import
        account = client.Account(spec.address, spec.port or _DNS_PORT, tsig.name, tsig.algorithm.value, tsig.secret.data)
        made: Registrar = import_module("voltgw.control.publish.dns_update").DnsUpdateRegistrar(
            reactor, clock, account, spec.zone.lower(), int(DNS_TTL_S if spec.ttl_s is None else spec.ttl_s), self.owner)
        return made


def dns_update(one: Object[DiscoverySpec]) -> DnsUpdate | None:
    """Of an object's ``voltgw: {dns_update: ...}``."""
    extension = one.spec.voltgw
    if extension is None or extension.dns_update is None or extension.publish is None:
        return None
    return DnsUpdate(extension.publish.owner, extension.dns_update)


@dataclass(frozen=True, slots=True)
class Route53:
    """A hosted zone of Route 53."""

    kind: ClassVar[str] = "route53"
    interval_s: ClassVar[float] = PUBLISH_CLOUD_INTERVAL_S
    owner: str
    spec: Route53Spec

    @property
    def identity(self) -> Hashable:
        """The zone and the owner."""
        return self.kind, self.spec.endpoint, self.spec.hosted_zone_id, self.owner

    @property
    def server(self) -> Hashable:
        """All of Route 53 is one; but zones of one name may be of different networks there."""
        return self.kind, self.spec.endpoint

    @property
    def zone(self) -> bytes | None:
        """Its name."""
        return name_of(self.spec.zone)

    def refuses(self, name: str) -> str:
        """Names that leave no room for their mark."""
        return _too_long(name)

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        spec = self.spec
        api: Any = import_module("voltgw.control.publish.api")
        keys: Any = import_module("voltgw.control.publish.aws_keys")
        route53: Any = import_module("voltgw.control.publish.route53")
        given = spec.credentials
        if given is None:
            source = keys.InstanceKeys(api.Api(reactor, clock, plain=True), wall)
        else:
            token = "" if given.session_token is None else _text(given.session_token.data, "session_token")
            source = keys.StaticKeys(keys.Keys(
                given.access_key_id, _text(given.secret_access_key.data, "secret_access_key"), token))
        url = spec.endpoint or route53.URL
        made: Registrar = route53.Route53Registrar(
            api.Api(reactor, clock, spec.trusted_ca, plain=url.startswith("http://")), clock, source, wall, spec.zone.lower(),
            spec.hosted_zone_id, int(DNS_TTL_S if spec.ttl_s is None else spec.ttl_s), self.owner, url,
            spec.region or route53.REGION)
        return made


def route53(one: Object[DiscoverySpec]) -> Route53 | None:
    """Of an object's ``voltgw: {route53: ...}``."""
    extension = one.spec.voltgw
    if extension is None or extension.route53 is None or extension.publish is None:
        return None
    return Route53(extension.publish.owner, extension.route53)


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"what stands in `{what}` is no text in ASCII") from None
