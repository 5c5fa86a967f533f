"""Registrars of services against a script: what a registry does not take of one name stops none of the others."""

from __future__ import annotations

import json
from typing import Any

import dns.message
import dns.name
import dns.rcode
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import authority, client
from voltgw.control.publish.api import Api, Reply
from voltgw.control.publish.consul import ConsulRegistrar
from voltgw.control.publish.dns_index import NameIndex
from voltgw.control.publish.kubernetes import KubernetesRegistrar, Target
from voltgw.control.publish.names import FREE, Act, Change, Held, Refused, Vip, Wanted
from voltgw.control.publish.registrar import RegistryError


class Script:
    """An `Api`: `answer` is asked for status and JSON of each request."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[tuple[str, str, Any]] = []

    async def request(self, method: str, url: str, fields: Any, body: bytes = b"") -> Reply:
        """At once."""
        path = url.removeprefix("http://registry")
        self.asked.append((method, path, json.loads(body) if body else None))
        status, said = self._answer(method, path)
        return Reply(status, {}, json.dumps(said).encode())

    def close(self) -> None:
        """Nothing is open."""


def wanted(name: str, tls: bool = False) -> Wanted:
    """A name with one VIP."""
    return Wanted(name, (Vip("192.0.2.1", 80, tls),))


class Case(SynchronousTestCase):
    """Nothing here waits."""

    def done(self, coroutine: Any) -> Any:
        """What comes of it."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))


class KubernetesTests(Case):
    """`KubernetesRegistrar`."""

    def registrar(self, answer: Any) -> tuple[KubernetesRegistrar, Script]:
        """One whose names are services of namespace n."""
        api = Script(answer)
        made: Any = KubernetesRegistrar(api, "http://registry", dict, lambda name: Target("n", name), "me")  # type: ignore[arg-type]
        return made, api

    def test_one_that_may_not_be(self) -> None:
        """A quota, or a right that is missing, is of one name; the others are written."""
        def answer(method: str, path: str) -> tuple[int, Any]:
            return (403, {"message": "exceeded quota"}) if api.asked[-1][2]["metadata"]["name"].startswith("a") else (201, {})

        registrar, api = self.registrar(answer)
        changes = [Change(Act.CREATE, name, wanted(name), FREE) for name in ("a", "b")]
        first, second = self.done(registrar.apply(changes))
        self.assertEqual((first, second), (Refused("it answers 403: exceeded quota"), None))

    def test_one_that_has_changed(self) -> None:
        """What is still there has not been taken out."""
        registrar, _ = self.registrar(lambda method, path: (409, {"message": "the object has been modified"}))
        service = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}}
        (outcome,) = self.done(registrar.apply([Change(Act.REMOVE, "a", None, Held("me", (), (), "", (service, [])))]))
        self.assertEqual(outcome, Refused("a: the object has been modified"))

class ConsulTests(Case):
    """`ConsulRegistrar`, with the services of one agent."""

    def setUp(self) -> None:
        """Nothing is registered."""
        self.services: dict[str, Any] = {}
        self.forbidden = ""
        self.api = Script(self.answer)

    def consul(self, interval_s: float = 20.0) -> ConsulRegistrar:
        """One that looks so often."""
        return ConsulRegistrar(self.api, "http://registry", {}, {}, "me", interval_s)       # type: ignore[arg-type]

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        """As the agent does."""
        if path.endswith("/agent/services"):
            return 200, self.services
        if path.endswith("/register"):
            entry = self.api.asked[-1][2]
            if self.forbidden and entry["Name"].startswith(self.forbidden):
                return 403, "Permission denied"
            self.services[entry["ID"]] = {**entry, "Service": entry["Name"]}
        if "/catalog/service/" in path:
            name = path.rpartition("/")[2]
            return 200, [{"Node": "n", "ServiceMeta": each["Meta"]} for each in self.services.values() if each["Service"] == name]
        return 200, {}

    def round(self, registrar: ConsulRegistrar, *names: Wanted) -> dict[str, Any]:
        """Observe, then write what is not as it should be; what was observed."""
        observed = self.done(registrar.observe([each.name for each in names])).held
        changes = [Change(Act.CREATE if not observed[each.name].owner else Act.REPLACE, each.name, each, observed[each.name]) for each in names
                   if not observed[each.name].occupied and observed[each.name].content != registrar.content(each)]
        self.outcomes = self.done(registrar.apply(changes))
        found: dict[str, Any] = observed
        return found

    def test_other_terms(self) -> None:
        """An instance is written anew when it speaks TLS, and when its check is to last another time."""
        for registrar, name in ((self.consul(), wanted("a")), (self.consul(), wanted("a", tls=True)), (self.consul(300.0), wanted("a", tls=True))):
            self.round(registrar, name)
            self.assertEqual(len(self.outcomes), 1)
            self.round(registrar, name)
            self.assertEqual(self.outcomes, [])
        (entry,) = self.services.values()
        self.assertEqual((entry["Check"]["TTL"], entry["Tags"]), ("900s", ["voltgw", "tls"]))

    def test_two_names_that_are_one_service(self) -> None:
        """One of them has it; of the other it is said."""
        registrar, names = self.consul(), (wanted("a-b.c"), wanted("a.b-c"))
        self.round(registrar, *names)
        observed = self.round(registrar, *names)
        self.assertEqual(self.outcomes, [])
        self.assertEqual(sorted(bool(each.occupied) for each in observed.values()), [False, True])

    def test_rights_for_some(self) -> None:
        """A token that may write one service and not another."""
        self.forbidden = "a"
        self.round(self.consul(), wanted("a"), wanted("b"))
        self.assertEqual([outcome is None for outcome in self.outcomes], [False, True])
        self.assertIn("403", self.outcomes[0].why)


class IndexTests(Case):
    """`NameIndex`."""

    def test_a_server_that_is_not_well(self) -> None:
        """What passes is an error, and the index is kept; what will never be is remembered."""
        rcodes: list[dns.rcode.Rcode] = []

        class Client:
            """A server."""

            async def ask(self, message: dns.message.Message) -> dns.message.Message:
                """What it answers."""
                made = dns.message.Message(message.id)
                made.set_rcode(rcodes[-1])
                return made

        index: Any = NameIndex(Client(), dns.name.from_text("apps.example"), "me", 60)      # type: ignore[arg-type]
        for rcode, refused in ((dns.rcode.SERVFAIL, False), (dns.rcode.NOERROR, False), (dns.rcode.REFUSED, True)):
            rcodes.append(rcode)
            for call in (index.read(), index.add(["a.apps.example"])):
                asked = Deferred.fromCoroutine(call)
                if rcode == dns.rcode.SERVFAIL:
                    self.failureResultOf(asked, RegistryError)
                else:
                    self.successResultOf(asked)
            self.assertEqual(bool(index.refused), refused, rcode)


class ChainTests(SynchronousTestCase):
    """By what we are known."""

    def test_what_stands_behind_the_certificate(self) -> None:
        """It is sent, too: a server may know the root alone."""
        mine = client("me", "me.example")
        made = Api(None, None, authority().certificate, client=(mine.certificate + authority().certificate, mine.key))
        self.assertEqual(len(made._chain), 1)
        self.assertEqual(made._chain[0].get_subject().CN, "lab CA")
