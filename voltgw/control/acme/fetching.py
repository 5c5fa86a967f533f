"""Has certificates fetched and renewed: which are wanted, which are due, and never more tries than a CA would bear.

Whatever fails, what was served before is served on. A wait is written down before a try begins, so that a gateway that crashes
in the middle of each try comes to ask no more often than one that does not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voltgw.control.acme.client import Binding, Client, account_is_gone
from voltgw.control.acme.entry import MOST_AHEAD_S, Entry, utc
from voltgw.control.acme.jose import AccountKey
from voltgw.control.acme.keys import looked_at
from voltgw.control.acme.order import Tools, obtain
from voltgw.control.acme.problems import AcmeError, NotKept, Refused, Unreachable, Unusable
from voltgw.control.acme.schedule import MOST_WAIT_S, wait_s
from voltgw.control.acme.store import Account, State, Store

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from voltgw.control.acme.challenges.kinds import Kind, Responder
    from voltgw.control.acme.client import Sends
    from voltgw.values.tls import KeyPair

Names = tuple[str, ...]

#: Longest between two looks at what is due (seconds): the clock of the host may be set meanwhile.
LOOK_S: Final = 30.0
#: Shortest.
_LEAST_S: Final = 0.1
#: Orders under way at a time.
MOST_AT_ONCE: Final = 2
#: New orders in a window (seconds), whatever fails: public CAs take 300 in three hours from one account.
MOST_ORDERS: Final = 200
WINDOW_S: Final = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The account and how it is used; what ``gateway.acme`` says."""

    directory: str
    contacts: tuple[str, ...] = ()
    roots: bytes | None = None              # PEM; None = the system's
    challenge: str = "tls-alpn-01"
    options: object = None                  # of the challenge
    key_kind: str = "ecdsa"
    renew_before_s: float | None = None
    key_id: str = ""                        # of an external account binding, "" = none
    secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class World:
    """What a running gateway hands in. `changed` is called when there is another certificate to serve."""

    clock: IReactorTime
    monotonic: Callable[[], float]
    random: Random
    sends: Callable[[Settings], Sends]
    kind: Callable[[Settings], Kind]
    respond: Responder
    changed: Callable[[], None]


