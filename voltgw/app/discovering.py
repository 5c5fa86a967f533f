"""From discovery and endpoint objects to what is asked of registries of services, and the clients that ask.

Every discovery object of this site, of the endpoint's kind, is asked; one with a `cluster_id` only by endpoints that name it.
"""

from __future__ import annotations

import os
from base64 import b64encode
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.tls import private_key
from voltgw.config.objects.discovery import SchemeType
from voltgw.config.objects.endpoint import DiscoveryType
from voltgw.config.registries import ASKED, registries_of
from voltgw.control.publish.registrar import RegistryError
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.regex.pattern import ANY, Pattern
from voltgw.routing.regex.syntax import RegexError
from voltgw.values.discovery import RegistryAccess, ServiceQuery

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec, RestConfigType
    from voltgw.config.objects.endpoint import EndpointSpec
    from voltgw.control.discovery.registries import Client, MakeClient, Standing
    from voltgw.control.seams import ControlLoop

_CODE: Final = "VG0232"
#: Where a pod finds what proves who it is.
SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


def query_of(config: Config, endpoint: Object[EndpointSpec]) -> ServiceQuery | None:
    """What an endpoint object asks registries for; None when it asks none. Raises `ConfigErrors`."""
    info = endpoint.spec.service_info
    if info is None or info.discovery_type not in ASKED:
        return None
    name = (info.service_name or "").partition(":")[0]
    expressions = info.service_selector.expressions if info.service_selector is not None else ()
    asked = registries_of(config, endpoint)
    if info.discovery_type is DiscoveryType.CONSUL:
        return ServiceQuery(tuple(consul_of(config, one) for one in asked), name, "", expressions)
    name, _, namespace = name.partition(".")
    namespace = namespace or "default" if name else ""
    limits = {one.full_name: patterns for one in asked if (patterns := _given(one, endpoint.namespace)) is not None}
    if name:
        theirs = [one for one in asked if one.full_name not in limits
                  or any(Pattern(text, ANY).matches(namespace.encode()) for text in limits[one.full_name])]
        if asked and not theirs:
            raise ConfigErrors((ConfigError(
                _CODE, endpoint.place("service_info", "service_name"),
                f"{endpoint.title} asks for a service of the cluster's namespace {namespace}, which no discovery object gives "
                f"to namespace {endpoint.namespace}", "add a pair to `namespace_mapping` of the discovery object"),))
        asked, limits = theirs, {}
    return ServiceQuery(
        tuple(kubernetes_of(config, one) for one in asked), name, namespace, expressions, endpoint.spec.port or 0,
        tuple(limits.items()))


def _given(one: Object[DiscoverySpec], namespace: str) -> tuple[str, ...] | None:
    """Patterns of the cluster's namespaces that are for objects of `namespace`; None where all are for everyone. Raises
    `ConfigErrors` for one that cannot be matched."""
    spec = one.spec.discovery_k8s
    if spec is None or spec.namespace_mapping is None:
        return None
    patterns = []
    for index, item in enumerate(spec.namespace_mapping.items):
        if item.namespace_regex is None or item.namespace is None:
            continue                            # the reader has said so
        try:
            Pattern(item.namespace_regex, ANY)
        except RegexError as error:
            raise ConfigErrors((ConfigError(
                _CODE, one.place("discovery_k8s", "namespace_mapping", "items", index, "namespace_regex"),
                f"{one.title}: {error}"),)) from error
        if item.namespace == namespace:
            patterns.append(item.namespace_regex)
    return tuple(patterns)


def kubernetes_of(config: Config, one: Object[DiscoverySpec]) -> RegistryAccess:
    """How the cluster of a discovery object is reached. Raises `ConfigErrors`."""
    spec = one.spec.discovery_k8s
    assert spec is not None                     # whoever asks has looked
    info, path = spec.access_info, ("discovery_k8s", "access_info")
    allowed = one.spec.voltgw.allowed_addresses if one.spec.voltgw is not None else ()
    reach = "cluster" if info.isolated and info.in_cluster else "nodes" if info.isolated else "pods"
    if info.in_cluster:
        return _in_cluster(one, path, reach, allowed)
    if info.kubeconfig_url is not None:
        data = private_key(config, one, info.kubeconfig_url, (*path, "kubeconfig_url"))
        try:
            found = import_module("voltgw.control.discovery.kubernetes.kubeconfig").read(
                data, lambda name: Path(name).read_bytes())
        except ValueError as error:
            raise ConfigErrors((ConfigError(_CODE, one.place(*path, "kubeconfig_url"), f"{one.title}: {error}"),)) from error
        return _sound(one, (*path, "kubeconfig_url"), RegistryAccess(
            one.full_name, "kubernetes", found.server, found.ca, found.certificate, found.key, found.server_name,
            _text(one, found.token.encode(), "the token"), found.user, found.password, token_file=found.token_file, reach=reach,
            allowed=allowed))
    connection = info.connection_info
    if connection is None or connection.api_server is None:
        raise ConfigErrors((ConfigError(
            _CODE, one.place(*path), f"{one.title} does not say where the API server is",
            "give it `kubeconfig_url`, `in_cluster: true` or `connection_info: {api_server: HOST:PORT}`"),))
    certificate, key, ca, server_name = _tls(config, one, connection, (*path, "connection_info", "tls_info"))
    secure = connection.tls_info is not None
    url = f"{'https' if secure else 'http'}://{connection.api_server}"
    return _sound(one, (*path, "connection_info", "tls_info"), RegistryAccess(
        one.full_name, "kubernetes", url, ca, certificate, key, server_name, reach=reach, allowed=allowed))


