"""The configurations that a gateway has served, kept in its data folder; going back to one of them.

Numbers of kept generations go on over restarts, other than the generation of the process, which begins at 1; a start with what
was served before is no new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.logger import Logger

from voltgw.app.load import Named
from voltgw.config.includes import Wanted
from voltgw.config.kinds import KINDS
from voltgw.config.load import Cache, checked_in_steps, loading_texts
from voltgw.config.model import Config
from voltgw.config.origin import contents
from voltgw.control.generations import GenerationStore, NotKept, Text

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.load import Loader, TextLoader


class KeptLoader:
    """The configuration of a kept generation. `differs` has the files that say something else on disk by now, sorted; those
    that only came since are added when it is gone back to.
    """

    def __init__(self, number: int, texts: list[Text], environ: Mapping[str, str]) -> None:
        self.number = number
        self.paths = {each.path for each in texts}
        self.differs = sorted(each.path for each in texts if _digest(each.path) != each.digest)
        self._environ = environ
        self._cache = Cache()
        self._wanted = [
            Wanted(each.name, each.path, KINDS.get(each.kind), each.namespace or None, main=each.main, text=each.text)
            for each in texts]

    def referred(self) -> Mapping[str, str]:
        """The files to which it refers, as they were read last: path to SHA-256, "" = it could not be read."""
        return {path: digest for entry in self._cache.entries.values() for path, digest in entry.files.items()}

    def steps(self) -> Generator[None, None, Config]:
        """Read and check, some objects at a time. Raises `ConfigErrors`."""
        config = yield from loading_texts(self._wanted, environ=self._environ, cache=self._cache)
        return (yield from checked_in_steps(config, self._cache))


def kept_loader(folder: str, number: int, environ: Mapping[str, str]) -> KeptLoader:
    """The loader of one below a data folder. Raises `NotKept`."""
    return KeptLoader(number, GenerationStore(folder).texts(number), environ)


class Generations:
    """Those of one gateway. `run` calls a function in a thread: files are read and written there.

    `current` is the number of the one that serves, 0 = it is not kept. `in_force` is what was gone back to, as long as that
    serves.
    """

    _log = Logger()

    def __init__(self, run: Callable[..., Deferred[Any]], wall: Callable[[], float], environ: Mapping[str, str]) -> None:
        self.current = 0
        self.rollbacks = 0
        self.problem = ""                   # why the last one is not kept
        self.in_force: KeptLoader | None = None
        self._left: list[Named] = []        # the files that were gone back from
        self._folder = ""
        self._run = run
        self._wall = wall
        self._environ = environ
        self._turn = DeferredLock()
        self._stopped = False

    def stop(self) -> None:
        """Nothing more is begun."""
        self._stopped = True

    def serves(self, loader: Loader | TextLoader, config: Config) -> None:
        """What `loader` has read serves from now on: keep it, if there is a folder for that."""
        self.in_force = None
        self.current = 0
        self.problem = ""
        folder, files = config.gateway.data_dir or "", loader.files()
        if folder and files:
            self._folder = folder
            self._turn.run(self._keep, folder, self._wall(), config.digest, files).addCallbacks(self._kept, self._not_kept)

    def went_back(self, loader: KeptLoader, from_: Loader | TextLoader) -> None:
        """A kept one serves from now on; `from_` has the files, which say something else unless the loader finds none."""
        if loader.number != self.current:
            self.rollbacks += 1
        self.current = loader.number
        self._left = from_.files()
        loader.differs = sorted({*loader.differs, *(each.path for each in self._left if each.path not in loader.paths)})
        self.in_force = loader if loader.differs else None

    def still_left(self, loader: Loader | TextLoader) -> bool:
        """Whether a rollback is in force, and `loader` has read the very files that it went back from."""
        return self.in_force is not None and loader.files() == self._left

    def loader(self, number: int) -> Deferred[KeptLoader]:
        """The loader of a kept one, 0 = of the last one before the one that serves. Fails with `NotKept`."""
        if not self._folder:
            return fail(NotKept("no generations are kept: say `gateway: {data_dir: /var/lib/voltgw}`"))
        return self._turn.run(self._look_up, number)

    def view(self) -> dict[str, Any]:
        """Those that are kept, JSON-ready, the newest first. Raises `NotKept`."""
        found = GenerationStore(self._folder).all() if self._folder else []
        back = self.in_force
        return {"current": self.current or None, "rolled_back": back is not None,
                "differs": [] if back is None else back.differs[:100], "problem": self.problem,
                "generations": [each.plain() for each in found]}

    def _look_up(self, number: int) -> Deferred[KeptLoader]:
        if self._stopped:
            return fail(NotKept("the gateway stops"))
        return self._run(self._find, number)

    def _find(self, number: int) -> KeptLoader:
        if not number:
            kept, current = GenerationStore(self._folder).all(), self.current
            before = [each.number for each in kept if not current or each.number < current]
            if not before:
                raise NotKept("no generation is kept from before the one that serves")
            number = before[0]
        return kept_loader(self._folder, number, self._environ)

    def _keep(self, folder: str, wall: float, digest: str, files: list[Named]) -> Deferred[int]:
        if self._stopped:
            return fail(NotKept("the gateway stops"))
        return self._run(_write, folder, wall, digest, files)

    def _kept(self, number: int) -> None:
        self.current = number
        self._log.info("the configuration is kept as number {number}", number=number, event="reload.kept")

    def _not_kept(self, failure: Failure) -> None:
        self.current = 0
        self.problem = failure.getErrorMessage()
        if failure.check(NotKept):
            self._log.error("the configuration is not kept: {problem}", problem=self.problem, event="reload.not_kept")
        else:
            self._log.failure("the configuration is not kept", failure)


def _write(folder: str, wall: float, digest: str, files: list[Named]) -> int:
    """Read the texts anew and keep them. Raises `NotKept`."""
    store = GenerationStore(folder)
    texts: list[Text] = []
    before: dict[str, str] | None = None
    for each in files:
        try:
            text = contents(each.path).decode()
        except (OSError, UnicodeDecodeError):
            text = ""
        found = Text(each.name, each.path, each.kind, each.namespace, each.main, text)
        if found.digest != each.digest:     # edited since, or bad by now while its last good objects stay
            if before is None:
                before = {one.digest: one.text for kept in store.all()[:1] for one in store.texts(kept.number)}
            if each.digest not in before:
                raise NotKept(f"{each.name} has changed since it was read")
            found = Text(each.name, each.path, each.kind, each.namespace, each.main, before[each.digest])
        texts.append(found)
    return store.add(wall, digest, texts)


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(contents(path)).hexdigest()
    except OSError:
        return ""