class Fetching:
    """All certificates that are fetched; `wall` gives seconds since the epoch."""

    _log = Logger()

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self.results: Counter[str] = Counter()      # how tries ended
        self._store = store
        self._wall = wall
        self._world: World | None = None            # while it runs
        self._entries: dict[Names, Entry] = {}      # what is wanted
        self._others: dict[Names, Entry] = {}       # what was asked for by a configuration that does not serve (yet)
        self._settings: Settings | None = None
        self._client: Client | None = None
        self._lock = DeferredLock()                 # one registration at a time
        self._hold = 0.0                            # before this (epoch seconds) the CA is not asked
        self._unreached = 0                         # tries in a row that did not reach the CA, or that it put off altogether
        self._orders: deque[float] = deque()        # when the last new orders were made (monotonic)
        self._timer: IDelayedCall | None = None

    # -- what is served ------------------------------------------------------------------------------------------------

    def pair(self, names: Names) -> KeyPair | None:
        """The certificate for these names, None = there is none yet."""
        return self._entry(names).pair

    def reason(self, names: Names) -> str:
        """Why there is none, in a sentence."""
        entry, now = self._entry(names), self._wall()
        return entry.reason(self._due(entry, now), now)

    def view(self) -> Iterator[dict[str, Any]]:
        """Every certificate that is wanted, JSON-ready; each made as it is asked for."""
        settings, now = self._settings, self._wall()
        directory = settings.directory if settings is not None else ""
        return (entry.view(directory, self._due(entry, now), now) for entry in list(self._entries.values()))

    def conditions(self) -> Counter[str]:
        """How many are in which condition."""
        now = self._wall()
        return Counter(entry.condition(now) for entry in self._entries.values())

    def _entry(self, names: Names) -> Entry:
        found = self._entries.get(names) or self._others.get(names)
        if found is None:
            found = self._others[names] = self._loaded(names)
        return found

    def _loaded(self, names: Names) -> Entry:
        """What the disk has of it."""
        state = State(names)
        try:
            state = self._store.state(names)
            self._hold = max(self._hold, state.hold)
            if state.order:
                state.next_try = state.not_before       # it was interrupted; to go on with it asks for nothing new
            pair = self._store.pair(names)
            if pair is not None:
                return Entry(state, pair, looked_at(pair.chain, pair.key, names))
        except (NotKept, Unusable) as error:
            self._log.error("{names}: what was kept cannot be used: {error}", names=", ".join(names), error=str(error))
            state.error = str(error)
        return Entry(state, None, None)

    # -- following -----------------------------------------------------------------------------------------------------

    def follow(self, settings: Settings | None, wanted: Mapping[Names, tuple[str, ...]]) -> None:
        """Fetch these from now on, each for the virtual hosts that it is mapped to, and no others."""
        before, self._settings = self._settings, settings
        before_them = self._entries
        self._entries = {names: self._entry(names) for names in wanted}
        self._others.clear()
        for names, hosts in wanted.items():
            self._entries[names].hosts = hosts
        for names in before_them.keys() - wanted.keys():
            self._stop_one(before_them[names])
        if settings != before:
            self._client = None
            if before is not None:
                other = settings is None or settings.directory != before.directory
                if other:
                    self._hold, self._unreached = 0.0, 0
                for entry in self._entries.values():        # what has failed may go well now
                    entry.state.next_try = 0.0 if other else entry.state.not_before
        self._soon()

    def hurry(self) -> None:
        """Somebody may have mended what had failed: try again soon."""
        for entry in self._entries.values():
            entry.hurry()
        self._soon()

    def start(self, world: World) -> None:
        """Listeners are open: challenges can be met from now on."""
        self._world = world
        self._soon()

    def stop(self) -> Deferred[Any]:
        """Give up what is under way; the next start goes on with it."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        under_way = [entry.running for entry in self._entries.values() if entry.running is not None]
        for entry in self._entries.values():
            self._stop_one(entry)
        self._world = None
        return DeferredList(under_way)

    def _stop_one(self, entry: Entry) -> None:
        running, entry.running = entry.running, None
        if running is not None:
            running.cancel()

    def _soon(self, wait: float = 0.0) -> None:
        world = self._world
        if world is None:
            return
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._entries:
            self._timer = world.clock.callLater(wait, self._look)

    def _look(self) -> None:
        """Begin what is due."""
        self._timer = None
        settings, world, now = self._settings, self._world, self._wall()
        for entry in self._entries.values():
            if entry.unkept and entry.running is None:
                self._keep_pair(entry)
        if settings is None or world is None:
            return                          # `follow` and `start` begin again
        if self._hold > now + MOST_AHEAD_S:
            self._hold = now + MOST_WAIT_S  # the clock was set back
        idle: list[tuple[float, Entry]] = []
        for entry in self._entries.values():
            if entry.running is None:
                entry.mend(now)
                idle.append((self._due(entry, now), entry))
        room = MOST_AT_ONCE - len(self._entries) + len(idle)
        first = nsmallest(MOST_AT_ONCE + 1, idle, key=lambda each: each[0])
        for _, entry in first[:max(room, 0)]:
            if self._due(entry, now) <= now:        # asked again: the one before may have found that all have to wait
                self._begin(entry, settings, world)
        if sum(entry.running is not None for entry in self._entries.values()) >= MOST_AT_ONCE:
            self._soon(LOOK_S)              # or as soon as one of them is over
            return
        wait = min((self._due(entry, now) - now for _, entry in first if entry.running is None), default=LOOK_S)
        self._soon(min(max(wait, _LEAST_S), LOOK_S))

    def _due(self, entry: Entry, now: float) -> float:
        settings = self._settings
        if settings is None:
            return now
        return max(entry.due(settings.directory, settings.renew_before_s), self._hold)

    # -- one try -------------------------------------------------------------------------------------------------------

    def _begin(self, entry: Entry, settings: Settings, world: World) -> None:
        done: Deferred[None] = Deferred.fromCoroutine(self._try(entry, settings, world))

        def over(result: object) -> None:
            if entry.running is done:
                entry.running = None
                self._soon()

        entry.running = done
        if done.called:                     # it was over before it could wait
            entry.running = None
        else:
            done.addCallback(over)

    async def _try(self, entry: Entry, settings: Settings, world: World) -> None:
        state = entry.state
        names = ", ".join(entry.names)
        try:
            state.tried = self._wall()
            state.next_try = state.tried + wait_s(state.failures + 1, True, None, world.random.random)
            self._store.keep_state(state)
            self._log.info("{names}: a certificate is asked for at {directory}", names=names, directory=settings.directory)
            pair = await self._obtain(state, settings, world)
            span = looked_at(pair.chain, pair.key, entry.names)
        except CancelledError:
            return
        except AcmeError as error:
            self._failed(entry, error, world)
            return
        except Exception:                   # a bug of ours must not become a loop of orders
            self._log.failure("{names}: an error of our own", names=names)
            self._failed(entry, AcmeError("internal error; the log says more"), world)
            return
        self.results["issued"] += 1
        self._unreached = 0                 # what the CA has told the others to wait is not over by that
        state.directory, state.failures, state.error = settings.directory, 0, ""
        state.next_try = state.not_before = state.hold = 0.0
        entry.serve(pair, span)
        self._log.info("{names}: a certificate was issued, it ends {ends}", names=names, ends=utc(span.end),
                       event="certificate.issued")
        self._keep_pair(entry)
        world.changed()

    def _failed(self, entry: Entry, error: AcmeError, world: World) -> None:
        state, now = entry.state, self._wall()
        reached = not isinstance(error, (Unreachable, NotKept))
        self.results["limited" if isinstance(error, Refused) and error.type == "rateLimited" else
                     "refused" if isinstance(error, Refused) else
                     "unreachable" if isinstance(error, Unreachable) else "failed"] += 1
        state.failures += 1
        state.error = str(error)
        state.not_before = now + (error.retry_after_s or 0.0)
        state.hold = state.not_before if error.everywhere else 0.0
        if error.everywhere:
            self._unreached += 1
            self._hold = now + wait_s(self._unreached, reached, error.retry_after_s, world.random.random)
            state.next_try = self._hold
        else:
            self._unreached = 0
            state.next_try = now + wait_s(state.failures, reached, error.retry_after_s, world.random.random)
        self._log.warn("{names}: no certificate: {error}; the next try is at {next}{serving}", names=", ".join(entry.names),
                       error=str(error), next=utc(state.next_try),
                       serving="" if entry.pair is None else "; the one that is there serves on", event="certificate.failed")
        try:
            self._store.keep_state(state)
        except NotKept as other:
            self._log.error("{error}", error=str(other))

    def _keep_pair(self, entry: Entry) -> None:
        """The state follows the certificate: until both are kept, a restart fetches it from the order that it still knows."""
        assert entry.pair is not None
        try:
            self._store.keep_pair(entry.names, entry.pair)
            self._store.keep_state(entry.state)
        except NotKept as error:
            if not entry.unkept:
                self._log.error("{error}; the new certificate serves, but a restart would have to fetch it again",
                                error=str(error), event="certificate.not_kept")
            entry.unkept = True
        else:
            entry.unkept = False

    # -- the account ---------------------------------------------------------------------------------------------------

    async def _obtain(self, state: State, settings: Settings, world: World) -> KeyPair:
        for again in (False, True):
            client = await self._ready(settings, world, anew=again)
            tools = Tools(
                client, world.kind(settings), world.respond, settings.key_kind,
                lambda seconds: deferLater(world.clock, seconds), world.monotonic, self._wall,
                lambda: self._store.keep_state(state), lambda: self._may_order(world.monotonic()))
            try:
                return await obtain(state, settings.directory, tools)
            except AcmeError as error:
                if again or not account_is_gone(error):
                    raise
        raise AssertionError("unreachable")

    async def _ready(self, settings: Settings, world: World, anew: bool) -> Client:
        """A client with an account; `anew`: the CA does not know the one that we had."""
        lock = await self._lock.acquire()
        try:
            client = self._client
            if client is None or anew:
                client = await self._registered(settings, world, anew)
                self._client = client if settings == self._settings else None
            return client
        finally:
            lock.release()

    async def _registered(self, settings: Settings, world: World, anew: bool) -> Client:
        account = self._store.account(settings.directory)
        if account is None:
            account = Account(AccountKey.new().pem)
            self._store.keep_account(settings.directory, account)      # a key that is lost is an account that is lost
        try:
            key = AccountKey.load(account.key)
        except ValueError as error:
            raise NotKept(f"the kept account cannot be used: {error}") from error
        try:
            sends = world.sends(settings)
        except ValueError as error:
            raise Unreachable(f"gateway.acme.trusted_ca cannot be used: {error}") from error
        client = Client(sends, settings.directory, key, self._wall, account="" if anew else account.url)
        if not client.account:
            binding = Binding(settings.key_id, settings.secret) if settings.key_id else None
            await client.register(settings.contacts, binding)
            self._log.info("registered with {directory}: {account}", directory=settings.directory, account=client.account)
        elif account.contacts != settings.contacts:
            await client.tell_contacts(settings.contacts)
        else:
            return client
        self._store.keep_account(settings.directory, Account(account.key, client.account, settings.contacts))
        return client

    def _may_order(self, now: float) -> None:
        """Raises `Refused` where there have been too many; that is a bound of our own, below those of public CAs."""
        orders = self._orders
        while orders and orders[0] <= now - WINDOW_S:
            orders.popleft()
        if len(orders) >= MOST_ORDERS:
            raise Refused(f"{MOST_ORDERS} orders were made within {WINDOW_S / 3600:g} h, which is our own limit",
                          orders[0] + WINDOW_S - now, "rateLimited")
        orders.append(now)
