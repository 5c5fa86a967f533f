"""The DNS side of the running gateway: its sockets, its zones, and the health of services as answers show it.

Zones are built with the rest of a configuration (`voltgw.app.zones`). While they serve, the clusters behind their names are
looked at once a second; a name whose service has come or gone is put into its zone anew, a few in a turn, and registries of
others in which names are published (`voltgw.app.publishing`) are told.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from voltgw.app.zones import Delegations
from voltgw.dns.cookies import Cookies, own_digest
from voltgw.dns.rates import ResponseRates
from voltgw.dns.responder import DnsCounters, Responder
from voltgw.dns.server import IDLE_S, DnsBound
from voltgw.dns.transfers import Notifier, Transfers, described
from voltgw.dns.tsig import Keyring
from voltgw.routing.zone import Zones
from voltgw.values.defaults import DNS_RESPONSES_PER_SECOND, DNS_SLIP

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.app.deps import Deps
    from voltgw.app.publications import Publication
    from voltgw.app.publishing import Publishing
    from voltgw.app.zones import Delegated, Name
    from voltgw.config.gateway import DnsAddress
    from voltgw.config.model import Config
    from voltgw.net.inherited import SocketKey
    from voltgw.net.loop import Loop
    from voltgw.routing.route import VirtualHost

#: How often the health of services is looked at.
LOOK_S: Final = 1.0
#: Names that are looked at in one turn.
_STEP: Final = 200
#: Virtual hosts that are looked at in one turn.
_HOSTS: Final = 2000
#: Names on the admin page.
_MOST: Final = 1000

#: Whether a cluster (by its full name) has had its first probes.
Warm = Callable[[str], bool]


class DnsSide:
    """What the gateway has of DNS. `warm` says of a cluster whether its health is known yet."""

    _log = Logger()

    def __init__(self, deps: Deps, warm: Warm) -> None:
        self._deps = deps
        self._warm = warm
        self.counters = DnsCounters()
        self._cookies = Cookies(secrets.token_bytes(16), deps.wall, own_digest)
        self._serving: Delegations = Delegations()
        self.transfers = Transfers({}, deps.wall, self.counters.transfers)
        self.notifier: Notifier | None = None
        self.bound: dict[DnsAddress, DnsBound] = {}
        self._loop: Loop | None = None
        self._looking: IDelayedCall | None = None
        self._round: Generator[None, None, None] | None = None
        self.publishing: Publishing | None = None       # there once a configuration publishes anything
        self._publications: Sequence[Publication] = ()

    # -- sockets -----------------------------------------------------------------------------------------------------------

    def open_new(self, config: Config) -> dict[DnsAddress, DnsBound]:
        """Bind what `gateway.dns` names and is not bound yet. Raises `CannotListen`, and then nothing new is open."""
        opened: dict[DnsAddress, DnsBound] = {}
        try:
            for spec in config.gateway.dns:
                if spec not in self.bound and spec not in opened:
                    opened[spec] = DnsBound(spec.address, spec.port, self._responder(spec), self._deps.inherited)
        except BaseException:
            self.close_unused(opened)
            raise
        return opened

    def close_unused(self, opened: Mapping[DnsAddress, DnsBound]) -> None:
        """What was opened is not needed after all."""
        for bound in opened.values():
            bound.stop()

    def install(self, config: Config, serving: Delegations, opened: Mapping[DnsAddress, DnsBound],
                publications: Sequence[Publication] = ()) -> None:
        """Answer by `serving` from the next query on, and keep `publications`."""
        self._publications = publications
        before = self._serving.zones.zones
        for apex, zone in serving.zones.zones.items():
            if apex in before:
                zone.follow_on(before[apex])
        for apex, signer in serving.signers.items():
            if apex in self._serving.signers:
                signer.inherit(self._serving.signers[apex])
        self._serving = serving
        for spec in [each for each in self.bound if each not in config.gateway.dns]:
            self.bound.pop(spec).stop()
        for spec, bound in opened.items():
            self.bound[spec] = bound
            if self._loop is not None:
                bound.start(self._loop, self._deps.reactor)
        secondaries = {each.zone.apex: each.secondaries for each in serving.all if each.secondaries}
        transfers = Transfers(secondaries, self._deps.wall, self.counters.transfers)
        transfers.inherit(self.transfers)
        self.transfers = transfers
        keyring = Keyring(serving.keys, self._deps.wall)
        for bound in self.bound.values():
            responder = bound.responder
            responder.zones, responder.transfers, responder.keyring = serving.zones, transfers, keyring
            responder.signers = serving.signers
        for delegated in serving.all:
            for domain, reason in delegated.left_out[:20]:
                self._log.warn("zone {zone}: {domain} is not answered: {reason}", zone=delegated.spec.zone, domain=domain,
                               reason=reason)
        if self._loop is not None:
            self._tell()
            self._publish(self._loop)
            self._look_now()

    def start(self, loop: Loop) -> None:
        """Answer."""
        self._loop = loop
        self.notifier = Notifier(
            loop.clock, self._send, lambda: secrets.randbits(16), self._deps.wall, self.counters.notifies)
        for bound in self.bound.values():
            bound.start(loop, self._deps.reactor)
            self._log.info("DNS listens on {address} for {zones}", address=bound.name,
                           zones=", ".join(self.zones) or "no zone")
        self._tell()
        self._publish(loop)
        self._look_now()

    def _publish(self, loop: Loop) -> None:
        if self._publications and self.publishing is None:
            self.publishing = import_module("voltgw.app.publishing").Publishing(self._deps, loop.clock, self.up)
        if self.publishing is not None:
            self.publishing.install(self._publications)

    def stop(self) -> None:
        """Answer no more."""
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._looking = self._round = None
        if self.publishing is not None:
            self.publishing.abandon()       # unless that is over already
        if self.notifier is not None:
            self.notifier.stop()
        for bound in self.bound.values():
            bound.stop()

    def withdraw(self, *, at_once: bool) -> Deferred[Any]:
        """Take names out of registries of others, as far as that is wanted; fires when it is done, or within seconds."""
        if self.publishing is None:
            return succeed(None)
        if at_once:
            self.publishing.abandon()
        return self.publishing.withdraw()

    def handed(self) -> Iterator[tuple[SocketKey, int]]:
        """Every socket, for a process that is to answer in our place."""
        for bound in self.bound.values():
            yield from bound.handed()

    def give_way(self) -> None:
        """Another process answers, and keeps what is published."""
        if self.publishing is not None:
            self.publishing.abandon()
        for bound in self.bound.values():
            bound.give_way()

    def abandon(self) -> None:
        """Whoever waits for that waits no longer."""
        if self.publishing is not None:
            self.publishing.abandon()

    def _responder(self, spec: DnsAddress) -> Responder:
        rate = DNS_RESPONSES_PER_SECOND if spec.responses_per_second is None else spec.responses_per_second
        slip = DNS_SLIP if spec.slip is None else spec.slip
        rates = ResponseRates(rate, slip, self._deps.monotonic) if rate else None
        return Responder(self._serving.zones if self._serving.all else Zones(), self._cookies, rates, heard=self._heard,
                         idle_s=IDLE_S, counters=self.counters)

    # -- secondaries -------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Secondaries of every zone are told of it, as far as they have not confirmed that they know."""
        if self.notifier is not None:
            for delegated in self._serving.all:
                self.notifier.changed(self.transfers, delegated.zone)

    def _send(self, data: bytes, address: str, port: int) -> bool:
        """From an address that the server answers on: secondaries believe no other one."""
        six = ":" in address
        return any(bound.send(data, address, port) for bound in self.bound.values()
                   if (":" in bound.address[0]) == six or bound.address[0] == "::")

    def _heard(self, data: bytes, peer: str, port: int) -> bool:
        return self.notifier is not None and self.notifier.heard(self.transfers, data, peer, port)

    # -- health ------------------------------------------------------------------------------------------------------------

    def up(self, host: VirtualHost) -> bool:
        """Whether requests of a virtual host can be answered: a rule of it needs no endpoint, or one of its clusters that get
        requests at all has one that is ready, or nobody knows yet."""
        for route in host.routes:
            if not route.destinations:
                return True
            several = len(route.destinations) > 1
            for destination in route.destinations:
                cluster: Any = destination.cluster
                if cluster is None or several and not destination.weight:
                    continue
                if cluster.any_ready or not self._warm(destination.cluster_name):
                    return True
        return not host.routes

    def _look_now(self) -> None:
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._looking = None
        if self._serving.all or self.publishing is not None:
            self._round = self._look(self._serving)
            self._go_on()

    def _go_on(self) -> None:
        loop = self._loop
        if self._round is None or loop is None or loop.stopped:
            return
        try:
            next(self._round)
        except StopIteration:
            self._round = None
            self._looking = loop.clock.callLater(LOOK_S, self._look_now)
        else:
            loop.soon(self._go_on)

    def _look(self, serving: Delegations) -> Generator[None, None, None]:
        """Tell each zone, and each registry, what has come or gone."""
        if self.publishing is not None:
            yield from self.publishing.look()
        for delegated in serving.all:
            before = delegated.looked
            now: dict[VirtualHost, bool] = {}
            for count, host in enumerate(delegated.hosts()):
                now[host] = self.up(host)
                if count % _HOSTS == _HOSTS - 1:
                    yield
            if now == before:
                continue                    # of thousands of names there is none that has to be put together
            changed = 0
            for count, name in enumerate(delegated.names.values()):
                if count % _STEP == _STEP - 1:
                    yield
                if before is not None and all(now[offer.host] == before[offer.host] for offer in name.offers):
                    continue
                if delegated.zone.set_host(name.host(now.__getitem__, delegated.spec)):
                    changed += 1
                    self._log.info("zone {zone}: {name} is answered with {addresses}", zone=delegated.spec.zone, name=name.text,
                                   addresses=_addresses(delegated, name) or "no address")
            delegated.looked = now
            if changed:
                delegated.zone.changed()
                if self.notifier is not None:
                    self.notifier.changed(self.transfers, delegated.zone)

    # -- for operators -----------------------------------------------------------------------------------------------------

    @property
    def zones(self) -> list[str]:
        """Their names."""
        return [each.spec.zone for each in self._serving.all]

    def names(self) -> Iterable[dict[str, Any]]:
        """Every name that is answered or published for a virtual host, JSON-ready; then domains that are left out, and why."""
        if self.publishing is not None:
            yield from self.publishing.names(_MOST)
        for delegated in self._serving.all:
            for name in islice(delegated.names.values(), _MOST):
                yield self._name(delegated, name)
            for domain, reason in delegated.left_out[:_MOST]:
                yield {"name": domain, "zone": delegated.spec.zone, "by": "delegation", "answered": False, "why": reason,
                       "addresses": []}

    def _name(self, delegated: Delegated, name: Name) -> dict[str, Any]:
        host = delegated.zone.hosts[name.wire]
        given = [str(target.address) for target in host.given]
        down = not any(target.up for target in host.targets)
        why = "every service behind it is up"
        if down:
            why = "no endpoint of its service is up: " + ("all addresses are answered all the same" if given
                                                          else "no address is answered")
        elif len(given) < len(host.targets):
            why = "addresses whose service is down are left out"
        return {
            "name": name.text, "zone": delegated.spec.zone, "by": "delegation", "answered": bool(given), "why": why,
            "addresses": given, "order": host.order.value, "ttl": delegated.zone.ttl,
            "advertised": [
                {"address": str(offer.address), "site": offer.site, "policy": offer.policy,
                 "virtual_host": f"{offer.host.namespace}/{offer.host.name}", "up": self.up(offer.host)}
                for offer in name.offers],
        }

    def status(self) -> list[dict[str, Any]]:
        """Every zone, JSON-ready."""
        return [{
            "zone": each.spec.zone, "object": each.object.full_name, "serial": each.zone.serial, "names": len(each.zone.nodes),
            "virtual_host_names": len(each.names), "left_out": len(each.left_out),
            "ds": each.signer.ds_text if each.signer is not None else None,
            "secondaries": described(self.transfers, each.zone),
        } for each in self._serving.all]

    def listens(self) -> list[dict[str, Any]]:
        """Every address, JSON-ready."""
        return [{"address": bound.name, "tcp_connections": bound.connections, "tcp_refused": bound.factory.refused}
                for bound in self.bound.values()]


def _addresses(delegated: Delegated, name: Name) -> str:
    return ", ".join(str(target.address) for target in delegated.zone.hosts[name.wire].given)
