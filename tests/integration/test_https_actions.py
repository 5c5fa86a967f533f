"""The same table of routes and actions over HTTP/1.1 and HTTP/2, without TLS and with it, on one hop and on two."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from tests.integration.gateway import free_port
from tests.integration.test_https import HttpsCase
from tests.servers import nginx

#: `plain` and `inner` have the table; `outer` asks `inner` over TLS, in HTTP/2 or (with the path ``/by1``) in HTTP/1.1.
OBJECTS: Final = """\
- {kind: advertise_policy, metadata: {name: plain}, spec: {address: 127.0.0.1, port: PLAIN}}
- {kind: advertise_policy, metadata: {name: inner}, spec: {address: 127.0.0.1, port: INNER}}
- {kind: advertise_policy, metadata: {name: outer2}, spec: {address: 127.0.0.1, port: OUTER2}}
- {kind: advertise_policy, metadata: {name: outer1}, spec: {address: 127.0.0.1, port: OUTER1}}
- {kind: endpoint, metadata: {name: origin}, spec: {ip: 127.0.0.1, port: ORIGIN}}
- {kind: endpoint, metadata: {name: inner}, spec: {ip: 127.0.0.1, port: INNER}}
- {kind: endpoint, metadata: {name: nobody}, spec: {ip: 127.0.0.1, port: NOBODY}}
- {kind: cluster, metadata: {name: origin}, spec: {endpoints: [origin]}}
- {kind: cluster, metadata: {name: nobody}, spec: {endpoints: [nobody]}}
- kind: cluster
  metadata: {name: inner2}
  spec: {endpoints: [inner], http2_options: {enabled: true}, tls_parameters: {sni: shop.example, TRUST}}
- kind: cluster
  metadata: {name: inner1}
  spec: {endpoints: [inner], tls_parameters: {sni: shop.example, TRUST}}
- kind: route
  metadata: {name: table}
  spec:
    routes:
    - match: [{path: {path: /away}}]
      route_redirect: {path_redirect: /here, response_code: 302}
    - match: [{path: {prefix: /all}}]
      route_redirect: {host_redirect: other.example, prefix_rewrite: /every, response_code: 308}
    - match: [{path: {path: /own}}]
      route_direct_response: {response_code: 203, response_body: of ours}
      response_headers_to_add: [{name: x-seen, value: "1"}]
    - match: [{http_method: POST, path: {regex: "/number/[0-9]+"}}]
      route_direct_response: {response_code: 201, response_body: a number}
    - match: [{path: {prefix: /head}, headers: [{name: x-who, exact: me}]}]
      route_direct_response: {response_code: 200, response_body: you}
    - match: [{path: {prefix: /query}, query_params: [{key: q, exact: "1"}]}]
      route_direct_response: {response_code: 200, response_body: one}
    - match: [{path: {prefix: /old}}]
      route_destination: {destinations: [{cluster: origin}], prefix_rewrite: /new}
      request_headers_to_add: [{name: x-added, value: "1"}]
      request_headers_to_remove: [x-drop]
      response_headers_to_add: [{name: x-seen, value: "2"}]
      response_headers_to_remove: [x-origin]
    - match: [{path: {prefix: /renamed}}]
      route_destination: {destinations: [{cluster: origin}], host_rewrite: elsewhere.example}
    - match: [{path: {prefix: /shared}}]
      route_destination: {destinations: [{cluster: origin, weight: 1}, {cluster: nobody, weight: 0}]}
    - match: [{path: {prefix: /down}}]
      route_destination: {destinations: [{cluster: nobody}]}
    - match: [{path: {prefix: /}}]
      route_destination: {destinations: [{cluster: origin}], timeout: 20000}
- {kind: route, metadata: {name: to2}, spec: {routes: [{route_destination: {destinations: [{cluster: inner2}], timeout: 20000}}]}}
- {kind: route, metadata: {name: to1}, spec: {routes: [{route_destination: {destinations: [{cluster: inner1}], timeout: 20000}}]}}
- kind: virtual_host
  metadata: {name: plain}
  spec:
    domains: [shop.example]
    routes: [table]
    advertise_policies: [plain]
    http_protocol_options: {http_protocol_enable_v1_v2: {}}
"""
HOST: Final = """\
- kind: virtual_host
  metadata: {name: %s}
  spec:
    domains: [shop.example]
    proxy: HTTPS_PROXY
    routes: [%s]
    advertise_policies: [%s]
    tls_parameters: {common_params: {tls_certificates: [{certificate_url: "file:PKI/shop.example.crt", private_key: {clear_secret_info: {url: "file:PKI/shop.example.key"}}}]}}
