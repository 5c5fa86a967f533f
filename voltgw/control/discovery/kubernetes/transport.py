"""The way to an API server: whole answers, and watches that come line by line for as long as they last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from voltgw.control.discovery.kubernetes.reflector import WATCH_S
from voltgw.control.publish.registrar import RegistryError

if TYPE_CHECKING:
    from voltgw.control.publish.api import Api, Reply

#: Longest line of a watch: an object has at most 1.5 MiB in etcd, and is written here once.
MOST_LINE_BYTES: Final = 4 * 1024 * 1024
#: A watch that is longer without any byte than it was asked to last is dead.
SILENCE_S: Final = WATCH_S + 30.0


class Lines:
    """Cuts a stream into lines and hands each on. Raises `RegistryError` for one that is too long."""

    def __init__(self, line: Callable[[bytes], None]) -> None:
        self._line = line
        self._rest = b""

    def received(self, data: bytes) -> None:
        """More of the stream."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for each in whole:
            self._line(each)
        if len(self._rest) > MOST_LINE_BYTES:
            raise RegistryError(f"a line of a watch is longer than {MOST_LINE_BYTES} bytes")

    def ended(self) -> None:
        """It has ended. Raises `RegistryError` where that was in the middle of a line: what it said is not known."""
        if self._rest.strip():
            raise RegistryError("a watch was cut off in the middle of an event")


class HttpTransport:
    """Asks `url` through `api`; `token` gives what proves who we are for each request, "" = nothing. See `Transport`."""

    def __init__(self, api: Api, url: str, headers: Mapping[str, str], token: Callable[[], str]) -> None:
        self._api = api
        self._url = url
        self._headers = {"accept": "application/json", **headers}
        self._token = token

    async def get(self, path: str) -> Reply:
        """See `Transport`."""
        return await self._api.request("GET", self._url + path, self._fields())

    async def lines(self, path: str, line: Callable[[bytes], None], begun: Callable[[], None]) -> Reply:
        """See `Transport`."""
        lines = Lines(line)
        reply = await self._api.stream("GET", self._url + path, self._fields(), lines.received, SILENCE_S, begun)
        if reply.status == 200:
            lines.ended()
        return reply

    def _fields(self) -> dict[str, Any]:
        token = self._token()
        return {**self._headers, "authorization": f"Bearer {token}"} if token else self._headers
