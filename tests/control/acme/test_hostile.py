"""A CA that means ill: what it may ask of us, and where it may send us."""

from __future__ import annotations

import json
from typing import Any

from tests.control.acme.ca import URL, saying
from tests.control.acme.test_fetching import FetchingCase
from voltgw.control.acme.messages import Answer, location, read_directory
from voltgw.control.acme.problems import Garbled


def authorization(name: str, kind: str = "tls-alpn-01") -> bytes:
    """One about a name, with a challenge."""
    return json.dumps({
        "status": "pending", "identifier": {"type": "dns", "value": name},
        "challenges": [{"type": kind, "url": f"{URL}/c", "token": "a-token", "status": "pending"}]}).encode()


class HostileTests(FetchingCase):
    def failed_with(self, path: str, answer: Answer, **settings: Any) -> str:
        """What the last try came to when `path` was answered like this; the next one goes well."""
        self.ca.fault(path, answer)
        self.start(**settings)
        self.advance(30)
        told = str(self.one()["last_error"])
        self.assertEqual(self.fetching.results["issued"], 0)
        self.assertEqual(self.answers.told, 0, "a challenge was answered")
        self.advance(1200)
        self.assertEqual(self.one()["state"], "valid", told)
        return told

    def test_a_proof_about_a_name_that_nobody_has_ordered(self) -> None:
        """No listener answers it, by either kind of challenge: our word is for names of our own orders."""
        for challenge in ("tls-alpn-01", "http-01"):
            told = self.failed_with("/authz/", saying(authorization("bank.example", challenge)), challenge=challenge)
            self.assertIn("asks for a proof about bank.example", told)
            self.fetching.stop()
            self.setUp()

    def test_a_name_that_is_none(self) -> None:
        """It is an answer that makes no sense, and no error of our own."""
        for name in ("müller.example", "a b", "x" * 300, "\u202egro.example"):
            self.assertIn("asks for a proof about", self.failed_with("/authz/", saying(authorization(name))))
            self.fetching.stop()
            self.setUp()

    def test_urls_that_are_none(self) -> None:
        """Likewise: half an IPv6 address, ports that cannot be, a user in it, letters beyond ASCII."""
        for url in ("https://[", "https://[::1", "https://a]/", "https://ca.example:99999/", "https://ca.example:x/",
                    "https://me:secret@ca.example/", "https://müller.example/", "https://", "https:///x", "//ca.example/"):
            said = json.dumps({"newNonce": url, "newAccount": f"{URL}/a", "newOrder": f"{URL}/o"}).encode()
            self.assertRaises(Garbled, read_directory, Answer(f"{URL}/dir", 200, {}, said))
            self.assertRaises(Garbled, location, Answer(f"{URL}/new-account", 201, {"location": url}, b""))
        self.assertEqual(location(Answer(URL, 201, {"location": "https://ca.example:8443/acct/1"}, b"")),
                         "https://ca.example:8443/acct/1")

    def test_they_are_told_as_what_they_are(self) -> None:
        """And the next try begins anew."""
        told = self.failed_with("/new-account", saying(b"{}", 201, location="https://[::1"))
        self.assertIn("without a Location that is an https URL", told)