def _in_cluster(one: Object[DiscoverySpec], path: tuple[str, ...], reach: str, allowed: tuple[str, ...]) -> RegistryAccess:
    """By what a pod is given: where the API server is, its CA, and a token that is replaced before it ends."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    folder = Path(SERVICE_ACCOUNT)
    try:
        if not host:
            raise OSError(0, "KUBERNETES_SERVICE_HOST is not set")
        ca = (folder / "ca.crt").read_bytes()
        (folder / "token").read_bytes()
    except OSError as error:
        raise ConfigErrors((ConfigError(
            _CODE, one.place(*path, "in_cluster"), f"{one.title}: this is no pod with a service account: {error.strerror}",
            "run inside the cluster, or give it `kubeconfig_url`"),)) from error
    shown = f"[{host}]" if ":" in host else host
    return _sound(one, (*path, "in_cluster"), RegistryAccess(
        one.full_name, "kubernetes", f"https://{shown}:{port}", ca, token_file=str(folder / "token"), reach=reach,
        allowed=allowed))


def consul_of(config: Config, one: Object[DiscoverySpec]) -> RegistryAccess:
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
    return _sound(one, (*path, "connection_info", "tls_info"), RegistryAccess(
        one.full_name, "consul", url, ca, certificate, key, server_name,
        _text(one, ours.token.data if ours is not None and ours.token is not None else b"", "the token"),
        basic.user_name or "" if basic is not None else "", _text(one, password, "the password"),
        ours.datacenter or "" if ours is not None else "", ours.namespace or "" if ours is not None else "",
        ours.partition or "" if ours is not None else "", allowed=allowed))


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
    return certificate, key, ca, tls.server_name or ""


def _sound(one: Object[DiscoverySpec], path: tuple[str, ...], access: RegistryAccess) -> RegistryAccess:
    """`access`, if connections can be made with it. Raises `ConfigErrors`."""
    if problem := _problem(access.ca, access.certificate, access.key):
        raise ConfigErrors((ConfigError(
            _CODE, one.place(*path), f"{one.title} {problem}",
            "give it PEM of certificates, and of the key that belongs to them"),))
    return access


@lru_cache(maxsize=16)                      # each endpoint object asks, and an RSA key takes 0.2 s
def _problem(ca: bytes, certificate: bytes, key: bytes) -> str:
    """What is wrong with PEM of authorities, and of a certificate and its key; "" = nothing."""
    x509, serialization = (import_module(f"cryptography.{name}") for name in ("x509", "hazmat.primitives.serialization"))
    try:
        what = "the trust store"
        if ca:
            x509.load_pem_x509_certificates(ca)
        what = "the client certificate"
        if bool(certificate) is not bool(key):
            return "has a client certificate without its key, or a key without a certificate"
        if key:
            public = x509.load_pem_x509_certificates(certificate)[0].public_key()
            what = "the key of the client certificate"
            if serialization.load_pem_private_key(key, None).public_key() != public:
                return "has a client certificate, and the key of another one"
    except (ValueError, TypeError):
        return f"has no PEM for {what}, or one that needs a password"
    return ""


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


def api_of(access: RegistryAccess, reactor: Any, clock: Any) -> Any:
    """An `Api` over connections as `access` wants them."""
    return import_module("voltgw.control.publish.api").Api(
        reactor, clock, access.ca or None, plain=access.url.startswith("http://"),
        client=(access.certificate, access.key) if access.key else None, server_name=access.server_name)


def basic(access: RegistryAccess) -> dict[str, str]:
    """The header field of a user who has a password."""
    if not access.user:
        return {}
    return {"authorization": "Basic " + b64encode(f"{access.user}:{access.password}".encode()).decode()}


def consul_fields(access: RegistryAccess) -> dict[str, str]:
    """Header fields by which a Consul agent knows us."""
    return {**basic(access), **({"x-consul-token": access.token} if access.token else {})}


def token_of(access: RegistryAccess) -> str:
    """What a cluster knows us by. A token file is replaced while we run, so it is read each time: some hundred bytes. Raises
    `RegistryError` while it is not there.
    """
    try:
        return Path(access.token_file).read_text("ascii", "replace").strip() if access.token_file else access.token
    except OSError as error:
        raise RegistryError(f"the token cannot be read: {error.strerror}", credentials=True) from error


def makers(reactor: Any) -> dict[str, MakeClient]:
    """A maker of clients for each kind of registry."""

    def consul(access: RegistryAccess, standing: Standing, loop: ControlLoop, random: Random) -> Client:
        api = api_of(access, reactor, reactor)
        headers = {"accept": "application/json", **consul_fields(access)}

        async def request(method: str, path: str, body: bytes) -> Any:
            return await api.request(method, access.url + path, headers, body)

        made: Client = import_module("voltgw.control.discovery.consul").ConsulClient(
            access, standing, loop, random, request, api.close)
        return made

    def kubernetes(access: RegistryAccess, standing: Standing, loop: ControlLoop, random: Random) -> Client:
        api = api_of(access, reactor, reactor)
        transport = import_module("voltgw.control.discovery.kubernetes.transport").HttpTransport(
            api, access.url, basic(access), partial(token_of, access))
        made: Client = import_module("voltgw.control.discovery.kubernetes.client").KubernetesClient(
            access, standing, loop, random, transport, api.close)
        return made

    return {"consul": consul, "kubernetes": kubernetes}
