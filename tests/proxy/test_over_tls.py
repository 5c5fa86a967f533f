"""The tests of what becomes of a request, once more with clients that have come by TLS, in HTTP/1.1 and in HTTP/2.

The engine is not part of this (`tests.net`, `tests.integration.test_https_actions`): what is shown is that whatever a route does, it does for
those requests as well. See `tests.proxy.over_2`.
"""

from __future__ import annotations

from typing import Final
from unittest import TestSuite

from tests.proxy.over_2 import Over2, OverTls
from tests.proxy.test_over_2 import OF_VERSION_1, cases

#: Tests that name the scheme, which is the one thing that is not the same; `SchemeTests` has it.
_OF_THE_SCHEME: Final[dict[str, frozenset[str]]] = {
    "forwarding.AboutTheClientTests": frozenset((
        "the_client_is_the_peer", "what_the_client_says_of_itself_is_overwritten",
    )),
    "forwarding.HopByHopTests": frozenset(("connection_takes_away_what_it_names_but_not_ours",)),
    "identity.BelievedTests": frozenset((
        "connection_takes_away_what_it_names", "strangers_are_not", "what_a_believed_peer_may_not_say",
    )),
    "identity.ForwardedTests": frozenset(("the_field", "the_host_that_was_asked_for", "what_others_wrote")),
}
REQUEST: Final = b"GET /a HTTP/1.1\r\nHost: shop\r\nX-Forwarded-Proto: http\r\n\r\n"
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class SchemeTests(OverTls):
    version = 1

    def test_the_scheme(self) -> None:
        """Endpoints and the record are told of https, whatever the client says; the record has what TLS has agreed on."""
        client = self.client()
        client.send(REQUEST)
        endpoint = self.accept()
        self.assertIn(b"\r\nx-forwarded-proto: https\r\n", endpoint.written)
        self.assertNotIn(b"proto: http\r\n", endpoint.written)
        endpoint.send(ANSWER)
        self.assertTrue(client.got().startswith(b"HTTP/1.1 200 OK\r\n"))
        (record,) = self.records
        self.assertEqual((record.scheme, record.client.tls_version, record.client.sni, record.request.minor),
                         (b"https", "TLSv1.3", "shop", self.version))


class Scheme2Tests(Over2, SchemeTests):
    version = 2


class NamedTests(OverTls):
    def test_nothing_is_left_out_by_mistake(self) -> None:
        """Every test that is named as one of the scheme exists."""
        every = {(place, name) for place, _, names in cases() for name in names}
        left_out = {(place, f"test_{name}") for place, names in _OF_THE_SCHEME.items() for name in names}
        self.assertEqual(left_out - every, set())


def testSuite() -> TestSuite:
    """What trial runs of this module."""
    suite = TestSuite([SchemeTests("test_the_scheme"), Scheme2Tests("test_the_scheme"),
                       NamedTests("test_nothing_is_left_out_by_mistake")])
    for place, found, names in cases():
        of_the_scheme = _OF_THE_SCHEME.get(place, frozenset())
        of_version_1 = OF_VERSION_1.get(place, frozenset())
        over_1 = type(f"{found.__name__}OverTls1", (OverTls, found), {"__module__": __name__})
        over_2 = type(f"{found.__name__}OverTls2", (Over2, OverTls, found), {"__module__": __name__})
        for name in names:
            short = name.removeprefix("test_")
            if short not in of_the_scheme:
                suite.addTest(over_1(name))
                if short not in of_version_1:
                    suite.addTest(over_2(name))
    return suite
