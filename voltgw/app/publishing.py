"""The publishers of the running gateway: kept over reloads, told of health, and ended with it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList

from voltgw.control.publish.damping import Damper
from voltgw.control.publish.entries import NameState, PublishCounters, Terms, World
from voltgw.control.publish.names import Wanted
from voltgw.control.publish.publisher import Publisher
from voltgw.values.defaults import PUBLISH_HOLD_DOWN_S

if TYPE_CHECKING:
    from voltgw.app.deps import Deps
    from voltgw.app.publications import Publication
    from voltgw.config.objects.publishing import PublishPolicy
    from voltgw.control.publish.registrar import Registrar
    from voltgw.routing.route import VirtualHost

#: Names that are looked at in one turn.
_STEP: Final = 200
#: Of what has changed in a registry, so much is shown.
_EVENTS: Final = 20


@dataclass(slots=True)
class _Kept:
    """One registry in use."""

    publication: Publication
    publisher: Publisher
    damper: Damper
    configured: bool = True                 # the configuration has changed since names were last looked at
    ups: dict[VirtualHost, bool] = field(default_factory=dict)      # who could serve when they were


class Publishing:
    """All registries in which this gateway publishes. `up` says whether a virtual host can serve; `clock` is monotonic."""

    def __init__(self, deps: Deps, clock: Any, up: Callable[[VirtualHost], bool]) -> None:
        self._reactor = deps.reactor
        self._clock = clock
        self._up = up
        self._world = World(clock, deps.wall, deps.random.random)
        self._kept: dict[Hashable, _Kept] = {}
        self._retiring: dict[Hashable, _Kept] = {}
        self._counters: dict[tuple[str, str], PublishCounters] = {}
        self._ended = False

    def install(self, publications: Iterable[Publication]) -> None:
        """Publish these from now on.

        A registry that is not among them any more is emptied of what is ours; one that is the same by other means, or for other
        names, is not left for a moment.
        """
        if self._ended:
            return
        before, self._kept = self._kept, {}
        for publication in publications:
            registry, terms = publication.registry, _terms(publication)
            identity = registry.identity
            kept = before.pop(identity, None) or self._retiring.pop(identity, None)
            if kept is None or kept.publisher.finished:
                publisher = Publisher(self._world, self._registrar(publication), terms,
                                      self._counted(publication))
                publisher.on_finished = self._finished
                kept = _Kept(publication, publisher, Damper(_hold_s(publication.policy)))
            else:
                same = kept.publication.registry == registry
                if not same or kept.publisher.terms != terms or kept.publisher.retiring:
                    registrar = kept.publisher.registrar if same else self._registrar(publication)
                    kept.publisher.follow(registrar, terms)
                kept.publication = publication
                kept.publisher.counters = self._counted(publication)
                kept.damper.hold_s = _hold_s(publication.policy)
                kept.configured = True
            self._kept[identity] = kept
        self._retiring.update(before)
        for kept in list(before.values()):
            kept.publisher.retire()

    def look(self) -> Generator[None, None, None]:
        """Tell every registry what should be there now, in steps."""
        for kept in list(self._kept.values()):
            publication = kept.publication
            ups: dict[VirtualHost, bool] = {}
            for count, host in enumerate(publication.hosts):
                ups[host] = self._up(host)
                if count % _STEP == _STEP - 1:
                    yield
            if kept.publication is not publication or (
                    not kept.configured and ups == kept.ups and not kept.damper.held_back):
                continue                    # nothing has come or gone; or a reload has come in between, and looks anew
            now: dict[str, Wanted] = {}
            for count, name in enumerate(publication.names.values()):
                now[name.text] = publication.wanted(name, ups.__getitem__)
                if count % _STEP == _STEP - 1:
                    yield
            if kept.publication is publication:
                kept.ups = ups
                shown = kept.damper.settle(now, self._clock.seconds(), configured=kept.configured)
                kept.configured = False
                kept.publisher.want(shown)
            yield

    def withdraw(self) -> Deferred[Any]:
        """End: by policy names are taken out first. Fires when that is done, within seconds."""
        self._ended = True
        return DeferredList([kept.publisher.stop() for kept in (*self._kept.values(), *list(self._retiring.values()))])

    def abandon(self) -> None:
        """End at once; whatever is published stays."""
        self._ended = True
        for kept in (*self._kept.values(), *list(self._retiring.values())):
            kept.publisher.abandon()

    def _registrar(self, publication: Publication) -> Registrar:
        return publication.registry.registrar(self._reactor, self._clock, self._world.wall)

    def _finished(self, publisher: Publisher) -> None:
        """A registry that was retired is empty of us: whoever else waits for its names may have them."""
        for identity, kept in list(self._retiring.items()):
            if kept.publisher is publisher:
                del self._retiring[identity]
        if not self._ended:
            for kept in self._kept.values():
                if any(entry.state is NameState.FOREIGN for entry in kept.publisher.entries.values()):
                    kept.publisher.hurry()

    def _counted(self, publication: Publication) -> PublishCounters:
        return self._counters.setdefault((publication.object.full_name, publication.registry.kind), PublishCounters())

    # -- for operators -----------------------------------------------------------------------------------------------------

    def counters(self) -> Mapping[tuple[str, str], PublishCounters]:
        """What has been done, by object and kind of registry."""
        return self._counters

    def states(self) -> dict[tuple[str, str, str], int]:
        """How many names there are, by object, kind of registry and state."""
        counted: dict[tuple[str, str, str], int] = {}
        for kept in (*self._kept.values(), *self._retiring.values()):
            labels = kept.publication.object.full_name, kept.publication.registry.kind
            for state in NameState:
                counted.setdefault((*labels, state.value), 0)
            for entry in kept.publisher.entries.values():
                counted[*labels, entry.state.value] += 1
        return counted

    def failing(self) -> dict[tuple[str, str], int]:
        """Whether each registry, by object and kind, could not be brought up to date when that was last tried."""
        return {(kept.publication.object.full_name, kept.publication.registry.kind): int(bool(kept.publisher.error))
                for kept in self._kept.values()}

    def synced(self) -> dict[tuple[str, str], float]:
        """When each registry, by object and kind, was last seen to be as it should be (wall clock, 0.0 = never)."""
        return {(kept.publication.object.full_name, kept.publication.registry.kind): kept.publisher.synced or 0.0
                for kept in self._kept.values()}

    def standing(self, identity: Hashable, name: str) -> tuple[str, str] | None:
        """How a name stands in a registry, in a word and in a sentence; None where it does not."""
        kept = self._kept.get(identity)
        entry = kept.publisher.entries.get(name) if kept is not None else None
        if kept is None or entry is None:
            return None
        return entry.state.value, _why(entry.state, entry.error, entry.planned, kept.publisher.registrar.registry)

    def registries(self) -> list[dict[str, Any]]:
        """Every registry, JSON-ready."""
        return [{
            "object": kept.publication.object.full_name, "by": kept.publication.registry.kind,
            "registry": kept.publisher.registrar.registry, "owner": kept.publication.registry.owner,
            "state": "retiring" if kept.publisher.retiring else "failed" if kept.publisher.error
                     else "pending" if kept.publisher.synced is None else "bound",
            "last_sync_wall": kept.publisher.synced, "last_error": kept.publisher.error,
            "names": len(kept.publication.names), "left_out": len(kept.publication.left_out),
            "held_back": kept.damper.held_back, "dry_run": kept.publisher.terms.dry_run,
            "finds_all": kept.publisher.complete,
            "events": [{"age_s": round(self._clock.seconds() - event.at, 1), "name": event.endpoint, "state": event.state,
                        "reason": event.reason} for event in list(kept.publisher.events.ring)[-_EVENTS:]],
        } for kept in (*self._kept.values(), *self._retiring.values())]

    def names(self, most: int) -> Iterable[dict[str, Any]]:
        """Every published name, JSON-ready, at most so many of each registry; then domains that are left out, with why."""
        for kept in (*self._kept.values(), *self._retiring.values()):
            publication, publisher = kept.publication, kept.publisher
            common = {"zone": publication.zone_text, "by": publication.registry.kind, "registry": publisher.registrar.registry,
                      "object": publication.object.full_name}
            offers = {name.text: name.offers for name in publication.names.values()}
            for name, entry in islice(publisher.entries.items(), most):
                wanted = publisher.wanted(name)
                yield {
                    "name": name, **common, "state": entry.state.value, "addresses": list(entry.held),
                    "wanted": [] if wanted is None else list(wanted.addresses), "answered": bool(entry.held),
                    "planned": entry.planned, "last_sync_wall": entry.synced, "last_error": entry.error,
                    "why": _why(entry.state, entry.error, entry.planned, publisher.registrar.registry),
                    "advertised": [
                        {"address": str(offer.address), "site": offer.site, "policy": offer.policy,
                         "virtual_host": f"{offer.host.namespace}/{offer.host.name}", "up": self._up(offer.host)}
                        for offer in offers.get(name, ())],
                }
            for domain, reason in publication.left_out[:most]:
                yield {"name": domain, **common, "state": "left out", "answered": False, "why": reason, "addresses": []}


_WORDS: Final = {
    NameState.PENDING: "to be written to {registry}", NameState.BOUND: "held by {registry}",
    NameState.WITHDRAWN: "held by {registry} without an address: no endpoint of its service is up",
    NameState.FAILED: "not written to {registry}", NameState.FOREIGN: "not ours in {registry}",
    NameState.PLANNED: "dry run: {planned} in {registry}", NameState.REMOVING: "to be taken out of {registry}",
}


def _why(state: NameState, error: str, planned: str, registry: str) -> str:
    return _WORDS[state].format(registry=registry, planned=planned) + (f": {error}" if error else "")


def _terms(publication: Publication) -> Terms:
    policy = publication.policy
    return Terms(publication.registry.interval_s if policy.interval_s is None else policy.interval_s, policy.dry_run,
                 policy.on_shutdown.value == "remove")


def _hold_s(policy: PublishPolicy) -> float:
    return PUBLISH_HOLD_DOWN_S if policy.hold_down_s is None else policy.hold_down_s
