"""Certificates, keys and lists that are renewed in place: taken without anybody having to say so.

Files to which the configuration refers (``file:``) are looked at now and then, by their contents in the end, so that it does
not matter how they are replaced. A new one brings about a reload, which swaps contexts and touches no connection; what cannot
be used, such as a certificate whose key has not come yet, is refused and logged, the old one serves on, and the next change is
tried again.

The configuration's own files are not watched. Where one of those is another by now, nothing is taken: half an edit must not go
live because a certificate was renewed in the same minute. The log then asks for a reload.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.config.origin import contents

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Between two looks at all files.
PERIOD_S: Final = 5.0
#: Files in one step, and the time between two steps: 10,000 files take a look of 2 s, and no turn more than about 1 ms.
STEP: Final = 50
STEP_S: Final = 0.01

#: What tells that a file may be another one: device, inode, size, and both times.
_Stamp = tuple[int, int, int, int, int]


class FileWatch:
    """Looks after the files that `referred` names, with the SHA-256 of what is in use; `own` has the configuration's own.

    `reload` is called when one has changed; its result is that of `GatewayService.reload`. Start it once.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, referred: Callable[[], Mapping[str, str]], own: Callable[[], Mapping[str, str]],
        reload: Callable[[], Deferred[dict[str, Any]]],
    ) -> None:
        self.taken = 0                      # reloads that new files have brought about
        self.refused = 0                    # those of them that were refused
        self._clock = clock
        self._referred = referred
        self._own = own
        self._reload = reload
        self._stamps: dict[str, _Stamp | None] = {}
        self._changed: dict[str, str] = {}  # path -> digest of files that are not what is in use
        self._tried: dict[str, str] = {}    # with these the last reload was refused, or not even tried
        self._round: Iterator[None] | None = None
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = self._clock.callLater(PERIOD_S, self._look)

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
        self._timer = self._clock.callLater(PERIOD_S, self._look)
        self._act()

    def _files(self) -> Iterator[None]:
        changed: dict[str, str] = {}
        stamps: dict[str, _Stamp | None] = {}
        for count, (path, digest) in enumerate(dict(self._referred()).items(), 1):
            stamp = stamps[path] = _stamp(path)
            if stamp is not None and path in self._stamps and self._stamps[path] == stamp and path not in self._changed:
                pass                        # nobody has touched it since the last round
            else:
                now = _digest(path)
                if now != digest and now:
                    changed[path] = now
            if count % STEP == 0:
                yield
        self._stamps = stamps
        self._changed = changed

    def _act(self) -> None:
        changed = self._changed
        if not changed:
            self._tried = {}
            return
        if changed == self._tried:
            return
        self._tried = dict(changed)
        other = [path for path, digest in self._own().items() if _digest(path) != digest]
        names = ", ".join(sorted(changed)[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        if other:
            self._log.warn(
                "{names} changed, but so has {other}, which nobody has reloaded: reload it to have the new files served",
                names=names, other=other[0])
            self.refused += 1
            return
        self._log.info("{names} changed: reloading", names=names)
        self.taken += 1
        self._reload().addCallback(self._done, names)

    def _done(self, result: dict[str, Any], names: str) -> None:
        if result["ok"]:
            self._tried = {}
            return
        self.refused += 1
        self._log.error("what has changed in {names} was refused; the old files serve on", names=names)


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: str) -> str:
    """SHA-256 of a file's contents; "" when it cannot be read, which is no new content."""
    try:
        return hashlib.sha256(contents(path)).hexdigest()
    except OSError:
        return ""
