"""Microseconds that each configured filter adds to a request: the filters of a route run on a browser's request and an answer.

What is not configured is not there at all (``tests.proxy.test_call_count`` counts the calls), so each line is the whole cost of
its feature on the way through the filters: the least of several runs, less the same loop without filters. The bound is 1.5 us.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers.round_robin import FACTORY
from voltgw.config.load import load_text
from voltgw.proxy.pool import Pool
from voltgw.routing.route import Route
from voltgw.routing.table import build_host
from voltgw.values.exchange import Exchange
from voltgw.wire.http1 import parse_request, parse_response

BOUND_US: Final = 1.5
REQUEST: Final = b"\r\n".join([
    b"GET /shop/item-1?sort=price HTTP/1.1", b"Host: shop.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    b"Accept-Language: en-GB,en;q=0.7,fr;q=0.3", b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Referer: https://shop.example.com/catalogue?sort=price", b"Cookie: session=7f9c2ba4e88f827d; theme=dark; consent=1",
    b"Sec-Fetch-Mode: navigate", b"Upgrade-Insecure-Requests: 1", b"", b""])
ANSWER: Final = (b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/html\r\n"
                 b"ETag: \"1\"\r\nSet-Cookie: session=7f9c2ba4e88f827d; Path=/\r\nContent-Length: 128\r\n\r\n")

#: Feature -> what the virtual host, the rule and its destinations say of it.
FEATURES: Final[dict[str, tuple[str, str, str]]] = {
    "one request header added": ("request_headers_to_add: [{name: X-Edge, value: a, append: true}]", "", ""),
    "eight request headers replaced": (
        "request_headers_to_add: [" + ", ".join(f"{{name: X-{n}, value: a}}" for n in range(8)) + "]", "", ""),
    "a request header with a variable": ("", "request_headers_to_add: [{name: X-Client, value: '%PATH%'}]", ""),
    "a request header removed": ("request_headers_to_remove: [referer]", "", ""),
    "one response header added": ("response_headers_to_add: [{name: X-Frame-Options, value: DENY, append: true}]", "", ""),
    "a request cookie added": ("request_cookies_to_add: [{name: tier, value: gold}]", "", ""),
    "a request cookie removed": ("request_cookies_to_remove: [theme]", "", ""),
    "a response cookie added": ("response_cookies_to_add: [{name: tier, value: gold, add_secure: {}}]", "", ""),
    "attributes of another cookie": ("cookies_to_modify: [{name: other, add_secure: {}}]", "", ""),
    "attributes of a cookie that is set": ("cookies_to_modify: [{name: session, add_secure: {}, samesite_lax: {}}]", "", ""),
    "CORS, no Origin": ("cors_policy: {allow_origin: ['https://app.example.com']}", "", ""),
    "CSRF, a GET": ("csrf_policy: {all_load_balancer_domains: {}}", "", ""),
    "compression of another type": ("compression_params: {content_type: [application/json]}", "", ""),
    "a fault for 1 %": ("", "voltgw: {fault: {abort: {status: 503, percent: 1}}}", ""),
    "hash of the client address": ("", "", "hash_policy: [{source_ip: true}]"),
    "hash of a header": ("", "", "hash_policy: [{header_name: user-agent}]"),
    "hash of a cookie": ("", "", "hash_policy: [{cookie: {name: session, ttl: 3600000}}]"),
}

_TEXT: Final = """
kind: virtual_host
metadata: {{name: shop}}
spec: {{domains: [shop.example.com], routes: [r], {host}}}
---
kind: route
metadata: {{name: r}}
spec: {{routes: [{{{rule}route_destination: {{destinations: [{{cluster: shop}}], {forward}}}}}]}}
"""


def route(host: str, rule: str, forward: str) -> Route:
    """The route that these lines make."""
    config = load_text(_TEXT.format(host=host or "no_challenge: {}", rule=f"{rule}, " if rule else "",
                                    forward=forward or "timeout: 1000"), name="filters.yaml", folder=".", environ={})
    (spec,) = config.of("virtual_host").values()
    cluster = Cluster("default/shop", FACTORY, lambda key: Pool(), random.Random(0))
    made = build_host("shop", spec.spec, list(config.of("route").values()), lambda ref, namespace: cluster, place=spec.place)
    return made.routes[0]


def loop(made: Route | None, count: int) -> float:
    """Seconds for `count` exchanges through the filters of a route; None = through none."""
    client: Any = SimpleNamespace(
        local_port=80, local_address="127.0.0.1", peer_address="192.0.2.1", peer_port=50000, scheme=b"http", sni="",
        tls_version="", tls_cipher="", listener="http", certified=b"", connected_wall=0.0)
    head = parse_request(REQUEST, REQUEST.find(b"\r\n\r\n"))
    response = parse_response(ANSWER, ANSWER.find(b"\r\n\r\n"), b"GET")
    exchange = Exchange(client, head, b"12345678-1234-4123-8123-000000000001", 0.0, 0)
    exchange.route = made
    exchange.response = response
    fields, told = tuple(head.fields), tuple(response.fields)
    request_filters: tuple[Callable[..., object], ...] = made.request_filters if made is not None else ()
    response_filters: tuple[Callable[..., object], ...] = made.response_filters if made is not None else ()
    if made is not None and made.hash_key is not None:
        request_filters += (made.hash_key,)
    began = time.process_time()
    for _ in range(count):
        head.fields = list(fields)
        response.fields = list(told)
        exchange.cookies_to_set = exchange.transform = None
        for request_filter in request_filters:
            request_filter(exchange)
        for response_filter in response_filters:
            response_filter(exchange)
    return time.process_time() - began


def measured(made: Route, count: int, runs: int) -> float:
    """Microseconds for each request, beyond a route without filters; the two are measured in turn."""
    with_it, without = [], []
    for _ in range(runs):
        without.append(loop(None, count))
        with_it.append(loop(made, count))
    return (min(with_it) - min(without)) / count * 1e6


def run() -> int:
    """The command: 1 where a filter costs more than the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="requests in each run")
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, us for each request, bound {BOUND_US}")
    worst = 0.0
    for name, said in FEATURES.items():
        cost = measured(route(*said), options.count, options.runs)
        worst = max(worst, cost)
        print(f"{name:40} {cost:6.2f}{'  over the bound' if cost > BOUND_US else ''}", flush=True)
    return int(worst > BOUND_US)


if __name__ == "__main__":
    sys.exit(run())
