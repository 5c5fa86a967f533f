"""The registries that discovery objects can describe: a class and a function for each of `voltgw.app.publications.KINDS`.

Those of clouds stand in `voltgw.app.clouds`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

from voltgw.values.defaults import DNS_TTL_S, PUBLISH_INTERVAL_S
from voltgw.wire.dnsmsg import name_of

if TYPE_CHECKING:
    from voltgw.config.model import Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.publishing import DnsUpdate as DnsUpdateSpec
    from voltgw.control.publish.registrar import Registrar

_DNS_PORT: Final = 53
#: Room for the marker's labels before a name (RFC 1035 2.3.4: 255 bytes in wire form).
_LONGEST: Final = 253 - len("_voltgw._wildcard")


def too_long(name: str) -> str:
    """Why a name leaves no room for its mark in DNS, "" = it does."""
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
        return too_long(name)

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
