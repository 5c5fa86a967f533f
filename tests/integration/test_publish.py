"""A gateway that publishes its names in zones of BIND and Knot, while those come, go, and are changed by others."""

from __future__ import annotations

import base64
import os
import signal
import threading
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.tsigkeyring
import dns.update
import yaml

from tests.cli.test_remote import CommandCase
from tests.dnsservers import updatable_knot, updatable_named
from tests.integration.gateway import Gateway, ask, free_port, until
from tests.integration.test_http import origin
from tests.integration.test_route53 import hosted_zone, moto, records
from tests.servers import Server

SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
KEY = "gateway-key"


def zone_text(zone: str) -> str:
    """A zone with a few names of somebody else."""
    return (f"$ORIGIN {zone}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\nmail A 192.0.2.25\n"
            "taken A 192.0.2.8\n")


def addresses(port: int, name: str, kind: str = "A") -> list[str]:
    """What a server answers."""
    got = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", 5.0, port)
    return sorted(rdata.to_text() for rrset in got.answer for rdata in rrset)


def discovery(name: str, zone: str, port: int, *, secret: str = SECRET, **policy: Any) -> dict[str, Any]:
    """An object that publishes in a zone."""
    return {"kind": "discovery", "metadata": {"name": name, "namespace": "system"}, "spec": {"where": {}, "voltgw": {
        "publish": {"owner": "edge-1", "interval": "1s", **policy},
        "dns_update": {"zone": zone, "address": "127.0.0.1", "port": port, "ttl": 30,
                       "tsig": {"name": KEY, "secret": f"string:///{secret}"}}}}}


