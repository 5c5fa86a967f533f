"""A large configuration to measure with: many virtual hosts, in one file or in one file for each host.

Every host has a virtual host with two domains, a route object with some rules, a cluster and some endpoints; all share one
listener. `Estate.change` edits one host, as an operator would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Objects that one host brings along, its endpoints aside.
OBJECTS_PER_HOST: Final = 3
#: Rules that every route object has: the first two and the last one.
LEAST_ROUTES: Final = 3
LAYOUTS: Final = ("one", "many")

_HEAD: Final = """\
gateway:
  admin: {{unix: {admin}}}
  access_log: {{path: {log}, format: json}}
{include}objects:
- kind: advertise_policy
  metadata: {{name: public}}
  spec: {{address: 127.0.0.1, protocol: TCP, port: {port}}}
"""
_HOST: Final = """\
{dash}kind: virtual_host
{indent}metadata:
{indent}  name: {name}
{indent}  labels: {{ves.io/app_type: shop}}
{indent}spec:
{indent}  domains: [{domain}, "*.{domain}"]
{indent}  proxy: HTTP_PROXY
{indent}  advertise_policies: [{{name: public}}]
{indent}  routes: [{{name: {name}}}]
{indent}  request_headers_to_add:
{indent}  - {{name: x-host, value: {name}, append: true}}
{between}{dash}kind: route
{indent}metadata: {{name: {name}}}
{indent}spec:
{indent}  routes:
{indent}  - match: [{{path: {{path: /old}}}}]
{indent}    route_redirect: {{path_redirect: /new, response_code: 302}}
{indent}  - match: [{{path: {{prefix: /api/}}, http_method: GET}}]
{indent}    route_destination: {{destinations: [{{cluster: [{{name: {name}}}], weight: 1}}], timeout: {timeout}}}
{more}{indent}  - route_destination: {{destinations: [{{cluster: [{{name: {name}}}], weight: 1}}]}}
{between}{dash}kind: cluster
{indent}metadata: {{name: {name}}}
{indent}spec:
{indent}  endpoints: [{endpoints}]
{indent}  loadbalancer_algorithm: ROUND_ROBIN
{indent}  connection_timeout: {connect}
"""
_RULE: Final = """\
{indent}  - match: [{{path: {{prefix: /part-{number}/}}}}]
{indent}    route_destination: {{destinations: [{{cluster: [{{name: {name}}}], weight: 1}}]}}
"""
_ENDPOINT: Final = """\
{between}{dash}kind: endpoint
{indent}metadata: {{name: {name}}}
{indent}spec: {{ip: {address}, port: {origin}}}
"""


class Estate:
    """`hosts` hosts below `directory`, in the `layout` "one" or "many"; `admin` is a unix socket's path.

    Each host has so many rules in its route object (`LEAST_ROUTES` at least) and so many endpoints in its cluster.
    """

    def __init__(self, directory: Path, hosts: int, layout: str, *, port: int, origin: int, routes: int = LEAST_ROUTES,
                 endpoints: int = 1) -> None:
        if routes < LEAST_ROUTES or endpoints < 1:
            raise ValueError(f"every host has at least {LEAST_ROUTES} routes and one endpoint")
        self.directory = directory
        self.hosts = hosts
        self.layout = layout
        self.routes = routes
        self.endpoints = endpoints
        self.port = port
        self.origin = origin
        self.admin = directory / "a.sock"           # a socket's path is short
        self.file = directory / "voltgw.yaml"

    @property
    def objects(self) -> int:
        """How many objects there are, the listener's policy aside."""
        return self.hosts * (OBJECTS_PER_HOST + self.endpoints)

    @staticmethod
    def domain(number: int) -> str:
        """The name that leads to host `number`; that of the first one is what openloop.py asks for."""
        return f"host-{number}.example.com" if number else "shop.example.com"

    @staticmethod
    def cluster(number: int) -> str:
        """The cluster of host `number`, as the gateway calls it."""
        return f"default/host-{number}"

    def address(self, number: int, endpoint: int = 0) -> str:
        """Of one endpoint of host `number`: 127/8 is all ours, so each has its own, with one origin behind them."""
        count = number * self.endpoints + endpoint
        return f"127.{1 + (count >> 14)}.{count >> 7 & 127}.{1 + (count & 127)}"

    def write(self) -> None:
        """Write all files."""
        self.directory.mkdir(exist_ok=True)
        many = self.layout == "many"
        head = _HEAD.format(admin=self.admin, log=self.directory / "access.log", port=self.port,
                            include="include: [hosts/]\n" if many else "")
        if not many:
            self.file.write_text(head + "".join(self._host(number) for number in range(self.hosts)))
            return
        self.file.write_text(head)
        folder = self.directory / "hosts"
        folder.mkdir()
        for number in range(self.hosts):
            self._path(number).write_text(self._host(number))

    def change(self, number: int, timeout: int = 5000, connect: int = 2000) -> None:
        """Give one host's route another `timeout`, or its cluster another connection timeout, in ms."""
        before, after = self._host(number), self._host(number, timeout, connect)
        path = self._path(number)
        text = path.read_text()
        if before not in text:
            raise ValueError(f"host {number} was changed before")
        path.write_text(text.replace(before, after))

    def restore(self, number: int, timeout: int = 5000, connect: int = 2000) -> None:
        """Take a `change` with the same figures back."""
        path = self._path(number)
        path.write_text(path.read_text().replace(self._host(number, timeout, connect), self._host(number)))

    def add(self) -> None:
        """One more host, behind the others."""
        if self.layout == "one":
            with self.file.open("a") as file:
                file.write(self._host(self.hosts))
        else:
            self._path(self.hosts).write_text(self._host(self.hosts))
        self.hosts += 1

    def _path(self, number: int) -> Path:
        return self.file if self.layout == "one" else self.directory / "hosts" / f"host-{number}.yaml"

    def _host(self, number: int, timeout: int = 5000, connect: int = 2000) -> str:
        items = self.layout == "one"
        dash, indent, between = ("- ", "  ", "") if items else ("", "", "---\n")
        name = f"host-{number}"
        rules = (_RULE.format(indent=indent, number=each, name=name) for each in range(self.routes - LEAST_ROUTES))
        names = [name if self.endpoints == 1 else f"{name}-{each}" for each in range(self.endpoints)]
        return _HOST.format(
            name=name, domain=self.domain(number), timeout=timeout, connect=connect, dash=dash, indent=indent, between=between,
            more="".join(rules), endpoints=", ".join(f"{{name: {each}}}" for each in names),
        ) + "".join(
            _ENDPOINT.format(name=each, address=self.address(number, count), origin=self.origin, dash=dash, indent=indent,
                             between=between) for count, each in enumerate(names))
