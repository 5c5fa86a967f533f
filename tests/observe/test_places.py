"""How a gateway is found: by people, and by Prometheus."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.test_admin import BROWSER, AdminCase, At, Config
from tests.servers import require
from voltgw.observe.places import Served, targets


class TargetTests(SynchronousTestCase):
    """What is to be scraped."""

    def test_choice(self) -> None:
        """The monitor if there is one; an address that means all is the one that was asked; a socket is not scraped."""
        admin, everywhere = Served("admin", "https", "127.0.0.1", 9901), Served("monitor", "http", "::", 9902)
        socket = Served("admin", "http", "", 0, "/run/admin.sock")
        self.assertEqual(targets([admin, everywhere], "2001:db8::1"), [
            {"targets": ["[2001:db8::1]:9902"], "labels": {"__scheme__": "http", "__metrics_path__": "/metrics", "site": "monitor"}}])
        self.assertEqual([each["targets"] for each in targets([admin], "")], [["127.0.0.1:9901"]])
        self.assertEqual(targets([socket], ""), [])


class DiscoveryTests(AdminCase):
    """``/sd`` and ``/addresses``."""

    async def test_prometheus_finds_it(self) -> None:
        """What promtool discovers by `http_sd_configs` is the address, and there the metrics are."""
        promtool = require("promtool")
        service = self.serve(Config(At(), At()))
        admin, monitor = service.addresses
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        file = folder / "prometheus.yml"
        job = {"job_name": "voltgw", "http_sd_configs": [{"url": f"http://{monitor}/sd"}]}
        file.write_text(json.dumps({"scrape_configs": [job]}), encoding="utf-8")

        def ask() -> subprocess.CompletedProcess[str]:
            return subprocess.run([promtool, "check", "service-discovery", "--timeout=3s", str(file), "voltgw"], text=True,
                                  capture_output=True, timeout=30, check=False)     # it says by its status whether it has found some

        done = await deferToThread(ask)
        found = json.loads(done.stdout[done.stdout.index("["):])
        self.assertEqual([each["labels"]["instance"] for each in found], [monitor], done.stderr)
        self.assertIn(b"voltgw_ready", (await self.ask(monitor, found[0]["discoveredLabels"]["__metrics_path__"])).body)
        self.assertEqual((await self.ask(admin, "/sd")).json, (await self.ask(monitor, "/sd")).json)

    async def test_all_of_them(self) -> None:
        """Every address with what is there; the monitor does not tell of the others."""
        service = self.serve(Config(At(), At()))
        admin, monitor = service.addresses
        said = (await self.ask(admin, "/addresses")).json["addresses"]
        self.assertEqual([(each["site"], each["url"]) for each in said], [
            ("admin", f"http://{admin}/"), ("monitor", f"http://{monitor}/")])
        self.assertIn(monitor.encode(), (await self.ask(admin, "/addresses", Accept=BROWSER)).body)
        self.assertEqual((await self.ask(monitor, "/addresses")).status, 404)
        path = self.socket_path()
        (address,) = self.serve(Config(At(unix=path))).addresses
        self.assertEqual((await self.ask(address, "/addresses")).json["addresses"], [{"site": "admin", "unix": path, "pages": "all"}])
        self.assertEqual((await self.ask(address, "/sd")).json, [])
