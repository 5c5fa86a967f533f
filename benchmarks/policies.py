"""Microseconds that service policies add to a request: 100 policies of 20 rules, of which it matches the last one.

The rules differ by what a kind of list says of each: path, host, method and path, address, the value of a header, cookie or
parameter, or a regex. The last kind has a regex in every rule that contains nothing fixed, so all of them are tried; it is
there to say what that costs. The bound is 5 us for the others.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from voltgw.app.build import Makings, build
from voltgw.config.load import load_text
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry
from voltgw.security.policies import Chain
from voltgw.values.exchange import Exchange
from voltgw.wire.http1 import parse_request

BOUND_US: Final = 5.0
POLICIES: Final = 100
RULES: Final = 20
REQUEST: Final = b"\r\n".join([
    b"GET /team-99/19/orders?page=2&team=99-19 HTTP/1.1", b"Host: host-99-19.example",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    b"Accept: text/html,application/xhtml+xml", b"Accept-Language: en-GB,en;q=0.7", b"Accept-Encoding: gzip, deflate, br",
    b"Cookie: session=7f9c2ba4e88f827d; theme=dark; team=99-19", b"X-Team: team-99-19", b"", b""])


def rule(kind: str, policy: int, number: int) -> dict[str, Any]:
    """One rule of a kind; the request matches the very last one."""
    path = {"prefix_values": [f"/team-{policy}/{number}/"]}
    return {
        "path": {"path": path},
        "host": {"domain_matcher": {"exact_values": [f"host-{policy}-{number}.example"]}},
        "method and path": {"http_method": {"methods": ["GET", "HEAD"]}, "path": path},
        "address": {"ip_prefix_list": {"ip_prefixes": [f"10.{policy}.{number}.0/24"]}},
        "header": {"headers": [{"name": "x-team", "item": {"exact_values": [f"team-{policy}-{number}"]}}]},
        "regex": {"path": {"regex_values": [f"/team-{policy}/{number}/[a-z]+"]}},
        "cookie": {"cookie_matchers": [{"name": "team", "item": {"exact_values": [f"{policy}-{number}"]}}]},
        "parameter": {"query_params": [{"key": "team", "item": {"exact_values": [f"{policy}-{number}"]}}]},
        "suffix": {"path": {"suffix_values": [f"-{policy}/{number}/orders"]}},
        "path, any case": {"path": {"prefix_values": [f"/team-{policy}/{number}/"], "transformers": ["LOWER_CASE"]}},
        "regex within": {"path": {"regex_values": [f".*-{policy}/{number}/[a-z]+"]}},
        "any regex": {"path": {"regex_values": [f".*[-=]{policy}[/.]{number}[/.][a-z]+"]}},
    }[kind]


def chain(kind: str) -> Chain:
    """The chain of a host with all of them."""
    parts: list[dict[str, Any]] = [
        {"kind": "service_policy", "metadata": {"name": f"p{policy}"}, "spec": {"rule_list": {"rules": [
            {"metadata": {"name": f"r{number}"}, "spec": {"action": "ALLOW", **rule(kind, policy, number)}}
            for number in range(RULES)]}}}
        for policy in range(POLICIES)]
    parts.append({"kind": "virtual_host", "metadata": {"name": "h"}, "spec": {
        "domains": ["*"], "active_service_policies": {"policies": [f"p{policy}" for policy in range(POLICIES)]}}})
    config = load_text(json.dumps({"objects": parts}), name="policies.yaml", folder=".", environ={})
    made = build(config, None, Makings(lambda key: Pool(), Random(0), Registry(), lambda network: "127.0.0.1"))
    guard = made.hosts["default/h"].guard
    assert isinstance(guard, Chain)
    return guard


def measured(made: Chain, count: int, runs: int) -> float:
    """Microseconds for each request: the least of several runs, less an empty loop."""
    client: Any = SimpleNamespace(local_port=80, peer_address="10.99.19.7", scheme=b"http", sni="", handshake=None)
    exchange = Exchange(client, parse_request(REQUEST, len(REQUEST) - 4), b"id", 0.0, 0)
    judge = made.judge
    if judge(exchange) is not None or exchange.policy != f"default/p{POLICIES - 1}/r{RULES - 1}":
        raise SystemExit(f"the last rule was to decide, not {exchange.policy}")
    took, empty = [], []
    for _ in range(runs):
        began = time.process_time()
        for _ in range(count):
            judge(exchange)
        took.append(time.process_time() - began)
        began = time.process_time()
        for _ in range(count):
            pass
        empty.append(time.process_time() - began)
    return (min(took) - min(empty)) / count * 1e6


def run() -> int:
    """Print the table; 1 when a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, {POLICIES} policies x {RULES} rules; the last decides")
    worst = 0.0
    for kind in ("path", "host", "method and path", "address", "header", "cookie", "parameter", "suffix",
                 "path, any case", "regex", "regex within", "any regex"):
        regex = kind == "any regex"
        took = measured(chain(kind), options.count // 50 if regex else options.count, options.runs)
        worst = worst if regex else max(worst, took)
        print(f"{kind:20}{took:10.2f} us{'  (no table decides it)' if regex else ''}")
    return int(worst > BOUND_US)


if __name__ == "__main__":
    sys.exit(run())
