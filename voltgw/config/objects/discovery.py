"""discovery: a registry in which services are found, and in which virtual hosts are published (objects.md 10)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf
from voltgw.config.contents import Content
from voltgw.config.formats import HOSTNAME, HOSTPORT, OBJECT_NAME
from voltgw.config.objects.publishing import DiscoveryExtension
from voltgw.config.objects.secrets import SecretType
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.reader import WARNS
from voltgw.config.regexes import REGEX
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Flag, Presence, Text

#: Largest certificate in characters of its URL.
MAX_URL = 131072


class SchemeType(Enum):
    """How a service is spoken to."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class K8SDnsMode(Enum):
    """Which DNS server a Kubernetes cluster runs."""

    CORE_DNS = "CORE_DNS"
    KUBE_DNS = "KUBE_DNS"


@message
class TLSClientConfigType:
    """TLS towards the registry."""

    server_name: str | None = field(Text(HOSTNAME), "Server name to send and to check.")
    certificate: bytes | None = field(Content(MAX_URL, pem=True), "Client certificate, PEM.")
    key_url: SecretType | None = field(Nested(SecretType), "Key of the client certificate.")
    trusted_ca_url: bytes | None = field(Content(MAX_URL, pem=True), "PEM trust store.")
    certificate_url: SecretType | None = field(Nested(SecretType), "Client certificate (2020).")
    ca_certificate_url: SecretType | None = field(Nested(SecretType), "PEM trust store (2020).")


@message
class RestConfigType:
    """The registry's API."""

    api_server: str | None = field(Text(HOSTPORT), "Host and port.", example="10.0.0.5:8500")
    tls_info: TLSClientConfigType | None = field(Nested(TLSClientConfigType), "TLS towards it.", absent="plain HTTP")


@message
class K8SAccessInfo:
    """How a Kubernetes cluster is reached, and how its pods are."""

    kubeconfig_url: SecretType | None = field(Nested(SecretType), "A kubeconfig file.", group="config_type")
    connection_info: RestConfigType | None = field(Nested(RestConfigType), "Its API server.", group="config_type")
    in_cluster: bool = field(Flag(), "We run inside it.", group="config_type")
    isolated: bool = field(
        Presence(), "Pods cannot be reached: node ports from outside, cluster addresses from inside.",
        group="k8s_pod_network_choice")
    reachable: bool = field(Presence(), "Pods can be reached by their addresses.", group="k8s_pod_network_choice")


@message
class K8SVipPublishType:
    """Services are made for the domains."""

    namespace: str | None = field(Text(OBJECT_NAME), "Namespace for domains that name none.")


@message
class K8SDelegationType:
    """The cluster's DNS server asks us about one domain."""

    subdomain: str | None = field(Text(HOSTNAME), "That domain.")
    dns_mode: K8SDnsMode = field(Choice(K8SDnsMode), "Which DNS server the cluster runs.")


@message
class K8SVipDiscoveryInfoType:
    """How clients inside the cluster find our virtual hosts."""

    disable: bool = field(Presence(), "Not at all.", group="publish_choice", absent="this")
    publish: K8SVipPublishType | None = field(
        Nested(K8SVipPublishType), "By a service per domain.", group="publish_choice")
    publish_fqdns: bool = field(
        Presence(), "By a service per domain, which already holds its namespace.", group="publish_choice")
    dns_delegation: K8SDelegationType | None = field(
        Nested(K8SDelegationType), "By delegation of a domain, for which the cluster's DNS server asks ours.",
        group="publish_choice")


@message
class K8SNamespaceMappingItem:
    """Which namespace of the cluster belongs to which of ours."""

    SINCE: ClassVar = "+2025-11"

    namespace: str | None = field(Text(OBJECT_NAME), "Namespace of ours, whose endpoint objects may ask.", required=True)
    namespace_regex: str | None = field(
        Text(REGEX), "Pattern that the cluster's namespaces have to match, as a whole.", required=True)


