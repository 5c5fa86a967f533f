"""What is the same for every bound socket of the gateway, whatever transport it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from voltgw.values.counters import ListenerCounters

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan


class BoundSocket:
    """The part of an `interfaces.ListenerView` that does not ask what is spoken."""

    protocol: str
    _log = Logger()

    def __init__(self, plan: ListenerPlan, counters: ListenerCounters | None = None) -> None:
        self.plan = plan
        self.name = str(plan.key)
        self.kind = plan.kind.value
        self.counters = ListenerCounters() if counters is None else counters
        self.serving = False
        self.problem = ""                   # why nothing can come in

    @property
    def bound(self) -> bool:
        """Whether the socket stands open and is served, or will be in a moment."""
        return not self.problem

    @property
    def network(self) -> str:
        """What the network is called in which it listens, "" = the host as it is."""
        return self.plan.network.name

    @property
    def hosts(self) -> list[str]:
        """Names of the virtual hosts behind it."""
        return [f"{host.namespace}/{host.name}" for host in self.plan.hosts]

    @property
    def limits(self) -> dict[str, int]:
        """Bounds of connections and bytes that its policy says."""
        return self.plan.limits

    @property
    def certificates_pending(self) -> list[dict[str, str]]:
        """Virtual hosts that refuse all handshakes, since their certificate was not fetched yet, and why."""
        return [{"virtual_host": f"{host.namespace}/{host.name}", "reason": door.pending()}
                for host, door in self.plan.doors.items() if door.pending is not None]

    def start(self) -> None:
        """Take in what comes from now on; until then it waits in the kernel."""
        if not self.serving:
            self.serving = True
            try:
                self._listen()
            except OSError as error:        # no room in our epoll set (max_user_watches); others shall serve all the same
                self.problem = f"cannot be watched: {error.strerror}"
                self._log.error("{name} {problem}", name=self.name, problem=self.problem, event="listener.failed")

    def give_way(self) -> None:
        """Another process takes what comes from now on; what there is goes on."""

    def _listen(self) -> None:
        """Join the loop. Raises OSError."""
        raise NotImplementedError


def shown_certificates(plan: ListenerPlan) -> list[dict[str, Any]]:
    """The certificates that a listener shows, JSON-ready, each once."""
    found: dict[str, dict[str, Any]] = {}
    for host, door in plan.doors.items():
        for one in door.certificates:
            known = found.setdefault(one.fingerprint, {
                "names": list(one.names), "ends": one.ends.timestamp(), "fingerprint": one.fingerprint, "virtual_hosts": []})
            known["virtual_hosts"].append(f"{host.namespace}/{host.name}")
    return list(found.values())
