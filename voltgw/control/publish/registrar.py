"""What a registry has to offer so that names can be published in it: one class for each kind of registry, beside this file.

A registrar knows how names are written, not when, nor which: that is the `Publisher`'s. Its methods may be called again after
any failure; each time `observe` says what there is. The publisher calls one at a time, and bounds each call in time by
cancelling it; what is open then is cut by `close`.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Hashable, Sequence
from typing import Any, Protocol

from voltgw.control.publish.names import Change, Observed, Refused, Wanted


class RegistryError(Exception):
    """The registry cannot be asked, or did not do it; the message says why, for people.

    `retry_after_s`: it asked to be left alone for so long. `credentials`: it does not take ours, or they have expired.
    """

    def __init__(self, why: str, *, retry_after_s: float | None = None, credentials: bool = False) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.credentials = credentials


class NotMade(RegistryError):
    """One change was not made, and why; others may be."""


class TooLarge(RegistryError):
    """An answer is larger than any that is read; to ask for less of it may help."""


class Registrar(Protocol):
    """One registry with one set of credentials, in which the names of one owner are kept.

    `kind` is the configuration's word for it, `registry` says for people which one it is (and is the same as long as it is the
    same registry), `owner` is our mark, `most` is how many changes `apply` takes at once.
    """

    kind: str
    registry: str
    owner: str
    most: int

    def content(self, wanted: Wanted, /) -> Hashable:
        """What a name of ours that is held as `wanted` has in `Held.content`."""

    def observe(self, names: Collection[str], /) -> Coroutine[Any, Any, Observed]:
        """What there is of `names`, and of all other names that have our mark. Raises `RegistryError`."""

    def apply(self, changes: Sequence[Change], /) -> Coroutine[Any, Any, Sequence[Refused | None]]:
        """Make the changes, each only if the name is still as it was found (`Change.held`); for each, whether it was made.

        Raises `RegistryError` where that is not known of all of them; those that were made are found by the next `observe`.
        """

    def close(self) -> None:
        """Let go of connections and whatever is under way, at once; the registrar can be used again afterwards."""
