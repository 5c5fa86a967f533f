"""The exit statuses of every command, in one place: the documentation and the manual pages show them from here."""

from __future__ import annotations

from typing import Final, NamedTuple


class Exit(NamedTuple):
    """What one status of some commands says."""

    status: int
    commands: tuple[str, ...]           # none: all of them
    meaning: str

    @property
    def of(self) -> str:
        """The commands, for a table."""
        return ", ".join(f"``{name}``" for name in self.commands) or "all"


#: Commands that ask a running gateway.
ASKING: Final = ("clusters", "events", "generations", "names", "rollouts", "status", "top", "why")
#: Commands that have it do something.
ORDERING: Final = ("drain", "eject", "log-level", "reload", "reopen-logs", "rollback", "rollout", "undrain", "weight")

EXITS: Final = (
    Exit(0, (), "All is well: what was asked for is done, or shown."),
    Exit(1, ("blame",), "No earlier configuration decides otherwise."),
    Exit(1, ("check",), "With ``--strict``: there are warnings."),
    Exit(1, ("import",), "With ``--strict``: something is not as it was in the other proxy's configuration."),
    Exit(1, ("replay",), "A request would go elsewhere."),
    Exit(1, ("demo", "proxy", "run"), "The gateway cannot start, for example because a port is taken."),
    Exit(1, ("test",), "Something is not as expected."),
    Exit(1, (*ASKING, *ORDERING, "explain", "plan"),
         "The gateway refuses (for ``explain`` and ``plan`` with ``--live``), does not "
         "know what is named, or what answers there is none."),
    Exit(2, (), "The command line is wrong."),
    Exit(2, ("blame", "check", "config", "demo", "explain", "plan", "proxy", "replay", "rules", "run", "simulate", "test"),
         "A configuration has errors, or another file cannot be read or understood."),
    Exit(2, ("import", "pki", "schema"), "A file cannot be read or written, or what is named does not exist."),
    Exit(2, ("reload", "rollback"), "The gateway refuses the configuration, and serves the one before."),
    Exit(2, ("reopen-logs",), "A log file cannot be opened; the old one stays in use."),
    Exit(3, (*ASKING, *ORDERING, "explain", "plan"), "No gateway answers (for ``explain`` and ``plan`` with ``--live``)."),
    Exit(130, (), "It was interrupted (SIGINT)."),
)


def exits_of(command: str) -> list[Exit]:
    """The statuses of one command, the lowest first."""
    return [each for each in EXITS if not each.commands or command in each.commands]
