"""A collector of traces: an HTTP server in trial's reactor that decodes what comes with OpenTelemetry's own messages.

So the judge of what we send is not us: ``opentelemetry-proto`` are the classes that protoc makes of the published protocol.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

SERVER: Final = 2
CLIENT: Final = 3
INTERNAL: Final = 1


class Collecting(Resource):
    """Takes requests with spans; `answers` (status, headers, body) are given to the first ones, 200 to all others."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.silent = False                 # nothing is answered
        self.requests: list[ExportTraceServiceRequest] = []     # those that were answered 200
        self.fields: list[dict[str, str]] = []                  # of all of them
        self.paths: list[bytes] = []

    def render_POST(self, request: Any) -> Any:
        """One batch."""
        self.paths.append(request.uri)
        self.fields.append({name.decode().lower(): values[0].decode() for name, values
                            in request.requestHeaders.getAllRawHeaders()})
        body = request.content.read()
        if self.silent:
            return NOT_DONE_YET
        if self.answers:
            status, fields, said = self.answers.pop(0)
            request.setResponseCode(status)
            for name, value in fields.items():
                request.setHeader(name.encode(), value.encode())
            if status != 200:
                return said
        else:
            said = ExportTraceServiceResponse().SerializeToString()
        if self.fields[-1].get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        received = ExportTraceServiceRequest()
        received.ParseFromString(body)
        self.requests.append(received)
        request.setHeader(b"content-type", b"application/x-protobuf")
        return said

    @property
    def spans(self) -> list[Any]:
        """Every span so far."""
        return [span for request in self.requests for of in request.resource_spans for scoped in of.scope_spans
                for span in scoped.spans]

    def listen(self, cleanup: Callable[..., object]) -> str:
        """Its URL; `cleanup` is a test's `addCleanup`."""
        core: Any = reactor
        site = Site(self)
        port = core.listenTCP(0, site, interface="127.0.0.1")
        cleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}/v1/traces"


def said(span: Any) -> dict[str, Any]:
    """A span's attributes."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
