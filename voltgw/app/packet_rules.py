"""The packet rules that listeners of captured connections need: there while they serve, put back when somebody flushes them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from voltgw.net import capture
from voltgw.net.capture import CannotCapture, Capture
from voltgw.values.defaults import CAPTURE_PORT, PACKET_RULES_LOOK_S

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, ListenerPlan
    from voltgw.config.networks import Networks
    from voltgw.config.objects.network_connector import ConnectorExtension
    from voltgw.control.seams import Clock, Timer

#: Rules of one network namespace.
Rules = tuple[Capture, ...]


def capture_of(ours: ConnectorExtension | None, networks: Networks, bound_port: Callable[[int], int]) -> Capture | None:
    """How a connector's clients are captured in the inside network; None = they are not. `bound_port` maps ports.

    Without an inside network on this host nobody is: rules for every interface would capture strangers, too (VG0222 says so).
    """
    mode = ours.capture.value if ours is not None else "redirect"
    inside = networks.inside
    if mode == "none" or not (inside.netns or inside.device):
        return None
    port = (ours.capture_port if ours is not None else None) or CAPTURE_PORT
    ports = tuple((one.first, one.last) for one in ours.captured_ports) if ours is not None else ()
    return Capture(inside.netns, inside.interface or inside.device, "tproxy" if mode == "tproxy" else "redirect",
                   bound_port(port), ports)


def rules_of(listeners: Mapping[ListenerKey, ListenerPlan]) -> dict[str, Rules]:
    """The rules that listeners need, by network namespace."""
    found: dict[str, list[Capture]] = {}
    for plan in listeners.values():
        if plan.capture is not None:
            found.setdefault(plan.capture.netns, []).append(plan.capture)
    return {netns: tuple(sorted(set(captures))) for netns, captures in sorted(found.items())}


def printed(rules: Mapping[str, Rules]) -> str:
    """A shell script that installs what we would install, for those who do it by themselves."""
    parts: list[str] = []
    for netns, captures in rules.items():
        prefix = f"ip netns exec {netns} " if netns else ""
        parts += [f"{prefix}nft -f - <<'END'", capture.ruleset(captures) + "END"]
        parts += [f"{prefix}{command}" for command in capture.routing(captures)]
    return "\n".join([*parts, ""]) if parts else ""


class PacketRules:
    """Has the kernel keep the rules that `follow` was told of last. Only tables, rules and routes of ours are ever touched."""

    _log = Logger()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wanted: dict[str, Rules] = {}
        self._problems: dict[str, str] = {}
        self._timer: Timer | None = None

    def check(self, wanted: Mapping[str, Rules]) -> None:
        """Whether the kernel would take rules that are new; nothing changes. Raises `CannotCapture`.

        A network namespace that is not there is no obstacle: its rules come with it.
        """
        for netns, captures in wanted.items():
            if self._wanted.get(netns) != captures and self._exists(netns):
                capture.check(netns, captures)

    def follow(self, wanted: Mapping[str, Rules]) -> None:
        """These shall be there, and none of the others that we have installed."""
        before, self._wanted = self._wanted, dict(wanted)
        for netns in before.keys() - wanted.keys():
            self._drop(netns)
        for netns, captures in wanted.items():
            if before.get(netns) != captures or netns in self._problems:
                self._install(netns)
        if self._wanted and self._timer is None:
            self._timer = self._clock.callLater(PACKET_RULES_LOOK_S, self._again)

    def look(self) -> None:
        """Install what is not there any more."""
        for netns in self._wanted:
            try:
                there = netns not in self._problems and capture.installed(netns)
            except OSError:
                there = False
            if not there:
                self._install(netns)

    def leave(self) -> None:
        """Another process has them from now on: look no more, and remove nothing."""
        self._wanted = {}
        self.stop()

    def stop(self) -> None:
        """Remove all of them."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        wanted, self._wanted = self._wanted, {}
        for netns in wanted:
            self._drop(netns)

    @property
    def problems(self) -> list[str]:
        """What is missing, in words."""
        return [f"packet rules: {problem}" for problem in self._problems.values()]

    def view(self) -> list[dict[str, Any]]:
        """Every capture, JSON-ready."""
        return [{"netns": netns, "device": one.device, "mode": one.mode, "port": one.port,
                 "ports": [list(ports) for ports in one.ports], "installed": netns not in self._problems,
                 "problem": self._problems.get(netns, "")}
                for netns, captures in self._wanted.items() for one in captures]

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _again(self) -> None:
        self._timer = None
        if self._wanted:
            self._timer = self._clock.callLater(PACKET_RULES_LOOK_S, self._again)
            self.look()

    def _install(self, netns: str) -> None:
        try:
            capture.install(netns, self._wanted[netns])
        except CannotCapture as error:
            if self._problems.get(netns) != str(error):
                self._log.error("{problem}", problem=str(error), event="packet_rules.failed")
            self._problems[netns] = str(error)
            return
        self._problems.pop(netns, None)
        self._log.info("packet rules capture connections in {place}: {rules}", place=netns or "the host's own network",
                       rules="; ".join(f"{one.mode} to port {one.port}" for one in self._wanted[netns]))

    def _drop(self, netns: str) -> None:
        self._problems.pop(netns, None)
        try:
            capture.install(netns, ())
        except CannotCapture as error:
            if self._exists(netns):
                self._log.warn("packet rules could not be removed: {problem}", problem=str(error))

    def _exists(self, netns: str) -> bool:
        try:
            capture.installed(netns)
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.EINVAL)
        return True

