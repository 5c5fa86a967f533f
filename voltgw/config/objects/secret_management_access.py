"""secret_management_access: how a store of secrets is reached (objects.md 17)."""

from __future__ import annotations

from voltgw.config.compound import MapOf
from voltgw.config.formats import HOSTPORT
from voltgw.config.objects.discovery import SchemeType
from voltgw.config.objects.secrets import SecretType
from voltgw.config.objects.tls import UpstreamTlsParamsType
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Text
from voltgw.config.values import FrozenMap


@message
class BasicAuth:
    """A user and a password."""

    username: str | None = field(Text(), "The user.")
    password: SecretType | None = field(Nested(SecretType), "The password.")


@message
class HeadersAuth:
    """Headers that prove who asks."""

    headers: FrozenMap[str, SecretType] = field(MapOf(Text(), Nested(SecretType)), "Values by name.")


@message
class QueryParamsAuth:
    """Query parameters that prove who asks."""

    query_params: FrozenMap[str, SecretType] = field(MapOf(Text(), Nested(SecretType)), "Values by name.")


@message
class RestAuthInfo:
    """How an HTTP server knows who asks."""

    basic_auth: BasicAuth | None = field(Nested(BasicAuth), "By user and password.", group="rest_auth_type")
    headers_auth: HeadersAuth | None = field(Nested(HeadersAuth), "By headers.", group="rest_auth_type")
    query_params_auth: QueryParamsAuth | None = field(
        Nested(QueryParamsAuth), "By query parameters.", group="rest_auth_type")


@message
class AppRoleAuth:
    """A role in Vault."""

    role_id: str | None = field(Text(), "The role.")
    secret_id: SecretType | None = field(Nested(SecretType), "What proves it.")


@message
class VaultAuthInfo:
    """How Vault knows who asks."""

    token: SecretType | None = field(Nested(SecretType), "By a token.", group="vault_auth_type")
    app_role_auth: AppRoleAuth | None = field(Nested(AppRoleAuth), "By a role.", group="vault_auth_type")


@message
class SecretAccessInfo:
    """Where the store is and how it is asked."""

    scheme: SchemeType = field(Choice(SchemeType), "HTTP or HTTPS.")
    server_endpoint: str | None = field(Text(HOSTPORT), "Host and port.")
    tls_config: UpstreamTlsParamsType | None = field(Nested(UpstreamTlsParamsType), "TLS towards it.")
    rest_auth_info: RestAuthInfo | None = field(Nested(RestAuthInfo), "An HTTP server.", group="secret_auth_type")
    vault_auth_info: VaultAuthInfo | None = field(Nested(VaultAuthInfo), "HashiCorp Vault.", group="secret_auth_type")


@message
class SecretManagementAccessSpec:
    """How a store of secrets is reached."""

    provider_name: str = field(Text(least=1), "The name by which secrets call it.", required=True)
    where: NetworkSiteRefSelector | None = field(Nested(NetworkSiteRefSelector), "From which sites.")
    access_info: SecretAccessInfo | None = field(Nested(SecretAccessInfo), "Where it is and how it is asked.")
