"""Consul: the healthy instances of a service by blocking queries (developer.hashicorp.com/consul/api-docs/features/blocking).

A query waits at the agent until something has changed, so a change is known at once and silence costs nothing. Its index may
go backwards (the agent was restored) or be none (a proxy in between): then all is asked anew. An agent answers a reader who may
not read with an empty list and 200, so that an empty list is believed only when it is known that we may read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.logger import Logger

from voltgw.config.labels import selector
from voltgw.config.values import FrozenMap
from voltgw.control.discovery.registries import Allowed, Answered, Instance, rest
from voltgw.control.publish.registrar import RegistryError

if TYPE_CHECKING:
    from voltgw.control.discovery.registries import Standing
    from voltgw.control.publish.api import Reply
    from voltgw.control.seams import ControlLoop
    from voltgw.values.discovery import RegistryAccess, ServiceQuery

#: So long an agent lets a query wait. It adds up to a sixteenth of it, and all must fit into the time for a request.
WAIT_S: Final = 20.0
#: Queries that wait at once: an agent lets one client have 200 connections (``http_max_conns_per_client``) for all it does.
MOST_WAITING: Final = 100
#: So long queries wait where there are more watches than that, so that each has its turn.
TURN_S: Final = 2.0
#: Between two questions about one service, however often it changes.
LEAST_PAUSE_S: Final = 0.1
#: The pause after the first failure; it doubles with each further one.
FIRST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 60.0
#: Services that one expression may choose, and instances of one service.
MOST_SERVICES: Final = 500
MOST_INSTANCES: Final = 20_000
#: The label in which the data centre of an instance stands.
DATACENTER_LABEL: Final = "consul.datacenter"
NODE_LABEL: Final = "consul.node"
_WEIGHTS: Final = range(1, 65536)

#: Asks the agent: (method, path and query, body).
Request = Callable[[str, str, bytes], Any]


class ConsulClient:
    """Watches services of one agent. `request` is a coroutine function; see `Client`."""

    def __init__(
        self, access: RegistryAccess, standing: Standing, loop: ControlLoop, random: Random, request: Request,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.access = access
        self.standing = standing
        self.loop = loop
        self.random = random
        self.allowed = Allowed(access.allowed)
        self._request = request
        self._closed = closed
        self._watches: dict[str, _Service] = {}
        self._turns = DeferredSemaphore(MOST_WAITING)

    def watch(self, query: ServiceQuery, answered: Answered) -> Callable[[], None]:
        """See `Client`."""
        if query.name:
            return self.service(query.name, answered)
        return _Chosen(self, query.selector, answered).stop

    def service(self, name: str, answered: Answered) -> Callable[[], None]:
        """Watch one service; the result ends it."""
        watch = self._watches.get(name)
        if watch is None:
            watch = self._watches[name] = _Service(self, name)
        watch.hearers.append(answered)
        if watch.known is not None or watch.why:
            answered(watch.known, watch.why)

        def stop() -> None:
            if answered in watch.hearers:
                watch.hearers.remove(answered)
            if not watch.hearers and self._watches.get(name) is watch:
                del self._watches[name]
                self.standing.services.pop(name, None)
                self.standing.forget(name)
                watch.stop()

        watch.start()
        return stop

    def close(self) -> None:
        """See `Client`."""
        for watch in list(self._watches.values()):
            watch.stop()
        self._watches.clear()
        self._closed()

    async def ask(self, path: str, parameters: Mapping[str, str], index: int = 0) -> Reply:
        """A read. Raises `RegistryError` for everything but 200."""
        await self._turns.acquire()
        try:
            asked = {**self._where(), **parameters}
            if index:
                wait_s = WAIT_S if len(self._watches) < MOST_WAITING else TURN_S
                asked.update(index=str(index), wait=f"{int(wait_s * 1000)}ms")
            self.standing.requests += 1
            reply: Reply = await self._request("GET", f"{path}?{urlencode(asked)}", b"")
        finally:
            self._turns.release()
        if reply.status != 200:
            raise RegistryError(f"it answers {reply.status}: {_words(reply.body)}")
        return reply

    async def may_read(self, name: str, reply: Reply) -> None:
        """Whether an empty answer is the truth. Raises `RegistryError` where it is not, or nobody can say."""
        if reply.fields.get("x-consul-results-filtered-by-acls", "").lower() == "true":
            raise RegistryError("what we may not read was left out of its answer (X-Consul-Results-Filtered-By-ACLs)")
        wanted = [{"Resource": what, "Access": "read", "Segment": which}    # nodes: without it their instances are left out
                  for what, which in (("service", name), ("node", ""))]
        self.standing.requests += 1
        where = urlencode(self._where())
        said: Reply = await self._request(
            "POST", "/v1/internal/acl/authorize" + (f"?{where}" if where else ""), json.dumps(wanted).encode())
        if said.status == 200:
            rights = said.json
            if not isinstance(rights, list) or len(rights) != len(wanted):
                raise RegistryError("its answer is empty, and what it says of our rights cannot be understood")
            for what, right in zip((f"service {name}", "nodes"), rights, strict=True):
                if not isinstance(right, dict) or right.get("Allow") is not True:
                    raise RegistryError(f"the token may not read {what}: its empty answer is not believed")
        elif b"ACL support disabled" not in said.body:
            raise RegistryError(
                f"its answer is empty, and it does not say whether we may read ({said.status}: {_words(said.body)})")

    def _where(self) -> dict[str, str]:
        """Data centre, namespace and partition, as parameters of a query."""
        access = self.access
        return {name: value for name, value in (
            ("dc", access.datacenter), ("ns", access.namespace), ("partition", access.partition)) if value}


class _Loop:
    """Something that is asked again and again."""

    _log = Logger()
    #: What `Standing` knows it by.
    name = ""

    def __init__(self, client: ConsulClient) -> None:
        self.client = client
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._failures = 0
        self._index = 0

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._over)

    def stop(self) -> None:
        """Ask no more."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _over(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("a watch of {name} ended by a bug of ours", failure, name=self.client.access.name)

    async def _run(self) -> None:
        loop, standing = self.client.loop, self.client.standing
        while True:
            began = loop.monotonic()
            try:
                reply = await self._ask()
                index = _index(reply)
                await self._take(reply)
                self._index = index if index >= self._index else 0      # backwards: all of it is asked anew
                self._failures = 0
                standing.succeeded(loop.monotonic(), self.name)
                pause = max(LEAST_PAUSE_S - (loop.monotonic() - began), 0.0)
                if not self._index:
                    pause = FIRST_PAUSE_S           # nobody tells us when to ask, so we ask now and then
            except CancelledError:
                raise
            except Exception as error:
                if not isinstance(error, RegistryError):        # a watch that ends is one that nobody sees
                    self._log.failure("a watch of {name} met a bug of ours, and goes on", name=self.client.access.name)
                self._index = 0
                why = str(error) or type(error).__name__
                standing.failed(why, self.name)
                self._failed(why)
                pause = min(FIRST_PAUSE_S * 2 ** min(self._failures, 16), MOST_PAUSE_S) * (0.5 + self.client.random.random())
                self._failures += 1
            if pause:
                await rest(self.client.loop.clock, pause)

    async def _ask(self) -> Reply:
        raise NotImplementedError

    async def _take(self, reply: Reply) -> None:
        raise NotImplementedError

    def _failed(self, why: str) -> None:
        raise NotImplementedError


