"""From ``jwt_validation`` and ``voltgw: {authentication: …}`` to the gate that asks for credentials.

Nothing is fetched and nobody asked while it is built. What a gate needs of the running gateway (keys from elsewhere, threads,
a way to ask a cluster) stands in `Surroundings`, which `check` and `explain` leave empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voltgw.config.objects.credentials import AuthenticationType, Satisfy
from voltgw.config.objects.jwt import JwtValidation
from voltgw.routing.problems import Collector, ProblemError, at
from voltgw.security.authentication import Authentication, Results, Terms
from voltgw.values.defaults import FORWARD_AUTH_TIMEOUT_S, JWKS_REFETCH_PAUSE_S, JWKS_REFRESH_S, JWKS_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.config.model import Object
    from voltgw.config.objects.credentials import (
        ApiKeyAuthType,
        BasicAuthType,
        ClientCertificateAuthType,
        ForwardAuthType,
    )
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.routing.problems import Placer
    from voltgw.routing.route import VirtualHost
    from voltgw.security.basic import Aside
    from voltgw.security.forward_auth import Asker
    from voltgw.security.jwt import Jwt, KeySource, KeyTerms
    from voltgw.security.places import CredentialPlace
    from voltgw.security.proofs import Method
    from voltgw.values.head import RequestHead

#: A reference and the namespace in which it stands -> the cluster that serves, None when there is none.
FindCluster: TypeAlias = "Callable[[Ref, str], Any]"
Way: TypeAlias = tuple[str, ...]
#: Fields that carry credentials: they are replaced when a gate says so, never taken out beforehand.
_CREDENTIALS: Final = frozenset((b"authorization", b"cookie"))


class Surroundings:
    """What gates need of the gateway around them; a running one fills it in. Keys are shared by all who name the same URL."""

    def __init__(self) -> None:
        self.aside: Aside | None = None
        self.asker: Asker | None = None
        self.monotonic: Callable[[], float] = monotonic
        self.secret = os.urandom(32)        # keys the hashes of passwords that are remembered
        self.sources: dict[KeyTerms, KeySource] = {}

    def source(self, terms: KeyTerms) -> KeySource:
        """The keys of an address; they come when a gateway runs."""
        found = self.sources.get(terms)
        if found is None:
            found = self.sources[terms] = import_module("voltgw.security.jwt").KeySource(terms.url, fetched=terms)
        return found


def gate_of(
    host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]], place_of: Callable[[Object[Any]], Placer],
    find: FindCluster, around: Surroundings, before: VirtualHost | None, wall: Callable[[], float],
) -> Authentication | None:
    """The gate of a host, None when neither it nor its routes ask for credentials. Raises `BuildErrors`."""
    own = _of_host(host.spec)
    if not host.spec.proxy.http:
        _refuse_relays(host, own, routes, place_of)
        return None
    asked = [*(() if own is None else (own,)), *(each for route in routes for each in _of_route(route.spec))]
    if not asked:
        return None
    found = Collector()
    owned = frozenset(name for each in asked for name in _owned(each))
    making = _Making(host, find, around, wall, owned)
    place = place_of(host)
    terms = Terms()
    if own is not None:
        with found.at(place):
            terms = making.terms(own, host.namespace, ("voltgw", "authentication"),
                                 ("jwt_validation",) if host.spec.jwt_validation is not None else None)
        way = ("jwt_validation",) if own.jwt is not None and host.spec.jwt_validation is not None else (
            "voltgw", "authentication")
        terms = terms._replace(find_place=partial(place, *way))
    found.finish()
    objects = {id(route.spec): place_of(route) for route in routes}

    def overriding(rule: RouteType, namespace: str, spec: RouteSpec) -> Terms | None:
        placer = objects.get(id(spec), place)
        if rule.voltgw is not None and rule.voltgw.authentication is not None:
            number = next(number for number, each in enumerate(spec.routes) if each is rule)
            made = making.terms(rule.voltgw.authentication, namespace, ("voltgw", "authentication"))
            return made._replace(find_place=partial(placer, "routes", number, "voltgw", "authentication"))
        if spec.voltgw is not None and spec.voltgw.authentication is not None:
            made = making.shared(spec.voltgw.authentication, namespace)
            return made._replace(find_place=partial(placer, "voltgw", "authentication"))
        return None

    standing = before.gates if before is not None else ()
    known = [gate.results for gate in standing if isinstance(gate, Authentication)]
    return Authentication(terms, owned, known[0] if known else Results(), overriding, host.spec.cors_policy)


def _refuse_relays(
    host: Object[VirtualHostSpec], own: AuthenticationType | None, routes: Sequence[Object[RouteSpec]],
    place_of: Callable[[Object[Any]], Placer],
) -> None:
    """A host that relays connections sees no request. Raises `BuildErrors` if it, or a route of it, asks for credentials."""
    found = Collector()
    why = (f"{host.title} ({host.spec.proxy.value}) passes connections on and sees no request, so that nobody can be asked; "
           "whom this is to refuse would be admitted")
    way = ("jwt_validation",) if host.spec.jwt_validation is not None else ("voltgw", "authentication")
    if own is not None and not own.disabled:
        with found.at(place_of(host), *way):
            raise ProblemError(why)
    for route in routes:
        if any(not each.disabled for each in _of_route(route.spec)):
            with found.at(place_of(route)):
                raise ProblemError(why)
    found.finish()


def _of_host(spec: VirtualHostSpec) -> AuthenticationType | None:
    """What a host asks for, wherever it says so."""
    own = spec.voltgw.authentication if spec.voltgw is not None else None
    if spec.jwt_validation is None:
        return own
    return AuthenticationType(jwt=spec.jwt_validation) if own is None else replace(own, jwt=spec.jwt_validation)


def _of_route(spec: RouteSpec) -> Iterator[AuthenticationType]:
    for extension in (spec.voltgw, *(rule.voltgw for rule in spec.routes)):
        if extension is not None and extension.authentication is not None:
            yield extension.authentication


def _owned(spec: AuthenticationType) -> Iterator[bytes]:
    """Names of the fields that only we may write."""
    names = [spec.user_header] if spec.user_header is not None else []
    if spec.jwt is not None and spec.jwt.voltgw is not None:
        names += [one.header for one in spec.jwt.voltgw.claims_to_headers]
    if spec.forward_auth is not None:
        names += spec.forward_auth.headers_to_endpoint
    for name in names:
        key = name.lower().encode("ascii")
        if key not in _CREDENTIALS:
            yield key


class _Making:
    """Makes what the virtual host and its routes ask for."""

    def __init__(
        self, host: Object[VirtualHostSpec], find: FindCluster, around: Surroundings, wall: Callable[[], float],
        owned: frozenset[bytes],
    ) -> None:
        self.host = host
        self.find = find
        self.around = around
        self.wall = wall
        self.owned = owned
        self._shared: dict[int, Terms] = {}

    def shared(self, spec: AuthenticationType, namespace: str) -> Terms:
        """`terms` of a route object, once for all of its rules."""
        known = self._shared.get(id(spec))
        if known is None:
            known = self._shared[id(spec)] = self.terms(spec, namespace, ())
        return known

    def terms(self, spec: AuthenticationType, namespace: str, way: Way, jwt_way: Way | None = None) -> Terms:
        """What is asked; `way` leads to `spec`, and `jwt_way` to its tokens where these stand elsewhere.

        Raises ValueError, with the way to what is wrong.
        """
        if spec.disabled:
            return Terms()
        methods: list[Method] = []
        report_only = spec.report_only
        if spec.client_certificate is not None:
            with at(*way, "client_certificate"):
                methods.append(self.client_certificate(spec.client_certificate))
        if spec.jwt is not None:
            with at(*(jwt_way or (*way, "jwt"))):
                methods.append(self.jwt(spec.jwt))
            report_only = report_only or (spec.jwt.action is not None and spec.jwt.action.report)
        if spec.api_key is not None:
            with at(*way, "api_key"):
                methods.append(self.api_key(spec.api_key))
        if spec.basic is not None:
            with at(*way, "basic"):
                methods.append(self.basic(spec.basic))
        after: Method | None = None
        if spec.forward_auth is not None:
            with at(*way, "forward_auth"):
                after = self.forward_auth(spec.forward_auth, namespace)
        user_header = None if spec.user_header is None else spec.user_header.lower().encode("ascii")
        return Terms(tuple(methods), after, spec.satisfy is Satisfy.ANY, report_only, user_header)

    def jwt(self, spec: JwtValidation) -> Jwt:
        """Tokens."""
        jwt = import_module("voltgw.security.jwt")
        ours, reserved = spec.voltgw, spec.reserved_claims
        values: dict[str, Any] = {}
        if reserved is not None:
            values["issuer"] = reserved.issuer
            values["audiences"] = frozenset(reserved.audience.audiences if reserved.audience is not None else ())
            values["period"] = not reserved.validate_period_disable
            if reserved.audience is not None and not reserved.audience.audiences:
                with at("reserved_claims", "audience"):
                    raise ProblemError("no audience is named, so no token would be for it")
        if spec.mandatory_claims is not None:
            values["mandatory"] = spec.mandatory_claims.claim_names
        realm = self.host.name
        if ours is not None:
            if ours.leeway_s is not None:
                values["leeway_s"] = ours.leeway_s
            if ours.algorithms:
                values["algorithms"] = frozenset(ours.algorithms)
            if ours.max_token_bytes is not None:
                values["max_bytes"] = ours.max_token_bytes
            values["user_claim"] = ours.user_claim or "sub"
            values["headers"] = tuple((one.claim, one.header.lower()) for one in ours.claims_to_headers)
            realm = ours.realm or realm
        made: Jwt = jwt.Jwt(
            jwt.JwtTerms(**values), self.keys(spec), self.token_places(spec), self.wall, realm,
            drop=ours is not None and ours.drop_token, applies=_target(spec))
        return made

    def keys(self, spec: JwtValidation) -> KeySource:
        """Where the keys come from; those that stand in the configuration are read now."""
        ours = spec.voltgw
        if ours is not None and ours.jwks_url is not None:
            if spec.jwks_config is not None or spec.jwks:
                with at("voltgw", "jwks_url"):
                    raise ProblemError("the keys are to be fetched, and stand here as well; which of them count is not known")
            if ours.trusted_ca is not None:
                with at("voltgw", "trusted_ca"):
                    _check_certificates(ours.trusted_ca)
            return self.around.source(import_module("voltgw.security.jwt").KeyTerms(
                ours.jwks_url, ours.trusted_ca, ours.refresh_interval_s or JWKS_REFRESH_S,
                ours.refetch_pause_s or JWKS_REFETCH_PAUSE_S, ours.fetch_timeout_s or JWKS_TIMEOUT_S))
        jwt, keys = import_module("voltgw.security.jwt"), import_module("voltgw.security.keys")
        if spec.jwks_config is None and not spec.jwks:
            raise ProblemError("no keys are named, so that no token could be good",
                               hint="write `jwks_config: {cleartext: \"file:keys.json\"}` or `voltgw: {jwks_url: ...}`")
        path = ("jwks_config", "cleartext") if spec.jwks_config is not None else ("jwks",)
        said = spec.jwks_config.cleartext if spec.jwks_config is not None else spec.jwks
        with at(*path):
            if said is None:
                raise ProblemError("no keys are named, so that no token could be good")
            source: KeySource = jwt.KeySource("the configuration", keys.KeySet.parse(said.data, secrets=True))
        return source

    def token_places(self, spec: JwtValidation) -> list[CredentialPlace]:
        """Where a token may stand."""
        places = import_module("voltgw.security.places")
        found: list[CredentialPlace] = []
        for number, one in enumerate(spec.voltgw.places if spec.voltgw is not None else ()):
            with at("voltgw", "places", number):
                if one.header is not None:
                    self.not_ours(one.header)
                    found.append(places.header(one.header, one.prefix or ""))
                elif one.cookie is not None:
                    found.append(places.cookie(one.cookie))
                elif one.query is not None:
                    found.append(places.parameter(one.query))
                else:
                    found.append(places.authorization("Bearer"))
        return found or [places.authorization("Bearer")]

    def not_ours(self, name: str) -> None:
        """Raises ValueError for a credential in a field that endpoints are told of the user in."""
        if name.lower().encode("ascii") in self.owned:
            raise ProblemError(f"what clients send in {name} is taken out, as endpoints are told of the user there")

    def basic(self, spec: BasicAuthType) -> Method:
        """User and password."""
        htpasswd, basic = import_module("voltgw.security.htpasswd"), import_module("voltgw.security.basic")
        with at("users"):
            users = htpasswd.Htpasswd.parse(spec.users.data)
        around = self.around
        made: Method = basic.Basic(
            users, spec.realm or self.host.name, around.secret, around.monotonic, lambda: around.aside, forward=spec.forward)
        return made

    def api_key(self, spec: ApiKeyAuthType) -> Method:
        """Keys."""
        api_key, places = import_module("voltgw.security.api_key"), import_module("voltgw.security.places")
        listed = []
        for number, one in enumerate(spec.keys):
            digest = bytes.fromhex(one.sha256) if one.sha256 is not None else b""
            if one.key is not None:
                digest = sha256(one.key.data.strip()).digest()
            with at("keys", number):
                if one.key is not None and len(one.key.data.strip()) < LEAST_KEY_BYTES:
                    raise ProblemError(f"a key of less than {LEAST_KEY_BYTES} bytes can be guessed")
                listed.append({digest: one.name})
        if spec.keys_file is not None:
            with at("keys_file"):
                listed.append(api_key.read_keys(spec.keys_file.data))
        if spec.query is not None:
            place = places.parameter(spec.query)
        elif spec.cookie is not None:
            place = places.cookie(spec.cookie)
        else:
            with at("header"):
                self.not_ours(spec.header or API_KEY_HEADER)
            place = places.header(spec.header or API_KEY_HEADER, spec.prefix or "")
        made: Method = api_key.ApiKey(api_key.joined(listed), place, self.host.name, forward=spec.forward)
        return made

    def client_certificate(self, spec: ClientCertificateAuthType) -> Method:
        """A certificate."""
        if not self.host.spec.proxy.tls:
            raise ProblemError(f"a {self.host.spec.proxy.value} has no TLS, so that no client could show a certificate")
        client, texts = import_module("voltgw.security.client_certificate"), import_module("voltgw.security.texts")
        fits = None
        with at("names"):
            if spec.names is not None:
                fits = texts.fits(spec.names)
        made: Method = client.ClientCertificate(
            fits, spec.spiffe_trust_domains, "" if spec.names is None or fits is None else texts.words(spec.names))
        return made

    def forward_auth(self, spec: ForwardAuthType, namespace: str) -> Method:
        """Somebody else is asked."""
        forward = import_module("voltgw.security.forward_auth")
        ref = spec.cluster[0]
        cluster = self.find(ref, namespace)
        if cluster is not None:
            cluster = cluster.subset({})

        def names(listed: Sequence[str]) -> frozenset[bytes]:
            return frozenset(name.lower().encode("ascii") for name in listed)

        terms = forward.ForwardTerms(
            path=(spec.path or "/").encode("ascii"), same_path=spec.with_request_path,
            host=None if spec.host is None else spec.host.encode("ascii"),
            send=names(spec.request_headers) or None, to_endpoint=names(spec.headers_to_endpoint),
            to_client=names(spec.headers_to_client) or None, cookies_to_client=spec.cookies_to_client,
            user_from=None if spec.user_from is None else spec.user_from.lower().encode("ascii"),
            timeout_s=spec.timeout_s or FORWARD_AUTH_TIMEOUT_S, fail_open=spec.fail_open,
            status_on_error=spec.status_on_error or 503, max_pending=spec.max_pending or 256)
        around = self.around
        kind = forward.ForwardAuth
        if spec.grpc:
            if cluster is not None and not cluster.http2:
                with at("cluster"):
                    raise ProblemError("gRPC needs HTTP/2, which this cluster does not speak", hint="say http2_options in it")
            kind = import_module("voltgw.security.ext_authz").ExtAuthz
        made: Method = kind(
            terms, cluster, f"{ref.namespace or namespace}/{ref.name}", lambda: around.asker)
        return made


def _check_certificates(pem: bytes) -> None:
    try:
        import_module("cryptography.x509").load_pem_x509_certificates(pem)
    except ValueError:
        raise ProblemError("what stands in it is no PEM certificate") from None


#: Where an API key stands when nothing is said, and the shortest one that may be written into a file.
API_KEY_HEADER: Final = "x-api-key"
LEAST_KEY_BYTES: Final = 16


def _target(spec: JwtValidation) -> Callable[[RequestHead], bool] | None:
    """Of which requests a token is asked; None = of all."""
    target = spec.target
    if target is None or target.base_paths is None:
        return None
    below: Callable[[Sequence[str]], Callable[[RequestHead], bool]] = import_module("voltgw.security.base_paths").below
    return below(target.base_paths.base_paths)
