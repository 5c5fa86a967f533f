"""What voltgw adds to virtual hosts and routes about who may send requests: ``voltgw: {authentication: …}``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.contents import SecretContent
from voltgw.config.formats import EDITED_HEADER, HEADER_NAME, HOSTPORT, HTTP_PATH, KEY_DIGEST, OBJECT_NAME
from voltgw.config.objects.conditions import COOKIE_NAME
from voltgw.config.objects.jwt import JwtValidation
from voltgw.config.objects.matchers import MatcherTypeBasic
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Text
from voltgw.config.values import Ref, Secret


class Satisfy(Enum):
    """How many of several kinds of credentials must be good."""

    ALL = "ALL"
    ANY = "ANY"


@message
class BasicAuthType:
    """User and password in Authorization (RFC 7617)."""

    SINCE: ClassVar = "voltgw"

    users: Secret = field(
        SecretContent(1 << 20), "The users, as ``htpasswd`` writes them: bcrypt, SHA-crypt, yescrypt, apr1 or {SHA}.",
        required=True, example="file:users.htpasswd")
    realm: str | None = field(Text(least=1, most=128), "What the client is asked for.", absent="the virtual host's name")
    forward: bool = field(Flag(), "The credential goes on to the endpoint.")


@message
class ApiKeyEntry:
    """One key."""

    SINCE: ClassVar = "voltgw"

    name: str = field(Text(OBJECT_NAME, least=1, most=128), "Whose it is; endpoints and logs see this name.", required=True)
    sha256: str | None = field(Text(KEY_DIGEST), "The SHA-256 of the key, in hexadecimal digits.", group="key_choice")
    key: Secret | None = field(SecretContent(4096), "The key itself.", group="key_choice", example="env:SHOP_KEY")

    def rules(self) -> Iterable[Rule]:
        """There is a key."""
        if self.sha256 is None and self.key is None:
            yield Rule("", "VG0105", "an API key needs `sha256` or `key`")


@message
class ApiKeyAuthType:
    """A key in a header, a cookie or the query."""

    SINCE: ClassVar = "voltgw"

    header: str | None = field(
        Text(HEADER_NAME, least=1, most=256), "It stands in this header.", group="key_place", absent="x-api-key")
    query: str | None = field(
        Text(least=1, most=256), "It is this parameter of the query, which then never goes on.", group="key_place")
    cookie: str | None = field(Text(COOKIE_NAME, least=1, most=256), "It is this cookie.", group="key_place")
    prefix: str | None = field(Text(most=64), "Text in front of it, in a header.", example='"ApiKey "')
    keys: tuple[ApiKeyEntry, ...] = field(ListOf(Nested(ApiKeyEntry), most=1024), "The keys.")
    keys_file: Secret | None = field(
        SecretContent(1 << 20), "More of them, one ``name:sha256`` a line.", example="file:api-keys")
    forward: bool = field(Flag(), "The key goes on to the endpoint; one in a query never does.")

    def rules(self) -> Iterable[Rule]:
        """Somebody has a key."""
        if not self.keys and self.keys_file is None:
            yield Rule("", "VG0105", "API keys need `keys` or `keys_file`, or nobody could be let in")


@message
class ClientCertificateAuthType:
    """A client certificate, which the listener has verified (require_client_certificate, or an optional one)."""

    SINCE: ClassVar = "voltgw"

    names: MatcherTypeBasic | None = field(
        Nested(MatcherTypeBasic), "One of its names (URI, DNS, e-mail, common name) must be such a one.", absent="any name")
    spiffe_trust_domains: tuple[str, ...] = field(
        ListOf(Text(least=1, most=255), most=64, unique=True), "It must have a SPIFFE id of one of these trust domains.",
        absent="a SPIFFE id is not needed", example="[example.org]")


@message
class ForwardAuthType:
    """Somebody else is asked about every request, over HTTP."""

    SINCE: ClassVar = "voltgw"

    cluster: tuple[Ref, ...] = field(refs("cluster", most=1, least=1), "Who is asked.", required=True)
    grpc: bool = field(
        Flag(), "Ask by gRPC, as Envoy's ext_authz does (``envoy.service.auth.v3.Authorization/Check``); the cluster must "
        "speak HTTP/2.")
    path: str | None = field(
        Text(HTTP_PATH, most=1024), "The path that is asked for.", absent="/")
    with_request_path: bool = field(
        Flag(), "Ask with the request's own method and its path behind ``path``, as Envoy's ext_authz does; otherwise with GET "
        "and the request in X-Forwarded-Method, -Proto, -Host and -Uri, as Traefik and nginx have it.")
    host: str | None = field(Text(HOSTPORT, most=256), "Host of what is asked.", absent="that of the request")
    request_headers: tuple[str, ...] = field(
        ListOf(Text(HEADER_NAME, least=1, most=256), most=64, unique=True), "Headers of the request that are sent along.",
        absent="all, or with ``with_request_path`` Authorization and Cookie")
    headers_to_endpoint: tuple[str, ...] = field(
        ListOf(Text(EDITED_HEADER, least=1, most=256), most=64, unique=True),
        "Headers of a good answer that the endpoint gets; what clients send under these names is taken out.",
        example="[x-auth-user]")
    headers_to_client: tuple[str, ...] = field(
        ListOf(Text(HEADER_NAME, least=1, most=256), most=64, unique=True), "Headers of a refusal that the client gets.",
        absent="all")
    cookies_to_client: bool = field(Flag(), "Set-Cookie of a good answer goes to the client with the endpoint's answer.")
    user_from: str | None = field(
        Text(HEADER_NAME, least=1, most=256), "The header of a good answer that has the user's name.", example="x-auth-user")
    timeout_s: float | None = field(Duration("ms", 1, 60000), "The whole answer must be here in this time.", absent="1 s")
    fail_open: bool = field(Flag(), "When nobody answers, or answers with an error (5xx), let the request pass.")
    status_on_error: int | None = field(
        Number(400, 599), "Status of the answer when nobody can be asked.", absent="503")
    max_pending: int | None = field(
        Number(1, 65536), "Questions under way at a time; beyond it nobody is asked, which is an error.", absent="256")

    def rules(self) -> Iterable[Rule]:
        """A call of gRPC has its own path."""
        if self.grpc and (self.path is not None or self.with_request_path):
            yield Rule("grpc", "VG0103", "a call of gRPC has a path of its own", "leave out `path` and `with_request_path`")


@message
class AuthenticationType:
    """Which credentials requests need."""

    SINCE: ClassVar = "voltgw"

    disabled: bool = field(Flag(), "On a route object or rule: nothing is asked for.")
    report_only: bool = field(Flag(), "Nobody is refused; logs, metrics and explain say who would be.")
    satisfy: Satisfy = field(Choice(Satisfy, numbers=False), "Whether all kinds below must be good, or any of them.")
    jwt: JwtValidation | None = field(Nested(JwtValidation), "A JSON web token; as ``jwt_validation`` of the virtual host.")
    basic: BasicAuthType | None = field(Nested(BasicAuthType), "User and password.")
    api_key: ApiKeyAuthType | None = field(Nested(ApiKeyAuthType), "A key.")
    client_certificate: ClientCertificateAuthType | None = field(
        Nested(ClientCertificateAuthType), "A client certificate.")
    forward_auth: ForwardAuthType | None = field(
        Nested(ForwardAuthType), "Ask somebody else; after the others are good, whatever `satisfy` says.")
    user_header: str | None = field(
        Text(EDITED_HEADER, least=1, most=256), "The header in which endpoints get the user's name; what clients send under "
        "it is taken out.", absent="none", example="x-auth-user")

    def rules(self) -> Iterable[Rule]:
        """It asks for something; two kinds do not both need Authorization."""
        asked = [self.jwt, self.basic, self.api_key, self.client_certificate, self.forward_auth]
        if not self.disabled and self.user_header is None and not self.report_only \
                and all(each is None for each in asked):
            yield Rule("", "VG0105", "authentication asks for nothing",
                       "write `disabled: true` where nothing shall be asked for")
        if self.jwt is not None and self.basic is not None and self.satisfy is Satisfy.ALL and self.jwt.in_authorization:
            yield Rule("satisfy", "VG0103", "a token and a password cannot both stand in Authorization",
                       "say `satisfy: ANY`, or where else the token stands")
