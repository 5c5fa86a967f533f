"""Certificates, keys and lists that are renewed in place: taken without anybody having to say so.

Files to which the configuration refers (``file:``) are looked at now and then, by their contents in the end, so that it does
not matter how they are replaced. A new one brings about a reload, which swaps contexts and touches no connection; what cannot
be used, such as a certificate whose key has not come yet, is refused and logged, the old one serves on, and the next change is
tried again.

The configuration's own files are not watched unless ``gateway: {watch: true}`` asks for it. Where one of those is another by
now, nothing is taken: half an edit must not go live because a certificate was renewed in the same minute. The log then asks for
a reload.

Where they are watched, so are the folders and patterns of `include:`. What changes is taken when two looks in a row have found
the same: files that are being written, and edits that touch several of them, have come to rest by then. What was refused is not
tried again until something else changes, but the edit that mends it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.config.origin import contents

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Between two looks at all files.
PERIOD_S: Final = 5.0
#: The same where the configuration's own files are watched, and there are few of them: the quiet time after an edit.
QUIET_S: Final = 0.5
#: With more own files than this, a look at them every half second would take more than 1 % of the time.
FEW: Final = 500
#: Files in one step, and the time between two steps: 10,000 files take a look of 2 s, and no turn more than about 1 ms.
STEP: Final = 50
STEP_S: Final = 0.01
#: Bytes that are hashed in one step, which is less than 1 ms.
_HASHED: Final = 512 * 1024
#: Stand for the digests of a file that an include names by now, or no longer does.
_NEW, _GONE = "new", "gone"

#: What tells that a file may be another one: device, inode, size, and both times.
_Stamp = tuple[int, int, int, int, int]


class FileWatch:
    """Looks after the files that `referred` names, with the SHA-256 of what is in use; `own` has the configuration's own.

    `reload` is called when one has changed; its result is that of `GatewayService.reload`. Start it once.

    `watched` tells whether the own ones are watched, too, and `named` which files the configuration would consist of now: its
    paths, with None now and then for a pause.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, referred: Callable[[], Mapping[str, str]], own: Callable[[], Mapping[str, str]],
        reload: Callable[[], Deferred[dict[str, Any]]], *, watched: Callable[[], bool] = lambda: False,
        named: Callable[[], Iterator[str | None]] = lambda: iter(()),
    ) -> None:
        self.taken = 0                      # reloads that new files have brought about
        self.refused = 0                    # those of them that were refused
        self._clock = clock
        self._referred = referred
        self._own = own
        self._reload = reload
        self._watched = watched
        self._named = named
        self._stamps: dict[str, _Stamp | None] = {}
        self._changed: dict[str, str] = {}  # path -> digests of a file that is not what is in use, and of what is
        self._before: dict[str, str] = {}   # what the round before has found
        self.own_changed = False            # whether the configuration itself is among what a reload is asked for
        self._tried: dict[str, str] = {}    # with these the last reload was asked for, or not even that
        self._round: Iterator[None] | None = None
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = self._clock.callLater(self._period_s(), self._look)

    def _period_s(self) -> float:
        return QUIET_S if self._watched() and len(self._own()) <= FEW else PERIOD_S

    def stop(self) -> None:
        """Look no more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _look(self) -> None:
        """One step of a round; at its end, act."""
        if self._round is None:
            self._round = self._files()
        for _ in self._round:
            self._timer = self._clock.callLater(STEP_S, self._look)
            return
        self._round = None
        self._timer = self._clock.callLater(self._period_s(), self._look)
        self._act()

    def _files(self) -> Iterator[None]:
        changed: dict[str, str] = {}
        stamps: dict[str, _Stamp | None] = {}
        watched = self._watched()
        own = dict(self._own()) if watched else {}
        for count, (path, digest) in enumerate({**self._referred(), **own}.items(), 1):
            stamp = stamps[path] = _stamp(path)
            if stamp is not None and path in self._stamps and self._stamps[path] == stamp and path not in self._changed:
                pass                        # nobody has touched it since the last round
            else:
                now = yield from _hashed(path)
                if now != digest and now:
                    changed[path] = f"{now} for {digest}"
            if count % STEP == 0:
                yield
        if watched:
            yield from self._come_and_gone(own, changed)
        self._stamps = stamps
        self._before, self._changed = self._changed, changed

    def _come_and_gone(self, own: Mapping[str, str], changed: dict[str, str]) -> Generator[None, None, None]:
        """Enter the files that includes name now and did not at the last load, and the other way round."""
        named: set[str] = set()
        for count, path in enumerate(self._named(), 1):
            if path is not None:
                named.add(path)
            if path is None or count % STEP == 0:
                yield
        changed.update((path, _NEW) for path in named if path not in own)
        changed.update((path, _GONE) for path in own if path not in named)

    def _act(self) -> None:
        changed = self._changed
        if not changed:
            self._tried = {}
            return
        if changed == self._tried:
            return
        watched = self._watched()
        if watched and changed != self._before:
            return                          # somebody writes still
        self._tried = dict(changed)
        other = [] if watched else [path for path, digest in self._own().items() if _digest(path) != digest]
        names = ", ".join(sorted(changed)[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        if other:
            self._log.warn(
                "{names} changed, but so has {other}, which nobody has reloaded: reload it to have the new files served",
                names=names, other=other[0], event="files.waiting")
            self.refused += 1
            return
        own = self._own() if watched else {}
        self.own_changed = any(path in own or found == _NEW for path, found in changed.items())
        self._log.info("{names} changed: reloading", names=names, event="files.changed")
        self.taken += 1
        self._reload().addCallback(self._done, names)

    def _done(self, result: dict[str, Any], names: str) -> None:
        if result["ok"]:
            return
        self.refused += 1
        self._log.error("what has changed in {names} was refused; the old files serve on", names=names, event="files.refused")


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hashed(path: str) -> Generator[None, None, str]:
    """`_digest`, in steps where the file is large."""
    try:
        data = contents(path)
    except OSError:
        return ""
    total, view = hashlib.sha256(), memoryview(data)
    for start in range(0, len(data), _HASHED):
        if start:
            yield
        total.update(view[start:start + _HASHED])
    return total.hexdigest()


def _digest(path: str) -> str:
    """SHA-256 of a file's contents; "" when it cannot be read, which is no new content."""
    try:
        return hashlib.sha256(contents(path)).hexdigest()
    except OSError:
        return ""
