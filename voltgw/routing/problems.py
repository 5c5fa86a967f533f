"""What building finds wrong: a ValueError that knows where in its object the trouble stands."""

from __future__ import annotations

from typing import Final, Protocol

from voltgw.errors import NOWHERE, ConfigError, ConfigErrors, Place

#: The code of everything that only building can find: a regex that might take long, a path that can never match, and so on.
CODE: Final = "VG0301"
#: The code of a name that no installed package declares.
NO_EXTENSION: Final = "VG0302"

Step = str | int


class Placer(Protocol):
    """`config`'s objects: where the value at `path` inside the object's spec was written."""

    def __call__(self, *path: str | int) -> Place:
        """The place."""


class ProblemError(ValueError):
    """Something cannot be built; `path` leads to it from whatever was being built."""

    def __init__(self, message: str, path: tuple[Step, ...] = (), hint: str = "", code: str = CODE) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint
        self.code = code


class BuildErrors(ValueError):
    """A virtual host cannot be built; `problems` are all of them, ready to be shown."""

    def __init__(self, problems: tuple[ConfigError, ...]) -> None:
        super().__init__("; ".join(f"{problem.place}: {problem.message}" for problem in problems))
        self.problems = problems


class at:                                   # it reads like the function that it could be, which took much longer
    """Whatever goes wrong inside went wrong at `path`."""

    __slots__ = ("path",)

    def __init__(self, *path: Step) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        if isinstance(error, ProblemError):
            raise ProblemError(error.message, (*self.path, *error.path), error.hint, error.code) from None
        if isinstance(error, ValueError):
            raise ProblemError(str(error), self.path) from error


class _Noting:
    """What `Collector.at` gives."""

    __slots__ = ("collector", "path", "placer")

    def __init__(self, collector: Collector, placer: Placer, path: tuple[Step, ...]) -> None:
        self.collector = collector
        self.placer = placer
        self.path = path

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> bool:
        if isinstance(error, ConfigErrors):
            self.collector.problems += error.problems
            return True
        if isinstance(error, ValueError):
            problem = error if isinstance(error, ProblemError) else ProblemError(str(error))
            self.collector.problems.append(
                ConfigError(problem.code, self.placer(*self.path, *problem.path), problem.message, problem.hint))
            return True
        return False


class Collector:
    """Gathers problems, so that all of them are shown at once."""

    def __init__(self) -> None:
        self.problems: list[ConfigError] = []

    def at(self, placer: Placer, *path: Step) -> _Noting:
        """Note what goes wrong inside, and go on behind it. An extension's `ConfigErrors` know their places themselves."""
        return _Noting(self, placer, path)

    def finish(self) -> None:
        """Raise `BuildErrors` if anything went wrong."""
        if self.problems:
            raise BuildErrors(tuple(self.problems))


def nowhere(*path: Step) -> Place:
    """A `Placer` for objects that stand in no file."""
    return NOWHERE
