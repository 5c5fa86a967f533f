"""Files to a `Config`: includes, defaults, every error at once, and a cache that makes an unchanged file cost its hash.

`load` reads, `loading` does the same in steps for those who must not hold up a reactor. Rules between objects are the
business of `voltgw.config.check`.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from yaml.nodes import Node

from voltgw.config.check import check
from voltgw.config.document import Head, OnError, own, read_body, read_head
from voltgw.config.gateway import Gateway
from voltgw.config.includes import Wanted, expanded
from voltgw.config.model import Config, Defaults, File, Key, Made, Object
from voltgw.config.origin import MAX_FILE_BYTES, Source, Unreadable, documents
from voltgw.config.reader import Note, Reader
from voltgw.config.show import arranged
from voltgw.config.states import judged, unknown_entries
from voltgw.config.values import FrozenMap
from voltgw.errors import NOWHERE, ConfigError, ConfigErrors, Place, Severity

#: Paths of configuration files, as callers give them.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(slots=True)
class Entry:
    """What one file held when it was read, and everything on which that depends."""

    file: File
    context: tuple[str, str, str]           # name, and kind and namespace of objects that do not say theirs
    head: Head
    objects: list[Object[Any]]
    problems: list[ConfigError]
    notes: list[Note]
    variables: Mapping[str, str | None]     # environment variables that were looked at, with their values
    files: Mapping[str, str]                # files that were referred to, with their SHA-256 ("" = unreadable)
    defaults: Mapping[str, Defaults]

    @property
    def good(self) -> bool:
        """Whether no error was found in it."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)


class Cache:
    """What earlier loads of the same configuration read; hand the same one to every load of it.

    It holds one entry per file, so its size is that of the configuration. Objects of a file that has not changed come back
    as the very same Python objects.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.kept: dict[str, Entry] = {}    # last ones without errors, of files with ``on_error: keep_last``


def load(paths: Paths, *, environ: Mapping[str, str], cache: Cache | None = None) -> Config:
    """The configuration of a file (or of several that are one); raises `ConfigErrors` with every problem there is."""
    return _finished(loading(paths, environ=environ, cache=cache))


def load_checked(paths: Paths, *, environ: Mapping[str, str], cache: Cache | None = None) -> Config:
    """Like `load`, with the rules between objects: raises `ConfigErrors`, and has the warnings of both."""
    return checked(load(paths, environ=environ, cache=cache))


def checked(config: Config) -> Config:
    """`config` with the warnings of the rules between objects; raises `ConfigErrors` if they find errors."""
    problems = arranged((*config.warnings, *check(config)), list(config.files), config.line)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigErrors(problems)
    return dataclasses.replace(config, warnings=problems)


def load_text(text: str, *, name: str = "<text>", folder: str = ".", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration that `text` says; paths in it are relative to `folder`. Raises `ConfigErrors`."""
    wanted = Wanted(name, os.path.join(os.path.abspath(folder), "<text>"), main=True, text=text)
    return _finished(_Load([wanted], environ or {}, Cache()).steps())


def loading(paths: Paths, *, environ: Mapping[str, str], cache: Cache | None = None) -> Generator[None, None, Config]:
    """Like `load`, but in steps of one file: run it to its end, whose value is the `Config`."""
    names = [os.fspath(paths)] if isinstance(paths, (str, os.PathLike)) else [os.fspath(path) for path in paths]
    mains = [Wanted(name, os.path.abspath(name), main=True) for name in names]
    return _Load(mains, environ, cache if cache is not None else Cache()).steps()


def _finished(steps: Generator[None, None, Config]) -> Config:
    with _without_collector():
        while True:
            try:
                next(steps)
            except StopIteration as done:
                config: Config = done.value
                return config


