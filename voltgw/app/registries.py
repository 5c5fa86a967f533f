"""The registries that discovery objects can describe: a class and a function for each of `voltgw.app.publications.KINDS`.

Those of clouds stand in `voltgw.app.clouds`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from voltgw.errors import ConfigError, ConfigErrors
from voltgw.interfaces import IRegistrarFactory
from voltgw.registry import REGISTRARS, RegistryError
from voltgw.values.defaults import DNS_TTL_S, PUBLISH_INTERVAL_S
from voltgw.wire.dnsmsg import name_of

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.publishing import DnsUpdate as DnsUpdateSpec
    from voltgw.control.publish.registrar import Registrar
    from voltgw.registry import Registry as Names

R = TypeVar("R")
_DNS_PORT: Final = 53
#: Room for the marker's labels before a name (RFC 1035 2.3.4: 255 bytes in wire form).
_LONGEST: Final = 253 - len("_voltgw._wildcard")


class DnsZone:
    """What registries that are zones of DNS have in common; `spec` is the message that describes one."""

    __slots__ = ()
    spec: Any

    @property
    def zone(self) -> bytes | None:
        """Its name."""
        return name_of(self.spec.zone)

    @property
    def ttl(self) -> int:
        """Of records, in seconds."""
        return int(DNS_TTL_S if self.spec.ttl_s is None else self.spec.ttl_s)

    def refuses(self, name: str) -> str:
        """Why a name leaves no room for its mark, "" = it does."""
        return f"with its mark it would be longer than a name may be ({_LONGEST} characters)" if len(name) > _LONGEST else ""


def zone_of(one: Object[DiscoverySpec], field: str, kind: Callable[[str, Any], R]) -> R | None:
    """The registry of `kind` that an object's ``voltgw: {field: ...}`` describes."""
    extension = one.spec.voltgw
    described = None if extension is None else getattr(extension, field)
    if extension is None or described is None or extension.publish is None:
        return None
    return kind(extension.publish.owner, described)


@dataclass(frozen=True, slots=True)
class DnsUpdate(DnsZone):
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

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        spec, tsig = self.spec, self.spec.tsig
        client: Any = import_module("voltgw.control.publish.dnsclient")     # dnspython takes 100 ms to import
        account = client.Account(spec.address, spec.port or _DNS_PORT, tsig.name, tsig.algorithm.value, tsig.secret.data)
        made: Registrar = import_module("voltgw.control.publish.dns_update").DnsUpdateRegistrar(
            reactor, clock, account, spec.zone.lower(), self.ttl, self.owner)
        return made


def dns_update(one: Object[DiscoverySpec], config: Config) -> DnsUpdate | None:
    """Of an object's ``voltgw: {dns_update: ...}``."""
    return zone_of(one, "dns_update", DnsUpdate)


@dataclass(frozen=True, slots=True)
class Installed:
    """A registry of a kind that an installed package knows; `options` are as its factory has made them of `of`'s."""

    kind: ClassVar[str] = "registrar"
    interval_s: ClassVar[float] = PUBLISH_INTERVAL_S
    owner: str
    of: str
    name: str
    zone_text: str
    options: Any
    factory: Any = field(compare=False)

    @property
    def identity(self) -> Hashable:
        """The object that describes it: what of its options makes it another one, only its kind would know."""
        return self.kind, self.of, self.name, self.zone_text, self.owner

    @property
    def server(self) -> Hashable:
        """Itself."""
        return self.kind, self.of, self.name

    @property
    def zone(self) -> bytes | None:
        """Where names have to be."""
        return name_of(self.zone_text) if self.zone_text else None

    def refuses(self, name: str) -> str:
        """What its kind says."""
        try:
            return str(self.factory.refuses(self.options, name))
        except Exception as error:          # a third party's code: one name is left out, with what it has raised
            return _words(error)

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        try:
            made: Registrar = self.factory.build(self.options, self.zone_text, self.owner, reactor, clock)
        except Exception as error:          # likewise: it is shown where the registry is described
            raise ValueError(_words(error)) from error
        return made


def _words(error: Exception) -> str:
    """What a third party's code has raised."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def installed(one: Object[DiscoverySpec], names: Names) -> Installed:
    """Of an object's ``voltgw: {registrar: ...}``. Raises `ConfigErrors` for a name that nobody has, and for wrong options."""
    extension = one.spec.voltgw
    assert extension is not None and extension.publish is not None
    use: Any = extension.registrar
    place = one.place("voltgw", "registrar")
    try:
        factory = names.find(REGISTRARS, use.name)
        verifyObject(IRegistrarFactory, factory)
    except (RegistryError, Invalid) as error:
        raise ConfigErrors((ConfigError("VG0302", place, str(error)),)) from error
    try:
        options = factory.options(use.options, place)
    except ConfigErrors:
        raise
    except Exception as error:              # a third party's code: whatever it raises is shown where its options stand
        raise ConfigErrors((ConfigError(
            "VG0231", place, f"{one.title}: registrar {use.name!r}: {_words(error)}"),)) from error
    return Installed(extension.publish.owner, one.full_name, use.name, (use.zone or "").lower(), options, factory)
