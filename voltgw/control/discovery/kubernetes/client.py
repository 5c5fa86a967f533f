"""The services of one cluster: what several reflectors know, put together for each endpoint object that asks.

A service that is named is watched in its namespace alone, so that a Role there is enough; an expression over labels looks at
all namespaces. Labels of pods are taken where they may be read; who may not read pods has the labels of services.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from voltgw.config.labels import selector
from voltgw.control.discovery.kubernetes import objects
from voltgw.control.discovery.kubernetes.objects import Key, Unusable
from voltgw.control.discovery.kubernetes.reflector import Reflector, Transport
from voltgw.control.discovery.registries import Allowed, Answered, Instance
from voltgw.routing.regex.pattern import ANY, Pattern

if TYPE_CHECKING:
    from voltgw.control.discovery.registries import Standing
    from voltgw.control.seams import ControlLoop
    from voltgw.values.discovery import RegistryAccess, ServiceQuery

_CORE: Final = "/api/v1"
_SLICES: Final = "/apis/discovery.k8s.io/v1"


class _Scope:
    """The reflectors of one namespace, "" = all of them."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        inside = f"/namespaces/{quote(namespace, '')}" if namespace else ""
        make = client.reflector
        self.services = make(f"{_CORE}{inside}/services", objects.service)
        self.slices: Reflector | None = None
        self.pods: Reflector | None = None
        if client.pods:
            self.slices = make(f"{_SLICES}{inside}/endpointslices", objects.slice_of)
            self.pods = make(f"{_CORE}{inside}/pods", objects.pod, optional=True)
        self.users = 0
        self._by_service: dict[Key, list[objects.Slice]] | None = None

    def changed(self) -> None:
        """Something has come or gone."""
        self._by_service = None

    def slices_of(self, service: Key) -> list[objects.Slice]:
        """The slices of a service."""
        if self._by_service is None:
            assert self.slices is not None      # whoever asks has looked
            self._by_service = {}
            for one in self.slices.objects.values():
                self._by_service.setdefault((one.key[0], one.service), []).append(one)
        return self._by_service.get(service, [])

    @property
    def all(self) -> list[Reflector]:
        """Those that there are."""
        return [each for each in (self.services, self.slices, self.pods) if each is not None]


