"""``voltgw proxy LISTEN ORIGIN...``: a load balancer from the command line alone."""

from __future__ import annotations

import argparse
import json

from voltgw.app.load import TextLoader
from voltgw.tap import run as serve


def run(arguments: list[str]) -> int:
    """Serve until a signal ends it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="voltgw proxy", description="Balance what comes in at LISTEN over the ORIGINs.",
        epilog="example: voltgw proxy 8080 9001 9002")
    parser.add_argument("listen", metavar="LISTEN", help="a port (all addresses), or address:port")
    parser.add_argument("origins", metavar="ORIGIN", nargs="+", help="a port of 127.0.0.1, address:port, name:port or a URL")
    parser.add_argument("--tcp", action="store_true", help="relay connections instead of HTTP requests")
    parser.add_argument("--health-check", metavar="PATH", help="ask for this path every few seconds, and avoid who fails")
    parser.add_argument("--admin", metavar="PORT", type=int, default=None, help="port of the admin interface on 127.0.0.1")
    options = parser.parse_args(arguments)
    return serve(TextLoader(configuration(options), "<command line>"), access_log_to_stdout=True)


def configuration(options: argparse.Namespace) -> str:
    """What an operator would have written for these options."""
    balancer: dict[str, object] = {
        "name": "proxy",
        "protocol": "tcp" if options.tcp else "http",
        "listen": options.listen,
        "origins": [f"127.0.0.1:{origin}" if origin.isdigit() else origin for origin in options.origins],
    }
    if options.health_check is not None:
        balancer["health_check"] = options.health_check
    # Without a port of its own the admin interface takes any that is free, so that two of these can run side by side.
    return json.dumps({"gateway": {"admin": {"port": options.admin or 0}}, "load_balancers": [balancer]})
