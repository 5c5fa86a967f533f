"""Names in moto's Route 53, and signatures beside botocore's."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.integration.gateway import free_port
from tests.servers import Server, moto_python
from voltgw.control.publish.api import Api
from voltgw.control.publish.aws_keys import StaticKeys
from voltgw.control.publish.names import FREE, Act, Change, Refused, Vip, Wanted
from voltgw.control.publish.registrar import RegistryError
from voltgw.control.publish.route53 import Route53Registrar
from voltgw.control.publish.sigv4 import Keys, signed

_PEER: Final = Path(__file__).with_name("moto_peer.py")
ZONE = "apps.example.test"
SHOP = f"shop.{ZONE}"


def wanted(name: str, *addresses: str) -> Wanted:
    """A name at these addresses."""
    return Wanted(name, tuple(Vip(address, 80) for address in addresses))


class SignatureTests(SynchronousTestCase):
    """`signed`."""

    def test_beside_botocore(self) -> None:
        """A hundred requests with odd paths, queries, header fields, bodies and tokens are signed alike."""
        chance = random.Random(1)
        asked: list[dict[str, Any]] = []
        for _ in range(100):
            query = "&".join(f"{name}={value}" for name, value in (
                ("name", chance.choice(["a.example.", "%2Aw", "x%20y", "%C3%A4"])), ("maxitems", str(chance.randrange(300))),
                ("empty", "")) if chance.random() < 0.7)
            asked.append({
                "method": chance.choice(["GET", "POST", "PUT"]),
                "url": f"https://{chance.choice(['route53.amazonaws.com', 'localhost:5055'])}"
                       + chance.choice(["/", "/2013-04-01/hostedzone/Z1/rrset", "/a%20b/~c", "/2013-04-01/hostedzone/Z1/rrset/"])
                       + (f"?{query}" if query else ""),
                "headers": chance.choice([{}, {"content-type": "application/xml"}, {"x-amz-z": "a   b "}]),
                "body": chance.choice(["", "<a/>", "ä"]), "keys": chance.choice([["AK", "secret"], ["AK", "s/+=", "token=="]]),
                "region": chance.choice(["us-east-1", "cn-north-1"]), "service": "route53", "wall": chance.randrange(2_000_000_000)})
        result = subprocess.run([moto_python(), str(_PEER), "sign"], input="".join(json.dumps(each) + "\n" for each in asked),
                                check=True, capture_output=True, text=True, timeout=60)
        for each, line in zip(asked, result.stdout.splitlines(), strict=True):
            theirs = json.loads(line)
            ours = signed(each["method"], each["url"], each["headers"], each["body"].encode(), Keys(*each["keys"]), each["region"],
                          each["service"], float(each["wall"]))
            self.assertEqual(ours["authorization"], theirs["authorization"], each)
            self.assertEqual(ours["x-amz-date"], theirs["x-amz-date"])


def moto(test: Any, port: int = 0) -> Server:
    """Its server, stopped with the test."""
    port = port or free_port()
    folder = Path(os.path.abspath(test.mktemp()))
    folder.mkdir(parents=True)
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen([moto_python(), str(_PEER), "server", str(port)], stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=output, start_new_session=True)
    server = Server("moto", port, process, folder / "log")
    test.addCleanup(server.stop)
    until = time.monotonic() + 30.0
    while time.monotonic() < until and server.running:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5):
                return server
        except OSError:
            time.sleep(0.05)                # another process decides when; there is nothing to wait on
    raise AssertionError(f"moto does not answer: {server.log()[-2000:]}")


def ask(port: int, method: str, path: str, body: str = "") -> ElementTree.Element:
    """Somebody else's request."""
    url = f"http://127.0.0.1:{port}/2013-04-01{path}"
    headers = signed(method, url, {"content-type": "application/xml"}, body.encode(), Keys("AK", "s"), "us-east-1", "route53", time.time())
    with urllib.request.urlopen(urllib.request.Request(url, body.encode() or None, headers, method=method), timeout=10) as answer:
        return ElementTree.fromstring(answer.read())


