"""Caddy's ``reverse_proxy``: upstreams, their health, TLS and headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from voltgw.app.importing.caddy_words import Directive
from voltgw.app.importing.model import MIXED, Check, Edit, Forward, Gateway, Pool, Secure, Server
from voltgw.app.importing.words import seconds

_POLICIES: Final = {"random": "RANDOM", "random_choose": "LEAST_REQUEST", "round_robin": "ROUND_ROBIN",
                    "least_conn": "LEAST_REQUEST",
                    "weighted_round_robin": "ROUND_ROBIN", "first": "ROUND_ROBIN"}
_IGNORED: Final = frozenset((
    "flush_interval", "buffer_requests", "buffer_responses", "request_buffers", "response_buffers", "max_buffer_size",
    "health_headers",
    "lb_try_duration", "lb_try_interval", "lb_retries", "fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency",
    "stream_timeout", "stream_close_delay", "verbose_logs", "trusted_proxies"))
_PLACEHOLDERS: Final[Mapping[str, str]] = {
    "remote_host": "CLIENT_ADDRESS", "http.request.remote.host": "CLIENT_ADDRESS", "client_ip": "CLIENT_ADDRESS",
    "host": "HOST",
    "hostport": "HOST", "http.request.host": "HOST", "http.request.hostport": "HOST", "scheme": "SCHEME",
    "http.request.scheme": "SCHEME", "method": "METHOD", "http.request.method": "METHOD", "path": "PATH",
    "http.request.uri.path": "PATH", "query": "QUERY", "http.request.uri.query": "QUERY", "tls_version": "TLS_VERSION",
    "http.request.tls.version": "TLS_VERSION", "tls_cipher": "TLS_CIPHER", "http.request.tls.server_name": "SNI",
    "http.request.uuid": "REQUEST_ID", "http.request.proto": "PROTOCOL", "remote_port": "PEER_PORT",
    "http.request.remote.port": "PEER_PORT"}
_OF_ANSWERS: Final[Mapping[str, str]] = {
    "upstream_hostport": "ENDPOINT", "http.reverse_proxy.upstream.hostport": "ENDPOINT",
    "http.reverse_proxy.status_code": "STATUS"}
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z][\w.-]*)\}")


def value(text: str, *, answer: bool = False) -> str:
    """A header's value with our names for the placeholders. Raises ValueError."""
    made, end = [], 0
    for found in _PLACEHOLDER.finditer(text):
        made.append(text[end:found.start()].replace("%", "%%"))
        end = found.end()
        header = re.fullmatch(r"(?:http\.request\.)?header\.([\w-]+)", found[1])
        name = _PLACEHOLDERS.get(found[1]) or (_OF_ANSWERS.get(found[1]) if answer else None)
        if name is None and header is None:
            raise ValueError(f"the placeholder {found[0]} has no counterpart")
        made.append(f"%{name}%" if name is not None else f"%REQ({header[1].lower()})%" if header is not None else "")
    return "".join(made) + text[end:].replace("%", "%%")


def edits(args: list[str], *, answer: bool) -> list[Edit]:
    """What ``header_up``, ``header_down`` and their like say. Raises ValueError."""
    name, *rest = args
    if len(rest) > 1:
        raise ValueError("parts of a header are not replaced: set the whole of it")
    if name.startswith("-"):
        if name.endswith("*"):
            raise ValueError("headers are taken out by their whole names")
        return [Edit(name[1:], None)]
    if name.startswith("?"):
        raise ValueError("a header is set whether it is there or not")
    append = name.startswith("+")
    return [Edit(name.lstrip("+>"), value(rest[0] if rest else "", answer=answer), append)]


def proxy(gateway: Gateway, directive: Directive, upstreams: list[str], absolute: Callable[[str], str]) -> tuple[
        Forward | None, list[Edit], list[Edit]]:
    """The action, and the edits of requests and answers; no action where it has no upstream."""
    notes = gateway.notes
    made = Pool("")
    forward = Forward([])
    request: list[Edit] = []
    response: list[Edit] = []
    check: dict[str, str] = {}
    policy: list[str] = ["random"]
    addresses = list(upstreams)
    for each in directive.block or []:
        try:
            if each.name == "to":
                addresses += each.args
            elif each.name == "lb_policy":
                policy = each.args
            elif each.name.startswith("health_"):
                check[each.name] = each.args[0] if each.args else ""
                if each.name == "health_headers":
                    notes.left_out(each.place, each.name, "write the headers into the health check")
            elif each.name == "header_up":
                if each.args[0].lower() == "host":
                    _host(forward, each.args[1], addresses)
                else:
                    request += edits(each.args, answer=False)
            elif each.name == "header_down":
                response += edits(each.args, answer=True)
            elif each.name == "transport":
                _transport(gateway, each, made, absolute)
            elif each.name not in _IGNORED:
                raise ValueError("voltgw has nothing of this name")
        except (ValueError, IndexError) as error:
            notes.left_out(each.place, each.text(), str(error) or "this is not complete")
    for text in addresses:
        try:
            made.servers.append(_server(made, text))
        except ValueError as error:
            notes.left_out(directive.place, f"upstream {text}", str(error))
    if not made.servers:
        return None, request, response
    first = made.servers[0]
    made.name = f"{first.host}-{first.port}" if not first.unix else first.host
    _policy(gateway, directive, made, policy)
    if "health_uri" in check or "health_path" in check:
        made.check = _check(check)
    forward.pools = [(gateway.add_pool(made), None)]
    return forward, request, response


