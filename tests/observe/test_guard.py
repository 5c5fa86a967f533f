"""Who may ask the admin interface."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.observe.guard import host_of, refusal
from voltgw.values.address import is_loopback


class GuardTests(SynchronousTestCase):
    """Host, Origin and Sec-Fetch-Site, each alone."""

    def ask(self, local: str = "127.0.0.1", names: tuple[str, ...] = (), any_host: bool = False, **fields: str) -> str:
        """What is said against a request with these fields."""
        values = {name.replace("_", "-").encode(): [value.encode()] for name, value in fields.items()}
        return refusal(lambda name: values.get(name, []), local, names, any_host=any_host)

    def test_hosts_of_this_machine(self) -> None:
        """Loopback names and addresses, with any port, and the address that the connection came to."""
        for host in ("localhost", "localhost:9901", "LOCALHOST.", "127.0.0.1:9901", "127.9.9.9", "[::1]:9901", "[::1]",
                     "192.0.2.1:9901"):
            self.assertEqual(self.ask("192.0.2.1", host=host), "", host)

    def test_other_hosts(self) -> None:
        """A name that somebody made to mean 127.0.0.1 is refused, and so is whatever is no host."""
        for host in ("evil.example", "evil.example:9901", "127.0.0.1.evil.example", "localhost.evil.example", "",
                     "192.0.2.2", "[::1", "[::1]evil", "localhost:evil", "127.0.0.1@evil.example", "evil.example#localhost",
                     "0.0.0.0", "2130706433", "0x7f.1", "::1"):
            self.assertIn("Host", self.ask("192.0.2.1", host=host), host)

    def test_no_host_and_two_hosts(self) -> None:
        """Neither is a request that we answer."""
        self.assertIn("Host", self.ask())
        self.assertIn("Host", refusal(lambda name: [b"localhost", b"localhost"], "127.0.0.1", ()))

    def test_a_configured_name(self) -> None:
        """It may be used, whatever the case."""
        self.assertEqual(self.ask(names=("gw.internal",), host="GW.internal:9901"), "")

    def test_a_unix_socket(self) -> None:
        """No browser reaches it, so Host does not matter; a page's own fields still do."""
        self.assertEqual(self.ask("", any_host=True, host="whatever"), "")
        self.assertEqual(self.ask("", any_host=True), "")
        self.assertIn("origins", self.ask("", any_host=True, host="d", origin="http://evil.example"))

    def test_what_browsers_say_of_other_pages(self) -> None:
        """Requests that a page of another site made are refused, also those of another port of this machine."""
        for site in ("cross-site", "same-site", "Cross-Site", "anything"):
            self.assertIn("sites", self.ask(host="localhost", sec_fetch_site=site), site)
        for site in ("same-origin", "none"):
            self.assertEqual(self.ask(host="localhost", sec_fetch_site=site), "", site)

    def test_origins(self) -> None:
        """Only our own, which is Host's."""
        for origin in ("http://evil.example", "null", "http://localhost:3000", "https://localhost:9901", "", "localhost:9901"):
            self.assertIn("origins", self.ask(host="localhost:9901", origin=origin), origin)
        self.assertEqual(self.ask(host="localhost:9901", origin="http://localhost:9901"), "")

    def test_loopback(self) -> None:
        """Addresses that can only mean this machine."""
        self.assertEqual([is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "gw")],
                         [True, True, True, False, False, False, False])
        self.assertEqual(host_of("[::1]:80"), "::1")
