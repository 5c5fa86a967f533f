"""``voltgw demo``: the gateway and three origins of its own, to try what it does without having anything."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from voltgw.app.demo import COLOURS, DemoOrigins, demo_configuration
from voltgw.app.load import TextLoader
from voltgw.tap import run as serve
from voltgw.values.defaults import ADMIN_PORT

if TYPE_CHECKING:
    from voltgw.app.service import GatewayService

_WELCOME = """
voltgw listens on http://127.0.0.1:{port} and balances over three origins of this demo:
{origins}

Try, in another terminal:

  curl -i http://127.0.0.1:{port}/
    again and again: the origins take turns
  curl http://127.0.0.1:{first}/ill
    the red origin fails its health check from now on (/well: it is well again)
  curl http://{admin}/clusters
    who is healthy, and why; http://{admin}/ is the overview, also for a browser

Ctrl-C ends it. Below stands a line for each request.
"""


def run(arguments: list[str]) -> int:
    """Serve until a signal ends it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="voltgw demo", description="Run the gateway with three origins of its own.")
    parser.add_argument("--port", type=int, default=8080, help="where to listen on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--admin", metavar="PORT", type=int, default=ADMIN_PORT,
                        help="port of the admin interface; 0 takes any (default: %(default)s)")
    options = parser.parse_args(arguments)
    origins: list[DemoOrigins] = []

    def children(reactor: Any) -> list[Any]:
        return origins

    def make(reactor: Any) -> TextLoader:
        origins.append(DemoOrigins(reactor))
        return TextLoader(demo_configuration(origins[0].bind(), options.port, options.admin), "<demo>")

    def started(gateway: GatewayService) -> None:
        ports = origins[0].ports
        names = "\n".join(f"  {colour:<6} http://127.0.0.1:{port}" for colour, port in zip(COLOURS, ports, strict=True))
        print(_WELCOME.format(port=options.port, origins=names, first=ports[0], admin=gateway.admin.addresses[0]), flush=True)

    return serve(make, started=started, children=children, access_log_to_stdout=True)