def _host(forward: Forward, text: str, addresses: list[str]) -> None:
    if text in ("{upstream_hostport}", "{http.reverse_proxy.upstream.hostport}"):
        if len(addresses) == 1:
            forward.host = addresses[0].rpartition("://")[2]
        else:
            forward.server_host = True
    elif text in ("{host}", "{hostport}", "{http.request.host}", "{http.request.hostport}"):
        forward.host = None
    elif "{" in text:
        raise ValueError("Host is the client's, a fixed one, or the endpoint's")
    else:
        forward.host = text


def _server(made: Pool, text: str) -> Server:
    if "{" in text:
        raise ValueError("the address of an origin is fixed")
    if text.startswith("unix/"):
        return Server(text.removeprefix("unix/").removeprefix("+h2c"), unix=True)
    scheme, slashes, rest = text.rpartition("://")
    if slashes and scheme not in ("http", "https", "h2c"):
        raise ValueError(f"origins are reached by http or https, not by {scheme}")
    if made.servers and scheme in ("http", "https") and (scheme == "https") is not (made.tls is not None):
        raise ValueError(MIXED)
    if scheme == "https" and made.tls is None:
        made.tls = Secure()
    if scheme == "h2c":
        made.http2 = True
    found = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^:/]*)(?::(\d{1,5}))?/?", rest)
    if found is None:
        raise ValueError("an upstream is host:port")
    return Server(found[1].strip("[]") or "localhost", int(found[2]) if found[2] else 443 if scheme == "https" else 80)


def _policy(gateway: Gateway, directive: Directive, made: Pool, policy: list[str]) -> None:
    notes, name = gateway.notes, policy[0] if policy else "random"
    if len(made.servers) > 1:
        made.algorithm = _POLICIES.get(name, "ROUND_ROBIN")
    if name == "first":
        for server in made.servers[1:]:
            server.backup = True
        if len(made.servers) > 2:
            notes.differs(directive.place, "lb_policy first", "all but the first stand by together")
    elif name == "weighted_round_robin":
        for server, weight in zip(made.servers, policy[1:], strict=False):
            server.weight = int(weight)
    elif name in ("ip_hash", "client_ip_hash", "header"):
        made.algorithm = "RING_HASH"
        made.hashed = ("header", policy[1]) if name == "header" and len(policy) > 1 else ("source", "")
        notes.differs(directive.place, f"lb_policy {name}", "equal keys keep to one endpoint, though not to the same one")
    elif name == "cookie":
        made.cookie = policy[1] if len(policy) > 1 else "lb"
        notes.differs(directive.place, "lb_policy cookie", "the cookie is signed: clients are given one anew")
    elif name not in _POLICIES:
        notes.left_out(directive.place, f"lb_policy {name}", "hashed is a header, a cookie or the client's address")


def _check(facts: Mapping[str, str]) -> Check:
    status = facts.get("health_status", "")
    klass = re.fullmatch(r"([1-5])xx", status)
    return Check(
        facts.get("health_uri", facts.get("health_path", "/")).partition("?")[0] or "/",
        _time(facts.get("health_interval", ""), 30.0),
        _time(facts.get("health_timeout", ""), 5.0),
        statuses=(f"{klass[1]}00-{klass[1]}99",) if klass else (status,) if status.isdigit() else ("200-399",))


def _transport(gateway: Gateway, directive: Directive, made: Pool, absolute: Callable[[str], str]) -> None:
    if directive.args[:1] != ["http"]:
        raise ValueError("origins speak HTTP")
    for each in directive.block or []:
        first = each.args[0] if each.args else ""
        if each.name.startswith("tls") and made.tls is None and each.name != "tls_timeout":
            made.tls = Secure()
        if made.tls is not None:
            if each.name == "tls_insecure_skip_verify":
                made.tls.verify = False
            elif each.name == "tls_server_name":
                made.tls.sni = first
            elif each.name in ("tls_trusted_ca_certs", "tls_trust_pool"):
                made.tls.ca = absolute(each.args[-1])
            elif each.name == "tls_client_auth" and len(each.args) == 2:
                made.tls.certificate, made.tls.key = absolute(first), absolute(each.args[1])
        if each.name == "versions" and ("h2c" in each.args or each.args == ["2"]):
            made.http2 = True
        elif each.name == "dial_timeout":
            made.connect_timeout_s = _time(first, 3.0)
        elif each.name == "proxy_protocol":
            made.proxy_protocol = 2 if first == "v2" else 1
        elif not each.name.startswith(("tls", "keepalive", "max_conns", "read_", "write_", "response_", "expect_",
                                       "versions", "compression",
                                       "resolvers", "dial_")):
            gateway.notes.left_out(each.place, each.text(), "voltgw has nothing of this name")


def _time(text: str, default_s: float) -> float:
    try:
        return seconds(text) if text else default_s
    except ValueError:
        return default_s
