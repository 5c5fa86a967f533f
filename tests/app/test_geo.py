"""Countries of clients in a whole gateway: verdicts, the access log, and databases that are replaced."""

from __future__ import annotations

import json
import os

from tests.app.making import balancer
from tests.app.running import GET, GatewayCase
from tests.security.databases import places, systems
from voltgw.app import geo
from voltgw.app.service import GatewayService

POLICY = """
objects:
- {kind: service_policy_set, metadata: {name: all}, spec: {policies: [p]}}
- {kind: service_policy, metadata: {name: p}, spec: {deny_list: {country_list: [COUNTRY_FR], default_action_allow: {}}}}
"""


class GeoTests(GatewayCase):
    """A policy that refuses France, where this machine is said to be."""

    def begin(self) -> GatewayService:
        """Serve."""
        self.patch(geo, "PERIOD_S", 0.05)
        origin = self.ok_origin()
        self.places = places(self.folder / "city.mmdb", {"127.0.0.0/8": "FR"})
        systems(self.folder / "asn.mmdb", {"127.0.0.0/8": 64500})
        text = ("gateway: {admin: {port: 0}, access_log: {path: access.log}, geo: {database: city.mmdb, asn_database: asn.mmdb}}\n"
                "load_balancers:\n" + balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}") + POLICY)
        self.file.write_text(text, encoding="utf-8")
        made = self.make()
        made.privilegedStartService()
        made.startService()
        return made

    async def status(self) -> bytes:
        """That of a request."""
        peer = await self.client(self.port)
        peer.send(GET)
        return (await peer.heard(b"\r\n")).split(b" ")[1]

    def replaced(self, country: str) -> None:
        """Another database in its place, by renaming, as it should be."""
        os.replace(places(self.folder / "new.mmdb", {"127.0.0.0/8": country}), self.places)

    async def test_a_newer_database(self) -> None:
        """It counts within seconds; no reload, no connection is touched. The log says from where each request came."""
        gateway = self.begin()
        await self.warm()
        self.assertEqual(await self.status(), b"403")
        log = self.folder / "access.log"
        await self.until(lambda: log.exists() and log.read_text().count("\n") >= 1)
        self.replaced("JP")
        await self.until(lambda: gateway.geo_watch.taken)
        self.assertEqual((await self.status(), gateway.generation), (b"200", 1))
        await self.until(lambda: log.exists() and log.read_text().count("\n") >= 2)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual([(line["country"], line["region"], line["city"], line["asn"]) for line in lines[:2]], [
            ("FR", "FR region", "FR city", "Net 64500(64500)"), ("JP", "JP region", "JP city", "Net 64500(64500)")])

    async def test_one_that_is_none(self) -> None:
        """The old one serves on, and it is said why; the next good one is taken."""
        gateway = self.begin()
        await self.warm()
        (self.folder / "bad").write_bytes(b"nothing of the kind")
        os.replace(self.folder / "bad", self.places)
        await self.until(lambda: (gateway.geo() or {})["problem"])
        self.assertIn("no database in MaxMind's format", (gateway.geo() or {})["problem"])
        self.assertEqual(await self.status(), b"403")
        self.replaced("JP")
        await self.until(lambda: gateway.geo_watch.taken)
        self.assertEqual((await self.status(), (gateway.geo() or {})["problem"]), (b"200", ""))

    async def test_a_reload(self) -> None:
        """To no database and no such rule: nothing is left of it in the log."""
        gateway = self.begin()
        await self.warm()
        text = self.file.read_text()
        self.file.write_text(text[:text.index("objects:")].replace(", geo: {database: city.mmdb, asn_database: asn.mmdb}", ""))
        await gateway.reload()
        self.assertEqual((await self.status(), gateway.geo()), (b"200", None))
        log = self.folder / "access.log"
        await self.until(lambda: '"200"' in log.read_text())
        self.assertNotIn("country", json.loads(log.read_text().splitlines()[-1]))
