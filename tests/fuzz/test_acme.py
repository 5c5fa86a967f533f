"""A CA that answers at random, in every step of an order: told as what it is, never an error of ours, and the next try goes well."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from tests.control.acme.ca import ERROR, URL, saying
from tests.control.acme.test_fetching import FetchingCase
from tests.fuzz.settings import _FACTOR
from voltgw.control.acme.messages import Answer

_COUNT: Final = 50
_PATHS: Final = ("/dir", "/new-account", "/new-order", "/authz/", "/challenge/", "/order/", "/finalize/", "/certificate/", "/new-nonce")
_TEXTS: Final = (
    "", "valid", "pending", "ready", "invalid", "processing", "shop.example", "MÜLLER.example", "a\u202eb", "\ud800", "dns", "tls-alpn-01", "http-01",
    f"{URL}/order/1", f"{URL}/authz/1", "https://[", "https://a:99999/", "http://ca.example/", f"{ERROR}badNonce", f"{ERROR}rateLimited", "x" * 3000,
    "../../x", "a-b_c", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
_NAMES: Final = (
    "status", "authorizations", "finalize", "certificate", "error", "identifier", "value", "challenges", "type", "url", "token", "newNonce", "newAccount",
    "newOrder", "meta", "termsOfService", "externalAccountRequired", "detail", "subproblems", "expires")
_HEADERS: Final = {
    "location": (f"{URL}/account/1", "https://[", "/x", "https://mü.example/", ""), "replay-nonce": ("", "n n", "é", "x" * 600, "abc"),
    "retry-after": ("1", "-1", "9" * 30, "Wed, 99 Oct 2015 07:28:00 GMT", "soon", "1e9"), "content-type": ("text/html", "application/json")}


class AcmeAtRandom(FetchingCase):
    def value(self, chance: random.Random, depth: int = 0) -> Any:
        """Something that JSON has."""
        kind = chance.randrange(9 if depth < 3 else 5)
        if kind < 3:
            return chance.choice(_TEXTS)
        if kind == 3:
            return chance.choice((0, -1, 1e308, 10**400, True, None, float("nan")))
        if kind == 4:
            return None
        if kind == 5:
            return [self.value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
        return {name: self.value(chance, depth + 1) for name in chance.sample(_NAMES, chance.randint(1, 8))}

    def answer(self, chance: random.Random) -> Answer:
        """What comes of it."""
        headers = {name.replace("-", "_"): chance.choice(values) for name, values in _HEADERS.items() if chance.random() < 0.4}
        body = json.dumps(self.value(chance)).encode() if chance.random() < 0.8 else chance.randbytes(chance.randint(0, 60))
        made = saying(body, chance.choice((200, 200, 201, 204, 400, 403, 404, 429, 500, 503)), **headers)
        return made._replace(headers={name.replace("_", "-"): value for name, value in made.headers.items()})

    def test_any_step(self) -> None:
        """One answer of an order is at random; in the end there is a certificate, and nothing went wrong that was ours."""
        chance = random.Random(3 if _FACTOR == 1 else None)
        for _ in range(_COUNT * _FACTOR):
            path, answer = chance.choice(_PATHS), self.answer(chance)
            self.ca.fault(path, answer)
            self.start(challenge=chance.choice(("tls-alpn-01", "http-01")))
            self.advance(60)
            told = str(self.one()["last_error"])
            self.assertNotIn("internal error", told, (path, answer))
            self.assertTrue(told.isprintable(), (path, answer))
            self.assertLess(len(told), 1500)
            self.ca.heal()
            self.advance(9 * 86400, 3600.0)
            self.assertEqual(self.one()["state"], "valid", (path, answer, self.one()["last_error"]))
            self.assertEqual((self.answers.http, self.answers.tls), ({}, {}), "a challenge is still answered")
            self.assertEqual(self.flushLoggedErrors(), [])
            self.fetching.stop()
            self.setUp()
