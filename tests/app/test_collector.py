"""The way to a collector that means no good: what it says too much of, whom it pretends to be, and silence."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.web.server import Site

from tests.certificates import NOW, authority
from tests.otlp import Collecting
from tests.support import LoopCase
from voltgw.app.collector import Collector, TooLong
from voltgw.config.issuing import Issued, Usage, issue, new_authority
from voltgw.observe.exporter import CONTENT_TYPE, MAX_ANSWER_BYTES, Answer

FIELDS = {"content-type": CONTENT_TYPE}


class CollectorTests(LoopCase):
    def collector(self, url: str, ca: bytes | None = None) -> Collector:
        """The way to it; closed in the end."""
        made = Collector(reactor, url, {"x-token": b" secret\n"}, ca)
        self.addCleanup(made.close)
        return made

    def secure(self, made: Issued, collecting: Collecting) -> str:
        """The URL of a collector that shows a certificate."""
        core: Any = reactor
        both = PrivateCertificate.loadPEM(made.certificate + made.key)
        port = core.listenSSL(0, Site(collecting), both.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"https://localhost:{port.getHost().port}/v1/traces"

    async def test_an_answer(self) -> None:
        """Status, Retry-After and body; secrets have no white space around them, redirects are not followed."""
        collecting = Collecting()
        collecting.answers = [(302, {"location": "/elsewhere", "retry-after": "7"}, b"no")]
        post = self.collector(collecting.listen(self.addCleanup))
        self.assertEqual(await post(b"", FIELDS), Answer(302, "7", b"no"))
        self.assertEqual((collecting.paths, collecting.fields[0]["x-token"]), ([b"/v1/traces"], "secret"))

    async def test_one_that_says_too_much(self) -> None:
        """The rest is not read, and the connection not used again."""
        collecting = Collecting()
        collecting.answers = [(503, {}, b"x" * (MAX_ANSWER_BYTES + 1))]
        post = self.collector(collecting.listen(self.addCleanup))
        with self.assertRaises(TooLong):
            await post(b"", FIELDS)
        self.assertEqual((await post(b"", FIELDS)).status, 200)

    async def test_one_that_says_nothing(self) -> None:
        """Whoever waits no longer cancels it: the connection is closed."""
        collecting = Collecting()
        collecting.silent = True
        asked = self.collector(collecting.listen(self.addCleanup))(b"", FIELDS)
        await self.until(lambda: collecting.paths)
        failures: list[Any] = []
        asked.addErrback(failures.append)
        asked.cancel()
        await self.until(lambda: failures)
        self.assertTrue(failures[0].check(CancelledError) or "Cancelled" in repr(failures[0].value.reasons[0].value))

    async def test_who_it_is(self) -> None:
        """A certificate of the host that is asked, under the CA that is trusted; nothing is said to anybody else."""
        good = issue(authority(), "localhost", ("localhost",), Usage.SERVER, NOW, 20)
        wrong = issue(authority(), "other.example", ("other.example",), Usage.SERVER, NOW, 20)
        foreign = issue(new_authority("other CA", NOW), "localhost", ("localhost",), Usage.SERVER, NOW, 20)
        for made, trusted in ((good, True), (wrong, False), (foreign, False)):
            collecting = Collecting()
            post = self.collector(self.secure(made, collecting), authority().certificate)
            asked: Deferred[Answer] = post(b"", FIELDS)
            if trusted:
                self.assertEqual((await asked).status, 200)
            else:
                with self.assertRaises(Exception):      # noqa: B017  # what Twisted raises is Twisted's to choose
                    await asked
            self.assertEqual(len(collecting.paths), int(trusted))