@contextmanager
def _without_collector() -> Iterator[None]:
    """No cycle collection meanwhile: over half a million new nodes it runs for longer than the reading itself."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(slots=True)
class _Draft:
    """A file that was taken apart and whose head was read; its objects wait for the defaults."""

    entry: Entry
    roots: list[Node]
    reader: Reader | None                   # None: nothing of it could be read


class _Load:
    """One load."""

    def __init__(self, mains: list[Wanted], environ: Mapping[str, str], cache: Cache) -> None:
        self.mains = mains
        self.environ = environ
        self.cache = cache
        self.problems: list[ConfigError] = []
        self.entries: dict[str, Entry] = {}             # by path, in the order read
        self.sources: dict[str, Source] = {}            # texts that are at hand anyway, for the lines of problems
        self.gateway: Gateway | None = None
        self.gateway_place = NOWHERE
        self.defaults: dict[str, Defaults] = {}

    def steps(self) -> Generator[None, None, Config]:
        """Read everything, a file at a time."""
        drafts = [(wanted, data, self._begun(wanted, data)) for wanted in self.mains
                  if (data := self._data(wanted, None)) is not None]
        for _, _, begun in drafts:
            self._take_head(begun.entry.head if isinstance(begun, _Draft) else begun.head)
        for wanted, data, begun in drafts:
            yield
            self._keep(wanted, self._completed(wanted, data, begun))
        waiting = [(head, self.mains[0]) for head in (entry.head for entry in self.entries.values())]
        while waiting:
            head, by = waiting.pop(0)
            for include in head.includes:
                for wanted in expanded(include, by, self.problems):
                    if wanted.path in self.entries:
                        continue                        # two patterns may match one file: the first one counts
                    yield
                    found = self._data(wanted, include.place)
                    if found is None:
                        self._fall_back(wanted)
                        continue
                    entry = self._completed(wanted, found, self._begun(wanted, found))
                    self._keep(wanted, entry)
                    waiting.append((entry.head, wanted))
        yield
        return self._config()

    # -- one file -----------------------------------------------------------------------------------------------------
    def _data(self, wanted: Wanted, place: Place | None) -> bytes | None:
        """The bytes of a file; None after recording why there are none. `place` is where it is named."""
        if wanted.text is not None:
            return wanted.text.encode()
        try:
            with open(wanted.path, "rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            self.problems.append(ConfigError(
                "VG0002", place or Place(wanted.name), f"{wanted.name} cannot be read: {error.strerror or error}"))
            return None

    def _begun(self, wanted: Wanted, data: bytes) -> Entry | _Draft:
        """The cached entry of a file that has not changed, or a draft of its new one."""
        digest = hashlib.sha256(data).hexdigest()
        cached = self.cache.entries.get(wanted.path)
        if cached is not None and cached.file.digest == digest and self._fresh(cached, wanted):
            return cached
        file = File(wanted.name, "" if wanted.text is not None else wanted.path, digest, wanted.text or "")
        entry = Entry(file, wanted.context, Head(), [], [], [], {}, {}, {})
        try:
            source = Source.decode(wanted.name, data)
        except Unreadable as error:
            entry.problems.append(error.problem)
            return _Draft(entry, [], None)
        self.sources[wanted.name] = source
        roots: list[Node] = []
        try:
            roots.extend(documents(source))
        except Unreadable as error:
            entry.problems.append(error.problem)
            # What stands before the mistake is not read either: half a file makes errors of its own.
            return _Draft(entry, [], None)
        reader = Reader(source, self.environ, os.path.dirname(wanted.path), substitute=True)
        for root in roots:
            if own(root):
                read_head(root, reader, file, entry.head, main=wanted.main)
        return _Draft(entry, roots, reader)

    def _fresh(self, entry: Entry, wanted: Wanted) -> bool:
        """Whether a cached entry of an unchanged file still says what reading it again would."""
        return (entry.context == wanted.context
                and all(self.environ.get(name) == value for name, value in entry.variables.items())
                and all(_digest(path) == digest for path, digest in entry.files.items()))

    def _completed(self, wanted: Wanted, data: bytes, begun: Entry | _Draft) -> Entry:
        """The entry of a file with its objects."""
        if isinstance(begun, Entry):
            if {k: d.partial for k, d in begun.defaults.items()} == {k: d.partial for k, d in self.defaults.items()}:
                return begun
            self.cache.entries.pop(wanted.path, None)
            again = self._begun(wanted, data)
            assert isinstance(again, _Draft)            # nothing is cached any more
            begun = again
        entry, reader = begun.entry, begun.reader
        if reader is not None:
            entry.defaults = dict(self.defaults)
            for root in begun.roots:
                entry.objects.extend(read_body(root, reader, entry.file, self.defaults, wanted.kind, wanted.namespace))
            entry.problems += reader.problems
            entry.notes = reader.notes
            entry.variables = reader.variables
            entry.files = reader.files
        return entry

    def _keep(self, wanted: Wanted, entry: Entry) -> None:
        """Take the entry of a file into the configuration, or what is left of the last good one."""
        if wanted.on_error is OnError.KEEP_LAST:
            if entry.good:
                self.cache.kept[wanted.path] = entry
            elif wanted.path in self.cache.kept:
                self._demote(entry.problems)
                entry = self.cache.kept[wanted.path]
        self.entries[wanted.path] = entry

    def _fall_back(self, wanted: Wanted) -> None:
        """A file of an include could not be opened."""
        if wanted.on_error is OnError.KEEP_LAST and wanted.path in self.cache.kept:
            self._demote([self.problems.pop()])
            self.entries[wanted.path] = self.cache.kept[wanted.path]

    def _demote(self, problems: list[ConfigError]) -> None:
        self.problems += [
            dataclasses.replace(problem, severity=Severity.WARNING,
                                message=f"{problem.message} (the last good objects of this file stay)")
            for problem in problems
        ]

    def _take_head(self, head: Head) -> None:
        if head.gateway_place is not None:
            if self.gateway_place is not NOWHERE:
                self.problems.append(ConfigError("VG0109", head.gateway_place, "`gateway:` stands in two files",
                                                 related=(("the first one", self.gateway_place),)))
            self.gateway_place = head.gateway_place
            self.gateway = head.gateway or self.gateway
        for kind, defaults in head.defaults.items():
            if kind in self.defaults:
                self.problems.append(ConfigError("VG0109", Place(defaults.file.name),
                                                 f'the defaults of "{kind}" stand in two files'))
            self.defaults[kind] = defaults

    # -- the whole ----------------------------------------------------------------------------------------------------
    def _config(self) -> Config:
        gateway = self.gateway or Gateway()
        objects: dict[str, dict[Key, Object[Any]]] = {}
        notes: list[Note] = []
        for entry in self.entries.values():
            self.problems += entry.problems
            notes += entry.notes
            for one in entry.objects:
                same = objects.setdefault(one.kind, {})
                first = same.setdefault(one.key, one)
                if first is not one:
                    self.problems.append(_twice(first, one))
        judgement, unenforced = judged(notes, gateway.allow_unenforced)
        self.problems += judgement
        self.problems += unknown_entries(gateway.allow_unenforced, self.gateway_place)
        self.cache.entries = self.entries
        files = {entry.file.name: entry.file for entry in self.entries.values()}
        problems = arranged(self.problems, list(files), self._line(files))
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigErrors(problems)
        return Config(gateway, objects, self._digest(), problems, unenforced, FrozenMap(files), self.gateway_place)

    def _line(self, files: Mapping[str, File]) -> _Lines:
        return _Lines(self.sources, files)

    def _digest(self) -> str:
        """A digest of everything that was read; it does not depend on where the files lie."""
        total = hashlib.sha256()
        for entry in self.entries.values():
            total.update(f"{entry.file.name}\0{entry.file.digest}\n".encode())
            for path, digest in sorted(entry.files.items()):
                total.update(f"{path}\0{digest}\n".encode())
            for name, value in sorted(entry.variables.items()):
                total.update(f"{name}\0{value}\n".encode())
        return total.hexdigest()


class _Lines:
    """Source lines by place; texts that are not at hand are read again."""

    def __init__(self, sources: Mapping[str, Source], files: Mapping[str, File]) -> None:
        self.sources = sources
        self.files = files

    def __call__(self, place: Place) -> str:
        source = self.sources.get(place.file)
        if source is None and place.file in self.files:
            source = self.files[place.file].source()
        return source.line(place.line) if source is not None else ""


def _twice(first: Object[Any], second: Object[Any]) -> ConfigError:
    def whence(one: Object[Any]) -> str:
        return f" (made from {one.origin.form})" if isinstance(one.origin, Made) else ""

    return ConfigError(
        "VG0109", second.place("metadata", "name"), f"{second.title}{whence(second)} exists already{whence(first)}",
        "rename or remove one of them", related=(("the first one", first.place("metadata", "name")),))


def _digest(path: str) -> str:
    """SHA-256 of a file that a value refers to, "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(MAX_FILE_BYTES + 1)).hexdigest()
    except OSError:
        return ""
