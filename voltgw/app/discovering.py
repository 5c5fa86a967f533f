"""From discovery and endpoint objects to what is asked of registries of services, and the clients that ask.

Every discovery object of this site, of the endpoint's kind, is asked; one with a `cluster_id` only by endpoints that name it.
"""

from __future__ import annotations

from base64 import b64encode
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.tls import private_key
from voltgw.config.objects.discovery import SchemeType
from voltgw.config.objects.endpoint import DiscoveryType
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.values.discovery import RegistryAccess, ServiceQuery

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec, RestConfigType
    from voltgw.config.objects.endpoint import EndpointSpec
    from voltgw.control.discovery.registries import Client, MakeClient, Standing
    from voltgw.control.seams import ControlLoop

_CODE: Final = "VG0232"


def query_of(config: Config, endpoint: Object[EndpointSpec]) -> ServiceQuery | None:
    """What an endpoint object asks registries for; None when it asks none. Raises `ConfigErrors`."""
    info = endpoint.spec.service_info
    if info is None or info.discovery_type is not DiscoveryType.CONSUL:
        return None
    name, _, cluster = (info.service_name or "").partition(":")
    found = [one for one in config.of("discovery").values()
             if one.spec.discovery_consul is not None and config.here(one.spec.where, one.namespace)
             and (cluster == one.spec.cluster_id if cluster else one.spec.cluster_id is None or not name)]
    if not found:
        raise ConfigErrors((ConfigError(
            _CODE, endpoint.place("service_info"), f"{endpoint.title} asks Consul, and no discovery object of this site "
            f"{f'has the cluster_id {cluster!r}' if cluster else 'is one of Consul'}",
            "add a discovery object with `discovery_consul`, or say in its `where` that it is for this site"),))
    selector = info.service_selector
    return ServiceQuery(
        tuple(access_of(config, one) for one in found), name, "", selector.expressions if selector is not None else ())


def access_of(config: Config, one: Object[DiscoverySpec]) -> RegistryAccess:
    """How the Consul of a discovery object is reached. Raises `ConfigErrors`."""
    spec = one.spec.discovery_consul
    assert spec is not None                     # whoever asks has looked
    info, path = spec.access_info, ("discovery_consul", "access_info")
    connection = info.connection_info
    if connection is None or connection.api_server is None:
        raise ConfigErrors((ConfigError(
            _CODE, one.place(*path), f"{one.title} does not say where Consul is",
            "give it `connection_info: {api_server: HOST:PORT}`"),))
    secure = connection.tls_info is not None or info.scheme is SchemeType.HTTPS
    basic = info.http_basic_auth_info
    password = b""
    if basic is not None and basic.passwd_url is not None:
        password = private_key(config, one, basic.passwd_url, (*path, "http_basic_auth_info", "passwd_url"))
    ours = one.spec.voltgw.consul if one.spec.voltgw is not None else None
    allowed = one.spec.voltgw.allowed_addresses if one.spec.voltgw is not None else ()
    certificate, key, ca, server_name = _tls(config, one, connection, (*path, "connection_info", "tls_info"))
    url = f"{'https' if secure else 'http'}://{connection.api_server}"
    return RegistryAccess(
        one.full_name, "consul", url, ca, certificate, key, server_name,
        _text(one, ours.token.data if ours is not None and ours.token is not None else b"", "the token"),
        basic.user_name or "" if basic is not None else "", _text(one, password, "the password"),
        ours.datacenter or "" if ours is not None else "", ours.namespace or "" if ours is not None else "",
        ours.partition or "" if ours is not None else "", allowed)


def _tls(
    config: Config, one: Object[DiscoverySpec], connection: RestConfigType, path: tuple[str, ...],
) -> tuple[bytes, bytes, bytes, str]:
    tls = connection.tls_info
    if tls is None:
        return b"", b"", b"", ""
    ca = tls.trusted_ca_url or b""
    if not ca and tls.ca_certificate_url is not None:
        ca = private_key(config, one, tls.ca_certificate_url, (*path, "ca_certificate_url"))
    certificate = tls.certificate or b""
    if not certificate and tls.certificate_url is not None:
        certificate = private_key(config, one, tls.certificate_url, (*path, "certificate_url"))
    key = private_key(config, one, tls.key_url, (*path, "key_url")) if tls.key_url is not None else b""
    if bool(certificate) is not bool(key):
        raise ConfigErrors((ConfigError(
            _CODE, one.place(*path), f"{one.title} has a client certificate without its key, or a key without a certificate",
            "give it both `certificate` and `key_url`"),))
    return certificate, key, ca, tls.server_name or ""


def _text(one: Object[Any], data: bytes, what: str) -> str:
    """A secret that goes into a header."""
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        raise ConfigErrors((ConfigError(
            _CODE, one.place(), f"{what} of {one.title} has characters that no header can have"),))
    return text


def makers(reactor: Any) -> dict[str, MakeClient]:
    """A maker of clients for each kind of registry."""

    def consul(access: RegistryAccess, standing: Standing, loop: ControlLoop, random: Random) -> Client:
        api: Any = import_module("voltgw.control.publish.api").Api(
            reactor, reactor, access.ca or None, plain=access.url.startswith("http://"),
            client=(access.certificate, access.key) if access.key else None, server_name=access.server_name)
        headers = {"accept": "application/json"}
        if access.token:
            headers["x-consul-token"] = access.token
        if access.user:
            headers["authorization"] = "Basic " + b64encode(f"{access.user}:{access.password}".encode()).decode()

        async def request(method: str, path: str, body: bytes) -> Any:
            return await api.request(method, access.url + path, headers, body)

        made: Client = import_module("voltgw.control.discovery.consul").ConsulClient(
            access, standing, loop, random, request, api.close)
        return made

    return {"consul": consul}
