"""What the gates of a running gateway get that ask for credentials: keys from elsewhere, threads, a way to ask a cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.aside import Threads
from voltgw.app.authenticating import Surroundings
from voltgw.security.authentication import Authentication

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltgw.app.build import Runtime
    from voltgw.app.deps import Deps
    from voltgw.proxy.plane import Plane
    from voltgw.security.jwt import KeySource

_ACCEPT: Final = "application/jwk-set+json, application/json"


class Verifying:
    """One per gateway. `surroundings` goes into `Makings`; it is filled in `start`."""

    def __init__(self, deps: Deps) -> None:
        self.surroundings = Surroundings()
        self.surroundings.monotonic = deps.monotonic
        self._deps = deps
        self.threads = Threads(deps.reactor)
        self._keys: Any = None              # a `voltgw.control.jwks.Keys`, once somebody needs keys from elsewhere
        self._plane: Plane | None = None

    def start(self, plane: Plane, runtime: Runtime) -> None:
        """The gateway runs."""
        self._plane = plane
        self.surroundings.aside = self.threads
        self.surroundings.asker = import_module("voltgw.proxy.asking").ask(plane)
        self.follow(runtime)

    def follow(self, runtime: Runtime) -> None:
        """Fetch the keys that this runtime needs, and no others."""
        wanted = dict.fromkeys(_sources(runtime))
        known = self.surroundings.sources
        for terms in [terms for terms, source in known.items() if source not in wanted]:
            del known[terms]
        if self._plane is not None and (wanted or self._keys is not None):
            self._fetching().follow(wanted)

    def facts(self) -> list[dict[str, Any]]:
        """What is known of the keys that are fetched, JSON-ready."""
        return [] if self._keys is None else self._keys.facts()

    def stop(self) -> None:
        """No more of it."""
        if self._keys is not None:
            self._keys.stop()
        self.surroundings.asker = None
        self.threads.stop()

    def _fetching(self) -> Any:
        if self._keys is None:
            plane, deps = self._plane, self._deps
            assert plane is not None
            keys, fetching = import_module("voltgw.control.jwks"), import_module("voltgw.control.fetching")
            most = import_module("voltgw.security.keys").MAX_JWKS_BYTES
            self._keys = keys.Keys(fetching.Fetcher(deps.reactor, most, _ACCEPT), plane.loop.clock, deps.monotonic,
                                   deps.random.random, deps.wall)
        return self._keys


def _sources(runtime: Runtime) -> Iterator[KeySource]:
    """The sources of keys that its virtual hosts name, each as often as it is named."""
    for host in runtime.hosts.values():
        for gate in host.gates:
            if isinstance(gate, Authentication):
                yield from (source for source in gate.sources if source.fetched is not None)
