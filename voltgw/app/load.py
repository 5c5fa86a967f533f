"""Reading the configuration that a gateway serves: files to a checked `Config`, at once or in small steps."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import NamedTuple, Protocol

from voltgw.config.includes import Wanted, expanded
from voltgw.config.load import Cache, checked_in_steps, load_text, loading
from voltgw.config.model import Config


class Named(NamedTuple):
    """A file of a configuration: its name for people, its path, what an include said of it, its SHA-256 when it was read."""

    name: str
    path: str
    kind: str
    namespace: str
    main: bool
    digest: str


class Loader:
    """The configuration of one file, read as often as asked; what has not changed is neither parsed nor checked again."""

    def __init__(self, path: str, environ: Mapping[str, str]) -> None:
        self.path = path
        self._environ = environ
        self._cache = Cache()
        self._reads = 0

    def referred(self) -> Mapping[str, str]:
        """The files to which the configuration refers, as they were read last: path to SHA-256, "" = it could not be read."""
        return {path: digest for entry in self._cache.entries.values() for path, digest in entry.files.items()}

    def own(self) -> Mapping[str, str]:
        """The same for the files in which it stands."""
        return {entry.file.path: entry.file.digest for entry in self._cache.entries.values() if entry.file.path}

    def files(self) -> list[Named]:
        """All files that the last load has read, in their order."""
        main = os.path.abspath(self.path)
        return [Named(*entry.context[:1], path, *entry.context[1:], path == main, entry.file.digest)
                for path, entry in self._cache.entries.items()]

    def named(self) -> Iterator[str | None]:
        """Paths of the files that the last load's includes name by now, the main one first; None now and then, for a pause."""
        waiting = deque([Wanted(self.path, os.path.abspath(self.path), main=True)])
        seen = {waiting[0].path}
        yield waiting[0].path
        while waiting:
            by = waiting.popleft()
            entry = self._cache.entries.get(by.path)
            for include in () if entry is None else entry.head.includes:
                for found in expanded(include, by, []):
                    if found is None or found.path not in seen:
                        yield None if found is None else found.path
                    if found is not None and found.path not in seen:
                        seen.add(found.path)
                        waiting.append(found)

    def steps(self) -> Generator[None, None, Config]:
        """Read and check, some objects at a time. Raises `ConfigErrors`.

        Only the problems of the first time have their source lines: later ones are logged without, and to look for lines in
        large files would take longer than the rest.
        """
        self._reads += 1
        lines = self._reads == 1
        config = yield from loading(self.path, environ=self._environ, cache=self._cache, lines=lines)
        return (yield from checked_in_steps(config, self._cache, lines=lines))


class TextLoader:
    """A configuration that stands in no file: what ``voltgw proxy`` and ``voltgw demo`` make up."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name

    def referred(self) -> Mapping[str, str]:
        """Nothing is read anew."""
        return {}

    own = referred

    def named(self) -> Iterator[str | None]:
        """No file."""
        return iter(())

    def files(self) -> list[Named]:
        """Likewise."""
        return []

    def steps(self) -> Generator[None, None, Config]:
        """As `Loader.steps`."""
        config = load_text(self._text, name=self._name, folder=os.getcwd(), environ={})
        yield
        return (yield from checked_in_steps(config))


class _Steps(Protocol):
    def steps(self) -> Generator[None, None, Config]:
        """As `Loader.steps`."""


def at_once(loader: _Steps) -> Config:
    """Run all the steps now, before there is a reactor to hold up. Raises `ConfigErrors`."""
    steps = loader.steps()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            config: Config = done.value
            return config
