"""What the control process and its workers say to each other.

Control sends objects, pickled: a configuration with the contents of its files, endpoint sets. Workers, which talk to the
world, send JSON: whoever has taken over a worker shall not have taken over what may be root. Descriptors go with both.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey
    from voltgw.app.fetched import Names
    from voltgw.cluster.snapshot import EndpointKey, EndpointState
    from voltgw.config.model import Config
    from voltgw.net.tls.tickets import TicketKey
    from voltgw.values.tls import KeyPair

#: Deepest nesting and largest message of a worker that is looked into.
MAX_ANSWER_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Shared:
    """What building takes besides a configuration, the same in all processes of a gateway."""

    addresses: Mapping[Any, str]            # of interfaces that policies mean without naming them
    fetched: Mapping[Names, KeyPair]        # certificates
    reasons: Mapping[Names, str]            # why there is none


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: serve this. The descriptors beside it are the sockets of `listeners`, in their order."""

    number: int
    workers: int
    generation: int
    config: Config
    shared: Shared
    listeners: tuple[ListenerKey, ...]
    affinity_key: bytes = field(repr=False)
    tickets: tuple[TicketKey, ...] = field(repr=False)
    sets: Mapping[str, tuple[EndpointState, ...]]
    rollouts: Mapping[str, Mapping[str, Any]]
    log_level: str
    access_log_to_stdout: bool
    admin: tuple[str, ...]                  # addresses that no endpoint may have
    rendezvous: str                         # where to be found when the control process is gone, "" = nowhere


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make what this configuration says, and open nothing to anybody yet; `Prepared` or a refusal is the answer."""

    token: int                              # which of all preparations it is
    config: Config
    shared: Shared
    listeners: tuple[ListenerKey, ...]      # new ones, with their descriptors
    stay_s: float | None                    # former connections may stay so long


@dataclass(frozen=True, slots=True)
class Commit:
    """Serve what was prepared. `sets` are those of new clusters."""

    token: int
    generation: int
    sets: Mapping[str, tuple[EndpointState, ...]]
    rollouts: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Abort:
    """What was prepared will not come."""

    token: int


@dataclass(frozen=True, slots=True)
class Installed:
    """The members of a cluster: all, or, where the keys are those of the last set, the `changed` ones by their places."""

    cluster: str
    states: tuple[EndpointState, ...] | None
    changed: Mapping[int, EndpointState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Marked:
    """One member gets nothing more, ahead of its set."""

    cluster: str
    key: EndpointKey
    reason: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A health check passes for one that the worker has ejected."""

    cluster: str
    key: EndpointKey


@dataclass(frozen=True, slots=True)
class Tickets:
    """Keys of TLS tickets."""

    keys: tuple[TicketKey, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenged:
    """A CA looks at a name, or no longer (neither body nor pair)."""

    kind: str                               # "http" or "tls"
    name: str
    token: str = ""
    body: bytes | None = None
    pair: KeyPair | None = None


@dataclass(frozen=True, slots=True)
class Rolled:
    """How far rollouts have come, by their names."""

    rollouts: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Level:
    """From which level on the process log is written."""

    level: str


@dataclass(frozen=True, slots=True)
class Reopen:
    """The access log was rotated."""


@dataclass(frozen=True, slots=True)
class Back:
    """Listeners that listen again, with their descriptors: their network, or its address, has come back."""

    listeners: tuple[ListenerKey, ...]


@dataclass(frozen=True, slots=True)
class GiveWay:
    """Another process accepts on the same sockets: take nothing more from them."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Accept nothing more; end when nothing is under way, or after `timeout_s`."""

    timeout_s: float


def packed(message: Any) -> bytes:
    """A message of the control process."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Any:
    """It, in a worker. Its sender is our parent: nobody else has the other end."""
    return pickle.loads(data)


def answer(kind: str, **what: Any) -> bytes:
    """A message of a worker."""
    return json.dumps({"kind": kind, **what}, separators=(",", ":")).encode()


def answered(data: bytes) -> dict[str, Any]:
    """It, in the control process. Raises ValueError for what is none."""
    if len(data) > MAX_ANSWER_BYTES:
        raise ValueError(f"a worker's message of {len(data)} bytes")
    try:
        found = json.loads(data, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("a worker's message is nested too deeply") from error
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise ValueError("a worker's message without a kind")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"a worker's message says {text}")