"""
SERVER: Final = """
  add_header x-origin yes always;
  location / { return 200 "$request_method $request_uri $host added=$http_x_added drop=$http_x_drop cookie=$http_cookie\\n"; }
  location /status/404 { return 404 "no\\n"; }
  location /status/204 { return 204; }
  location /file { root ROOT; }
  location /upload { client_max_body_size 20m; client_body_buffer_size 20m; proxy_pass http://unix:/nowhere; return 200 "$content_length\\n"; }
"""
#: Path, curl's options, the status, and a part of the body or of a field.
TABLE: Final = (
    ("/away", (), 302, "/here"),
    ("/all/x?y=z", (), 308, "://other.example"),
    ("/own", (), 203, "of ours"),
    ("/own", ("-I",), 203, "x-seen: 1"),
    ("/number/17", ("-d", "x"), 201, "a number"),
    ("/number/17", (), 200, "GET /number/17 shop.example"),
    ("/head", ("-H", "x-who: me"), 200, "you"),
    ("/head", ("-H", "x-who: you"), 200, "GET /head"),
    ("/query?q=1", (), 200, "one"),
    ("/query?q=2", (), 200, "GET /query?q=2"),
    ("/old/a?b=c", ("-H", "x-drop: 1"), 200, "GET /new/a?b=c shop.example added=1 drop= cookie="),
    ("/old/%7Ea/../b", ("--path-as-is",), 200, "GET /new/b"),
    ("/renamed", (), 200, "GET /renamed elsewhere.example"),
    ("/shared/x", (), 200, "GET /shared/x"),
    ("/down", (), 502, ""),
    ("/status/404", (), 404, "no"),
    ("/status/204", (), 204, ""),
    ("/x", ("-I",), 200, "x-origin: yes"),
    ("/x", ("-X", "DELETE", "-H", "cookie: a=1; b=2"), 200, "DELETE /x shop.example added= drop= cookie=a=1; b=2"),
    ("/file", ("-r", "10-19"), 206, "content-range: bytes 10-19/300000"),
    ("/file", ("-H", "if-none-match: *"), 304, ""),
    ("/upload", ("--data-binary", "@SMALL"), 200, "30000"),
    ("/upload", ("-T", "SMALL"), 200, "30000"),
)
#: Fields that are of one moment, or of one connection.
_PASSING: Final = re.compile(r"(?:date|connection|keep-alive|transfer-encoding|last-modified|etag): .*")

_ID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class ActionsTests(HttpsCase):
    def test_the_same_over_every_version(self) -> None:
        """Status, fields and body of every action are those of HTTP/1.1 without TLS, but for the scheme in redirects."""
        self.server("shop.example")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"0123456789" * 30_000)
        self.small = folder / "small"
        self.small.write_bytes(b"0123456789" * 3_000)       # nginx answers at once, and curl then sends no more than it has room for
        origin = nginx(self, SERVER.replace("ROOT", str(folder)), top="user root;")
        ports = {name: free_port() for name in ("PLAIN", "INNER", "OUTER2", "OUTER1", "NOBODY")}
        objects = OBJECTS.replace("ORIGIN", str(origin.port)).replace("TRUST", "common_params: {validation_params: {trusted_ca_url: 'file:PKI/ca.crt'}}")
        for name, routes, policy in (("inner", "table", "inner"), ("outer2", "to2", "outer2"), ("outer1", "to1", "outer1")):
            objects += HOST % (name, routes, policy)
        for name, port in ports.items():
            objects = objects.replace(name, str(port))
        gateway = self.gateway(objects)
        expected = [self.ask("http", ports["PLAIN"], "--http1.1", path, options) for path, options, _, _ in TABLE]
        for (path, _, status, part), (answered, text, version) in zip(TABLE, expected, strict=True):
            self.assertEqual((answered, version), (status, "1.1"), path)
            self.assertIn(part, text, path)
        seen = set()
        for scheme, name, option, number in (
            ("http", "PLAIN", "--http2-prior-knowledge", "2"), ("https", "INNER", "--http1.1", "1.1"),
            ("https", "INNER", "--http2", "2"), ("https", "OUTER2", "--http1.1", "1.1"), ("https", "OUTER2", "--http2", "2"),
            ("https", "OUTER1", "--http1.1", "1.1"), ("https", "OUTER1", "--http2", "2"),
        ):
            for (path, options, _, _), (status, text, _) in zip(TABLE, expected, strict=True):
                found = self.ask(scheme, ports[name], option, path, options)
                self.assertEqual(found, (status, text, number), (scheme, name, option, path))
                seen.add((scheme, name, number))
        self.assertEqual(len(seen), 7)
        metrics = gateway.admin("/metrics").body.decode()
        self.assertIn("\nvoltgw_internal_failures_total 0.0\n", metrics)
        upstream = re.search(r'^voltgw_http2_streams_total\{side="upstream"\} ([0-9.]+)$', metrics, re.MULTILINE)
        assert upstream is not None
        self.assertEqual(float(upstream[1]), 2 * len(TABLE))

    def ask(self, scheme: str, port: int, version: str, path: str, options: tuple[str, ...]) -> tuple[int, str, str]:
        """Status, the rest of the answer with its fields in a fixed order, and the version in which it came."""
        done = subprocess.run(
            ["curl", "-sSi", "--max-time", "5", "--noproxy", "*", "--cacert", str(self.pki / "ca.crt"), version, "-H", "expect:",
             "--resolve", f"shop.example:{port}:127.0.0.1", "-w", "\n%{http_code} %{http_version}",
             *(each.replace("SMALL", str(self.small)) for each in options), f"{scheme}://shop.example:{port}{path}"],
            capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, (done.stderr, scheme, port, version, path, options, done.stdout))
        answer, _, outcome = done.stdout.rpartition("\n")
        head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
        lines = [line for line in head.lower().split("\n")[1:] if _PASSING.fullmatch(line) is None]
        status, _, number = outcome.partition(" ")
        text = _ID.sub("ID", "\n".join([*sorted(lines), "", body])).replace("https://", "http://").replace(f":{port}", ":PORT")
        return int(status), text, number