@message
class K8SNamespaceMapping:
    """Which namespaces of the cluster belong to which of ours."""

    SINCE: ClassVar = "+2025-11"

    items: tuple[K8SNamespaceMappingItem, ...] = field(ListOf(Nested(K8SNamespaceMappingItem)), "The pairs.")


@message
class K8SDiscoveryType:
    """A Kubernetes cluster."""

    access_info: K8SAccessInfo = field(Nested(K8SAccessInfo), "How it is reached.", required=True)
    publish_info: K8SVipDiscoveryInfoType | None = field(
        Nested(K8SVipDiscoveryInfoType), "How virtual hosts are published in it.", absent="not at all")
    default_all: bool = field(Presence(), "All of its namespaces.", since="+2025-11", group="namespace_mapping_choice")
    namespace_mapping: K8SNamespaceMapping | None = field(
        Nested(K8SNamespaceMapping), "Some of its namespaces.", since="+2025-11", group="namespace_mapping_choice")


@message
class ConsulHttpBasicAuthInfoType:
    """A user of the registry."""

    user_name: str | None = field(Text(), "Name.")
    passwd_url: SecretType | None = field(Nested(SecretType), "Password.")


@message
class ConsulAccessInfo:
    """How Consul is reached."""

    connection_info: RestConfigType | None = field(Nested(RestConfigType), "Its API.")
    http_basic_auth_info: ConsulHttpBasicAuthInfoType | None = field(
        Nested(ConsulHttpBasicAuthInfoType), "As which user.")
    scheme: SchemeType = field(Choice(SchemeType), "HTTP or HTTPS (2020).", absent="HTTPS if there is tls_info")


@message
class ConsulVipDiscoveryInfoType:
    """Whether virtual hosts are registered in Consul."""

    disable: bool = field(Presence(), "They are not.", group="publish_choice", absent="this")
    publish: bool = field(Presence(), "They are.", group="publish_choice")


@message
class ConsulDiscoveryType:
    """A Consul agent or server."""

    access_info: ConsulAccessInfo = field(Nested(ConsulAccessInfo), "How it is reached.", required=True)
    publish_info: ConsulVipDiscoveryInfoType | None = field(
        Nested(ConsulVipDiscoveryInfoType), "Whether virtual hosts are registered in it.", absent="no")
    default_all: bool = field(
        Presence(), "All of its namespaces.", since="†", group="namespace_mapping_choice", internal=True)
    namespace_mapping: object = field(
        Anything(), "Some of its namespaces.", since="†", group="namespace_mapping_choice", internal=True, state=WARNS)


@message
class DiscoverySpec:
    """A registry in which services are found, and in which virtual hosts are published."""

    READ_ONLY: ClassVar = ("type", "publish_vip")

    where: NetworkSiteRefSelector = field(Nested(NetworkSiteRefSelector), "On which sites it is used.", required=True)
    discovery_k8s: K8SDiscoveryType | None = field(
        Nested(K8SDiscoveryType), "Kubernetes.", group="discovery_choice")
    discovery_consul: ConsulDiscoveryType | None = field(
        Nested(ConsulDiscoveryType), "Consul.", group="discovery_choice")
    discovery_cbip: object = field(
        Anything(), "BIG-IP of the classic kind.", since="+2024-10", group="discovery_choice", state=WARNS)
    discovery_third_party: object = field(
        Anything(), "Another vendor's.", since="+2025-11", group="discovery_choice", state=WARNS)
    no_cluster_id: bool = field(
        Presence(), "Every endpoint of the site may use it.", since="+2022-07", group="cluster_identifier_choice")
    cluster_id: str | None = field(
        Text(least=1, most=256), "Only endpoints that name this may use it.", since="+2022-07",
        group="cluster_identifier_choice")
    voltgw: DiscoveryExtension | None = field(Nested(DiscoveryExtension), "What voltgw adds.", since="voltgw")
