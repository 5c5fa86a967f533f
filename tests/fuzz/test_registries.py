"""Answers of registries that are made of other things than they should be: each is read, or refused as such, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.control.publish.scripted import result, says, scripted
from voltgw.control.discovery.consul import instance_of
from voltgw.control.publish.aws_keys import InstanceKeys, StaticKeys
from voltgw.control.publish.azure_dns import AzureDnsRegistrar
from voltgw.control.publish.bearer import Bearer, Metadata
from voltgw.control.publish.consul import ConsulRegistrar
from voltgw.control.publish.google_dns import GoogleDnsRegistrar
from voltgw.control.publish.kubernetes import KubernetesRegistrar, Target
from voltgw.control.publish.names import Observed
from voltgw.control.publish.registrar import RegistryError
from voltgw.control.publish.route53 import Route53Registrar
from voltgw.control.publish.sigv4 import Keys

ROUNDS: Final = 1500
_ODD: Final[tuple[Any, ...]] = (None, True, -1, 1e308, "", "x", "é\x00", [], {}, [None], {"a": []}, 10 ** 30, "9" * 400, ["x", 5])
GOOGLE: Final = {"rrsets": [{"name": "a.z.", "type": "A", "ttl": 30, "rrdatas": ["192.0.2.1"]},
                            {"name": "_voltgw.a.z.", "type": "TXT", "ttl": 30, "rrdatas": ['"heritage=voltgw owner=me"'], "routingPolicy": {}}],
                 "nextPageToken": ""}
AZURE: Final = {"value": [
    {"name": "a", "type": "Microsoft.Network/dnszones/A", "etag": "e", "properties": {
        "TTL": 30, "ARecords": [{"ipv4Address": "192.0.2.1"}], "metadata": {"voltgw": "heritage=voltgw owner=me"}, "targetResource": {"id": ""}}},
    {"name": "_voltgw.a", "type": "Microsoft.Network/dnszones/TXT", "properties": {"TTL": 30, "TXTRecords": [{"value": ["heritage=voltgw ", "owner=me"]}]}},
    {"name": "c", "type": "Microsoft.Network/dnszones/CNAME", "properties": {"TTL": 30, "CNAMERecord": {"cname": "x."}}}], "nextLink": ""}
AGENT: Final = {
    "voltgw-me-a": {"ID": "voltgw-me-a", "Service": "a-z", "Address": "192.0.2.1", "Port": 443, "Tags": ["voltgw"],
                    "Meta": {"voltgw-owner": "me", "voltgw-name": "a.z"}, "Weights": {"Passing": 1, "Warning": 1}},
    "other": {"ID": "other", "Service": "b-z", "Address": "", "Port": 0, "Tags": None, "Meta": {"voltgw-owner": "you", "voltgw-name": "b.z"}}}
INSTANCE: Final = {
    "Node": {"Node": "n1", "Address": "192.0.2.9", "Datacenter": "dc1"}, "Checks": [],
    "Service": {"Address": "192.0.2.1", "Port": 80, "Tags": ["v=1", "x"], "Meta": {"a": "b"}, "Weights": {"Passing": 3, "Warning": 1}}}
CLUSTER: Final = {"items": [{
    "metadata": {"name": "a", "namespace": "z", "resourceVersion": "7", "labels": {"kubernetes.io/service-name": "a"},
                 "annotations": {"voltgw/owner": "me", "voltgw/name": "a.z"}},
    "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"port": 443}]}]}
XML: Final = (b'<?xml version="1.0"?><R xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets><ResourceRecordSet><Name>a.z.</Name>'
              b"<Type>A</Type><TTL>30</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords>"
              b"</ResourceRecordSet><ResourceRecordSet><Name>_voltgw.a.z.</Name><Type>TXT</Type><TTL>30</TTL><ResourceRecords><ResourceRecord>"
              b'<Value>"heritage=voltgw owner=me"</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></ResourceRecordSets>'
              b"<IsTruncated>false</IsTruncated></R>")
ROLE: Final = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "t", "Expiration": "2033-01-01T00:00:00Z"}
TOKEN: Final = {"access_token": "t", "expires_in": 3600}


def changed(value: Any, chance: random.Random) -> Any:
    """With something else in some place of it, or without something."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: changed(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], changed(value[at], chance), *value[at + 1:]]
    return chance.choice(_ODD)


