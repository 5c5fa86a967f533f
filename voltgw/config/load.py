"""Files to a `Config`: includes, defaults, every error at once, and a cache that makes an unchanged file cost its hash.

`load` reads, `loading` does the same in steps for those who must not hold up a reactor. Rules between objects are the
business of `voltgw.config.check`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yaml.nodes import MappingNode, Node, SequenceNode

from voltgw.config.check import Memory, checking
from voltgw.config.collector import without_collector
from voltgw.config.document import Head, OnError, own, read_body, read_head, read_object
from voltgw.config.gateway import Gateway
from voltgw.config.includes import Wanted, expanded
from voltgw.config.model import Config, Key, Object
from voltgw.config.origin import Source, Unreadable, contents, documents, is_null, unreadable
from voltgw.config.pieces import Cut, Piece, batches, cutting
from voltgw.config.places import Defaults, File, Origin
from voltgw.config.reader import Note, Reader
from voltgw.config.show import arranged, no_line
from voltgw.config.states import judging, unknown_entries
from voltgw.config.values import FrozenMap
from voltgw.config.views import resolve_pools
from voltgw.errors import NOWHERE, ConfigError, ConfigErrors, Place, Severity

#: Paths of configuration files, as callers give them.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(slots=True)
class Part:
    """What one piece of a large file held (`voltgw.config.pieces`), kept as long as its text stays."""

    start: int                              # where the piece began when its objects' origins were last counted
    line: int
    objects: tuple[Object[Any], ...]
    notes: tuple[Note, ...]
    variables: Mapping[str, str | None]
    files: Mapping[str, str]

    def move(self, file: File, piece: Piece) -> None:
        """The text above was edited, perhaps: the objects are the same ones, a little further up or down."""
        characters, lines = piece.start - self.start, piece.line - self.line
        if not characters and not lines:
            for one in self.objects:
                if isinstance(one.origin, Origin):
                    one.origin.file = file
            return
        self.start, self.line = piece.start, piece.line
        for one in self.objects:
            origin = one.origin
            if isinstance(origin, Origin):
                origin.file = file
                origin.start += characters
                origin.end += characters
                origin.line += lines


#: Objects that are put together in one step, and files whose sameness is looked at, which is less than 1 ms.
_STEP: Final = 256
#: Bytes that are hashed in one step, likewise.
_HASHED: Final = 512 * 1024
#: For parts that depend on nothing beside their text, which is nearly all of them.
_NOTHING: Final[Mapping[str, Any]] = FrozenMap()


@dataclass(slots=True)
class Entry:
    """What one file held when it was read, and everything on which that depends."""

    file: File
    context: tuple[str, str, str]           # name, and kind and namespace of objects that do not say theirs
    head: Head
    objects: list[Object[Any]]
    problems: list[ConfigError]
    notes: list[Note]
    variables: dict[str, str | None]        # environment variables that were looked at, with their values
    files: dict[str, str]                   # files that were referred to, with their SHA-256 ("" = unreadable)
    defaults: Mapping[str, Defaults]
    parts: dict[bytes, Part]                # of a large file, by the digest of their text

    @property
    def good(self) -> bool:
        """Whether no error was found in it."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)


#: By kind and key, in the order of files.
Objects = dict[str, dict[Key, Object[Any]]]


