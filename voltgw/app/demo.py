"""Origins to try the gateway on: they give different answers, and each can be told to be ill.

They are ordinary `twisted.web` servers on loopback ports of the system's choice, and nothing of them takes part in a gateway
that was not started as a demo.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import gatherResults
from twisted.web.resource import Resource
from twisted.web.server import Site

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.web.server import Request

COLOURS: Final = ("red", "green", "blue")


class Origin(Resource):
    """Answers everything with its name; ``/healthz`` with 200 or 503; ``/ill`` and ``/well`` (any method) switch that."""

    isLeaf = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.ill = False
        self.served = 0

    def render(self, request: Request) -> bytes:
        """Answer."""
        path = request.path or b"/"
        if path == b"/healthz":
            if self.ill:
                request.setResponseCode(503)
            request.setHeader(b"content-type", b"text/plain")
            return b"ill\n" if self.ill else b"well\n"
        if path in (b"/ill", b"/well"):
            self.ill = path == b"/ill"
            return self._text(request, {"origin": self.name, "ill": self.ill})
        self.served += 1
        return self._text(request, {
            "origin": self.name,
            "served": self.served,
            "method": (request.method or b"").decode("latin-1"),
            "path": (request.uri or b"").decode("latin-1"),
            "host": (request.getHeader(b"host") or b"").decode("latin-1"),
            "x-forwarded-for": (request.getHeader(b"x-forwarded-for") or b"").decode("latin-1"),
            "x-request-id": (request.getHeader(b"x-request-id") or b"").decode("latin-1"),
        })

    def _text(self, request: Request, answer: dict[str, object]) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"x-origin", self.name.encode("ascii"))
        return json.dumps(answer).encode("utf-8") + b"\n"


class DemoOrigins(Service):
    """Three origins on 127.0.0.1; their ports are known once they are bound."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.origins = [Origin(colour) for colour in COLOURS]
        self._listening: list[Any] = []
        self.ports: list[int] = []

    def bind(self) -> list[int]:
        """Listen; the ports in the order of `COLOURS`."""
        self._listening = [self._reactor.listenTCP(0, Site(origin), interface="127.0.0.1") for origin in self.origins]
        self.ports = [port.getHost().port for port in self._listening]
        return self.ports

    def stopService(self) -> Deferred[Any]:
        """Stop listening."""
        super().stopService()
        listening, self._listening = self._listening, []
        return gatherResults([port.stopListening() for port in listening])


def demo_configuration(ports: list[int], listen: int, admin: int) -> str:
    """The configuration of the demo, as an operator would write it; `listen` and `admin` are ports."""
    origins = "\n".join(f"  - 127.0.0.1:{port}    # {colour}" for port, colour in zip(ports, COLOURS, strict=True))
    return f"""\
gateway: {{admin: {{port: {admin}}}}}
load_balancers:
- name: demo
  listen: 127.0.0.1:{listen}
  origins:
{origins}
  health_check: {{path: /healthz, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 2}}
"""
