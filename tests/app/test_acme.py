"""A gateway that has certificates fetched: from the CA's answer to what listeners show, and back through reloads."""

from __future__ import annotations

import time
from typing import Any

from tests.app.making import balancer
from tests.app.running import GatewayCase
from tests.control.acme.ca import URL, Answers, Ca, refusing
from voltgw.app.challenges import Challenges
from voltgw.control.acme import transport


class _Ca(Ca):
    """Believes a name for which the gateway answers now."""

    gateway: Any = None

    def _believes(self, number: str) -> bool:
        name: str = self._authorizations[number]["name"]
        return name in self.gateway.listening.challenges.names


class AcmeTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.ca = _Ca(time.time, Answers())
        self.patch(transport, "Https", lambda reactor, roots: self.ca)
        self.account = f"data_dir: data, acme: {{directory: '{URL}/dir', agree_to_terms: true}}"

    def shop(self, name: str = "shop.example") -> str:
        """A load balancer with a fetched certificate."""
        return balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.ok_origin().port}",
                        more=f", protocol: https, domains: [{name}], tls: {{auto_cert: true}}")

    def begin(self, *balancers: str) -> None:
        """Start the gateway."""
        self.ca.gateway = self.start(*balancers, gateway=self.account)

    def shown(self) -> list[list[str]]:
        """The names of the certificates that listeners show."""
        return [one["names"] for each in self.gateway.listeners() for one in each.certificates]

    def challenges(self) -> Challenges:
        """What listeners answer to CAs."""
        found = self.gateway.listening.challenges
        assert found is not None
        return found

    def one(self) -> dict[str, Any]:
        """The only fetched certificate."""
        (found,) = self.gateway.certificates()
        return dict(found)

    async def test_fetched_and_served(self) -> None:
        """It goes live without a reload by hand; nothing waits any more, and no challenge is answered."""
        self.begin(self.shop())
        (pending,) = self.gateway.listeners()[0].certificates_pending
        self.assertTrue(pending["reason"].startswith("certificate pending: "))
        await self.until(lambda: self.shown() == [["shop.example"]])
        self.assertEqual((self.gateway.listeners()[0].certificates_pending, self.one()["state"]), ([], "valid"))
        self.assertEqual((dict(self.challenges().names), self.challenges().answered), ({}, 1))
        self.assertEqual((self.gateway.generation, self.gateway.reloads_rejected), (2, 0))
        numbers = self.gateway.process()
        self.assertEqual((numbers["acme_orders_total_issued"], numbers["acme_certificates_valid"]), (1, 1))

    async def test_another_name(self) -> None:
        """A reload that wants other names has them fetched; the former certificate is not shown for them."""
        self.begin(self.shop())
        await self.until(lambda: self.shown() == [["shop.example"]])
        self.write(self.shop("new.example"), gateway=self.account)
        self.assertTrue((await self.gateway.reload())["ok"])
        await self.until(lambda: self.shown() == [["new.example"]])
        self.write(gateway=self.account)
        self.assertTrue((await self.gateway.reload())["ok"])
        self.assertEqual(list(self.gateway.certificates()), [])

    async def test_a_reload_has_failures_tried_again(self) -> None:
        """Also one that finds nothing changed."""
        self.ca.fault("/new-order", refusing(403, "rejectedIdentifier"))
        self.begin(self.shop())
        await self.until(lambda: self.one()["failures"] == 1)
        fetching: Any = self.gateway.acme._fetching
        fetching._entry(("shop.example",)).state.tried -= 900
        await self.gateway.reload()
        await self.until(lambda: self.shown() == [["shop.example"]])

    async def test_another_folder(self) -> None:
        """It takes a new process; until then what is there serves on."""
        self.begin(self.shop())
        await self.until(lambda: self.shown() == [["shop.example"]])
        self.write(self.shop(), gateway=self.account.replace("data_dir: data", "data_dir: other"))
        self.assertTrue((await self.gateway.reload())["ok"])
        self.assertEqual(self.shown(), [["shop.example"]])
        self.assertLessEqual({path.name for path in self.folder.glob("other/*")}, {"generations"})     # the files of the configuration itself

    async def test_stopped_in_the_middle(self) -> None:
        """The order is given up at once, nothing is left of it, and the next process goes on with it."""
        self.ca.looks = 10**6
        self.begin(self.shop())
        await self.until(lambda: bool(self.challenges().names))
        await self.stop()
        self.assertEqual(dict(self.challenges().names), {})
        self.ca.gateway = self.make()
        self.gateway.privilegedStartService()
        self.gateway.startService()
        await self.until(lambda: bool(self.challenges().names))
        self.ca.looks = 1
        self.advance(3)
        await self.until(lambda: self.shown() == [["shop.example"]])
        self.assertEqual(self.ca.count("/new-order"), 1)

    async def test_nothing_fetched(self) -> None:
        """A gateway that fetches nothing has none of it."""
        self.start(balancer("plain", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        self.assertIsNone(self.gateway.acme._fetching)
        self.assertEqual((list(self.gateway.certificates()), self.gateway.acme.numbers()), ([], {}))
