"""Zones of DNS at clouds, as discovery objects describe them; see `voltgw.app.publications.Registry`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from voltgw.app.registries import DnsZone, zone_of
from voltgw.values.clouds import AZURE_URL, GOOGLE_DNS_URL, ROUTE53_URL
from voltgw.values.defaults import PUBLISH_CLOUD_INTERVAL_S

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.publishing import AzureDns as AzureDnsSpec
    from voltgw.config.objects.publishing import GoogleDns as GoogleDnsSpec
    from voltgw.config.objects.publishing import Route53 as Route53Spec
    from voltgw.control.publish.registrar import Registrar

def _at(endpoint: str | None, default: str) -> str:
    """Where the API is: the same whether that is said or not."""
    return (endpoint or default).rstrip("/")


@dataclass(frozen=True, slots=True)
class Route53(DnsZone):
    """A hosted zone of Route 53."""

    kind: ClassVar[str] = "route53"
    interval_s: ClassVar[float] = PUBLISH_CLOUD_INTERVAL_S
    owner: str
    spec: Route53Spec

    @property
    def identity(self) -> Hashable:
        """The zone and the owner."""
        return self.kind, _at(self.spec.endpoint, ROUTE53_URL), self.spec.hosted_zone_id, self.owner

    @property
    def server(self) -> Hashable:
        """All of Route 53 is one; but zones of one name may be of different networks there."""
        return self.kind, _at(self.spec.endpoint, ROUTE53_URL)

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        spec = self.spec
        keys: Any = import_module("voltgw.control.publish.aws_keys")
        route53: Any = import_module("voltgw.control.publish.route53")
        given = spec.credentials
        if given is None:
            source = keys.InstanceKeys(_api(reactor, clock, None, plain=True), wall)
        else:
            token = "" if given.session_token is None else _text(given.session_token.data, "session_token")
            source = keys.StaticKeys(keys.Keys(
                given.access_key_id, _text(given.secret_access_key.data, "secret_access_key"), token))
        url = spec.endpoint or ROUTE53_URL
        made: Registrar = route53.Route53Registrar(
            _api(reactor, clock, spec.trusted_ca, plain=_plain(url)), clock, source, wall, spec.zone.lower(),
            spec.hosted_zone_id, self.ttl, self.owner, url, spec.region or route53.REGION)
        return made


def route53(one: Object[DiscoverySpec], config: Config) -> Route53 | None:
    """Of an object's ``voltgw: {route53: ...}``."""
    return zone_of(one, "route53", Route53)


@dataclass(frozen=True, slots=True)
class GoogleDns(DnsZone):
    """A managed zone of Google Cloud DNS."""

    kind: ClassVar[str] = "google_dns"
    interval_s: ClassVar[float] = PUBLISH_CLOUD_INTERVAL_S
    owner: str
    spec: GoogleDnsSpec

    @property
    def identity(self) -> Hashable:
        """The zone and the owner."""
        return self.kind, _at(self.spec.endpoint, GOOGLE_DNS_URL), self.spec.project, self.spec.managed_zone, self.owner

    @property
    def server(self) -> Hashable:
        """A project."""
        return self.kind, _at(self.spec.endpoint, GOOGLE_DNS_URL), self.spec.project

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        spec = self.spec
        bearer: Any = import_module("voltgw.control.publish.bearer")
        google: Any = import_module("voltgw.control.publish.google_dns")
        if spec.service_account_key is None:
            grant = bearer.Metadata(spec.token_endpoint or google.METADATA_URL, google.METADATA_FIELDS)
            tokens = bearer.Bearer(_api(reactor, clock, None, plain=True), wall, grant)
        else:
            grant = bearer.ServiceAccount(spec.service_account_key.data, google.SCOPE, spec.token_endpoint)
            tokens = bearer.Bearer(_api(reactor, clock, spec.trusted_ca, plain=_plain(spec.token_endpoint)), wall, grant)
        made: Registrar = google.GoogleDnsRegistrar(
            _api(reactor, clock, spec.trusted_ca, plain=_plain(spec.endpoint)), clock, tokens, spec.zone.lower(), spec.project,
            spec.managed_zone, self.ttl, self.owner, spec.endpoint or GOOGLE_DNS_URL)
        return made


def google_dns(one: Object[DiscoverySpec], config: Config) -> GoogleDns | None:
    """Of an object's ``voltgw: {google_dns: ...}``."""
    return zone_of(one, "google_dns", GoogleDns)


@dataclass(frozen=True, slots=True)
class AzureDns(DnsZone):
    """A zone of Azure DNS."""

    kind: ClassVar[str] = "azure_dns"
    interval_s: ClassVar[float] = PUBLISH_CLOUD_INTERVAL_S
    owner: str
    spec: AzureDnsSpec

    @property
    def identity(self) -> Hashable:
        """The zone and the owner."""
        spec = self.spec
        return (self.kind, _at(spec.endpoint, AZURE_URL), spec.subscription_id, spec.resource_group, spec.zone.lower(),
                self.owner)

    @property
    def server(self) -> Hashable:
        """A subscription."""
        return self.kind, _at(self.spec.endpoint, AZURE_URL), self.spec.subscription_id

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        spec = self.spec
        bearer: Any = import_module("voltgw.control.publish.bearer")
        azure: Any = import_module("voltgw.control.publish.azure_dns")
        url, given = spec.endpoint or AZURE_URL, spec.credentials
        if given is None:
            grant = bearer.Metadata(spec.token_endpoint or azure.token_url(url), azure.METADATA_FIELDS)
            tokens = bearer.Bearer(_api(reactor, clock, None, plain=True), wall, grant)
        else:
            login = (spec.token_endpoint or azure.LOGIN_URL).rstrip("/")
            grant = bearer.ClientSecret(
                f"{login}/{given.tenant}/oauth2/v2.0/token", given.client_id, _text(given.client_secret.data, "client_secret"),
                f"{url.rstrip('/')}/.default")
            tokens = bearer.Bearer(_api(reactor, clock, spec.trusted_ca, plain=_plain(login)), wall, grant)
        made: Registrar = azure.AzureDnsRegistrar(
            _api(reactor, clock, spec.trusted_ca, plain=_plain(url)), clock, tokens, spec.zone.lower(), spec.subscription_id,
            spec.resource_group, self.ttl, self.owner, url)
        return made


def azure_dns(one: Object[DiscoverySpec], config: Config) -> AzureDns | None:
    """Of an object's ``voltgw: {azure_dns: ...}``."""
    return zone_of(one, "azure_dns", AzureDns)


def _api(reactor: Any, clock: Any, roots: bytes | None, *, plain: bool = False) -> Any:
    return import_module("voltgw.control.publish.api").Api(reactor, clock, roots, plain=plain)


def _plain(url: str | None) -> bool:
    return url is not None and url.startswith("http://")


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"what stands in `{what}` is no text in ASCII") from None