def hosted_zone(port: int, zone: str = ZONE) -> str:
    """The id of a new zone."""
    made = ask(port, "POST", "/hostedzone", '<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/">'
               f"<Name>{zone}</Name><CallerReference>{random.random()}</CallerReference></CreateHostedZoneRequest>")
    return next(each.text or "" for each in made.iter() if each.tag.endswith("}Id")).rpartition("/")[2]


def records(port: int, zone_id: str) -> dict[tuple[str, str], list[str]]:
    """What stands in a zone, beside its own SOA and NS."""
    space = "{https://route53.amazonaws.com/doc/2013-04-01/}"
    found = {}
    for each in ask(port, "GET", f"/hostedzone/{zone_id}/rrset").iter(f"{space}ResourceRecordSet"):
        name, kind = each.findtext(f"{space}Name") or "", each.findtext(f"{space}Type") or ""
        if kind not in ("SOA", "NS"):
            found[name.replace("\\052", "*").rstrip("."), kind] = [value.text or "" for value in each.iter(f"{space}Value")]
    return found


def change(port: int, zone_id: str, *acts: tuple[str, str, str, int, str]) -> None:
    """Somebody else changes record sets: act, name, type, TTL, value."""
    ask(port, "POST", f"/hostedzone/{zone_id}/rrset/", (
        '<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>' + "".join(
            f"<Change><Action>{act}</Action><ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>{ttl}</TTL><ResourceRecords>"
            f"<ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>"
            for act, name, kind, ttl, value in acts) + "</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"))


