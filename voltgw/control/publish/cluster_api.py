"""The API server of a Kubernetes cluster as those who publish in it ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from voltgw.control.publish.registrar import NotMade, RegistryError

if TYPE_CHECKING:
    from voltgw.control.publish.api import Api, Reply


class Cluster:
    """Asks the API server at `url`; `fields` prove who we are, for each request."""

    def __init__(self, api: Api, url: str, fields: Callable[[], Mapping[str, str]]) -> None:
        self.url = url
        self._api = api
        self._fields = fields

    async def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """The answer. Raises `NotMade` where a write is not allowed, else `RegistryError` where nothing may be done at all."""
        data = b"" if body is None else json.dumps(body).encode()
        fields = {**self._fields(), "accept": "application/json", **({"content-type": "application/json"} if data else {})}
        reply = await self._api.request(method, self.url + path, fields, data)
        if method != "GET" and reply.status in (400, 403, 422):     # a quota, a namespace that ends, a Role without that right
            raise NotMade(refusal_of(reply))
        if reply.status == 401:
            raise RegistryError(refusal_of(reply), credentials=True)
        if reply.status in (429, 503):
            raise RegistryError(f"it wants fewer requests ({reply.status})", retry_after_s=reply.retry_after_s or 5.0)
        return reply

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()


def refusal_of(reply: Reply) -> str:
    """What it says instead of doing it."""
    return f"it answers {reply.status}: {message_of(reply)}"


def message_of(reply: Reply) -> str:
    """The words of a `Status`, or the beginning of whatever it is."""
    try:
        said = str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        said = reply.body[:200].decode("utf-8", "replace")
    return "".join(each if each.isprintable() else " " for each in said)[:200].strip() or "nothing"