class Cache:
    """What earlier loads of the same configuration read; hand the same one to every load of it.

    It holds one entry per file, so its size is that of the configuration. Objects of a file that has not changed come back
    as the very same Python objects, and so do those of a large file whose own text has not changed.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.kept: dict[str, Entry] = {}    # last ones without errors, of files with ``on_error: keep_last``
        self.memory = Memory()              # of the check between objects
        self.objects: Objects | None = None     # what the objects of `entries` came to; None: not known


def load(paths: Paths, *, environ: Mapping[str, str], cache: Cache | None = None) -> Config:
    """The configuration of a file (or of several that are one); raises `ConfigErrors` with every problem there is."""
    return _finished(loading(paths, environ=environ, cache=cache))


def load_checked(paths: Paths, *, environ: Mapping[str, str], cache: Cache | None = None) -> Config:
    """Like `load`, with the rules between objects: raises `ConfigErrors`, and has the warnings of both."""
    return checked(load(paths, environ=environ, cache=cache))


def checked(config: Config) -> Config:
    """`config` with the warnings of the rules between objects; raises `ConfigErrors` if they find errors."""
    return _finished(checked_in_steps(config))


def checked_in_steps(
    config: Config, cache: Cache | None = None, *, lines: bool = True,
) -> Generator[None, None, Config]:
    """Like `checked`, but in steps of a few objects: run it to its end, whose value is the `Config`.

    With the `cache` of earlier loads, objects that are the same as the last time are not checked again. Without `lines` the
    problems have no source lines.
    """
    found = list(config.warnings)
    for problem in checking(config, None if cache is None else cache.memory):
        if problem is None:
            yield
        else:
            found.append(problem)
    problems = arranged(found, list(config.files), config.line if lines else no_line)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigErrors(problems)
    return dataclasses.replace(config, warnings=problems)


def load_text(text: str, *, name: str = "<text>", folder: str = ".", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration that `text` says; paths in it are relative to `folder`. Raises `ConfigErrors`."""
    wanted = Wanted(name, os.path.join(os.path.abspath(folder), "<text>"), main=True, text=text)
    return _finished(_Load([wanted], environ or {}, Cache()).steps())


def loading(
    paths: Paths, *, environ: Mapping[str, str], cache: Cache | None = None, lines: bool = True,
) -> Generator[None, None, Config]:
    """Like `load`, but in steps of a file, or of some objects of a large one: run it to its end, whose value is the `Config`.

    Without `lines` the warnings have no source lines.
    """
    names = [os.fspath(paths)] if isinstance(paths, (str, os.PathLike)) else [os.fspath(path) for path in paths]
    mains = [Wanted(name, os.path.abspath(name), main=True) for name in names]
    return _Load(mains, environ, cache if cache is not None else Cache(), lines=lines).steps()


def loading_texts(
    files: Sequence[Wanted], *, environ: Mapping[str, str], cache: Cache | None = None,
) -> Generator[None, None, Config]:
    """Like `loading`, of files whose texts are known: all of them, so that nothing is included beside them."""
    return _Load(list(files), environ, cache if cache is not None else Cache(), closed=True).steps()


def _finished(steps: Generator[None, None, Config]) -> Config:
    with without_collector():
        while True:
            try:
                next(steps)
            except StopIteration as done:
                config: Config = done.value
                return config


@dataclass(slots=True)
class _Draft:
    """A file whose head was read; its objects wait for the defaults."""

    entry: Entry
    reader: Reader | None                   # None: nothing of it could be read
    roots: list[Node]                       # of the whole file, or of what was left when it was cut
    cut: Cut | None = None


