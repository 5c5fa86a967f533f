"""One kind of object of a cluster, listed once and watched ever after (kubernetes.io/docs/reference/using-api/api-concepts).

A list is fetched page by page; a watch goes on from its version. It ends now and then by itself, and is taken up where it
ended; only when the server has forgotten that version (410) is everything listed anew. What was known stays until then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from voltgw.control.discovery.kubernetes.objects import Key, Malformed, key_of
from voltgw.control.discovery.registries import rest
from voltgw.control.publish.registrar import RegistryError, TooLarge

if TYPE_CHECKING:
    from voltgw.control.publish.api import Reply
    from voltgw.control.seams import ControlLoop

#: Objects of one page of a list, and of one kind altogether. A page that is larger than an answer may be (`TooLarge`) is asked
#: for again with half as many: pods have some 10 KB each, and some have 100.
PAGE: Final = 500
MOST_OBJECTS: Final = 200_000
#: Pages of one list, for a server whose list has no end.
MOST_PAGES: Final = 20_000
#: For how long a watch is asked for, in seconds; servers end it at about that time.
WATCH_S: Final = 300
BRIEF_S: Final = 1.0
FIRST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 60.0
_GONE: Final = 410


class Transport(Protocol):
    """The way to the API server."""

    async def get(self, path: str, /) -> Reply:
        """A whole answer. Raises `RegistryError`."""

    async def lines(self, path: str, line: Callable[[bytes], None], begun: Callable[[], None], /) -> Reply:
        """Call `begun` when a 200 answer begins and `line` with each line of it while it comes; returns at its end, or with the
        answer of another status.

        Raises `RegistryError`, also for a connection that was cut in the middle of a line.
        """


class Expired(Exception):
    """The server no longer knows the version from which we would go on."""


class Reflector:
    """Keeps the objects below `path`, each as `read` makes it; `changed` is told of each change, `failed` why nothing comes."""

    _log = Logger()

    def __init__(
        self, path: str, selection: Mapping[str, str], read: Callable[[Any], Any], transport: Transport, loop: ControlLoop,
        random: Random, changed: Callable[[], None], failed: Callable[[str], None], asked: Callable[[], None],
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """`asked` is called for each request, `heard` whenever something good has come, be it only that nothing is new."""
        self.objects: dict[Key, Any] = {}
        self.synced = False                 # all of it has been listed once
        self.problem = ""
        self.relists = 0
        self._path = path
        self._selection = selection
        self._read = read
        self._transport = transport
        self._loop = loop
        self._random = random
        self._changed = changed
        self._failed = failed
        self._asked = asked
        self._heard = heard
        self._version = ""
        self._page = PAGE
        self._failures = 0
        self._expiries = 0                  # in a row, without a watch that was worth its list
        self._running: Deferred[None] | None = None
        self._expired = False
        self._wrong = ""

    def start(self) -> None:
        """List and watch."""
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._over)

    def stop(self) -> None:
        """Ask no more."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _over(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the watch of {path} ended by a bug of ours", failure, path=self._path)

    async def _run(self) -> None:
        while True:
            try:
                if not self._version:
                    await self._list()
                began = self._loop.monotonic()
                await self._watch()
                brief = self._loop.monotonic() - began < BRIEF_S    # who ends every watch at once is not asked in a loop
                pause = FIRST_PAUSE_S if brief else 0.05
            except Expired:
                self._version = ""          # all who watch are told at once: not all of them list at once
                pause = min(FIRST_PAUSE_S * 2 ** min(self._expiries, 16), MOST_PAUSE_S) * self._random.random()
                self._expiries += 1
            except RegistryError as error:
                pause = self._fails(str(error))
            except CancelledError:
                raise
            except Exception:               # a bug of ours in reading one answer is not the end of all that follow
                self._log.failure("{path} cannot be watched, by a bug of ours", Failure(), path=self._path)
                self._version = ""
                pause = self._fails("a bug of ours, which is in the log")
            await rest(self._loop.clock, pause)

    def _fails(self, why: str) -> float:
        """Say so; for how long to wait, in seconds."""
        self.problem = why
        self._failed(why)
        pause: float = min(FIRST_PAUSE_S * 2 ** min(self._failures, 16), MOST_PAUSE_S) * (0.5 + self._random.random())
        self._failures += 1
        return pause

    async def _list(self) -> None:
        found: dict[Key, Any] = {}
        following = ""
        self.relists += 1
        for _ in range(MOST_PAGES):
            reply = await self._get_page(following)
            if reply.status == _GONE:       # between two pages: from the beginning
                raise Expired
            page = _whole(reply)
            try:
                for item in page["items"] or ():
                    found[key_of(item)] = self._read(item)
                version, following = str(page["metadata"]["resourceVersion"]), str(page["metadata"].get("continue") or "")
            except (Malformed, KeyError, TypeError, AttributeError) as error:
                raise RegistryError(f"a list of {self._path} cannot be understood: {error}") from error
            if len(found) > MOST_OBJECTS:
                raise RegistryError(f"{self._path} has more than {MOST_OBJECTS} objects")
            if not following:
                break
        else:
            raise RegistryError(f"a list of {self._path} has more than {MOST_PAGES} pages")
        other = found != self.objects
        self.objects, self._version = found, version
        failures, first, self.synced = self._failures, not self.synced, True
        self._well()
        self._failures = failures           # until a watch has said something as well: lists are dear
        if other or first:
            self._changed()

    async def _get_page(self, following: str) -> Reply:
        """A page, as large as an answer may be."""
        while True:
            asked = {**self._selection, "limit": str(self._page), **({"continue": following} if following else {})}
            self._asked()
            try:
                return await self._transport.get(f"{self._path}?{urlencode(asked)}")
            except TooLarge:
                if self._page == 1:
                    raise
                self._page //= 2

    async def _watch(self) -> None:
        asked = {**self._selection, "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version,
                 "timeoutSeconds": str(WATCH_S)}
        self._asked()
        self._expired, self._wrong = False, ""
        reply = await self._transport.lines(f"{self._path}?{urlencode(asked)}", self._event, self._begun)
        if self._expired or reply.status == _GONE:
            raise Expired
        if self._wrong:
            raise RegistryError(self._wrong)
        if reply.status != 200:
            _whole(reply)
        self._watched()

    def _begun(self) -> None:
        """The server watches for us: all is well, though nothing may be new for a long time."""
        failures = self._failures
        self._well()
        self._failures = failures           # a watch that is cut each time has not said anything yet

    def _event(self, line: bytes) -> None:
        """One line of a watch. After one that cannot be understood nothing is: the next list tells what it was."""
        if self._expired or self._wrong or not line.strip():
            return
        try:
            event = json.loads(line)
            kind, found = event["type"], event["object"]
            if kind == "ERROR":
                self._expired = found.get("code") == _GONE
                self._wrong = "" if self._expired else f"the watch of {self._path} failed: {found.get('message')}"
                return
            version = str(found["metadata"]["resourceVersion"])
            if kind == "BOOKMARK":
                self._version = version
                self._watched()
                return
            key = key_of(found)
            made = None if kind == "DELETED" else self._read(found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._version = ""              # something was missed: list all of it
            self._wrong = f"an event of {self._path} cannot be understood: {error}"
            return
        self._version = version
        self._watched()
        if made is None:
            if self.objects.pop(key, None) is not None:
                self._changed()
        elif self.objects.get(key) != made:
            self.objects[key] = made
            self._changed()

    def _watched(self) -> None:
        """A watch has said something, or has ended as it should."""
        self._expiries = 0
        self._well()

    def _well(self) -> None:
        self._failures = 0
        recovered, self.problem = bool(self.problem), ""
        self._heard()
        if recovered:
            self._changed()


def _whole(reply: Reply) -> Any:
    """The body of a good answer. Raises `RegistryError` for another one."""
    if reply.status != 200:
        said = reply.body[:300].decode("utf-8", "replace")
        try:
            said = json.loads(reply.body).get("message") or said
        except (ValueError, AttributeError):
            pass                            # a proxy in between has its own words
        text = "".join(each if each.isprintable() else " " for each in str(said))[:300]
        raise RegistryError(f"it answers {reply.status}: {text}", credentials=reply.status in (401, 403))
    return reply.json
