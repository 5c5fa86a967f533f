"""Feeds: where endpoints come from, and what they may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from voltgw.config.values import EMPTY
from voltgw.values.network import HOST, Network


class Found(NamedTuple):
    """One endpoint as a feed found it.

    `health_port` 0 = the same port; `hostname` "" = no name led to the address; `zone` "" = its labels may know.
    """

    address: str
    port: int
    protocol: str = "TCP"
    site: str = ""
    hostname: str = ""
    weight: int = 1
    health_port: int = 0
    labels: Mapping[str, str] = EMPTY
    network: Network = HOST
    priority: int = 0
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Reset:
    """These are all that there are, in this order."""

    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Add:
    """These came, or have other labels, weights or names now."""

    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """These left."""

    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The source cannot be asked now; what it said last stays in force."""

    why: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The source itself was removed, and its endpoints with it."""


Update = Reset | Add | Remove | Failed | Gone
Deliver = Callable[[Update], None]


class FeedState(Enum):
    """How a feed fares: it has not answered yet, it has, its last answer failed, or its source is gone."""

    PENDING = "pending"
    BOUND = "bound"
    FAILED = "failed"
    GONE = "gone"


class Feed(Protocol):
    """A source of endpoints.

    `last_success` is monotonic seconds, 0.0 = never; `last_error` "" while all is well. Both are for display: what
    counts is what is delivered.
    """

    name: str
    state: FeedState
    last_error: str
    last_success: float

    def start(self, deliver: Deliver, /) -> None:
        """Begin; `deliver` may be called at once, and is never called after `stop`."""

    def stop(self) -> None:
        """End; it may be started again."""
