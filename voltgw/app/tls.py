"""What virtual hosts and clusters say of TLS, as the values from which contexts are made.

Where the object model leaves a choice, the safe one is taken: TLS 1.2 and later, an endpoint's certificate is verified against
the system's roots and its own name, a client's certificate counts only under a CA or a pin that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.app.fetched import CannotFetch, Fetched, Names, NothingFetched, names_to_fetch
from voltgw.config.objects.tls import ClientCertHeader, TlsProtocol, XfccElement
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.values.tls import ClientAuth, ClientTls, KeyPair, PeerRules, ServerTls, SniSource, Tells, Version

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.cluster import ClusterSpec
    from voltgw.config.objects.secrets import SecretType
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.config.watch import Watching

NOTHING: Final = NothingFetched()
#: What stands in no configuration: TLS of which nothing serves.
REFUSED: Final = "VG0410"
_VERSIONS: Final = {TlsProtocol.V1_0: Version.TLS_1_0, TlsProtocol.V1_1: Version.TLS_1_1, TlsProtocol.V1_2: Version.TLS_1_2,
                    TlsProtocol.V1_3: Version.TLS_1_3}
_HTTP_1: Final = (b"http/1.1",)
_HTTP_2: Final = (b"h2",)
_EITHER: Final = (b"h2", b"http/1.1")

#: Fields and list positions that lead to a part of an object's spec.
_Path = tuple["str | int", ...]


class Admission(NamedTuple):
    """What has let a connection in, and what is made of it: only hosts that ask for the same may be asked for on it.

    Not a part are certificates of ours, which say nothing of the client, nor the contents of revocation lists: those are held
    against live connections when they change. `strict` is what a host adds that shares its settings with nobody
    (``strict_coalescing``).
    """

    auth: ClientAuth = ClientAuth.NONE
    peer: PeerRules = PeerRules()
    lists: tuple[str, ...] = ()             # where its revocation lists stand
    tells: Tells = Tells()
    strict: tuple[object, ...] = ()


class Group(NamedTuple):
    """Which connections share a factory: those of HTTP by what let them in, relayed ones by their virtual host as well."""

    admission: Admission
    relayed: str = ""                       # ``namespace/name`` of a host that relays
    passed: bool = False                    # its TLS is not ours


class Terms(NamedTuple):
    """What a virtual host asks of TLS on one listener."""

    server: ServerTls                       # for names that no other certificate of it holds; without any if none is there yet
    admission: Admission
    others: tuple[tuple[tuple[str, ...], ServerTls], ...] = ()     # for these names, with other certificates
    names: Names = ()                       # its certificate is fetched for these

    @property
    def all(self) -> tuple[ServerTls, ...]:
        """Each of them."""
        return (self.server, *(other for _, other in self.others))


def host_terms(
    config: Watching, host: Object[VirtualHostSpec], policy: Object[AdvertisePolicySpec], fetched: Fetched = NOTHING,
) -> Terms | None:
    """The TLS of a virtual host where `policy` offers it; None for one that does not end TLS.

    The policy's parameters win as a whole (objects.md 22.14). Raises `ConfigErrors`.
    """
    spec = host.spec
    if not spec.proxy.tls:
        return None
    params = policy.spec.tls_parameters or spec.tls_parameters
    holder: Object[Any] = policy if policy.spec.tls_parameters is not None else host
    reader = _Reader(config, holder, "tls_parameters")
    common: Any
    if params is not None:
        common = params.common_params
        pairs = reader.inline(common.tls_certificates, "common_params") if common is not None else ()
        validation = common.validation_params if common is not None else None
        old_ca = common.trusted_ca_url if common is not None else None
        asked: Any = params
    else:
        common = asked = spec.tls_cert_params
        reader = _Reader(config, host, "tls_cert_params")
        if asked is None:
            raise _refused(host, (), f"{host.title} ({spec.proxy.value}) has no TLS parameters",
                           "give it `tls_parameters` or `tls_cert_params`")
        pairs = reader.referred(asked.certificates)
        validation, old_ca = asked.validation_params, None
    names: Names = ()
    if asked.voltgw is not None and asked.voltgw.auto_cert:
        names = reader.names_to_fetch(spec.domains)
        pair = fetched.pair(config.gateway.data_dir or "", names)
        pairs = [] if pair is None else [pair]
    elif not pairs:
        raise reader.refused("there is no certificate to show", "give it `common_params: {tls_certificates: [...]}`")
    auth = _auth(asked)
    peer, lists = PeerRules(), ()
    if auth is not ClientAuth.NONE:
        peer = reader.peer(validation, old_ca, system=False)
        crls = reader.crls(asked.crl)
        peer = replace(peer, crls=(*peer.crls, *(crl for _, crl in crls)))
        lists = (*(name for name, _ in crls), *((reader.one.full_name,) if len(peer.crls) > len(crls) else ()))
        if peer.ca is None and not peer.spki_pins and not peer.hash_pins:
            raise reader.refused(
                "client certificates are asked for, but nothing says which are good",
                "give it `validation_params: {trusted_ca_url: ...}` with the CA of the clients")
    elif validation is not None and (validation.trusted_ca_url or validation.trusted_ca):
        raise reader.refused(
            "a trusted CA is named, but no client is asked for a certificate",
            "say `client_certificate_required: {}` (or `client_certificate_optional`), or leave the CA out")
    minimum, maximum = reader.versions(common)
    sets = certificate_sets(pairs) if pairs else [((), ())]
    server = ServerTls(
        certificates=sets[0][1], minimum=minimum, maximum=maximum,
        suites=common.cipher_suites if common is not None else (), alpn=alpn(spec) if spec.proxy.http else (),
        client_auth=auth, peer=peer)
    coalescing = spec.coalescing_options
    strict = (minimum, maximum, server.suites) if coalescing is not None and coalescing.strict_coalescing else ()
    extension = asked.voltgw
    header = extension.client_cert_header if extension is not None else ClientCertHeader.NONE
    tells = Tells(
        tuple(element.value for element in asked.xfcc_header_elements if element is not XfccElement.NONE),
        "" if header is ClientCertHeader.NONE else header.value)
    if tells and auth is ClientAuth.NONE:
        tells = Tells()                     # there is nothing to tell
    admission = Admission(auth, replace(peer, crls=()), tuple(lists), tells, strict)
    others = tuple((held, replace(server, certificates=some)) for held, some in sets[1:])
    return Terms(server, admission, others, names)


def parameters(config: Config, one: Object[Any], params: Any, inside: str) -> ServerTls:
    """The TLS that a listener of `one` offers by parameters in its ``voltgw:`` part, in the field `inside`.

    Raises `ConfigErrors`.
    """
    reader = _Reader(config, one, "voltgw")
    common = params.common_params
    pairs = reader.inline(common.tls_certificates, inside) if common is not None else ()
    if not pairs:
        raise reader.refused("there is no certificate to show", "give it `common_params: {tls_certificates: [...]}`", inside)
    auth = _auth(params)
    peer = PeerRules()
    if auth is not ClientAuth.NONE:
        peer = reader.peer(common.validation_params, common.trusted_ca_url, system=False)
        crls = reader.crls(params.crl)
        peer = replace(peer, crls=(*peer.crls, *(crl for _, crl in crls)))
        if peer.ca is None and not peer.spki_pins and not peer.hash_pins:
            raise reader.refused(
                "client certificates are asked for, but nothing says which are good",
                "give it `validation_params: {trusted_ca_url: ...}` with the CA of the clients", inside)
    minimum, maximum = reader.versions(common)
    return ServerTls(certificates=tuple(pairs), minimum=minimum, maximum=maximum, suites=common.cipher_suites, alpn=_HTTP_1,
                     client_auth=auth, peer=peer)


def private_key(config: Config, one: Object[Any], secret: SecretType, path: _Path) -> bytes:
    """The private key in the field at `path` of `one`, or what stands in for a sealed one. Raises `ConfigErrors`."""
    return _Reader(config, one, str(path[0])).key(one, secret, 0, *path[1:], "private_key")


def certificate_sets(pairs: Sequence[KeyPair]) -> list[tuple[tuple[str, ...], tuple[KeyPair, ...]]]:
    """Certificates that are shown together, one of each kind of key, and the names for which they are.

    The first set is for all other names. A TLS handshake chooses by what the client can verify, not by name; so where there are
    several of one kind, the name chooses the set.
    """
    if len(pairs) == 1:
        return [((), (pairs[0],))]
    certificates = import_module("voltgw.config.certificates")
    looked = [(certificates.kind_of(pair.chain), frozenset(certificates.names_in(pair.chain)), pair) for pair in pairs]
    by_kind: dict[str, list[tuple[frozenset[str], KeyPair]]] = {}
    for kind, names, pair in looked:
        by_kind.setdefault(kind, []).append((names, pair))
    found: dict[tuple[KeyPair, ...], tuple[str, ...]] = {}
    taken: set[str] = set()
    for kind, names, pair in looked:
        beside = [next((other for theirs, other in of_kind if theirs & names), of_kind[0][1])
                  for other_kind, of_kind in by_kind.items() if other_kind != kind]
        mine = tuple(sorted(names - taken))
        some = tuple(each for each in pairs if each is pair or any(each is other for other in beside))
        if not found or (mine and some not in found):
            found[some] = mine
            taken |= names
    return [(names, some) for some, names in found.items()]


def alpn(spec: VirtualHostSpec) -> tuple[bytes, ...]:
    """The protocols that a virtual host offers, best first."""
    options = spec.http_protocol_options
    if options is not None and options.http_protocol_enable_v1_only is not None:
        return _HTTP_1
    return _HTTP_2 if options is not None and options.http_protocol_enable_v2_only else _EITHER


def cluster_tls(config: Watching, cluster: Object[ClusterSpec]) -> ClientTls | None:
    """How the endpoints of a cluster are reached; None = in plain text. Raises `ConfigErrors`."""
    params = cluster.spec.tls_parameters
    if params is None:
        return None
    reader = _Reader(config, cluster, "tls_parameters")
    common: Any = params.common_params
    pairs: Sequence[KeyPair] = ()
    old_ca = None
    if common is not None:
        pairs = reader.inline(common.tls_certificates, "common_params")
        old_ca = common.trusted_ca_url
    elif params.cert_params is not None:
        common = params.cert_params
        pairs = reader.referred(common.certificates)
    if len(pairs) > 1:
        raise reader.refused("only one certificate can be shown to endpoints", "leave the others out")
    peer = reader.peer(common.validation_params if common is not None else None, old_ca, system=True)
    minimum, maximum = reader.versions(common)
    sni = SniSource.ENDPOINT
    if params.sni is not None:
        sni = SniSource.FIXED
    elif params.use_host_header_as_sni:
        sni = SniSource.HOST
    elif params.disable_sni:
        sni = SniSource.NONE
    alpn: tuple[bytes, ...] = ()
    if cluster.spec.auto_http_config:
        alpn = _EITHER
    elif cluster.spec.http2_options is not None and cluster.spec.http2_options.enabled:
        alpn = _HTTP_2
    sessions = 0 if params.disable_session_key_caching else params.max_session_keys or 1
    return ClientTls(
        minimum=minimum, maximum=maximum, suites=common.cipher_suites if common is not None else (),
        alpn=alpn, certificate=pairs[0] if pairs else None, peer=peer,
        verify=params.voltgw is None or not params.voltgw.skip_server_verification,
        sni=sni, server_name=params.sni or "", sessions=sessions)


def _auth(asked: Any) -> ClientAuth:
    """Which of the spellings stands; both parameter messages have the same fields."""
    if asked.client_certificate_required or asked.require_client_certificate:
        return ClientAuth.REQUIRED
    return ClientAuth.OPTIONAL if asked.client_certificate_optional else ClientAuth.NONE


class _Reader:
    """Reads the parameters in one field of an object; what is wrong is said of that object."""

    def __init__(self, config: Config, one: Object[Any], field: str) -> None:
        self.config = config
        self.one = one
        self.field = field

    def refused(self, message: str, hint: str = "", *path: str | int) -> ConfigErrors:
        """What `raise` wants."""
        return _refused(self.one, (self.field, *path), message, hint)

    def versions(self, common: Any) -> tuple[Version, Version]:
        """Lowest and highest version."""
        lowest = _VERSIONS.get(common.minimum_protocol_version) if common is not None else None
        highest = _VERSIONS.get(common.maximum_protocol_version) if common is not None else None
        maximum = highest or Version.TLS_1_3
        minimum = lowest or (Version.TLS_1_2 if maximum.value >= Version.TLS_1_2.value else maximum)
        if minimum.value > maximum.value:
            raise self.refused("the lowest version is above the highest one")
        return minimum, maximum

    # -- certificates --------------------------------------------------------------------------------------------------

    def names_to_fetch(self, domains: Sequence[str]) -> Names:
        """The names for which a certificate is fetched."""
        try:
            return names_to_fetch(domains, self.config.gateway)
        except CannotFetch as error:
            raise self.refused(str(error), error.hint) from error

    def inline(self, certificates: Sequence[Any], inside: str) -> list[KeyPair]:
        """Certificates that stand in the parameters."""
        return [
            KeyPair(one.certificate_url,
                    self.key(self.one, one.private_key, index, inside, "tls_certificates", index, "private_key"),
                    one.voltgw.ocsp_response if one.voltgw is not None else None)
            for index, one in enumerate(certificates)]

    def referred(self, refs: Sequence[Ref]) -> list[KeyPair]:
        """Certificates of their own objects."""
        pairs = []
        for ref in refs:
            found = self.config.find("certificate", ref, self.one.namespace)
            if found is None:
                continue                    # `check` has said so, or it is disabled
            spec = found.spec
            if spec.certificate_url is None or spec.private_key is None:
                raise _refused(found, (), f"{found.title} has no certificate or no key, but {self.one.title} shows it")
            key = self.key(found, spec.private_key, 0)
            chain = spec.certificate_url
            pairs.append(KeyPair(chain, key, spec.voltgw.ocsp_response if spec.voltgw is not None else None))
        return pairs

    def key(self, holder: Object[Any], secret: SecretType, index: int, *path: str | int) -> bytes:
        """The private key, or what `gateway.secrets` has in place of one that only its vendor can open."""
        if secret.clear_secret_info is not None:
            return secret.clear_secret_info.url.data
        secrets = self.config.gateway.secrets
        found = secrets.get(f"{holder.full_name}/{index}") or (secrets.get(holder.full_name) if index == 0 else None)
        if found is None:
            raise _refused(
                holder, (self.field, *path) if path else ("private_key",),
                "this private key is sealed, and only its vendor can open it",
                f'give the key in the clear beside it: `gateway: {{secrets: {{"{holder.full_name}": "file:..."}}}}`')
        return found.data

    # -- the other side ------------------------------------------------------------------------------------------------

    def peer(self, validation: Any, old_ca: bytes | None, *, system: bool) -> PeerRules:
        """How the peer is judged; `system`: without a CA the system's roots count, which a client's never do."""
        if validation is None:
            return PeerRules(ca=old_ca)
        ca = validation.trusted_ca_url or old_ca
        if validation.trusted_ca is not None:
            lists = [self.config.find("trusted_ca_list", ref, self.one.namespace)
                     for ref in validation.trusted_ca.trusted_ca_list]
            ca = b"\n".join(found.spec.trusted_ca_url for found in lists
                            if found is not None and found.spec.trusted_ca_url is not None)
            if not ca:
                raise self.refused("the trusted CA list that is meant is not there, or holds nothing")
        if validation.use_volterra_trusted_ca_url:
            if not system:
                raise self.refused("clients are not judged by the public roots: anybody can have a certificate of those",
                                   "name a CA of your own")
            ca = None
        extension = validation.voltgw
        rules = PeerRules(ca=ca, names=validation.verify_subject_alt_names, skip_name=validation.skip_hostname_verification)
        if extension is None:
            return rules
        return replace(
            rules, depth=extension.verify_depth, crls=(extension.crl,) if extension.crl is not None else (),
            spki_pins=tuple(map(bytes.fromhex, extension.spki_pins)),
            hash_pins=tuple(map(bytes.fromhex, extension.certificate_hashes)))

    def crls(self, refs: Sequence[Ref]) -> list[tuple[str, bytes]]:
        """Revocation lists of their own objects, each with the object's name."""
        found: list[tuple[str, bytes]] = []
        for ref in refs:
            one = self.config.find("crl", ref, self.one.namespace)
            if one is None or one.spec.voltgw is None or one.spec.voltgw.crl is None:
                raise self.refused(
                    f"the revocation list {ref.name} is not there, so revoked clients could not be told from others",
                    "lists are not fetched from servers; have a file replaced in time, and name it: "
                    "`voltgw: {crl: file:ca/crl.pem}` in the crl object", "crl")
            found.append((one.full_name, one.spec.voltgw.crl))
        return found


def _refused(one: Object[Any], path: _Path, message: str, hint: str = "") -> ConfigErrors:
    return ConfigErrors((ConfigError(REFUSED, one.place(*path), message, hint),))


def files_of(tls: ServerTls | ClientTls) -> Iterator[bytes]:
    """Everything of which it was made that may stand in a file of its own."""
    pairs = tls.certificates if isinstance(tls, ServerTls) else (tls.certificate,) if tls.certificate is not None else ()
    for pair in pairs:
        yield pair.chain
        yield pair.key
        if pair.ocsp is not None:
            yield pair.ocsp
    if tls.peer.ca is not None:
        yield tls.peer.ca
    yield from tls.peer.crls
