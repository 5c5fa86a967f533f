"""What has to outlive the process: the account's key, certificates with their keys, and how each order stands.

Everything lies in ``acme/`` below the gateway's data folder, readable by its owner alone, and is replaced as a whole or not at
all. A certificate and its key are one file, so that no crash can leave one without the other.

    acme/accounts/<CA>.json             the account: its key, its URL, its contacts
    acme/certificates/<name>.pem        key and chain that are served
    acme/certificates/<name>.json       state: failures, when the next try is due, the order that is under way with its key
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from voltgw.control.acme.problems import NotKept
from voltgw.control.kept import keep, kept
from voltgw.values.tls import KeyPair

#: Largest file that is read back.
_MOST_BYTES: Final = 1 << 20
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Account:
    """An account at one CA; `url` "" = it has not been made yet."""

    key: bytes = field(repr=False)          # PEM
    url: str = ""
    contacts: tuple[str, ...] = ()


@dataclass(slots=True)
class State:
    """How it stands with one certificate. Times are seconds since the epoch."""

    names: tuple[str, ...]
    directory: str = ""                     # the CA that has issued it
    failures: int = 0                       # tries that came to nothing since the last success
    next_try: float = 0.0
    tried: float = 0.0                      # when the last try began
    not_before: float = 0.0                 # until then the CA has asked us to wait
    hold: float = 0.0                       # likewise, with all that we ask of it
    error: str = ""                         # what the last try came to, "" = it went well
    order: str = ""                         # the URL of an order under way
    order_directory: str = ""               # the CA at which it is
    key: str = field(default="", repr=False)        # PEM of the key for which it asks


class Store:
    """The files below `folder`, which is made when something is first kept there."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) / "acme"

    def account(self, directory: str) -> Account | None:
        """The account at the CA with this directory. Raises `NotKept` if it is there but cannot be read."""
        said = self._read(self._account(directory))
        if said is None:
            return None
        try:
            found = json.loads(said)
            return Account(found["key"].encode(), found["url"], tuple(found["contacts"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotKept(f"{self._account(directory)} is damaged; remove it to have a new account made") from error

    def keep_account(self, directory: str, account: Account) -> None:
        """Raises `NotKept`."""
        self._write(self._account(directory), _json(
            {"directory": directory, "url": account.url, "contacts": account.contacts, "key": account.key.decode("ascii")}))

    def pair(self, names: Sequence[str]) -> KeyPair | None:
        """The certificate that was issued for these names. Raises `NotKept` if it is there but cannot be read."""
        data = self._read(self._certificate(names, "pem"))
        if data is None:
            return None
        key, begin, chain = data.partition(_CERTIFICATE)
        return KeyPair(begin + chain, key)

    def keep_pair(self, names: Sequence[str], pair: KeyPair) -> None:
        """Raises `NotKept`."""
        self._write(self._certificate(names, "pem"), pair.key + pair.chain)

    def state(self, names: Sequence[str]) -> State:
        """How it stood with a certificate; as if nothing had ever been tried where that cannot be told. Raises `NotKept`."""
        said = self._read(self._certificate(names, "json"))
        try:
            found: dict[str, Any] = {} if said is None else json.loads(said)
            state = State(tuple(names), failures=int(found.get("failures", 0)))
            for name in ("next_try", "tried", "not_before", "hold"):
                setattr(state, name, float(found.get(name, 0.0)))
            for name in ("directory", "error", "order", "order_directory", "key"):
                setattr(state, name, str(found.get(name, "")))
            return state
        except (ValueError, TypeError, AttributeError, OverflowError):
            return State(tuple(names), error="its state could not be read and begins anew")

    def keep_state(self, state: State) -> None:
        """Raises `NotKept`."""
        self._write(self._certificate(state.names, "json"), _json({
            name: getattr(state, name) for name in State.__slots__}))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _account(self, directory: str) -> Path:
        digest = hashlib.sha256(directory.encode()).hexdigest()[:10]
        return self._folder / "accounts" / f"{urlsplit(directory).hostname or 'ca'}-{digest}.json"

    def _certificate(self, names: Sequence[str], ending: str) -> Path:
        digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:10]
        return self._folder / "certificates" / f"{names[0][:200]}-{digest}.{ending}"

    def _read(self, path: Path) -> bytes | None:
        try:
            return kept(path, _MOST_BYTES)
        except OSError as error:
            raise NotKept(f"{path} cannot be read: {error.strerror}") from error

    def _write(self, path: Path, data: bytes) -> None:
        """Atomically: a reader finds the old file or the new one, and after a crash one of the two is there."""
        try:
            keep(path, data)
        except OSError as error:
            raise NotKept(f"{path} cannot be written: {error.strerror}") from error


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()