class _Load:
    """One load."""

    def __init__(self, mains: list[Wanted], environ: Mapping[str, str], cache: Cache, *, lines: bool = True,
                 closed: bool = False) -> None:
        self.mains = mains
        self.closed = closed                            # `mains` are all the files that there are
        self.environ = environ
        self.cache = cache
        self.lines = lines
        self.problems: list[ConfigError] = []
        self.entries: dict[str, Entry] = {}             # by path, in the order read
        self.sources: dict[str, Source] = {}            # texts that are at hand anyway, for the lines of problems
        self.gateway: Gateway | None = None
        self.gateway_place = NOWHERE
        self.defaults: dict[str, Defaults] = {}
        self.keep_last: list[Place] = []

    def steps(self) -> Generator[None, None, Config]:
        """Read everything, a file (of a large one: some objects) at a time."""
        begun: list[tuple[Wanted, Entry | _Draft]] = []
        for wanted in self.mains:
            data = self._data(wanted, None)
            if data is not None:
                begun.append((wanted, (yield from self._begun(wanted, data))))
                yield
        for _, main in begun:
            self._take_head(main.entry.head if isinstance(main, _Draft) else main.head)
        for wanted, main in begun:
            self._keep(wanted, (yield from self._completed(wanted, main)))
        waiting = deque((self.entries[wanted.path].head, wanted) for wanted, _ in begun if not self.closed)
        while waiting:
            head, by = waiting.popleft()
            for include in head.includes:
                if include.entry.on_error is OnError.KEEP_LAST:
                    self.keep_last.append(include.place)
                for found in expanded(include, by, self.problems):
                    yield
                    if found is None or found.path in self.entries:
                        continue                        # two patterns may match one file: the first one counts
                    wanted = found
                    data = self._data(wanted, include.place)
                    if data is None:
                        self._fall_back(wanted)
                        continue
                    entry = yield from self._completed(wanted, (yield from self._begun(wanted, data)))
                    self._keep(wanted, entry)
                    if entry.head.includes:
                        waiting.append((entry.head, wanted))
        yield
        return (yield from self._config())

    # -- one file -----------------------------------------------------------------------------------------------------
    def _data(self, wanted: Wanted, place: Place | None) -> bytes | None:
        """The bytes of a file; None after recording why there are none. `place` is where it is named."""
        if wanted.text is not None:
            return wanted.text.encode()
        try:
            return contents(wanted.path)
        except OSError as error:
            self.problems.append(ConfigError(
                "VG0002", place or Place(wanted.name), f"{wanted.name} cannot be read: {error.strerror or error}"))
            return None

    def _begun(self, wanted: Wanted, data: bytes) -> Generator[None, None, Entry | _Draft]:
        """The cached entry of a file that has not changed, or a draft of its new one."""
        digest = yield from _hashed(data)
        cached = self.cache.entries.get(wanted.path)
        if cached is not None and cached.file.digest == digest and cached.context == wanted.context \
                and self._current(cached.variables, cached.files):
            return cached
        file = File(wanted.name, "" if wanted.text is not None else wanted.path, digest, wanted.text or "")
        entry = Entry(file, wanted.context, Head(), [], [], [], {}, {}, {}, {})
        try:
            source = Source.decode(wanted.name, data, digest)
        except Unreadable as error:
            entry.problems.append(error.problem)
            return _Draft(entry, None, [])
        self.sources[wanted.name] = source
        if len(data) > _HASHED:
            yield
        return self._draft(wanted, entry, source, (yield from cutting(source.text)))

    def _draft(self, wanted: Wanted, entry: Entry, source: Source, pieces: Cut | None) -> _Draft:
        """Take a file apart, in `pieces` or (None) as a whole, and read its head."""
        reader = Reader(source, self.environ, os.path.dirname(wanted.path), substitute=True)
        roots: list[Node] = []
        try:
            for text in (source.text,) if pieces is None else pieces.rests:
                roots.extend(documents(Source(source.name, text, "")))
        except Unreadable as error:
            if pieces is not None:
                return self._draft(wanted, entry, source, None)
            # What stands before the mistake is not read either: half a file makes errors of its own.
            entry.problems.append(error.problem)
            return _Draft(entry, None, [])
        if pieces is not None and not all(_has_empty_objects(root) for root in roots):
            return self._draft(wanted, entry, source, None)     # what looked like the key `objects:` was none
        for root in roots:
            if own(root):
                read_head(root, reader, entry.file, entry.head, main=wanted.main)
        return _Draft(entry, reader, roots, pieces)

    def _current(self, variables: Mapping[str, str | None], files: Mapping[str, str]) -> bool:
        """Whether what was read beside a text still is what it was."""
        if not variables and not files:
            return True
        return (all(self.environ.get(name) == value for name, value in variables.items())
                and all(_digest(path) == digest for path, digest in files.items()))

    def _same_defaults(self, entry: Entry) -> bool:
        if not entry.defaults and not self.defaults:
            return True
        return {k: d.partial for k, d in entry.defaults.items()} == {k: d.partial for k, d in self.defaults.items()}

    def _completed(self, wanted: Wanted, begun: Entry | _Draft) -> Generator[None, None, Entry]:
        """The entry of a file with its objects."""
        if isinstance(begun, Entry):
            if self._same_defaults(begun):
                return begun
            data = self._data(wanted, None)
            del self.cache.entries[wanted.path]         # so that it is read anew
            if data is None:
                return begun                            # it went away a moment ago, which was recorded
            again = yield from self._begun(wanted, data)
            assert isinstance(again, _Draft)            # nothing is cached any more
            begun = again
        entry, reader = begun.entry, begun.reader
        if reader is None:
            return entry
        entry.defaults = dict(self.defaults)
        if begun.cut is not None and not (yield from self._pieces(wanted, begun, begun.cut)):
            # The cuts were not where values begin, or it is no YAML: that, too, is only known of the whole.
            problem = yield from unreadable(reader.source)
            fresh = Entry(entry.file, entry.context, Head(), [], [], [], {}, {}, dict(self.defaults), {})
            if problem is not None:
                fresh.problems.append(problem)
                return fresh
            begun = self._draft(wanted, fresh, reader.source, None)
            entry, reader = begun.entry, begun.reader
            if reader is None:
                return entry
        for root in begun.roots:
            entry.objects.extend(read_body(root, reader, entry.file, self.defaults, wanted.kind, wanted.namespace))
        entry.problems += reader.problems
        entry.notes += reader.notes
        entry.variables.update(reader.variables)
        entry.files.update(reader.files)
        return entry

    def _pieces(self, wanted: Wanted, draft: _Draft, pieces: Cut) -> Generator[None, None, bool]:
        """Read the pieces of a large file but those that are known from the cache; False when that cannot be done."""
        entry, text = draft.entry, draft.reader.source.text if draft.reader is not None else ""
        cached = self.cache.entries.get(wanted.path)
        known = cached.parts if cached is not None and cached.context == entry.context and self._same_defaults(cached) else {}
        keys: dict[int, bytes] = {}                     # of those that are to be read, by their start
        parts: list[Part | None] = []
        for count, piece in enumerate(pieces.pieces):
            if count % _STEP == 0:
                yield
            key = hashlib.blake2b(text[piece.start:piece.end].encode(), digest_size=16).digest()
            part = known.get(key)
            if part is None or key in entry.parts or not self._current(part.variables, part.files):
                keys[piece.start] = key
                part = None
            else:
                entry.parts[key] = part
            parts.append(part)
        found: dict[int, Part] = {}
        for run in batches([piece for piece in pieces.pieces if piece.start in keys]):
            yield
            read = self._run(wanted, entry, text, run)
            if read is None:
                return False
            for piece, (part, problems) in zip(run, read, strict=True):
                found[piece.start] = part
                entry.problems += problems
                if not problems:
                    entry.parts.setdefault(keys[piece.start], part)
        for count, (piece, part) in enumerate(zip(pieces.pieces, parts, strict=True)):
            if count % _STEP == 0:
                yield
            if part is None:
                part = found[piece.start]
            else:
                part.move(entry.file, piece)
            entry.objects += part.objects
            entry.notes += part.notes
            if part.variables or part.files:
                entry.variables.update(part.variables)
                entry.files.update(part.files)
        return True

    def _run(
        self, wanted: Wanted, entry: Entry, text: str, run: list[Piece],
    ) -> list[tuple[Part, list[ConfigError]]] | None:
        """Read some pieces that follow each other, with the problems of each; None when they are not what they seemed."""
        source = Source(entry.file.name, text[run[0].start:run[-1].end], "")
        try:
            roots = list(documents(source))
        except Unreadable:
            return None
        if len(roots) != 1:
            return None
        nodes = roots[0].value if run[0].item else roots
        if run[0].item and not isinstance(roots[0], SequenceNode) or len(nodes) != len(run):
            return None
        parts: list[tuple[Part, list[ConfigError]]] = []
        for node, piece in zip(nodes, run, strict=True):
            line = node.start_mark.line + run[0].line
            if not piece.line <= line < piece.line + max(1, text.count("\n", piece.start, piece.end)):
                return None                             # a cut went through a value
            if own(node) and not piece.item:
                return None                             # our own form in a spelling that was not recognised
            reader = Reader(source, self.environ, os.path.dirname(wanted.path), substitute=piece.item)
            reader.first_line, reader.first_index = run[0].line, run[0].start
            read = read_object if piece.item else read_body
            objects = tuple(read(node, reader, entry.file, self.defaults, wanted.kind, wanted.namespace))
            part = Part(piece.start, piece.line, objects, tuple(reader.notes), reader.variables or _NOTHING,
                        reader.files or _NOTHING)
            parts.append((part, reader.problems))
        return parts

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
    def _config(self) -> Generator[None, None, Config]:
        gateway = self.gateway or Gateway()
        notes: list[Note] = []
        for count, entry in enumerate(self.entries.values(), 1):
            self.problems += entry.problems
            notes += entry.notes
            if count % _STEP == 0:
                yield
        replaced = yield from self._replaced()
        if replaced is not None and self.cache.objects is not None:
            objects: Objects | None = self.cache.objects
            found = yield from _with(self.cache.objects, replaced)
        else:
            found, twice = yield from _assembled(self.entries.values())
            self.problems += twice
            objects = None if twice else found
        resolve_pools(found)
        judgement, unenforced = yield from judging(notes, gateway.allow_unenforced)
        self.problems += judgement
        self.problems += unknown_entries(gateway.allow_unenforced, self.gateway_place)
        self.cache.entries, self.cache.objects = self.entries, found if objects is not None else None
        yield
        files = {entry.file.name: entry.file for entry in self.entries.values()}
        yield
        problems = arranged(self.problems, list(files), _Lines(self.sources, files) if self.lines else no_line)
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigErrors(problems)
        yield
        return Config(gateway, found, (yield from self._digest()), problems, unenforced, FrozenMap(files), self.gateway_place,
                      tuple(self.keep_last))

    def _replaced(self) -> Generator[None, None, list[Object[Any]] | None]:
        """The objects that stand where others stood in the last load; None when that is not all that is other."""
        before = self.cache.entries
        if list(before) != list(self.entries):
            return None
        found: list[Object[Any]] = []
        for count, (path, entry) in enumerate(self.entries.items(), 1):
            if count % _STEP == 0:
                yield
            last = before[path]
            if last is entry:
                continue
            if len(last.objects) != len(entry.objects):
                return None
            for number, (old, new) in enumerate(zip(last.objects, entry.objects, strict=True), 1):
                if old is not new:
                    if (old.kind, old.key) != (new.kind, new.key):
                        return None
                    found.append(new)
                if number % _STEP == 0:
                    yield
        return found

    def _digest(self) -> Generator[None, None, str]:
        """A digest of everything that was read; it does not depend on where the files lie."""
        total = hashlib.sha256()
        for count, entry in enumerate(self.entries.values(), 1):
            total.update(f"{entry.file.name}\0{entry.file.digest}\n".encode())
            for path, digest in sorted(entry.files.items()):
                total.update(f"{path}\0{digest}\n".encode())
            for name, value in sorted(entry.variables.items()):
                total.update(f"{name}\0{value}\n".encode())
            if count % _STEP == 0:
                yield
        return total.hexdigest()


