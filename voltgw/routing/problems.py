"""What building finds wrong: a ValueError that knows where in its object the trouble stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def at(*path: Step) -> Iterator[None]:
    """Whatever goes wrong inside went wrong at `path`."""
    try:
        yield
    except ProblemError as problem:
        raise ProblemError(problem.message, (*path, *problem.path), problem.hint, problem.code) from None
    except ValueError as error:
        raise ProblemError(str(error), path) from error


class Collector:
    """Gathers problems, so that all of them are shown at once."""

    def __init__(self) -> None:
        self.problems: list[ConfigError] = []

    @contextmanager
    def at(self, placer: Placer, *path: Step) -> Iterator[None]:
        """Note what goes wrong inside, and go on behind it. An extension's `ConfigErrors` know their places themselves."""
        try:
            yield
        except ConfigErrors as errors:
            self.problems += errors.problems
        except ValueError as error:
            problem = error if isinstance(error, ProblemError) else ProblemError(str(error))
            self.problems.append(ConfigError(problem.code, placer(*path, *problem.path), problem.message, problem.hint))

    def finish(self) -> None:
        """Raise `BuildErrors` if anything went wrong."""
        if self.problems:
            raise BuildErrors(tuple(self.problems))


def nowhere(*path: Step) -> Place:
    """A `Placer` for objects that stand in no file."""
    return NOWHERE