def garbled(data: bytes, chance: random.Random) -> bytes:
    """With some bytes in it changed, moved, or left out."""
    at, size = chance.randrange(len(data)), chance.randrange(1, 40)
    return chance.choice((data[:at], data[:at] + data[at + size:], data[:at] + bytes(chance.randrange(256) for _ in range(size % 4 + 1)) + data[at:],
                          data[:at] + data[at:at + size] + data[at:]))


class AnswerTests(SynchronousTestCase):
    """Every registrar of an API."""

    def judge(self, registrar: Any) -> int:
        """1 if the answer was read."""
        try:
            found = result(registrar.observe(["a.z", "b.z"]), self.clock)
        except RegistryError as error:
            self.assertTrue(str(error))
            return 0
        self.assertIsInstance(found, Observed)
        for held in found.held.values():
            self.assertIsInstance(held.owner, str)
            hash(held.content)
        return 1

    def setUp(self) -> None:
        self.clock = Clock()
        self.chance = random.Random(7)

    def body(self, document: Any) -> bytes:
        """An answer that is garbled in one way or the other."""
        return json.dumps(changed(document, self.chance)).encode() if self.chance.random() < 0.8 else garbled(json.dumps(document).encode(), self.chance)

    def bearer(self, said: object = TOKEN) -> Bearer:
        """Tokens as they are given out."""
        return Bearer(scripted(lambda *_: says(200, said)), lambda: 0.0, Metadata("http://x/", {}))

    def role(self, said: bytes) -> InstanceKeys:
        """Credentials of a role as they are given out."""
        return InstanceKeys(scripted(lambda method, url, body: says(200, said if url.endswith("/r") else b"r")), lambda: 0.0)

    def read(self, make: Callable[[Any], Any], body: Callable[[], bytes]) -> None:
        """Some of many answers are read, and some are not."""
        count = 0
        for _ in range(ROUNDS):
            said = says(200, body())
            count += self.judge(make(scripted(lambda *_, said=said: said)))
        self.assertTrue(0 < count < ROUNDS, count)

    def test_google(self) -> None:
        """Lists of Google Cloud DNS."""
        self.read(lambda api: GoogleDnsRegistrar(api, self.clock, self.bearer(), "z", "p", "m", 30, "me"), lambda: self.body(GOOGLE))

    def test_azure(self) -> None:
        """Lists of Azure DNS."""
        self.read(lambda api: AzureDnsRegistrar(api, self.clock, self.bearer(), "z", "s", "g", 30, "me"), lambda: self.body(AZURE))

    def test_route_53(self) -> None:
        """Lists of Route 53."""
        keys = StaticKeys(Keys("a", "b"))
        self.read(lambda api: Route53Registrar(api, self.clock, keys, lambda: 0.0, "z", "Z", 30, "me"), lambda: garbled(XML, self.chance))

    def test_consul(self) -> None:
        """Services of an agent, in which names are published."""
        self.read(lambda api: ConsulRegistrar(api, "http://consul", {}, {}, "me", 20.0), lambda: self.body(AGENT))

    def test_kubernetes(self) -> None:
        """Services and slices of a cluster, in which names are published."""
        self.read(lambda api: KubernetesRegistrar(api, "http://api", dict, lambda name: Target("z", name[0]), "me"), lambda: self.body(CLUSTER))

    def test_instances_of_consul(self) -> None:
        """An instance is one that can be used, or none."""
        found = [instance_of(changed(INSTANCE, self.chance)) for _ in range(ROUNDS)]
        self.assertTrue(0 < found.count(None) < ROUNDS)
        for one in found:
            if one is not None:
                self.assertTrue(isinstance(one.address, str) and 0 <= one.port < 65536 and 1 <= one.weight < 65536)
                hash(one)

    def test_credentials(self) -> None:
        """Tokens, and credentials of a role."""
        for _ in range(ROUNDS):
            role, token = self.body(ROLE), self.body(TOKEN)
            for call in (self.role(role).get(), self.bearer(token).fields()):
                try:
                    result(call, self.clock)
                except RegistryError as error:
                    self.assertTrue(error.credentials or "no JSON" in str(error) or "can be read" in str(error))