class PublishTests(CommandCase):
    """A gateway in a process of its own."""

    def setUp(self) -> None:
        self.port = free_port()

    def bind(self, port: int = 0, folder: Path | None = None) -> Server:
        """BIND with ``a.example``."""
        return updatable_named(self, "a.example", zone_text("a.example"), KEY, SECRET, port=port, folder=folder)

    def knot(self, port: int = 0, folder: Path | None = None) -> Server:
        """Knot with ``b.example``."""
        return updatable_knot(self, "b.example", zone_text("b.example"), KEY, SECRET, port=port, folder=folder)

    def config(self, *objects: dict[str, Any], domains: tuple[str, ...] = ("shop.a.example", "*.shops.a.example", "shop.b.example"),
               **balancer: Any) -> str:
        """The gateway's file."""
        text: str = yaml.safe_dump({
            "gateway": {"admin": {"port": "ADMIN"}},
            "load_balancers": [{"name": "shop", "listen": f"127.0.0.1:{self.port}", "domains": list(domains),
                                "origins": [f"127.0.0.1:{self.origin.port}"],
                                "health_check": {"path": "/healthz", "interval": 1}, **balancer}],
            "objects": list(objects)})
        return text.replace("'ADMIN'", "ADMIN")

    def start(self, *objects: dict[str, Any], **more: Any) -> Gateway:
        """Serve."""
        self.origin = origin(self, "shop", self.folder())
        gateway = Gateway(self, self.config(*objects, **more))
        gateway.wait_ready()
        return gateway

    def folder(self) -> str:
        """One for an origin."""
        folder: str = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        return folder

    def name(self, gateway: Gateway, name: str) -> dict[str, Any]:
        """What the gateway says of a name."""
        names: list[dict[str, Any]] = gateway.admin("/names").json["names"]
        found = [each for each in names if each["name"] == name]
        return found[0] if found else {}

    def there(self, port: int, name: str) -> None:
        """Wait until a server has a name."""
        until(f"{name} is there", lambda: addresses(port, name) == ["127.0.0.1"])

    def until_said(self, gateway: Gateway, name: str, words: str) -> None:
        """Wait until the gateway says so of a name."""
        until(f"of {name} it is said: {words}", lambda: words in self.name(gateway, name).get("why", ""))

    def test_names_come_change_and_go(self) -> None:
        """Both registries get their names, each its own; a reload changes them; what is not configured any more is taken out."""
        bind, knot = self.bind(), self.knot()
        one, two = discovery("one", "a.example", bind.port), discovery("two", "b.example", knot.port)
        gateway = self.start(one, two)
        for port, name in ((bind.port, "shop.a.example"), (bind.port, "x.shops.a.example"), (knot.port, "shop.b.example")):
            self.there(port, name)
        self.assertEqual(ask(self.port, headers={"Host": "shop.a.example"}).body, b"shop GET /\n")
        until("it is known", lambda: self.name(gateway, "shop.a.example").get("state") == "bound")
        shown = self.name(gateway, "shop.a.example")
        self.assertEqual((shown["addresses"], shown["registry"], shown["advertised"][0]["virtual_host"]),
                         (["127.0.0.1"], f"a.example at 127.0.0.1 port {bind.port}", "default/shop"))
        self.assertEqual(addresses(knot.port, "_voltgw.shop.b.example", "TXT"), ['"heritage=voltgw owner=edge-1"'])
        metrics = gateway.admin("/metrics").body.decode()
        self.assertIn('voltgw_publish_names{object="system/one",registry="dns_update",state="bound"} 2.0', metrics)
        self.assertIn('voltgw_publish_writes_total{action="create",object="system/two",registry="dns_update"} 1', metrics)
        gateway.write(self.config(one, two, domains=("store.a.example", "shop.b.example")))
        gateway.reload()
        until("the new name", lambda: addresses(bind.port, "store.a.example") == ["127.0.0.1"])
        until("the old one has gone", lambda: not addresses(bind.port, "shop.a.example"))
        until("its mark, too", lambda: not addresses(bind.port, "_voltgw.shop.a.example", "TXT"))
        self.assertEqual(addresses(knot.port, "shop.b.example"), ["127.0.0.1"])
        gateway.write(self.config(one))
        gateway.reload()
        until("the registry is empty of us", lambda: not addresses(knot.port, "shop.b.example"))
        self.assertEqual(addresses(knot.port, "mail.b.example"), ["192.0.2.25"])

    def test_what_others_do(self) -> None:
        """What they change is put right; what is theirs is left alone, and the reason is shown."""
        bind = self.bind()
        gateway = self.start(discovery("one", "a.example", bind.port), domains=("shop.a.example", "taken.a.example"))
        until("it is there", lambda: addresses(bind.port, "shop.a.example") == ["127.0.0.1"])
        update = dns.update.UpdateMessage("a.example", keyring=dns.tsigkeyring.from_text({KEY: SECRET}), keyalgorithm="hmac-sha256")
        update.replace("shop", 60, "A", "203.0.113.1")
        dns.query.tcp(update, "127.0.0.1", 5.0, port=bind.port)
        until("it is repaired", lambda: addresses(bind.port, "shop.a.example") == ["127.0.0.1"])
        self.assertEqual(addresses(bind.port, "taken.a.example"), ["192.0.2.8"])
        until("it is said", lambda: self.name(gateway, "taken.a.example").get("state") == "foreign")
        self.assertIn("without our mark: 192.0.2.8", self.name(gateway, "taken.a.example")["why"])

    def test_a_registry_that_dies_under_load(self) -> None:
        """Each server is killed and revived while clients ask without a pause: not one request fails, the other registry goes on,
        and what has changed meanwhile is there in the end."""
        bind, knot = self.bind(), self.knot()
        one, two = discovery("one", "a.example", bind.port), discovery("two", "b.example", knot.port)
        gateway = self.start(one, two)
        until("they are there", lambda: addresses(bind.port, "shop.a.example") and addresses(knot.port, "shop.b.example"))
        failures: list[str] = []
        asked = [0]
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                try:
                    answer = ask(self.port, headers={"Host": "shop.a.example"})
                    if answer.status != 200:
                        failures.append(str(answer.status))
                except OSError as error:
                    failures.append(str(error))
                asked[0] += 1

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for server, revive, name in ((bind, self.bind, "new.a.example"), (knot, self.knot, "new.b.example")):
                server.kill()
                domains = ("shop.a.example", "shop.b.example", name)
                gateway.write(self.config(one, two, domains=domains))
                gateway.reload()
                self.until_said(gateway, name, "refused")
                failing = [each for each in gateway.admin("/names").json["registries"] if each["state"] == "failed"]
                self.assertEqual(len(failing), 1)
                revived = revive(server.port, server.folder)
                self.there(revived.port, name)
                self.until_said(gateway, name, "held by")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(asked[0], 100)

    def test_route_53(self) -> None:
        """Names are written by the API; while it is away requests are answered as ever, and what has changed is there afterwards."""
        server = moto(self)
        zone_id = hosted_zone(server.port, "a.example")
        self.origin = origin(self, "shop", self.folder())
        cloud = {"kind": "discovery", "metadata": {"name": "cloud", "namespace": "system"}, "spec": {"where": {}, "voltgw": {
            "publish": {"owner": "edge-1", "interval": "1s", "on_shutdown": "remove"},
            "route53": {"zone": "a.example", "hosted_zone_id": zone_id, "endpoint": f"http://127.0.0.1:{server.port}", "credentials": {
                "access_key_id": "AK", "secret_access_key": "string:///c2VjcmV0"}}}}}
        gateway = Gateway(self, self.config(cloud))
        gateway.wait_ready()
        until("it is there", lambda: records(server.port, zone_id).get(("shop.a.example", "A")) == ["127.0.0.1"])
        self.assertEqual(records(server.port, zone_id)["*.shops.a.example", "A"], ["127.0.0.1"])
        server.kill()
        until("it is known", lambda: "cannot be reached" in gateway.admin("/names").json["registries"][0]["last_error"])
        for _ in range(20):
            self.assertEqual(ask(self.port, headers={"Host": "shop.a.example"}).status, 200)
        server = moto(self, server.port)                # another life of it: a zone is missing at first, then it has another id
        until("it is known", lambda: "NoSuchHostedZone" in gateway.admin("/names").json["registries"][0]["last_error"])
        zone_id = hosted_zone(server.port, "a.example")
        cloud["spec"]["voltgw"]["route53"]["hosted_zone_id"] = zone_id      # type: ignore[index]
        gateway.write(self.config(cloud, domains=("store.a.example",)))
        gateway.reload()
        until("it is there", lambda: records(server.port, zone_id).get(("store.a.example", "A")) == ["127.0.0.1"])
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(records(server.port, zone_id), {})

    def test_a_wrong_key(self) -> None:
        """It is said, traffic is served, and a reload with the right one publishes at once."""
        bind = self.bind()
        gateway = self.start(discovery("one", "a.example", bind.port, secret=base64.b64encode(bytes(32)).decode(), interval="1h"))
        until("it is said", lambda: "BADSIG" in self.name(gateway, "shop.a.example").get("why", ""))
        self.assertEqual(ask(self.port, headers={"Host": "shop.a.example"}).status, 200)
        self.assertIn('voltgw_publish_failing{object="system/one",registry="dns_update"} 1', gateway.admin("/metrics").body.decode())
        admin = f"127.0.0.1:{gateway.admin_port}"
        for command, line in (("names", f"dns_update a.example at 127.0.0.1 port {bind.port}: failed, 2 names as owner edge-1 (system/one): "),
                              ("status", f"  dns_update a.example at 127.0.0.1 port {bind.port}: failed: ")):
            _, shown, _ = self.command(command, "--admin", admin)
            self.assertIn(line, shown)
            self.assertIn("BADSIG", shown)
        explained = gateway.admin("/explain?method=-&url=dns:shop.a.example/A").body.decode()
        self.assertRegex(explained, r'"outcome": "failed",\s+"why": "not written to a.example at [^"]*BADSIG')
        gateway.write(self.config(discovery("one", "a.example", bind.port, interval="1h")))
        gateway.reload()
        until("it is there", lambda: addresses(bind.port, "shop.a.example") == ["127.0.0.1"])

    def test_health(self) -> None:
        """A name whose service is down is withdrawn but stays ours; it is back when the service is."""
        bind = self.bind()
        gateway = self.start(discovery("one", "a.example", bind.port, when_down="nodata", hold_down=0))
        until("it is there", lambda: addresses(bind.port, "shop.a.example") == ["127.0.0.1"])
        port = self.origin.port
        self.origin.stop()
        until("it is withdrawn", lambda: not addresses(bind.port, "shop.a.example"))
        self.assertEqual(len(addresses(bind.port, "_voltgw.shop.a.example", "TXT")), 1)
        until("it is said", lambda: self.name(gateway, "shop.a.example").get("state") == "withdrawn")
        self.assertIn("no endpoint of its service is up", self.name(gateway, "shop.a.example")["why"])
        self.origin = origin(self, "shop", self.folder(), port)
        until("it is back", lambda: addresses(bind.port, "shop.a.example") == ["127.0.0.1"])

    def test_shutdown(self) -> None:
        """By default names stay; with ``on_shutdown: remove`` they go before the process does; another life finds what was left."""
        bind = self.bind()
        gateway = self.start(discovery("one", "a.example", bind.port))
        until("it is there", lambda: addresses(bind.port, "shop.a.example"))
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(addresses(bind.port, "shop.a.example"), ["127.0.0.1"])
        gateway = Gateway(self, self.config(discovery("one", "a.example", bind.port, on_shutdown="remove"), domains=("store.a.example",)))
        gateway.wait_ready()
        until("the new name is there", lambda: addresses(bind.port, "store.a.example"))
        until("what was left has gone", lambda: not addresses(bind.port, "shop.a.example"))
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(addresses(bind.port, "store.a.example"), [])
        self.assertEqual(addresses(bind.port, "_voltgw.store.a.example", "TXT"), [])

    def test_a_dry_run(self) -> None:
        """Nothing is written; what would be is shown."""
        bind = self.bind()
        gateway = self.start(discovery("one", "a.example", bind.port, dry_run=True))
        until("it is known", lambda: self.name(gateway, "shop.a.example").get("planned") == "create")
        self.assertEqual(addresses(bind.port, "shop.a.example"), [])
        explained = gateway.admin("/explain?method=-&url=dns:shop.a.example/A").body.decode()
        self.assertIn("dry run", explained)
        self.assertIn("as owner edge-1", explained)
