"""VIPs that exist: explicit addresses are put on an interface while they are served, and taken away afterwards.

An address that was there before, or that somebody else adds, is left alone. Ours is marked, lives for `VIP_LIFETIME_S` and is
renewed well before that ends: if we die it goes by itself, and whoever takes over (or we, started again) may add it anew.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.logger import Logger

from voltgw.net.addresses import Netlink, announce, interface_for, interface_name, is_ours, netlink
from voltgw.values.defaults import VIP_LIFETIME_S, VIP_RENEWAL_S
from voltgw.values.network import Network

if TYPE_CHECKING:
    from voltgw.control.seams import Clock, Timer

#: VIPs that are looked at in one turn; adding and announcing one takes some 0.1 ms.
MOST_PER_TURN: Final = 64
#: Neighbours are told again after this (RFC 5227 2.3 has two announcements, 2 s apart).
AGAIN_S: Final = 2.0
_RIGHTS: Final = {errno.EPERM: "it takes CAP_NET_ADMIN and CAP_NET_RAW", errno.EACCES: "it takes CAP_NET_ADMIN"}


class Vip(NamedTuple):
    """An address in a network."""

    address: str
    network: Network


class _Standing:
    """What is known of one: the interface that has it (0 = none), whether we have put it there, what is wrong.

    `marked` tells that the kernel keeps our mark (since Linux 5.18): then an address without it is not ours.
    """

    def __init__(self) -> None:
        self.marked = False
        self.interface = 0
        self.name = ""
        self.ours = False
        self.problem = ""


class Vips:
    """Keeps the addresses that `follow` was told of last. `held(vip)` says whether connections still need one that has gone."""

    _log = Logger()

    def __init__(self, clock: Clock, held: Callable[[Vip], bool]) -> None:
        self._clock = clock
        self._held = held
        self._wanted: dict[Vip, _Standing] = {}
        self._leaving: dict[Vip, _Standing] = {}
        self._timers: dict[str, Timer] = {}
        self._round: list[tuple[Vip, _Standing]] = []       # still to be looked at

    def follow(self, wanted: Iterable[Vip]) -> None:
        """These shall exist, and none of the others that we have added."""
        before, after = self._wanted, dict.fromkeys(wanted)
        self._wanted = {vip: before.get(vip) or self._leaving.pop(vip, None) or _Standing() for vip in after}
        self._leaving.update((vip, standing) for vip, standing in before.items() if vip not in after)
        self.look()

    def look(self) -> None:
        """Add what is missing, renew what is ours, take away what nobody needs; of many, some in this turn, the others soon."""
        self._remove([(vip, self._leaving.pop(vip)) for vip in list(self._leaving) if not self._held(vip)])
        self._round = [*self._wanted.items(), *self._leaving.items()]
        self._again("renew", VIP_RENEWAL_S, self.look)
        self._step()

    def _step(self) -> None:
        now, self._round = self._round[:MOST_PER_TURN], self._round[MOST_PER_TURN:]
        for netns, pairs in _by_namespace(now).items():
            try:
                with netlink(netns) as talk:
                    present = {address.address: address for address in reversed(talk.addresses())}
                    for vip, standing in pairs:
                        if vip in self._wanted or vip in self._leaving:     # else a reload has come between
                            self._see(talk, vip, standing, present.get(vip.address), vip in self._wanted)
            except OSError as error:
                for vip, standing in pairs:
                    self._fail(vip, standing, error)
        if self._round:
            self._again("step", 0.0, self._step)

    def leave(self) -> None:
        """Another process has them from now on: look no more, and take nothing away."""
        self._wanted, self._leaving = {}, {}
        self.stop()

    def stop(self) -> None:
        """Take away everything that is ours."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()
        self._round = []
        self._remove([*self._wanted.items(), *self._leaving.items()])
        self._wanted, self._leaving = {}, {}

    @property
    def problems(self) -> list[str]:
        """What is missing, in words."""
        return [f"VIP {vip.address}: {standing.problem}" for vip, standing in self._wanted.items() if standing.problem]

    def view(self) -> list[dict[str, Any]]:
        """Every VIP, JSON-ready; `ours` tells that we have added it."""
        return [{"address": vip.address, "network": vip.network.name, "interface": standing.name,
                 "present": not standing.problem, "ours": standing.ours, "problem": standing.problem}
                for vip, standing in self._wanted.items()]

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _see(self, talk: Netlink, vip: Vip, standing: _Standing, present: Any, wanted: bool) -> None:
        try:
            if present is not None and is_ours(present):
                standing.marked = True
            if present is not None and not (
                    is_ours(present) or standing.ours and not standing.marked and standing.interface == present.interface):
                standing.ours = False       # whoever has added it keeps it
                standing.interface = present.interface
            elif present is not None:
                talk.renew(present.interface, vip.address, int(VIP_LIFETIME_S))
                standing.ours, standing.interface = True, present.interface
            elif wanted:
                standing.interface = interface_for(talk, vip.network, vip.address)
                talk.add(standing.interface, vip.address, int(VIP_LIFETIME_S))
                standing.ours = True
                self._announce(vip, standing)
                self._again(f"{vip.address}@{vip.network.netns}", AGAIN_S, lambda: self._announce(vip, standing))
                self._log.info("VIP {vip} is on interface {interface} now", event="vip.added", vip=vip.address,
                               interface=interface_name(vip.network.netns, standing.interface))
            standing.name = interface_name(vip.network.netns, standing.interface) if standing.interface else ""
            standing.problem = ""
        except OSError as error:
            self._fail(vip, standing, error)

    def _announce(self, vip: Vip, standing: _Standing) -> None:
        if not standing.ours:
            return
        try:
            announce(vip.network.netns, standing.interface, vip.address)
        except OSError as error:
            self._log.warn("the neighbours could not be told of VIP {vip}: {error}", vip=vip.address, error=error.strerror)

    def _fail(self, vip: Vip, standing: _Standing, error: OSError) -> None:
        problem = f"it cannot be added: {(error.strerror or str(error) or errno.errorcode.get(error.errno or 0, '')).lower()}"
        if error.errno in _RIGHTS:
            problem += f" ({_RIGHTS[error.errno]})"
        if standing.problem != problem:
            self._log.error("VIP {vip}: {problem}", vip=vip.address, problem=problem, event="vip.failed")
        standing.problem = problem

    def _remove(self, pairs: Iterable[tuple[Vip, _Standing]]) -> None:
        for netns, ours in _by_namespace([pair for pair in pairs if pair[1].ours]).items():
            for _, standing in ours:
                standing.ours = False
            try:
                with netlink(netns) as talk:
                    present = {(one.address, one.interface): one for one in talk.addresses()}
                    for vip, standing in ours:
                        found = present.get((vip.address, standing.interface))
                        # older kernels keep no mark: there an address of a short life where ours was is ours
                        if found is not None and (is_ours(found) or found.protocol == 0 and found.valid_s <= VIP_LIFETIME_S):
                            talk.delete(standing.interface, vip.address)
                            self._log.info("VIP {vip} is taken away", vip=vip.address, event="vip.removed")
            except OSError as error:
                self._log.warn("VIPs could not be taken away, and go within {valid} s: {vips}: {error}", valid=VIP_LIFETIME_S,
                               vips=", ".join(vip.address for vip, _ in ours), error=error.strerror)

    def _again(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()
        if name != "renew" or self._wanted or self._leaving:
            self._timers[name] = self._clock.callLater(delay_s, call)


def _by_namespace(pairs: Iterable[tuple[Vip, _Standing]]) -> dict[str, list[tuple[Vip, _Standing]]]:
    found: dict[str, list[tuple[Vip, _Standing]]] = {}
    for pair in pairs:
        found.setdefault(pair[0].network.netns, []).append(pair)
    return found
