"""The way to a collector of traces: HTTP(S) on treq, connections kept, answers bounded, redirects not followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers

from voltgw import __version__
from voltgw.control.ways import trust_of, whole
from voltgw.observe.exporter import MAX_ANSWER_BYTES, Answer

#: The collector must accept a connection in this time, in seconds; whoever sends bounds the whole.
_CONNECT_S: Final = 5.0


class TooLong(Exception):
    """An answer that no collector gives."""


class Collector:
    """Sends requests; satisfies `voltgw.observe.exporter.Post`. `headers` go with each of them, their values are secrets.

    `trusted_ca` is PEM, None = the system's authorities. One request is under way at a time, so there is one connection.
    """

    def __init__(self, reactor: Any, url: str, headers: Mapping[str, bytes], trusted_ca: bytes | None) -> None:
        self._url = url
        self._headers = {name.encode("ascii"): [value.strip()] for name, value in headers.items()}
        self.pool = HTTPConnectionPool(reactor, persistent=True)
        self.pool.maxPersistentPerHost = 1
        self.pool.retryAutomatically = False        # the exporter does
        policy = BrowserLikePolicyForHTTPS(trustRoot=trust_of(trusted_ca, "gateway.tracing.trusted_ca"))
        self._client = HTTPClient(Agent(reactor, policy, connectTimeout=_CONNECT_S, pool=self.pool))

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Deferred[Answer]:
        """POST `body`; the Deferred can be cancelled."""
        fields = Headers({b"user-agent": [b"voltgw/" + __version__.encode("ascii")], **self._headers})
        for name, text in headers.items():
            fields.setRawHeaders(name.encode("ascii"), [text.encode("ascii")])
        asked: Deferred[Any] = self._client.request(
            "POST", self._url, headers=fields, data=body, allow_redirects=False, unbuffered=True)
        return asked.addCallback(self._read)

    def _read(self, response: Any) -> Deferred[Answer]:
        after = response.headers.getRawHeaders(b"retry-after", [b""])[0].decode("latin-1")
        too_long = TooLong(f"it answers with more than {MAX_ANSWER_BYTES} bytes")
        return whole(response, MAX_ANSWER_BYTES, too_long).addCallback(lambda data: Answer(response.code, after, data))

    def close(self) -> Deferred[None]:
        """Close the connection that is kept."""
        closed: Deferred[None] = self.pool.closeCachedConnections()
        return closed
