"""Microseconds that a rate limit adds to a request that it lets pass, with 50,000 users taking turns. The bound is 1.5 us.

The last lines are for comparison: a refusal, which stands in for everything else that a request would cost.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from voltgw.app.build import Makings, build
from voltgw.config.load import load_text
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry
from voltgw.values.exchange import Exchange
from voltgw.wire.http1 import parse_request

BOUND_US: Final = 1.5
USERS: Final = 50_000
HEAD: Final = (b"GET /orders?page=2&key=%d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
               b"Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\n"
               b"Cookie: theme=dark; session=%d\r\nX-Api-Key: %d\r\n\r\n")

#: Kind -> what the virtual host, its limiter and its user_identification say.
KINDS: Final[dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]]] = {
    "by address": ({}, {}, [{"client_ip": {}}]),
    "by address, IPv6": ({}, {}, [{"client_ip": {}}]),
    "by address, exempt prefixes": ({"rate_limiter_allowed_prefixes": ["office"]}, {}, [{"client_ip": {}}]),
    "by header": ({}, {}, [{"http_header_name": "x-api-key"}]),
    "by cookie": ({}, {}, [{"cookie_name": "session"}]),
    "by address, RateLimit fields": ({}, {"voltgw": {"fields": "ALWAYS"}}, [{"client_ip": {}}]),
}


def judge(kind: str, total: int) -> Callable[[Exchange], Any]:
    """The filter of a host with such a limit."""
    host, limiter, rules = KINDS[kind]
    parts = [
        {"kind": "virtual_host", "metadata": {"name": "h"}, "spec": {
            "domains": ["*"], "rate_limiter": ["l"], "user_identification": ["u"], **host}},
        {"kind": "rate_limiter", "metadata": {"name": "l"}, "spec": {
            "limits": [{"unit": "SECOND", "total_number": total, "burst_multiplier": 100 if total > 1 else 1}], **limiter}},
        {"kind": "user_identification", "metadata": {"name": "u"}, "spec": {"rules": rules}},
        {"kind": "ip_prefix_set", "metadata": {"name": "office"}, "spec": {"prefix": ["192.0.2.0/24", "198.51.100.0/24"]}}]
    config = load_text(json.dumps({"objects": parts}), name="limits.yaml", folder=".", environ={})
    made = build(config, None, Makings(lambda key: Pool(), Random(0), Registry(), lambda network: "127.0.0.1"))
    (gate,) = made.hosts["default/h"].gates
    return gate.judge


def exchanges(kind: str) -> list[Exchange]:
    """One request of each user."""
    made = []
    for number in range(USERS):
        address = f"2001:db8:{number:x}::1" if "IPv6" in kind else f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        client: Any = SimpleNamespace(local_port=80, peer_address=address, scheme=b"http", sni="", handshake=None)
        head = HEAD % (number, number, number)
        made.append(Exchange(client, parse_request(head, len(head) - 4), b"id", 1000.0 + number * 1e-5, 0))
    return made


def measured(call: Callable[[Exchange], Any], asked: list[Exchange], runs: int, passes: bool) -> float:
    """Microseconds for each request, the least of several runs, less an empty loop."""
    took, empty = [], []
    for run in range(runs):
        for exchange in asked:
            exchange.t_start += 1.0
        began = time.process_time()
        for exchange in asked:
            call(exchange)
        took.append(time.process_time() - began)
        began = time.process_time()
        for _ in asked:
            pass
        empty.append(time.process_time() - began)
        if run == runs - 1 and (call(asked[0]) is None) is not passes:
            raise SystemExit("the verdict is not the expected one")
    return (min(took) - min(empty)) / len(asked) * 1e6


def run() -> int:
    """Print the table; 1 when the bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, {USERS} users, us for each request, bound {BOUND_US}")
    worst = 0.0
    for kind in KINDS:
        cost = measured(judge(kind, 8000), exchanges(kind), options.runs, True)
        worst = max(worst, cost)
        print(f"{kind:34}{cost:8.2f}{'  over the bound' if cost > BOUND_US else ''}", flush=True)
    one = exchanges("by address")[:1] * USERS
    call = judge("by address", 1)
    for exchange in one[:1]:
        exchange.t_start = 0.0
    refused = measured(call, one, 1, False)
    print(f"{'a refusal':34}{refused:8.2f}")
    return int(worst > BOUND_US)


if __name__ == "__main__":
    sys.exit(run())
