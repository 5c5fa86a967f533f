"""The members of a cluster in a worker: what the control process says of them, and what this worker finds for itself.

Who is there, and who is healthy, is decided in one place for all workers. Whom a worker cannot connect to, or who answers it
worse than others, it takes out for itself: that lies over what it is told and goes when its time is over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voltgw.cluster.snapshot import EndpointSet
from voltgw.control.connects import FAILURES, HOLD_S, ConnectJudge
from voltgw.control.ejections import Ejections
from voltgw.control.verdicts import ejection

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.outlier import Watch
    from voltgw.cluster.plan import ClusterPlan
    from voltgw.cluster.snapshot import EndpointKey, EndpointState
    from voltgw.control.seams import ControlLoop, Timer


class Followed:
    """One cluster, in the place of a `Membership`. `install` and `mark` say what the control process says."""

    warm = True                             # the control process is, or its clients would not wait for us
    warm_timeout_s = 0.0

    def __init__(self, cluster: Cluster, plan: ClusterPlan, loop: ControlLoop) -> None:
        self.cluster = cluster
        self.running = False
        self._loop = loop
        self._panic_threshold = plan.panic_threshold or 0
        self._judges = not plan.checks and cluster.outliers is None
        self._judge = ConnectJudge(cluster, loop)
        self._ejections = None if cluster.outliers is None else Ejections(cluster.outliers, loop, self._ejected)
        self._told: tuple[EndpointState, ...] = ()
        self._back: dict[EndpointKey, float] = {}       # when those came back that were out here
        self._was_out: set[EndpointKey] = set()
        self._pace_timer: Timer | None = None
        self._due = False

    def startService(self) -> None:
        """Judge from now on."""
        self.running = True
        self.cluster.take_turns(self._loop.soon)
        self.cluster.keep_time(self._loop.monotonic)
        if self._ejections is not None:
            self._ejections.start()
        elif self._judges:
            self._judge.start(self._judged)
            self.cluster.on_connect_failed = self._judge.failed

    def stopService(self) -> None:
        """Judge no more. The cluster keeps its endpoints."""
        self.running = False
        self.cluster.on_connect_failed = None
        self.cluster.take_turns(None)
        self._judge.stop()
        if self._ejections is not None:
            self._ejections.stop()
        if self._pace_timer is not None and self._pace_timer.active():
            self._pace_timer.cancel()
        self._pace_timer = None

    def missing(self) -> str:
        """Nothing."""
        return ""

    def describe(self) -> dict[str, Any]:
        """Whoever asks is told by the control process."""
        return {"cluster": self.cluster.name}

    @property
    def told(self) -> tuple[EndpointState, ...]:
        """What the control process has said last."""
        return self._told

    def install(self, states: tuple[EndpointState, ...]) -> None:
        """These are the members, as the control process sees them."""
        keys = {state.key for state in states}
        for state in self._told:
            if state.key not in keys:
                self._judge.forget(state.key)
                self._back.pop(state.key, None)
                self._was_out.discard(state.key)
        self._told = states
        self._apply()

    def mark(self, key: EndpointKey, reason: str) -> None:
        """One of them gets nothing more, ahead of the set that says so."""
        self.cluster.mark_unready(key, reason)

    def passed(self, key: EndpointKey) -> None:
        """A health check of the control process passes for one that is ejected here."""
        outliers = self.cluster.outliers
        watch = outliers.ejected(key) if outliers is not None else None
        if outliers is not None and watch is not None and outliers.passed(key):
            self._ejected(watch)

    def out(self) -> dict[EndpointKey, str]:
        """Whom this worker keeps out, and why."""
        found: dict[EndpointKey, str] = {}
        outliers = self.cluster.outliers
        for state in self._told:
            if self._judge.holds(state.key):
                found[state.key] = f"{FAILURES} connections in a row failed; it is tried again after {HOLD_S:g} s"
            elif outliers is not None and outliers.out:
                watch = outliers.ejected(state.key)
                if watch is not None:
                    found[state.key] = ejection(watch)
        return found

    def _judged(self, key: EndpointKey) -> None:
        if self._judge.holds(key):
            self.cluster.mark_unready(key, f"{FAILURES} connections in a row failed")
        self._touch()

    def _ejected(self, watch: Watch) -> None:
        if watch.ejected:
            self.cluster.mark_unready(watch.key, ejection(watch))
        self._touch()

    def _touch(self) -> None:
        """Install anew at the end of the turn."""
        if not self._due and self.running:
            self._due = True
            self._loop.soon(self._applied)

    def _applied(self) -> None:
        self._due = False
        if self.running:
            self._apply()

    def _apply(self) -> None:
        out = self.out()
        if out and self._panic_threshold:
            left = sum(state.ready and state.key not in out for state in self._told)
            if left * 100 < self._panic_threshold * len(self._told):
                out = {}                    # too few would be left: they serve all the same
        now = self._loop.monotonic()
        for key in self._was_out.difference(out):
            self._back[key] = now
        self._was_out = set(out)
        states = self._told
        if out or self._back:
            states = tuple(map(self._seen(out), states))
        self.cluster.install(EndpointSet(self.cluster.version + 1, states))
        if self._pace_timer is None:
            self._wait_for_pace()

    def _seen(self, out: dict[EndpointKey, str]) -> Any:
        slow = self.cluster.slow_start is not None

        def seen(state: EndpointState) -> EndpointState:
            reason = out.get(state.key)
            if reason is not None:
                return replace(state, ready=False, reason=reason) if state.ready else state
            back = self._back.get(state.key)
            return replace(state, since=max(state.since, back)) if slow and back is not None and state.ready else state

        return seen

    def _wait_for_pace(self) -> None:
        rules = self.cluster.slow_start
        if rules is not None and self.cluster.slow_starters and self.running:
            self._pace_timer = self._loop.clock.callLater(rules.step_s, self._keep_pace)

    def _keep_pace(self) -> None:
        self._pace_timer = None
        self.cluster.keep_pace()
        self._wait_for_pace()
