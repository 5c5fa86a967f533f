"""What the tests of this room share: heads, clusters that can be switched off, objects that stand in no file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from voltgw.config.objects.route import PathMatcherType, RouteMatch, RouteSpec, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.config.values import Ref
from voltgw.errors import Place
from voltgw.interfaces import UpstreamCluster
from voltgw.routing.problems import Placer
from voltgw.routing.table import VirtualHost, build_host
from voltgw.values.counters import ClusterCounters
from voltgw.values.exchange import Exchange
from voltgw.values.head import Field, RequestHead, ResponseHead
from voltgw.values.proxyheader import ProxyHeader
from voltgw.values.tls import Handshake
from voltgw.wire.http1 import parse_request

PORT = 8080


def request(
    target: bytes = b"/", *, method: bytes = b"GET", host: bytes = b"shop.example", port: int | None = None,
    fields: Sequence[Field] = (),
) -> RequestHead:
    """A head with this target as the codec makes it."""
    data = b"%b %b HTTP/1.1\r\nhost: a\r\n\r\n" % (method, target)
    parsed = parse_request(data, len(data) - 4)
    authority = host if port is None else b"%b:%d" % (host, port)
    head = RequestHead(method, target, parsed.path, parsed.query, 1, authority, host, port, list(fields), 0, True)
    head.forward = parsed.forward
    return head


class Client:
    """The client's side of a connection; satisfies `ClientSide`."""

    def __init__(self, scheme: bytes = b"http") -> None:
        self.peer_address = "192.0.2.7"
        self.peer_port = 40000
        self.local_address = "192.0.2.1"
        self.local_port = PORT
        self.scheme = scheme
        self.sni = ""
        self.tls_version = ""
        self.tls_cipher = ""
        self.handshake: Handshake | None = None
        self.certified = b""
        self.announced: ProxyHeader | None = None
        self.came_to = ("192.0.2.1", PORT)
        self.connected_wall = 0.0
        self.listener = f"192.0.2.1:{PORT}"
        self.wall = lambda: 1_800_000_000.25        # 2027-01-15T08:00:00.250Z
        self.monotonic = lambda: 1.125              # an eighth of a second after `exchange` began


def exchange(
    fields: Sequence[Field] = (), response: ResponseHead | None = None, *, id_: bytes = b"id", method: bytes = b"GET",
    target: bytes = b"/", host: bytes = b"shop.example", port: int | None = None,
) -> Exchange:
    """An exchange in flight, with `fields` in its request."""
    head = request(target, method=method, host=host, port=port, fields=fields)
    result = Exchange(Client(), head, id_, 1.0, 100)
    result.response = response
    return result


def answer(*fields: Field, status: int = 200, length: int = 1000) -> ResponseHead:
    """The head of an endpoint's answer."""
    return ResponseHead(status, b"OK", 1, list(fields), length, True)


class Endpoint:
    """The endpoint that answered; satisfies `EndpointLabels`."""

    cluster = "default/c"
    address = "192.0.2.80"
    port = 9000
    site = ""


class Cluster:
    """A cluster that is ready or not; satisfies `UpstreamCluster`."""

    def __init__(self, name: str, ready: bool = True) -> None:
        self.name = name
        self.counters = ClusterCounters()
        self.any_ready = ready
        self.high: Cluster | None = None

    def of_high_priority(self) -> Cluster:
        """Its own."""
        if self.high is None:
            self.high = Cluster(f"{self.name} (high)", self.any_ready)
        return self.high

    def balanced_by(self, scheduler: str, /) -> Cluster:
        """It has no endpoints."""
        return self

    def subset(self, labels: Mapping[str, str], name: str = "", /) -> Cluster:
        """It has none."""
        if name:
            raise ValueError(f"cluster {self.name} has no subset {name!r}")
        return self

    def pick(self, hash_key: int | None, /) -> object:
        """Nobody asks here."""
        return None

    def pick_other(self, tried: Collection[object], hash_key: int | None, /) -> object:
        """Nobody asks here."""
        return None


@dataclass
class RouteObject:
    """A route object whose values stand at ``<name>.yaml``, line 1 + the number of steps that lead to them."""

    name: str
    spec: RouteSpec
    namespace: str = "default"

    @property
    def place(self) -> Placer:
        """Where its values stand."""
        return lambda *path: Place(f"{self.name}.yaml:{'.'.join(map(str, path))}", 1)


class Clusters:
    """Finds clusters by name; those in `missing` do not exist."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.made: dict[str, Cluster] = {}

    def __call__(self, ref: Ref, namespace: str) -> UpstreamCluster | None:
        if ref.name in self.missing:
            return None
        name = f"{ref.namespace or namespace}/{ref.name}"
        return self.made.setdefault(name, Cluster(name))


def prefix(text: str, **more: object) -> RouteMatch:
    """An entry that asks for a prefix, and for `more`."""
    return RouteMatch(path=PathMatcherType(prefix=text), **more)  # type: ignore[arg-type]  # the caller's field names


def build(
    *rules: RouteType, spec: VirtualHostSpec | None = None, clusters: Clusters | None = None,
    object_: RouteSpec | None = None,
) -> VirtualHost:
    """A host with one route object ``r``: `object_`, or else these rules."""
    return build_host("shop", spec or VirtualHostSpec(domains=("*",)), [RouteObject("r", object_ or RouteSpec(routes=rules))],
                      clusters or Clusters())


def chosen(host: VirtualHost, head: RequestHead, port: int = PORT) -> str | None:
    """The name of the route that takes the request."""
    route = host.choose(head, port)
    return None if route is None else route.name
