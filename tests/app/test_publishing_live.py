"""A gateway that publishes at stand-ins for two clouds, in trial's own reactor, while those come and go under load."""

from __future__ import annotations

import base64
from typing import Any

import yaml
from twisted.internet.defer import Deferred

from tests.app.running import GatewayCase
from tests.clouds import AzureCloud, Cloud, GoogleCloud
from voltgw.app.publishing import Publishing
from voltgw.control.publish import azure_dns, google_dns


def secret(data: bytes) -> str:
    """As a configuration has it."""
    return "string:///" + base64.b64encode(data).decode()


class CloudsTests(GatewayCase):
    """Both at once."""

    timeout = 60

    def serve(self, *domains: str) -> None:
        """Write the file."""
        policy = {"owner": "edge-1", "interval": "1s", "on_shutdown": "remove"}
        registries: list[dict[str, Any]] = [
            {"google_dns": {"zone": "apps.example", "project": "shop", "managed_zone": "apps", "endpoint": self.google.url,
                            "service_account_key": secret(self.google.key_file()), "token_endpoint": f"{self.google.url}/token"}},
            {"azure_dns": {"zone": "apps.example", "subscription_id": "sub", "resource_group": "dns", "endpoint": self.azure.url,
                           "token_endpoint": self.azure.url, "credentials": {
                               "tenant": "tenant", "client_id": "app", "client_secret": secret(b"s+/ cret")}}}]
        self.file.write_text(yaml.safe_dump({
            "gateway": {"admin": {"port": 0}},
            "load_balancers": [{"name": "shop", "listen": f"127.0.0.1:{self.port}", "domains": ["shop.example", *domains],
                                "origins": [f"127.0.0.1:{self.backend.port}"]}],
            "objects": [{"kind": "discovery", "metadata": {"name": f"n{number}", "namespace": "system"},
                         "spec": {"where": {}, "voltgw": {"publish": policy, **each}}} for number, each in enumerate(registries)]}))

    async def test_both_die_and_come_back_under_load(self) -> None:
        """No request fails; what has changed meanwhile is there afterwards; in the end all of it is taken out."""
        self.patch(google_dns, "PACE_S", 0.0)
        self.patch(azure_dns, "PACE_S", 0.0)
        self.google, self.azure, self.backend = GoogleCloud(self), AzureCloud(self), self.ok_origin()
        self.serve("a.apps.example")
        self.make().privilegedStartService()
        self.gateway.startService()
        await self.warm()
        await self.until(lambda: ("a.apps.example.", "A") in self.google.sets and self.azure.addresses("a") == ["127.0.0.1"])
        answers: list[bytes] = []
        going = [True]

        async def load() -> None:
            while going[0]:
                answers.append(await self.ask())

        loads = [Deferred.fromCoroutine(load()) for _ in range(4)]
        publishing: Any = self.gateway.publishing()
        assert isinstance(publishing, Publishing)

        def error(number: int) -> str:
            return str(publishing.registries()[number]["last_error"])

        async def without(cloud: Cloud, number: int, *domains: str) -> None:
            await cloud.die()
            self.serve(*domains)
            self.assertTrue((await self.gateway.reload())["ok"])
            await self.until(lambda: "cannot be reached" in error(number))
            self.assertEqual(error(1 - number), "")
            cloud.revive()

        await without(self.google, 0, "b.apps.example")
        await self.until(lambda: ("b.apps.example.", "A") in self.google.sets and error(0) == "")
        await without(self.azure, 1, "b.apps.example", "c.apps.example")
        await self.until(lambda: self.azure.addresses("c") and error(1) == "")
        going[0] = False
        for each in loads:
            await each
        self.assertGreater(len(answers), 50)
        self.assertEqual(set(answers), {b"HTTP/1.1 200 OK"})
        self.assertEqual((self.azure.addresses("a"), self.azure.addresses("c")), ([], ["127.0.0.1"]))
        self.assertEqual(sorted(name for name, kind in self.google.sets if kind == "A"), ["b.apps.example.", "c.apps.example."])
        self.gateway.drain_timeout_s = 0.0
        await self.gateway.stopService()
        self.assertEqual([kind for _, kind in (*self.google.sets, *self.azure.sets)], ["SOA", "SOA"])

    def stop(self) -> Any:
        """It is stopped by the test itself, unless that has failed."""
        return super().stop() if self.gateway.running else None