class _Service(_Loop):
    """The healthy instances of one service."""

    def __init__(self, client: ConsulClient, name: str) -> None:
        super().__init__(client)
        self.name = name
        self.hearers: list[Answered] = []
        self.known: tuple[Instance, ...] | None = None
        self.why = ""

    async def _ask(self) -> Reply:
        return await self.client.ask(f"/v1/health/service/{quote(self.name, safe='')}", {"passing": "1"}, self._index)

    async def _take(self, reply: Reply) -> None:
        entries = reply.json
        if not isinstance(entries, list) or len(entries) > MOST_INSTANCES:
            raise RegistryError("its answer is no list of instances" if not isinstance(entries, list)
                                else f"it knows {len(entries)} instances, and {MOST_INSTANCES} are the most")
        if not entries:
            await self.client.may_read(self.name, reply)
        found: list[Instance] = []
        for entry in entries:
            instance = instance_of(entry)
            if instance is None:
                raise RegistryError("an instance in its answer cannot be understood")
            if self.client.allowed(instance.address):
                found.append(instance)
            else:
                self.client.standing.turned_away += 1
        instances = tuple(sorted(found, key=lambda each: (each.address, each.port)))
        self.client.standing.services[self.name] = len(instances)
        if instances != self.known or self.why:
            self.known, self.why = instances, ""
            if len(found) < len(entries):
                self._log.warn("{name}: {count} instances of {service} have addresses that it may not name", service=self.name,
                               name=self.client.access.name, count=len(entries) - len(found))
            for hearer in list(self.hearers):
                hearer(instances, "")

    def _failed(self, why: str) -> None:
        if why != self.why:
            self.why = why
            for hearer in list(self.hearers):
                hearer(None, why)


