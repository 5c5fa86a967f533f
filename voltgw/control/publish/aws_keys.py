"""Where credentials for AWS come from: the configuration, or the role of the instance that the gateway runs on (IMDSv2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from voltgw.control.publish.api import UNREADABLE, Api, Reply
from voltgw.control.publish.registrar import RegistryError
from voltgw.control.publish.sigv4 import Keys

#: Where an instance asks for its credentials; reachable from the instance alone.
METADATA_URL: Final = "http://169.254.169.254"
#: New credentials are asked for so long before the old ones expire, in seconds.
EARLY_S: Final = 300.0
_TOKEN_S: Final = "300"
_ROLES: Final = "/latest/meta-data/iam/security-credentials/"


class StaticKeys:
    """Those of the configuration."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def get(self) -> Keys:
        """Them."""
        return self._keys

    def forget(self) -> None:
        """There are no others."""


class InstanceKeys:
    """Those of the instance's role, kept until shortly before they expire. `api` may ask plain HTTP; `wall` is epoch time."""

    def __init__(self, api: Api, wall: Callable[[], float], url: str = METADATA_URL) -> None:
        self._api = api
        self._wall = wall
        self._url = url
        self._keys: Keys | None = None

    async def get(self) -> Keys:
        """Them. Raises `RegistryError`."""
        keys = self._keys
        if keys is None or keys.expires is not None and self._wall() > keys.expires - EARLY_S:
            keys = self._keys = await self._fetch()
        return keys

    def forget(self) -> None:
        """They are not taken: ask for others."""
        self._keys = None

    async def _fetch(self) -> Keys:
        token = await self._ask("PUT", "/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": _TOKEN_S})
        fields = {"x-aws-ec2-metadata-token": token.body.decode("ascii", "replace")}
        role = (await self._ask("GET", _ROLES, fields)).body.decode("utf-8", "replace").split("\n")[0].strip()
        if not role:
            raise RegistryError("this instance has no role, so it has no credentials", credentials=True)
        said = (await self._ask("GET", _ROLES + role, fields)).json
        try:
            expires = datetime.fromisoformat(said["Expiration"]).timestamp()
            return Keys(str(said["AccessKeyId"]), str(said["SecretAccessKey"]), str(said["Token"]), expires)
        except UNREADABLE as error:
            raise RegistryError("the instance's metadata service gives no credentials that can be read") from error

    async def _ask(self, method: str, path: str, fields: dict[str, str]) -> Reply:
        try:
            reply = await self._api.request(method, self._url + path, fields)
        except RegistryError as error:
            raise RegistryError(f"the instance's metadata service: {error}", credentials=True) from error
        if reply.status != 200:
            raise RegistryError(f"the instance's metadata service answers {reply.status} to {path}", credentials=True)
        return reply
