"""Earlier states of a configuration that stands in a git checkout; nothing of the checkout is touched.

Each commit that has changed anything at or below the folder of the main file is one state. Its files are put into a folder that
is thrown away afterwards, so that includes and relative paths lead to what they led to then.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

#: Longest archive of one commit's files.
MOST_BYTES: Final = 256 << 20
#: git answers within this, or never (seconds).
_TIMEOUT_S: Final = 60.0


class NoCommits(Exception):
    """There is no git, or the file stands in no checkout; the message is for the operator."""


class Commit(NamedTuple):
    """One state: its hash, when it was made (ISO 8601), its first line."""

    hash: str
    when: str
    subject: str

    def __str__(self) -> str:
        return f"commit {self.hash[:12]} ({self.when}, {self.subject})"


def commits(path: str, most: int) -> list[Commit]:
    """Those that concern the file at `path` or what lies beside and below it, the newest first. Raises `NoCommits`."""
    folder = os.path.dirname(os.path.abspath(path))
    said = _git(folder, "log", f"--max-count={most}", "--format=%H%x00%cI%x00%s", "--", ".").decode("utf-8", "replace")
    return [Commit(*line.split("\0", 2)) for line in said.splitlines() if line.count("\0") >= 2]


@contextmanager
def state(path: str, commit: Commit) -> Iterator[str]:
    """The path of the main file as it was in `commit`, while the context lasts; links are left out.

    Raises `NoCommits` when that commit does not have it.
    """
    folder = os.path.dirname(os.path.abspath(path))
    top = _git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n")
    below = os.path.relpath(folder, top)
    archive = _git(top, "archive", "--format=tar", commit.hash, *(() if below == "." else (below,)))
    with TemporaryDirectory(prefix="voltgw-blame-") as temporary:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for member in files:
                source = files.extractfile(member) if member.isfile() else None
                if source is not None and ".." not in Path(member.name).parts:
                    target = Path(temporary, member.name.lstrip("/"))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(source.read())
        there = Path(temporary, below, os.path.basename(path))
        if not there.exists():
            raise NoCommits(f"{commit} has no {os.path.basename(path)}")
        yield str(there)


def _git(folder: str, *arguments: str) -> bytes:
    command = ["git", "-C", folder, "-c", "core.quotePath=false", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
                              env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCommits(f"git cannot be asked: {error}") from error
    if done.returncode:
        raise NoCommits(done.stderr.decode("utf-8", "replace").strip().partition("\n")[0] or "git has failed")
    if len(done.stdout) > MOST_BYTES:
        raise NoCommits(f"the files of a commit take more than {MOST_BYTES >> 20} MiB")
    return done.stdout
