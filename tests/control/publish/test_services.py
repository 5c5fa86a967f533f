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
from voltgw.control.publish.kubernetes import KubernetesRegistrar, Target, _Entry
from voltgw.control.publish.names import FREE, Act, Change, Held, Refused, Vip, Wanted, decide
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
        entry = _Entry(Target("n", "a"), "me", service, [])
        (outcome,) = self.done(registrar.apply([Change(Act.REMOVE, "a", None, Held("me", (), (), "", (entry, [])))]))
        self.assertEqual(outcome, Refused("a: the object has been modified"))

    def test_rights_for_some(self) -> None:
        """Who may not list all of the cluster is asked namespace by namespace: a name in one that may not be read is not written, and
        why is said; the others are kept. Where nothing may be read at all, that is the error."""
        allowed = {"n"}

        def answer(method: str, path: str) -> tuple[int, Any]:
            namespace = path.split("/namespaces/")[1].split("/")[0] if "/namespaces/" in path else ""
            if namespace not in allowed:
                return 403, {"message": "forbidden"}
            return (404, {}) if path.endswith("services/a") else (200, {"items": []})

        made: Any = KubernetesRegistrar(
            Script(answer), "http://registry", dict, lambda name: Target({"a": "n"}.get(name, "m"), name), "me")  # type: ignore[arg-type]
        observed = self.done(made.observe(["a", "b"]))
        self.assertEqual((observed.held["a"], observed.complete), (FREE, False))
        decided = decide("b", wanted("b"), None, observed.held["b"], "me")
        self.assertEqual(decided, Refused("it cannot be looked at: it answers 403: forbidden"))
        allowed.clear()
        self.failureResultOf(Deferred.fromCoroutine(made.observe(["a", "b"])), RegistryError)

    def test_another_namespace(self) -> None:
        """A name whose namespace is another one now is made there, then taken out of the old one; also what a move that was cut off
        has left; but not where somebody else's service stands."""
        def mark(namespace: str) -> dict[str, Any]:
            return {"metadata": {"name": "a", "namespace": namespace, "resourceVersion": "7", "labels": {},
                                 "annotations": {"voltgw/owner": "me", "voltgw/name": "a"}}}

        for services, there, acts in (([mark("old")], 404, ["POST n", "POST n", "DELETE old"]),
                                      ([mark("old"), mark("n")], 404, ["PUT n", "POST n", "DELETE old"]), ([mark("old")], 200, None)):
            def answer(method: str, path: str, services: Any = services, there: int = there) -> tuple[int, Any]:
                if method != "GET":
                    return 201 if method == "POST" else 200, {}
                return (there, {}) if path.endswith("services/a") else (200, {"items": services if "endpointslices" not in path else []})

            registrar, api = self.registrar(answer)
            held = self.done(registrar.observe(["a"])).held["a"]
            decided = decide("a", wanted("a"), registrar.content(wanted("a")), held, "me")
            if acts is None:
                self.assertIsInstance(decided, Refused)
                continue
            assert isinstance(decided, Change)
            del api.asked[:]
            self.done(registrar.apply([decided]))
            self.assertEqual([f"{method} {path.split('/namespaces/')[1].split('/')[0]}" for method, path, _ in api.asked], acts)


class ConsulTests(Case):
    """`ConsulRegistrar`, with the services of one agent."""

    def setUp(self) -> None:
        """Nothing is registered."""
        self.services: dict[str, Any] = {}
        self.forbidden = ""
        self.unreadable: set[str] = set()
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
            if name in self.unreadable:
                return 403, "Permission denied"
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
        self.unreadable = {"c"}
        observed = self.round(self.consul(), wanted("c"), wanted("d"))
        self.assertIn("403", observed["c"].unseen)
        self.assertEqual(observed["d"], FREE)


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
