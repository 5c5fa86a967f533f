"""Tests of a shop's gateway; they open no port, and take milliseconds."""

from twisted.trial.unittest import SynchronousTestCase

from voltgw.testing import Answer, Gateway

CONFIG = """
load_balancers:
- name: shop
  listen: 8080
  domains: [shop.example.com]
  origins: [10.0.0.1:9001, 10.0.0.2:9001]
  health_check: /healthz
"""


class ShopTests(SynchronousTestCase):
    """What our users see."""

    def setUp(self) -> None:
        """A gateway, and two servers behind it."""
        self.gateway = Gateway(CONFIG)
        self.addCleanup(self.gateway.close)
        self.one = self.gateway.serve("10.0.0.1:9001", lambda request: f"one got {request.path}")
        self.two = self.gateway.serve("10.0.0.2:9001", lambda request: f"two got {request.path}")

    def test_the_client_is_known(self) -> None:
        """Servers learn the address of the client, whatever a client says of itself."""
        answer = self.gateway.request("GET", "http://shop.example.com:8080/cart", {"X-Forwarded-For": "forged"},
                                      source="198.51.100.7")
        self.assertEqual(answer.status, 200)
        server = self.one if answer.endpoint == "10.0.0.1:9001" else self.two
        self.assertEqual(server.requests[-1].headers.get("x-real-ip"), "198.51.100.7")

    def test_a_server_breaks(self) -> None:
        """It gets no more requests once its health checks have failed, and the other one serves."""
        self.one.answer = lambda request: Answer(500)
        self.gateway.advance(60.0)
        self.assertEqual(self.gateway.healthy("shop"), ["10.0.0.2:9001"])
        answer = self.gateway.request("GET", "http://shop.example.com:8080/cart")
        self.assertEqual(answer.text, "two got /cart")