class _Chosen(_Loop):
    """All services of which an expression chooses instances; each that may have one is watched."""

    def __init__(self, client: ConsulClient, expressions: tuple[str, ...], answered: Answered) -> None:
        super().__init__(client)
        self.name = "/v1/catalog/services"      # no service has such a name in a question of ours
        self._selector = selector(expressions)
        self._answered = answered
        self._parts: dict[str, Callable[[], None]] = {}
        self._known: dict[str, tuple[Instance, ...]] = {}
        self._errors: dict[str, str] = {}
        self._listed = False
        self.start()

    def stop(self) -> None:
        super().stop()
        self.client.standing.forget(self.name)
        parts, self._parts = self._parts, {}
        for end in parts.values():
            end()

    async def _ask(self) -> Reply:
        return await self.client.ask("/v1/catalog/services", {}, self._index)

    async def _take(self, reply: Reply) -> None:
        services = reply.json
        if not isinstance(services, dict) or len(services) > MOST_SERVICES:
            raise RegistryError("its answer is no list of services" if not isinstance(services, dict)
                                else f"it knows {len(services)} services, and an expression may look at {MOST_SERVICES}")
        if not services:                    # an agent knows at least `consul` itself
            await self.client.may_read("", reply)
        self._listed = False                # those that are watched already answer at once: that is not all there is
        for name in self._parts.keys() - services.keys():
            self._parts.pop(name)()
            self._known.pop(name, None)
            self._errors.pop(name, None)
        for name in services:
            if name not in self._parts:
                self._parts[name] = lambda: None        # it may answer before we have its end
                self._parts[name] = self.client.service(name, partial(self._heard, name))
        self._listed = True
        self._tell()

    def _heard(self, name: str, instances: tuple[Instance, ...] | None, why: str) -> None:
        if name not in self._parts:
            return
        if instances is None:
            self._errors[name] = why
        else:
            self._errors.pop(name, None)
            self._known[name] = tuple(one for one in instances if self._selector.matches(one.labels))
        self._tell()

    def _failed(self, why: str) -> None:
        self._answered(None, why)

    def _tell(self) -> None:
        """When every service has answered: before, nobody knows what there is."""
        if self._listed and self._parts.keys() <= self._known.keys() | self._errors.keys():
            failed = next((f"service {name}: {why}" for name, why in self._errors.items()), "")
            if failed and not self._known:
                self._answered(None, failed)
            else:
                self._answered(tuple(one for name in sorted(self._known) for one in self._known[name]), failed)


def instance_of(entry: Any) -> Instance | None:
    """An instance of ``/v1/health/service``; None for what is none.

    Tags are labels: ``version=v2`` is ``version`` with the value ``v2``, another one is a label without a value. So are the
    keys of Meta, which win. A service may have no port (0): then whoever asks for it has to know one.
    """
    if not isinstance(entry, dict):
        return None
    service, node = entry.get("Service"), entry.get("Node")
    if not isinstance(service, dict) or not isinstance(node, dict):
        return None
    address, port = service.get("Address") or node.get("Address"), service.get("Port")
    if not isinstance(address, str) or type(port) is not int or not 0 <= port < 65536:
        return None
    tags, meta = service.get("Tags") or (), service.get("Meta") or {}
    if not isinstance(tags, list | tuple) or not isinstance(meta, dict):
        return None
    labels: dict[str, str] = {}
    for tag in tags:
        if isinstance(tag, str):
            key, _, value = tag.partition("=")
            labels[key] = value
    for key, value in meta.items():
        labels[str(key)] = str(value)
    for key, said in ((NODE_LABEL, node.get("Node")), (DATACENTER_LABEL, node.get("Datacenter"))):
        if isinstance(said, str) and said:
            labels[key] = said
    weights = service.get("Weights")
    weight = weights.get("Passing", 1) if isinstance(weights, dict) else 1
    known = weight if type(weight) is int and weight in _WEIGHTS else 1
    return Instance(address, port, known, FrozenMap(labels))


def _index(reply: Reply) -> int:
    said = reply.fields.get("x-consul-index", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0


def _words(body: bytes) -> str:
    text = "".join(each if each.isprintable() else " " for each in body[:200].decode("utf-8", "replace"))
    return text.strip() or "nothing"