class MotoTests(TestCase):
    """`Route53Registrar`."""

    timeout = 60

    async def start(self) -> None:
        """The server with a zone."""
        self.port = (await deferToThread(moto, self)).port
        self.zone_id = await deferToThread(hosted_zone, self.port)

    def registrar(self, owner: str = "edge-1", zone: str = ZONE, zone_id: str = "") -> Route53Registrar:
        """One for it."""
        made = Route53Registrar(Api(reactor, reactor, plain=True), reactor, StaticKeys(Keys("AK", "secret")), time.time, zone,
                                zone_id or self.zone_id, 30, owner, f"http://127.0.0.1:{self.port}")
        self.addCleanup(made.close)
        return made

    async def records(self) -> dict[tuple[str, str], list[str]]:
        """What stands in the zone."""
        result: dict[tuple[str, str], list[str]] = await deferToThread(records, self.port, self.zone_id)
        return result

    async def made(self, registrar: Route53Registrar, *changes: tuple[Act, Wanted | str]) -> list[Refused | None]:
        """Changes of what there is."""
        names = [each if isinstance(each, str) else each.name for _, each in changes]
        held = (await registrar.observe(names)).held
        return list(await registrar.apply([
            Change(act, name, None if isinstance(each, str) else each, held.get(name, FREE))
            for name, (act, each) in zip(names, changes, strict=True)]))

    async def test_a_life(self) -> None:
        """Names are made, changed, emptied and taken out, with their marks; so is a wildcard; what is beside them stays."""
        await self.start()
        registrar, star = self.registrar(), f"*.shops.{ZONE}"
        await deferToThread(change, self.port, self.zone_id, ("CREATE", f"mail.{ZONE}", "A", 60, "192.0.2.25"))
        self.assertEqual(await self.made(registrar, (Act.CREATE, wanted(SHOP, "192.0.2.1", "192.0.2.2", "2001:db8::1")),
                                         (Act.CREATE, wanted(star, "192.0.2.3"))), [None, None])
        mark = ['"heritage=voltgw owner=edge-1"']
        self.assertEqual(await self.records(), {
            (SHOP, "A"): ["192.0.2.1", "192.0.2.2"], (SHOP, "AAAA"): ["2001:db8::1"], (f"_voltgw.{SHOP}", "TXT"): mark,
            (star, "A"): ["192.0.2.3"], (f"_voltgw._wildcard.shops.{ZONE}", "TXT"): mark, (f"mail.{ZONE}", "A"): ["192.0.2.25"]})
        found = (await registrar.observe([SHOP, star, f"mail.{ZONE}", f"no.{ZONE}"])).held
        self.assertEqual([(found[name].owner, found[name].occupied) for name in (SHOP, star, f"mail.{ZONE}", f"no.{ZONE}")], [
            ("edge-1", ""), ("edge-1", ""), ("", "192.0.2.25"), ("", "")])
        self.assertEqual(found[SHOP].content, registrar.content(wanted(SHOP, "192.0.2.1", "192.0.2.2", "2001:db8::1")))
        self.assertEqual(await self.made(registrar, (Act.REPLACE, wanted(SHOP, "192.0.2.9")), (Act.REPLACE, wanted(star))), [None, None])
        self.assertEqual((await self.records())[SHOP, "A"], ["192.0.2.9"])
        self.assertNotIn((star, "A"), await self.records())
        self.assertEqual(await self.made(registrar, (Act.REMOVE, SHOP), (Act.REMOVE, star)), [None, None])
        self.assertEqual(await self.records(), {(f"mail.{ZONE}", "A"): ["192.0.2.25"]})

    async def test_a_change_in_between(self) -> None:
        """What somebody else has done since we looked stops the change of that name, and of no other in the batch."""
        await self.start()
        registrar = self.registrar()
        names = [f"n{count}.{ZONE}" for count in range(8)]
        self.assertEqual(await self.made(registrar, *((Act.CREATE, wanted(name, "192.0.2.1")) for name in names)), [None] * 8)
        held = (await registrar.observe(names)).held
        await deferToThread(change, self.port, self.zone_id, ("DELETE", names[3], "A", 30, "192.0.2.1"),
                            ("CREATE", names[3], "A", 30, "203.0.113.3"))
        await deferToThread(change, self.port, self.zone_id, ("DELETE", f"_voltgw.{names[6]}", "TXT", 30, '"heritage=voltgw owner=edge-1"'))
        outcomes = await registrar.apply([Change(Act.REPLACE, name, wanted(name, "192.0.2.2"), held[name]) for name in names])
        self.assertEqual([number for number, each in enumerate(outcomes) if each is not None and each.foreign], [3, 6])
        self.assertEqual([number for number, each in enumerate(outcomes) if each is None], [0, 1, 2, 4, 5, 7])
        there = await self.records()
        self.assertEqual([there[name, "A"][0] for name in names], [
            "192.0.2.2", "192.0.2.2", "192.0.2.2", "203.0.113.3", "192.0.2.2", "192.0.2.2", "192.0.2.1", "192.0.2.2"])
        again = (await registrar.observe(names)).held
        self.assertEqual((again[names[3]].owner, again[names[6]].owner, again[names[6]].occupied), ("edge-1", "", "192.0.2.1"))

    async def test_pages(self) -> None:
        """A zone of many pages is read to its end."""
        await self.start()
        registrar, other = self.registrar(), self.registrar("edge-2")
        names = [f"n{count}.{ZONE}" for count in range(220)]
        for at in range(0, 220, 55):
            self.assertEqual(set(await other.apply([Change(Act.CREATE, name, wanted(name, "192.0.2.1"), FREE) for name in names[at:at + 55]])),
                             {None})
        await registrar.apply([Change(Act.CREATE, f"zz.{ZONE}", wanted(f"zz.{ZONE}", "192.0.2.1"), FREE)])
        found = await registrar.observe([names[0]])
        self.assertEqual((len(found.held), found.held[f"zz.{ZONE}"].owner, found.held[names[219]].owner, found.complete),
                         (221, "edge-1", "edge-2", True))

    async def test_what_is_wrong(self) -> None:
        """A zone that is not there; one of another name; a name outside of it; no server."""
        await self.start()
        for registrar, words in ((self.registrar(zone_id="ZNOBODY"), "it answers 404: NoSuchHostedZone"),
                                 (self.registrar(zone="other.example"), f"the zone of this id is {ZONE}")):
            why = await self.why(registrar)
            self.assertIn(words, why)
        (outcome,) = await self.registrar().apply([Change(Act.CREATE, "a.example.org", wanted("a.example.org", "192.0.2.1"), FREE)])
        assert outcome is not None
        self.assertEqual((outcome.foreign, "is not permitted in zone" in outcome.why), (False, True))
        self.port = free_port()
        self.assertIn("it cannot be reached: Connection was refused", await self.why(self.registrar()))

    async def why(self, registrar: Route53Registrar) -> str:
        """Why it cannot be looked at."""
        try:
            await registrar.observe([])
        except RegistryError as error:
            return str(error)
        raise AssertionError("it was done")
