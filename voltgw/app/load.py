"""Reading the configuration that a gateway serves: files to a checked `Config`, at once or in small steps."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Mapping

from voltgw.config.check import checking
from voltgw.config.load import Cache, load_text, loading
from voltgw.config.model import Config
from voltgw.config.show import arranged
from voltgw.errors import ConfigError, ConfigErrors, Severity


class Loader:
    """The configuration of one file, read as often as asked; a file that has not changed is not parsed again."""

    def __init__(self, path: str, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._cache = Cache()

    def steps(self) -> Generator[None, None, Config]:
        """Read and check, a file or an object at a time. Raises `ConfigErrors`."""
        config = yield from loading(self._path, environ=self._environ, cache=self._cache)
        yield
        return (yield from _checked(config))


class TextLoader:
    """A configuration that stands in no file: what ``voltgw proxy`` and ``voltgw demo`` make up."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name

    def steps(self) -> Generator[None, None, Config]:
        """As `Loader.steps`."""
        config = load_text(self._text, name=self._name, folder=os.getcwd(), environ={})
        yield
        return (yield from _checked(config))


def _checked(config: Config) -> Generator[None, None, Config]:
    """`voltgw.config.load.checked`, an object at a time."""
    problems: list[ConfigError] = []
    for problem in checking(config):
        if problem is None:
            yield
        else:
            problems.append(problem)
    all_of_them = arranged((*config.warnings, *problems), list(config.files), config.line)
    if any(problem.severity is Severity.ERROR for problem in all_of_them):
        raise ConfigErrors(all_of_them)
    return dataclasses.replace(config, warnings=all_of_them)


def at_once(loader: Loader | TextLoader) -> Config:
    """Run all the steps now, before there is a reactor to hold up. Raises `ConfigErrors`."""
    steps = loader.steps()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            config: Config = done.value
            return config
