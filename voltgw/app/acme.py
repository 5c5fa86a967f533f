"""Fetched certificates in the gateway: what the configuration asks for, the work on it, and the way back into what serves.

A gateway that fetches none never imports what fetching takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from voltgw.config.acme import DEFAULT_CHALLENGE
from voltgw.errors import NOWHERE
from voltgw.registry import CHALLENGES

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.deps import Deps
    from voltgw.app.fetched import Names
    from voltgw.config.gateway import Gateway
    from voltgw.control.acme.fetching import Fetching, Settings
    from voltgw.net.loop import Loop
    from voltgw.registry import Registry
    from voltgw.values.tls import KeyPair

#: States of a certificate, and how tries may end, as metrics call them.
STATES: Final = ("pending", "failed", "valid", "expired")
RESULTS: Final = ("issued", "refused", "limited", "unreachable", "failed")


class Acme:
    """Satisfies `voltgw.app.fetched.Fetched`. `changed` is called when there is another certificate to serve."""

    _log = Logger()

    def __init__(self, deps: Deps, registry: Registry, changed: Callable[[], None]) -> None:
        self._deps = deps
        self._registry = registry
        self._changed = changed
        self._fetching: Fetching | None = None
        self._folder = ""
        self._started: tuple[Loop, Any] | None = None

    # -- as building sees it -------------------------------------------------------------------------------------------

    def pair(self, folder: str, names: Names) -> KeyPair | None:
        """See `Fetched`."""
        return self._made(folder).pair(names)

    def reason(self, names: Names) -> str:
        """See `Fetched`."""
        return self._made(self._folder).reason(names)

    def _made(self, folder: str) -> Fetching:
        fetching = self._fetching
        if fetching is None:
            module = import_module("voltgw.control.acme.fetching")
            self._folder = folder
            self._fetching = fetching = module.Fetching(module.Store(folder), self._deps.wall)
            self._begin()
        return fetching

    # -- as the gateway sees it ----------------------------------------------------------------------------------------

    def follow(self, runtime: Runtime) -> None:
        """This serves now: fetch what it asks for."""
        gateway = runtime.config.gateway
        wanted = runtime.fetched()
        if not wanted and self._fetching is None:
            return
        if wanted and (gateway.data_dir or "") != self._folder:
            self._log.warn("gateway.data_dir changed: certificates stay in {folder} until the gateway is started anew",
                           folder=self._folder)
        assert self._fetching is not None       # building has asked for each
        self._fetching.follow(settings_of(gateway), wanted)

    def start(self, loop: Loop, respond: Any) -> None:
        """Listeners are open; `respond` has them answer challenges."""
        self._started = loop, respond
        self._begin()

    def _begin(self) -> None:
        if self._fetching is None or self._started is None:
            return
        loop, respond = self._started
        deps, registry = self._deps, self._registry
        module = import_module("voltgw.control.acme.fetching")
        https = import_module("voltgw.control.acme.transport").Https

        def kind(settings: Settings) -> Any:
            factory = registry.find(CHALLENGES, settings.challenge)
            return factory.build(factory.options(settings.options, NOWHERE))     # building has found nothing wrong with them

        self._fetching.start(module.World(
            loop.clock, deps.monotonic, deps.random, lambda settings: https(deps.reactor, settings.roots), kind, respond,
            self._changed))

    def stop(self) -> Deferred[Any]:
        """Give up what is under way; the next start goes on with it."""
        self._started = None
        return succeed(None) if self._fetching is None else self._fetching.stop()

    def hurry(self) -> None:
        """Somebody may have mended what had failed: try again soon."""
        if self._fetching is not None:
            self._fetching.hurry()

    def view(self) -> Iterable[dict[str, Any]]:
        """Every certificate that is wanted, JSON-ready; each made as it is asked for."""
        return () if self._fetching is None else self._fetching.view()

    def numbers(self) -> Mapping[str, float]:
        """How many tries have ended in which way, and how many certificates are in which state; {} where nothing is fetched."""
        fetching = self._fetching
        if fetching is None:
            return {}
        found: dict[str, float] = {f"acme_orders_total_{name}": fetching.results[name] for name in RESULTS}
        conditions = fetching.conditions()
        found.update((f"acme_certificates_{name}", conditions[name]) for name in STATES)
        return found


def settings_of(gateway: Gateway) -> Settings | None:
    """What ``gateway.acme`` says, None = nothing."""
    acme = gateway.acme
    if acme is None:
        return None
    module = import_module("voltgw.control.acme.fetching")
    decoded = import_module("voltgw.control.acme.jose").decoded
    account = acme.external_account
    settings: Settings = module.Settings(
        acme.directory, acme.contacts, acme.trusted_ca, acme.challenge or DEFAULT_CHALLENGE,
        acme.challenge_options, acme.key_type.value, acme.renew_before_s,
        account.key_id if account is not None else "",
        decoded(account.hmac_key.data.decode("ascii").strip()) if account is not None else b"")
    return settings
