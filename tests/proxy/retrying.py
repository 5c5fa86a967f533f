"""What the tests of retries share: a listener whose route has a policy, and requests that come to an endpoint."""

from __future__ import annotations

from typing import Any

from tests.proxy.rig import GET, ProxyCase, Wire
from voltgw.values.retry import RetryPlan

POST = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi"
UNAVAILABLE = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


class RetryCase(ProxyCase):
    """Three endpoints; `plan` gives the route its policy, ``5xx`` three times unless it says otherwise."""

    endpoint_count = 3

    def setUp(self) -> None:
        """With a policy."""
        super().setUp()
        self.came = b""                     # what `arrived`
        self.plan()

    def plan(self, *conditions: str, **values: Any) -> None:
        """The route has this policy from now on."""
        values.setdefault("retries", 3)
        self.route.retry = RetryPlan(frozenset(conditions or ("5xx",)), **values)

    @property
    def pause(self) -> float:
        """How long the one exchange that pauses has to wait for its next try (seconds)."""
        timer, = self.hand.clock.getDelayedCalls()
        left: float = timer.getTime() - self.hand.now
        return left

    def arrived(self) -> Wire:
        """Where the one request that is on its way has arrived: on a new connection or a pooled one. `came` is what came."""
        if self.rig.dials:
            origin = self.accept()
        else:
            origin, = (each for each in self.rig.origins if each.written and not each.gone)
        self.came = origin.got()
        return origin

    def next_try(self) -> Wire:
        """The pause is over and the next endpoint has got the request."""
        self.assertEqual(self.rig.dials, [])
        self.advance(self.pause)
        return self.arrived()

    def ask(self, request: bytes = GET, client: Wire | None = None) -> tuple[Wire, Wire]:
        """A client has asked, and an endpoint has got it: both ends."""
        client = client or self.client()
        client.send(request)
        return client, self.arrived()

    def only(self, origin: Wire) -> None:
        """No endpoint but this one's is ready from now on."""
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint is origin.protocol.endpoint

    def idle(self) -> int:
        """Connections that wait in pools."""
        return sum(len(endpoint.pool) for endpoint in self.cluster.endpoints)
