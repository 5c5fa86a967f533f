"""The comparisons of benchmarks/run: which programs with which options, whom they compare, and how long they take."""

from __future__ import annotations

from typing import Final, NamedTuple

ALL: Final = "voltgw,haproxy,nginx,envoy"


class Job(NamedTuple):
    """One comparison: the name of its result, the program with its options, whom it compares, and how much load it gets.

    `load` stands in place of so many rounds of so many seconds; None: of those that were asked for. A comparison that is
    `more` is run only where it is named, or with --more.
    """

    name: str
    command: tuple[str, ...]
    proxies: str = ALL
    load: tuple[str, ...] | None = None
    quick: bool = False                             # whether --quick has it
    more: bool = False
    builds: bool = True                             # whether it can compare two builds


def _paths(features: str, suffix: str) -> tuple[Job, ...]:
    """Every path of the targets with one set of features."""
    on = ("--features", features)
    counted = ("--requests", "30000", "--rounds", "3")
    return (
        Job(f"http_keepalive{suffix}", ("http_keepalive.py", *on), quick=features == "full"),
        # Each proxy with its own buffers: HAProxy's of 256 KiB cost it more than twice as much for such an answer.
        Job(f"http_keepalive_64k{suffix}", ("http_keepalive.py", "--body", "64k", *on)),
        Job(f"http_newconn{suffix}", ("http_newconn.py", *on), quick=features == "full"),
        Job(f"http_bulk{suffix}", ("tcp_bulk.py", "--http", "--body", "10m", *on)),
        Job(f"https_keepalive{suffix}", ("https_keepalive.py", *on), load=counted),
        Job(f"tls_handshake{suffix}", ("tls_handshake.py", *on)),
        Job(f"tls_bulk{suffix}", ("tls_bulk.py", *on)),
        Job(f"http2_tls{suffix}", ("http2.py", "--tls", *on), load=counted),
        Job(f"sni{suffix}", ("sni.py", *on)),
        Job(f"tcp_echo{suffix}", ("tcp_echo.py", *on), quick=features == "full"),
        Job(f"tcp_newconn{suffix}", ("tcp_echo.py", "--new-connections", *on)),
        Job(f"tcp_bulk{suffix}", ("tcp_bulk.py", *on), quick=features == "full"),
        Job(f"udp{suffix}", ("udp_echo.py", *on), "voltgw,nginx,envoy"),
    )


JOBS: Final = (
    *_paths("full", "_full"),
    Job("websocket_full", ("websocket.py", "--features", "full")),
    Job("open_loop_full", ("open_loop.py", "--features", "full", "--loads", "10,30,50,70,90"), "voltgw,haproxy"),
    Job("dns", ("dns.py",), "voltgw,knot,bind,dnsmasq"),
    Job("idle_http", ("idle_connections.py",), load=()),
    *_paths("off", "_bare"),
    *(Job(f"forward_{kind}", ("forward.py", "--kind", kind), "voltgw,squid") for kind in ("connect", "plain", "inspected")),
    *(Job(f"growth_{by}", ("growth.py", "--by", by), "voltgw,haproxy,nginx", ("--seconds", "1", "--rounds", "2"))
      for by in ("routes", "endpoints", "connections")),
    Job("conformance", ("conformance.py",), load=(), builds=False),
    Job("http_keepalive_ten", ("http_keepalive.py", "--features", "ten"), more=True),
    Job("http2", ("http2.py",), load=("--requests", "30000", "--rounds", "3"), more=True),
    Job("tcp_bulk_default_buffers", ("tcp_bulk.py", "--buffers", "default"), more=True),
    Job("open_loop_poisson", ("open_loop.py", "--arrivals", "poisson"), more=True),
    Job("sessions_udp", ("sessions.py",), "voltgw,nginx,envoy", ("--seconds", "20"), more=True),
    Job("sessions_tcp", ("sessions.py", "--tcp"), "voltgw,nginx,envoy", ("--seconds", "20"), more=True),
    Job("idle_tcp", ("idle_connections.py", "--tcp"), load=(), more=True),
    Job("idle_tls", ("idle_connections.py", "--tls", "--connections", "1000"), load=(), more=True),
    Job("tls_handshake_rsa", ("tls_handshake.py", "--key", "rsa"), more=True),
    Job("tls_resumed", ("tls_handshake.py", "--resumed"), more=True),
    Job("probes", ("probes.py",), "voltgw,haproxy,envoy", ("--seconds", "10", "--rounds", "3"), more=True),
    Job("fairness", ("fairness.py",), load=("--seconds", "4", "--rounds", "3"), more=True),
    Job("fairness_streams", ("fairness.py", "--kinds", "alone,streams"), "voltgw", ("--seconds", "4", "--rounds", "3"),
        more=True),
    Job("soak", ("soak.py",), "voltgw", (), more=True),
)
