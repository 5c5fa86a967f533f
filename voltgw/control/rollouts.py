"""How far each rollout has come, kept below the gateway's data folder as ``rollouts.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from voltgw.control.kept import keep, kept

#: Largest file that is read back: some 4 KiB for each rollout.
_MOST_BYTES: Final = 16 << 20
_VERSION: Final = 1


class Damaged(Exception):
    """The file is there, but what it says cannot be read."""


class RolloutStore:
    """The file in `folder`. States are plain mappings by the rollout's ``namespace/name``."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "rollouts.json"

    def read(self) -> dict[str, Mapping[str, Any]]:
        """What was kept; empty where nothing ever was. Raises `Damaged` in words."""
        try:
            said = kept(self.path, _MOST_BYTES)
        except OSError as error:
            raise Damaged(f"{self.path} cannot be read: {error.strerror}") from error
        if said is None:
            return {}
        try:
            found = json.loads(said)
            if found["version"] != _VERSION:
                raise Damaged(f"{self.path} is of another version of voltgw")
            states = found["rollouts"]
            if not all(isinstance(state, dict) for state in states.values()):
                raise TypeError("a state is no mapping")
            return dict(states)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged(f"{self.path} is damaged") from error

    def set_aside(self) -> str:
        """Give a file that cannot be read a second name, under which it is not overwritten; "" = that is not possible."""
        aside = self.path.with_name(f"{self.path.name}.unread")
        try:
            aside.unlink(missing_ok=True)
            aside.hardlink_to(self.path)
        except OSError:
            return ""                       # it is no file, or the disk is beyond that: writing will tell
        return str(aside)

    def write(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep these, and no others. Raises OSError."""
        keep(self.path, json.dumps({"version": _VERSION, "rollouts": states}).encode())
