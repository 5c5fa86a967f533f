"""Include entries to files: patterns, folders, kinds and namespaces by the folders' names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from voltgw.config.document import Include, OnError
from voltgw.config.kinds import Kind, kind_of
from voltgw.errors import ConfigError, Severity

#: Names of files that may hold configuration.
SUFFIXES: Final = (".yaml", ".yml", ".json")
#: `namespace:` of an include entry that takes the folder's name.
FROM_FOLDER: Final = "from-folder"
#: Names in one step of a large folder, which is less than 1 ms.
_STEP: Final = 128


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be read: `name` for people, `path` to open, and what its include entry says of it."""

    name: str
    path: str
    kind: Kind | None = None
    namespace: str | None = None
    on_error: OnError = OnError.REFUSE
    main: bool = False
    text: str | None = None                 # for what stands in no file

    @property
    def context(self) -> tuple[str, str, str]:
        """What the meaning of its content depends on."""
        return (self.name, self.kind.name if self.kind is not None else "", self.namespace or "")


class _Folder(NamedTuple):
    """What the files of one folder have in common; there may be ten thousand of them."""

    shown: str
    opened: str
    kind: Kind | None


def expanded(include: Include, by: Wanted, problems: list[ConfigError]) -> Iterator[Wanted | None]:
    """The files that an include entry of the file `by` names, in the order of their names; None now and then, for a pause."""
    entry = include.entry
    shown = os.path.join(os.path.dirname(by.name), entry.path)
    opened = os.path.join(os.path.dirname(by.path), entry.path)
    pattern = glob.has_magic(entry.path)
    # A pattern is matched against what is on disk; what people see is the same path as they wrote it.
    cut, prefix = len(os.path.dirname(by.path)), os.path.dirname(by.name)
    found = sorted(glob.glob(opened, recursive=True)) if pattern else [opened]
    any_file = False
    folders: dict[str, _Folder] = {}
    namespaces: dict[str, str | None] = {}
    for path in found:
        named = path.endswith(SUFFIXES)
        if not named and os.path.isdir(path):
            folder, files = path.rstrip("/"), []
            for below in _below(path):
                if below is None:
                    yield None
                else:
                    files.append(below)
            files.sort()
            yield None
        elif pattern and not (named and _configuration(os.path.basename(path))):
            continue
        else:
            folder, files = os.path.dirname(path), [path]
        if folder not in namespaces:
            namespaces[folder] = _namespace(include, folder)
        for file in files:
            any_file = True
            where, slash, name = file.rpartition("/")
            if where not in folders:
                inside = os.path.normpath(where + slash)
                folders[where] = _Folder(
                    inside if os.path.isabs(entry.path) else os.path.normpath(os.path.join(prefix, where[cut:].lstrip("/"))),
                    inside, _kind(include, where))
            its = folders[where]
            yield Wanted(name if its.shown == "." else f"{its.shown}/{name}", os.path.join(its.opened, name), its.kind,
                         namespaces[folder], entry.on_error)
    if not any_file:
        problems.append(ConfigError(
            "VG0007", include.place, f"{shown} matches no file" if pattern else f"the folder {shown} holds no file",
            f"files end in {', '.join(SUFFIXES)}", Severity.WARNING))


def _below(folder: str) -> Iterator[str | None]:
    """Configuration files below a folder, in no order; None now and then, for a pause. Folders without leave are left out."""
    try:
        entries = os.scandir(folder)
    except OSError:
        return
    with entries:
        for count, each in enumerate(entries, 1):
            if count % _STEP == 0:
                yield None
            if each.is_dir():
                if not each.is_symlink() and not each.name.startswith("."):
                    yield from _below(each.path)
            elif _configuration(each.name):
                yield each.path


def _configuration(name: str) -> bool:
    """Whether a file's name is not that of an editor's backup or of something else."""
    return name.endswith(SUFFIXES) and not name.startswith((".", "#"))


def _kind(include: Include, folder: str) -> Kind | None:
    """The kind of objects in a folder that do not say theirs."""
    return kind_of(include.entry.kind if include.entry.kind is not None else os.path.basename(folder))


def _namespace(include: Include, folder: str) -> str | None:
    """The namespace of an entry; the name of a folder that is called like a kind is not one, so its parent's is taken."""
    if include.entry.namespace != FROM_FOLDER:
        return include.entry.namespace
    while kind_of(os.path.basename(folder)) is not None and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return os.path.basename(folder) or None
