"""An API that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from voltgw.control.publish.api import Reply
from voltgw.control.publish.registrar import RegistryError

#: Given method, URL and body; what comes of it.
Script = Callable[[str, str, bytes], Reply | Exception]


def says(status: int, body: object = b"", **fields: str) -> Reply:
    """An answer; what is no bytes becomes JSON. Underscores of `fields` are hyphens."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in fields.items()}, data)


class ScriptedApi:
    """Stands in for `voltgw.control.publish.api.Api`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """What the script says."""
        self.asked.append((method, url, headers, body))
        said = self.script(method, url, body)
        if isinstance(said, Exception):
            raise said
        return said

    def aside(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """At once."""
        return maybeDeferred(call, *arguments)

    def close(self) -> None:
        """Nothing is open."""


def scripted(script: Script) -> Any:
    """One that passes as the real one."""
    return ScriptedApi(script)


def result(call: Coroutine[Any, Any, Any], clock: Clock | None = None) -> Any:
    """What a coroutine comes to, while time passes. Raises what it raises."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(call).addBoth(outcome.append)
    for _ in range(10_000):
        if outcome or clock is None:
            break
        clock.advance(0.05)
    (found,) = outcome
    if isinstance(found, Failure):
        found.raiseException()
    return found


def error_of(call: Coroutine[Any, Any, Any], clock: Clock | None = None) -> RegistryError:
    """The `RegistryError` that it ends with."""
    try:
        result(call, clock)
    except RegistryError as error:
        return error
    raise AssertionError("it ended well")
