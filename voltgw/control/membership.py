"""Who is a member of a cluster and may serve: feeds and health come in, endpoint sets go out.

Whatever happens in one turn of the reactor leads to one pass, and a pass that changes something installs one new set.
That an endpoint left or fails is told to the cluster at once, before the pass. A feed that fails changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.logger import LogLevel

from voltgw.cluster.health import combined
from voltgw.cluster.snapshot import HEALTHY, UNHEALTHY, UNKNOWN, EndpointKey, EndpointSet, EndpointState
from voltgw.control.connects import ConnectJudge
from voltgw.control.ejections import Ejections
from voltgw.control.events import Events
from voltgw.control.feed import Add, Failed, Feed, Found, Gone, Remove, Reset, Update
from voltgw.control.orders import Orders
from voltgw.control.probes.target import Target
from voltgw.control.terms import Standing, Terms
from voltgw.control.verdicts import Member, Verdicts, ejection
from voltgw.control.view import cluster_view, endpoint_view
from voltgw.control.warmup import WarmUp
from voltgw.wire.proxyproto import own_header

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.outlier import Watch
    from voltgw.control.probes.prober import Prober
    from voltgw.control.probes.target import Check
    from voltgw.control.seams import ControlLoop, Timer, Told

#: What warm-up may take beyond the timeout of a probe.
WARM_MARGIN_S: Final = 1.0
#: After a pass that took t seconds the next one waits so many times t, so that a huge cluster whose members change all
#: the time keeps the reactor at most one part in so many busy…
PASS_REST: Final = 20
#: …but never longer than this.
PASS_REST_MOST_S: Final = 0.5
#: A pass over more members is done in stages, each in a turn of its own.
ONE_TURN: Final = 2_000


class Membership(Service):
    """Keeps the endpoints of one cluster.

    `refused(address, port)` names endpoints that may not be (the gateway's own admin address), "" = none of them.
    """

    def __init__(
        self, cluster: Cluster, feeds: Sequence[Feed], checks: Sequence[Check], prober: Prober, loop: ControlLoop,
        refused: Callable[[str, int], str] = lambda address, port: "", terms: Terms | None = None,
        orders: Orders | None = None,
    ) -> None:
        self.cluster = cluster
        self.feeds = tuple(feeds)
        self.checks = tuple(checks)
        for check in self.checks:
            cluster.counters.probes.setdefault(check.name, [0, 0])
        self.members: dict[EndpointKey, Member] = {}
        self.events = Events(cluster.name)
        self._prober = prober
        self._loop = loop
        self._refused = refused
        self._orders = orders if orders is not None else Orders(loop)
        self._verdicts = Verdicts(cluster, bool(checks), terms or Terms(), self._orders)
        self._judge = ConnectJudge(cluster, loop)
        self._ejections = None if cluster.outliers is None else Ejections(cluster.outliers, loop, self._ejected)
        self._known: list[dict[EndpointKey, Found]] = [{} for _ in self.feeds]
        self._turned_away: set[EndpointKey] = set()
        self._unanswered = set(range(len(self.feeds)))
        self._failing: set[int] = set()
        self._feeds_changed = False
        self._announced: set[EndpointKey] = set()   # whose change has had its event before the pass
        self._marked = False                # the cluster was told of somebody unready ahead of its set
        self._down = False
        self._any_healthy = False
        self._pending = False
        self._again = False                 # one more pass behind the one that is under way
        self._stages: Generator[None, None, None] | None = None
        self._not_before = 0.0
        self._pass_timer: Timer | None = None
        self._warm_timer: Timer | None = None
        self._pace_timer: Timer | None = None
        self._warm = WarmUp(loop.clock)
        self.told: Told | None = None       # who hears what the cluster is told

    def __repr__(self) -> str:
        return f"<Membership {self.cluster.name} {len(self.members)} members>"

    @property
    def panicking(self) -> frozenset[int]:
        """The priorities whose health is ignored now."""
        return self._verdicts.panicking

    @property
    def panic(self) -> bool:
        """Whether too few are healthy somewhere, so that health is ignored there."""
        return bool(self.panicking)

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def warm_timeout_s(self) -> float:
        """How long warm-up may take: one probe and a second."""
        return max((check.timeout_s for check in self.checks), default=0.0) + WARM_MARGIN_S

    def startService(self) -> None:
        """Ask the feeds, probe what they find."""
        super().startService()
        self.cluster.take_turns(self._loop.soon)
        self.cluster.keep_time(self._loop.monotonic)
        self._orders.follow(self.cluster.name, self._ordered)
        if self._ejections is not None:
            self._ejections.start()
        elif not self.checks:
            self._judge.start(self._judged)
            self.cluster.on_connect_failed = self._judge.failed
        if not self.warm:
            self._warm_timer = self._loop.clock.callLater(self.warm_timeout_s, self._warm_timed_out)
        for index, feed in enumerate(self.feeds):
            feed.start(partial(self._update, index))
        self._touch()

    def stopService(self) -> None:
        """Ask and probe no more. The cluster keeps the endpoints that it has."""
        super().stopService()
        self._orders.leave(self.cluster.name, self._ordered)
        for feed in self.feeds:
            feed.stop()
        for member in self.members.values():
            self._forget(member)
        self.members = {}
        self._known = [{} for _ in self.feeds]
        self.cluster.on_connect_failed = None
        self.cluster.take_turns(None)
        self._judge.stop()
        if self._ejections is not None:
            self._ejections.stop()
        for timer in (self._pass_timer, self._warm_timer, self._pace_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._pass_timer = self._warm_timer = self._pace_timer = self._stages = None
        self._warm.let_go()

    # -- warm-up ---------------------------------------------------------------------------------------------------

    @property
    def warm(self) -> bool:
        """Whether every feed has answered and every endpoint has had its first probe, or the time for that is up."""
        return self._warm.over

    def warm_deferred(self, timeout_s: float | None = None) -> Deferred[None]:
        """Fires when `warm` becomes True, after `timeout_s` at the latest, or when the service stops. Never fails."""
        return self._warm.deferred(timeout_s)

    def missing(self) -> str:
        """What warm-up still waits for, in words; "" if for nothing."""
        unprobed = sum(target.unprobed for member in self.members.values() for target in member.targets)
        parts = [f"feed {self.feeds[index].name} has not answered" for index in sorted(self._unanswered)]
        if unprobed:
            parts.append(f"{unprobed} first probe{'s' if unprobed > 1 else ''} under way")
        return ", ".join(parts)

    # -- for the admin page ----------------------------------------------------------------------------------------

    def view(self) -> list[dict[str, Any]]:
        """Every endpoint, JSON-ready, with a sentence why it does or does not receive traffic."""
        now = self._loop.monotonic()
        members, shares = self.members, self.cluster.shares()
        return [
            endpoint_view(endpoint, members[endpoint.key].targets if endpoint.key in members else (), now,
                          shares.get(endpoint, 0.0), self._orders.view(endpoint.key))
            for endpoint in self.cluster.endpoints
        ]

    def describe(self) -> dict[str, Any]:
        """The whole cluster, JSON-ready."""
        return cluster_view(self, self._loop.monotonic())

    # -- what comes in ---------------------------------------------------------------------------------------------

    def _update(self, index: int, update: Update) -> None:
        """A feed has something to say."""
        known = self._known[index]
        self._unanswered.discard(index)
        if isinstance(update, Failed):
            self._feed_failed(index, update.why)
            self._touch()
            return
        if index in self._failing:
            self._failing.discard(index)
            self._note(self.feeds[index].name, "answering again", "the feed has an answer")
        if isinstance(update, Reset):
            after = {self._key(found): found for found in reversed(update.found)}   # of equals the first stays
            after = dict(reversed(after.items()))
            left = known.keys() - after.keys()
            self._known[index] = after
        elif isinstance(update, Add):
            left = set()
            known.update((self._key(found), found) for found in update.found)
        elif isinstance(update, Remove):
            left = {self._key(found) for found in update.found} & known.keys()
            for key in left:
                del known[key]
        else:
            assert isinstance(update, Gone)
            left = set(known)
            known.clear()
            self._note(self.feeds[index].name, "gone", "the source was removed")
        gone = {key for key in left if not any(key in others for others in self._known)}
        if gone and (not any(self._known) or any(each.ready and each.key not in gone for each in self.cluster.endpoints)):
            for key in gone:
                self._mark(key, "its feed no longer lists it")
        # else those that stay are new, and are there after the pass: until then the ones that have left serve
        self._feeds_changed = True
        self._touch()

    def probed(self, target: Target, changed: bool) -> None:
        """The prober has a result."""
        member: Member = target.member
        passed = target.passed
        self.cluster.counters.probes[target.check.name][not passed] += 1
        if changed:
            before = member.health
            member.health = combined([each.state.healthy for each in member.targets])
            member.dirty = True
            if member.health == UNHEALTHY and before != UNHEALTHY:
                self._mark(member.key, self._verdicts.reason(member, False))
            self._touch()
        outliers = self.cluster.outliers
        if outliers is not None and outliers.out and member.health == HEALTHY and passed:
            watch = outliers.ejected(member.key)
            if watch is not None and outliers.passed(member.key):
                self._ejected(watch)

    def _ejected(self, watch: Watch) -> None:
        """Outlier detection has taken one out, or let it back."""
        member = self.members.get(watch.key)
        if member is None:
            return
        if watch.ejected:
            reason = ejection(watch)
            self._note(str(watch.key), "ejected", reason, LogLevel.warn)
            self._mark(watch.key, reason)
        else:
            now = self._loop.monotonic()
            how = "its time is over" if now >= watch.until else "a health check passes"
            self._note(str(watch.key), "returned", f"{how}, after {now - watch.ejected_at:.3g} s")
        self._announced.add(watch.key)
        member.dirty = True
        self._touch()

    def _ordered(self, key: EndpointKey) -> None:
        """An operator has said something of one."""
        member = self.members.get(key)
        if member is None:
            return
        why, order = self._orders.keeps_out(key), self._orders.of(key)
        weight = f", weight {order.weight}" if order is not None and order.weight is not None else ""
        self._note(str(key), "ordered", (why or "nothing keeps it out") + weight)
        self._announced.add(key)
        if why:
            self._mark(key, why)
        member.dirty = True
        self._not_before = 0.0              # somebody waits for it
        if self._pass_timer is not None and self._pass_timer.active():
            self._pass_timer.cancel()
            self._pending = False
        self._touch()

    def _judged(self, key: EndpointKey) -> None:
        """The judge has taken one out or brings it back."""
        member = self.members.get(key)
        if member is not None:
            member.health = UNHEALTHY if self._judge.holds(key) else UNKNOWN
            member.dirty = True
            if member.health == UNHEALTHY:
                self._mark(key, self._verdicts.reason(member, False))
            self._touch()

    def _mark(self, key: EndpointKey, reason: str) -> None:
        self._marked = True                 # the next set must be installed even if it says what the last one said
        self.cluster.mark_unready(key, reason)
        if self.told is not None:
            self.told.marked(key, reason)

    def _feed_failed(self, index: int, why: str) -> None:
        if index not in self._failing:      # once for each time that it begins to fail
            self._failing.add(index)
            kept = "what it said last stays in force" if self._known[index] else "it has not said anything yet"
            self._note(self.feeds[index].name, "failing", f"{why}; {kept}", LogLevel.warn)

    # -- the pass --------------------------------------------------------------------------------------------------

    def _touch(self) -> None:
        """Have a pass soon; many calls lead to one."""
        if self._stages is not None:        # what is under way may have looked already
            self._again = True
            return
        if self._pending or not self.running:
            return
        self._pending = True
        wait_s = self._not_before - self._loop.monotonic()
        if wait_s > 0:
            self._pass_timer = self._loop.clock.callLater(wait_s, self._pass)
        else:
            self._loop.soon(self._pass)

    def _pass(self) -> None:
        self._pending = False
        if self.running and self._stages is None:
            self._stages = self._passing()
            self._go_on()

    def _go_on(self) -> None:
        """The next stage of the pass; each has a turn of its own where there are many members."""
        if self._stages is None:            # stopped meanwhile
            return
        try:
            over = next(self._stages, self) is self
        except BaseException:               # a bug; it must not keep later passes from being made
            self._stages = None
            raise
        if over:
            self._stages = None
            if self._again:
                self._again = False
                self._touch()
        else:
            self._loop.soon(self._go_on)

    def _passing(self) -> Generator[None, None, None]:
        spent = 0.0
        began = self._loop.monotonic()
        changed, self._marked = self._marked, False
        if self._feeds_changed:
            self._feeds_changed = False
            changed = self._merge() or changed
            if len(self.members) > ONE_TURN:
                spent += self._loop.monotonic() - began
                yield
                began = self._loop.monotonic()
        changed = self._decide() or changed
        self._announced.clear()
        if changed:
            if len(self.members) > ONE_TURN:
                spent += self._loop.monotonic() - began
                yield
                began = self._loop.monotonic()
            self._install()
        self.events.flush()
        if not self.warm and not self.missing():
            self._warm_up()
        now = self._loop.monotonic()
        self._not_before = now + min((spent + now - began) * PASS_REST, PASS_REST_MOST_S)

    def _merge(self) -> bool:
        """Take over what the feeds say; True when members came or left. Of two with one key, the first feed's stays."""
        before = self.members
        wanted: dict[EndpointKey, Found] = {}
        for known in self._known:
            for key, found in known.items():
                if key not in wanted and (key in before or not self._turns_away(key)):
                    wanted[key] = found
        after: dict[EndpointKey, Member] = {}
        for key, found in wanted.items():
            member = before.get(key)
            if member is None:
                member = self._new_member(key, found)
            elif member.found is not found and member.found != found:
                self._changed_member(member, found)
            after[key] = member
        self.members = after
        for key, member in before.items():
            if key not in after:
                self._forget(member)
                self._note(str(key), "removed", "its feed no longer lists it")
        return list(before) != list(after)

    def _decide(self) -> bool:
        """Who may serve; True when that or its reason is another than before for anybody."""
        members = self.members.values()
        any_healthy = bool(self.checks) and any(
            member.health == HEALTHY and self._verdicts.out(member) is None for member in members)
        panic = self._verdicts.panics(members, any_healthy)
        all_of_them = any_healthy is not self._any_healthy or panic != self.panicking
        self._any_healthy = any_healthy
        self._tell_of_panic(panic)
        changed = False
        now = self._loop.monotonic() if self.warm else 0.0      # who is there before warm-up is over need not start slowly
        for member in members:
            if not member.dirty and not all_of_them:
                continue
            member.dirty = False
            state = self._verdicts.state_of(member, any_healthy, now)
            if state != member.state:
                self._tell(member.state, state)
                member.state = state
                changed = True
        return changed

    def _tell_of_panic(self, panic: frozenset[int]) -> None:
        before, self._verdicts.panicking = self.panicking, panic
        if panic == before:
            return
        several = len({member.found.priority for member in self.members.values()}) > 1
        which = f"of priority {', '.join(map(str, sorted(panic)))} " if several else ""
        if panic:
            why = (f"fewer than {self._verdicts.terms.panic_threshold} % of the endpoints {which}are healthy: "
                   "health is ignored and all of them are used")
            self._note("", "panic", why, LogLevel.error)
        else:
            self._note("", "no panic", "enough endpoints are healthy: health decides again")

    def _install(self) -> None:
        states = tuple(member.state for member in self.members.values() if member.state is not None)
        self.cluster.install(EndpointSet(self.cluster.version + 1, states))
        if self.told is not None:
            self.told.installed(states)
        self._notice_down()
        if self._pace_timer is None:
            self._wait_for_pace()

    def _wait_for_pace(self) -> None:
        """While somebody starts slowly its share grows."""
        rules = self.cluster.slow_start
        if rules is not None and self.cluster.slow_starters:
            self._pace_timer = self._loop.clock.callLater(rules.step_s, self._keep_pace)

    def _keep_pace(self) -> None:
        self._pace_timer = None
        self.cluster.keep_pace()
        self._wait_for_pace()

    def _notice_down(self) -> None:
        """Say loudly that nobody may serve, and that somebody may again."""
        if self.cluster.any_ready:
            if self._down:
                self._note("", "serving again", "an endpoint may be used")
            self._down = False
        elif not self._down and (self.warm or self.members):
            self._down = True
            why = "every endpoint is unhealthy or ejected" if self.members else "it has no endpoints"
            self._note("", "down", f"{why}: requests to it are refused", LogLevel.error)

    # -- members ---------------------------------------------------------------------------------------------------

    def _key(self, found: Found) -> EndpointKey:
        return EndpointKey(self.cluster.name, found.protocol, found.site, found.address, found.port, found.network)

    def _new_member(self, key: EndpointKey, found: Found) -> Member:
        member = Member(key, found, self._standing(key, found))
        port = found.health_port or found.port
        # an endpoint that wants PROXY headers wants them of us, too; what listens on another port for checks alone does not
        out = self.cluster.proxy_protocol
        known = out is not None and port == found.port and (out.version == 2 or found.protocol != "UDP")
        first = own_header(out.version) if out is not None and known else b""
        member.targets = tuple(
            Target(check, found.hostname, found.address, port, self, member, self.cluster.tls_of(check.probe), found.network,
                   first)
            for check in self.checks
        )
        for target in member.targets:
            self._prober.add(target)
        return member

    def _changed_member(self, member: Member, found: Found) -> None:
        for target in member.targets:
            target.prepare(found.hostname, found.address, found.health_port or found.port)
        member.found = found
        member.standing = self._standing(member.key, found)
        member.dirty = True

    def _standing(self, key: EndpointKey, found: Found) -> Standing:
        return self._verdicts.terms.standing(found, lambda why: self._note(str(key), "weight refused", why, LogLevel.warn))

    def _forget(self, member: Member) -> None:
        self._judge.forget(member.key)
        for target in member.targets:
            self._prober.remove(target)

    def _turns_away(self, key: EndpointKey) -> bool:
        if key.network.netns:
            address = ip_address(key.address)
            if address.is_loopback or address.is_unspecified:
                return False                # another namespace's loopback is not ours
        why = self._refused(key.address, key.port)
        if why and key not in self._turned_away:
            self._turned_away.add(key)
            self._note(str(key), "refused", why, LogLevel.error)
        return bool(why)

    def _tell(self, before: EndpointState | None, after: EndpointState) -> None:
        """An event for each change that somebody may look for."""
        where = str(after.key)
        if before is None:
            self._note(where, "added", f"receives {'' if after.ready else 'no '}traffic: {after.reason}")
        elif before.health != after.health:
            self._note(where, after.health, after.reason, LogLevel.warn if after.health == UNHEALTHY else LogLevel.info)
        elif before.ready is not after.ready and after.key not in self._announced:
            self._note(where, "ready" if after.ready else "not ready", after.reason)

    def _note(self, endpoint: str, state: str, reason: str, level: Any = LogLevel.info) -> None:
        self.events.add(self._loop.monotonic(), endpoint, state, reason, level)

    # -- the end of warm-up ----------------------------------------------------------------------------------------

    def _warm_timed_out(self) -> None:
        if not self.warm:
            why = f"after {self.warm_timeout_s:g} s it goes on although {self.missing()}"
            self._note("", "warm", why, LogLevel.warn)
            self._warm_up()

    def _warm_up(self) -> None:
        if self._warm_timer is not None and self._warm_timer.active():
            self._warm_timer.cancel()
        self._warm_timer = None
        self._warm.end()
        self._notice_down()