class KubernetesClient:
    """Watches one cluster; see `Client`. How its services are reached follows from `access`: by their pods, by the cluster's
    own addresses, or by the ports of its nodes.
    """

    def __init__(
        self, access: RegistryAccess, standing: Standing, loop: ControlLoop, random: Random, transport: Transport,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.access = access
        self.standing = standing
        self.pods = access.reach == "pods"
        self._loop = loop
        self._random = random
        self._transport = transport
        self._closed = closed
        self._allowed = Allowed(access.allowed)
        self._scopes: dict[str, _Scope] = {}
        self._nodes: Reflector | None = None
        self._asks: list[_Ask] = []
        self._marked = False
        self._over = False

    def watch(self, query: ServiceQuery, answered: Answered) -> Callable[[], None]:
        """See `Client`."""
        namespace = query.namespace if query.name else ""
        scope = self._scopes.get(namespace)
        if scope is None:
            scope = self._scopes[namespace] = _Scope(self, namespace)
            for each in scope.all:
                each.start()
        if self.access.reach == "nodes" and self._nodes is None:
            self._nodes = self.reflector(f"{_CORE}/nodes", objects.node)
            self._nodes.start()
        scope.users += 1
        ask = _Ask(query, scope, answered, dict(query.namespaces).get(self.access.name))
        self._asks.append(ask)
        self._mark()

        def stop() -> None:
            if ask not in self._asks:
                return
            self._asks.remove(ask)
            if all(other.query.text != query.text for other in self._asks):
                self.standing.services.pop(query.text, None)
            scope.users -= 1
            if not scope.users and self._scopes.get(namespace) is scope:
                del self._scopes[namespace]
                for each in scope.all:
                    each.stop()

        return stop

    def close(self) -> None:
        """See `Client`."""
        self._over = True
        for scope in self._scopes.values():
            for each in scope.all:
                each.stop()
        if self._nodes is not None:
            self._nodes.stop()
        self._closed()

    def reflector(self, path: str, read: Callable[[Any], Any], *, optional: bool = False) -> Reflector:
        """A reflector that tells us of changes; one that is optional may fail."""
        return Reflector(path, {}, read, self._transport, self._loop, self._random, self._mark,
                         self._failed if not optional else self._optional_failed, self._request, self._heard)

    def _request(self) -> None:
        self.standing.requests += 1

    def _heard(self) -> None:
        """One of them is well; the cluster is if all are that have to be."""
        now = self._loop.monotonic()
        if any(each.problem or not each.synced for each in self._needed()):
            self.standing.last_success = now
        else:
            self.standing.succeeded(now)

    def _needed(self) -> list[Reflector]:
        """All without which services are not known."""
        found = [each for scope in self._scopes.values() for each in (scope.services, scope.slices)]
        return [each for each in (*found, self._nodes) if each is not None]

    def _failed(self, why: str) -> None:
        self.standing.failed(why)
        self._mark()

    def _optional_failed(self, why: str) -> None:
        self.standing.failures += 1
        self._mark()

    def _mark(self) -> None:
        """Something is other: look once, however much it is."""
        if not self._marked and not self._over:
            self._marked = True
            self._loop.soon(self._look)

    def _look(self) -> None:
        self._marked = False
        if not self._over:
            for scope in self._scopes.values():
                scope.changed()
            for ask in list(self._asks):
                self._answer(ask)

    def _answer(self, ask: _Ask) -> None:
        needed = [each for each in (ask.scope.services, ask.scope.slices, self._nodes) if each is not None]
        problem = next((each.problem for each in needed if each.problem), "")
        if not all(each.synced for each in needed):
            if problem:
                ask.say(None, problem)
            return
        pods = ask.scope.pods
        if pods is not None and not pods.synced and not pods.problem:
            return                          # a subset by labels of pods would begin without any of them
        instances, unusable = self._instances(ask)
        allowed = tuple(one for one in instances if self._allowed(one.address))
        if len(allowed) < len(instances):
            self.standing.turned_away += len(instances) - len(allowed)
            unusable = unusable or f"{len(instances) - len(allowed)} addresses are turned away"
        self.standing.services[ask.query.text] = len(allowed)
        ask.say(tuple(sorted(allowed, key=lambda each: (each.address, each.port))), problem or unusable)

    def _instances(self, ask: _Ask) -> tuple[list[Instance], str]:
        query, scope = ask.query, ask.scope
        if query.name:
            found = scope.services.objects.get((query.namespace, query.name))
            if found is None:
                return [], f"there is no service {query.name} in namespace {query.namespace}"
            try:
                return self._of(found, scope, query.port), ""
            except Unusable as why:
                return [], str(why)
        made: list[Instance] = []
        unusable = ""
        for one in scope.services.objects.values():
            if not ask.may_see(one.key[0]):
                continue
            try:
                made += [each for each in self._of(one, scope, query.port) if ask.selector.matches(each.labels)]
            except Unusable as why:
                if ask.selector.matches(one.labels):
                    unusable = str(why)
        return made, unusable

    def _of(self, found: objects.Service, scope: _Scope, wanted: int) -> list[Instance]:
        if self._nodes is not None:
            return objects.of_nodes(found, self._nodes.objects.values(), wanted)
        if scope.slices is None:
            return objects.of_cluster(found, wanted)
        pods = scope.pods

        def pod_of(key: Key) -> objects.Pod | None:
            pod: objects.Pod | None = pods.objects.get(key) if pods is not None else None
            return pod

        return objects.of_pods(found, scope.slices_of(found.key), wanted, pod_of)


class _Ask:
    """One endpoint object that asks."""

    def __init__(self, query: ServiceQuery, scope: _Scope, answered: Answered, namespaces: tuple[str, ...] | None) -> None:
        self.query = query
        self.scope = scope
        self.selector = selector(query.selector)
        self._namespaces = None if namespaces is None else [Pattern(text, ANY) for text in namespaces]
        self._answered = answered
        self._said: tuple[tuple[Instance, ...] | None, str] | None = None

    def may_see(self, namespace: str) -> bool:
        """Whether services of this namespace are for whoever asks."""
        return self._namespaces is None or any(each.matches(namespace.encode()) for each in self._namespaces)

    def say(self, instances: tuple[Instance, ...] | None, why: str) -> None:
        """Answer, if that is another answer."""
        if self._said != (instances, why):
            self._said = instances, why
            self._answered(instances, why)