def _assembled(entries: Iterable[Entry]) -> Generator[None, None, tuple[Objects, list[ConfigError]]]:
    """The objects of all files by kind and key, and the problems of those that are there twice."""
    objects: Objects = {}
    problems: list[ConfigError] = []
    count = 0
    for entry in entries:
        for one in entry.objects:
            count += 1
            if count % _STEP == 0:
                yield
            first = objects.setdefault(one.kind, {}).setdefault(one.key, one)
            if first is not one:
                problems.append(_twice(first, one))
    return objects, problems


def _with(objects: Objects, replaced: list[Object[Any]]) -> Generator[None, None, Objects]:
    """`objects` with some replaced by others of the same kinds and keys. Kinds of which none is are shared."""
    made = dict(objects)
    for kind in {one.kind for one in replaced}:
        made[kind] = dict(objects[kind])
        yield
    for one in replaced:
        made[one.kind][one.key] = one
    return made


def _hashed(data: bytes) -> Generator[None, None, str]:
    """The SHA-256 of `data` in hexadecimal."""
    if len(data) <= _HASHED:
        return hashlib.sha256(data).hexdigest()
    digest, view = hashlib.sha256(), memoryview(data)
    for start in range(0, len(data), _HASHED):
        digest.update(view[start:start + _HASHED])
        yield
    return digest.hexdigest()


def _has_empty_objects(root: Node) -> bool:
    """Whether a document from which the items of `objects:` were cut still has that key."""
    return isinstance(root, MappingNode) and any(key.value == "objects" and is_null(value) for key, value in root.value)


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
        return f" (made from {one.form})" if one.form else ""

    return ConfigError(
        "VG0109", second.place("metadata", "name"), f"{second.title}{whence(second)} exists already{whence(first)}",
        "rename or remove one of them", related=(("the first one", first.place("metadata", "name")),))


def _digest(path: str) -> str:
    """SHA-256 of a file that a value refers to, "" if it cannot be read."""
    try:
        return hashlib.sha256(contents(path)).hexdigest()
    except OSError:
        return ""
