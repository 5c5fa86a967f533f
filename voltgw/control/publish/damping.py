"""Keeps services that come and go from storming a registry: each name changes at most once in a while. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from voltgw.control.publish.names import Wanted


class Damper:
    """Holds back changes of names that have changed less than `hold_s` seconds ago; what is true when that time is up counts.

    The first change after a quiet time passes at once. What configuration changes passes at once, too.
    """

    def __init__(self, hold_s: float) -> None:
        self.hold_s = hold_s
        self.held_back = 0                  # changes that wait now
        self._shown: dict[str, Wanted] = {}
        self._changed: dict[str, float] = {}

    def settle(self, wanted: Mapping[str, Wanted], now: float, *, configured: bool = False) -> dict[str, Wanted]:
        """What should be published of `wanted` at the time `now`; with `configured` all of it, and it starts no waiting."""
        if configured:
            self._shown = dict(wanted)
            self._changed = {name: at for name, at in self._changed.items() if name in wanted}
            self.held_back = 0
            return dict(wanted)
        shown: dict[str, Wanted] = {}
        self.held_back = 0
        for name, each in wanted.items():
            before = self._shown.get(name)
            if before == each:
                shown[name] = each
                continue
            if before is not None and now - self._changed.get(name, float("-inf")) < self.hold_s:
                self.held_back += 1
                shown[name] = before
                continue
            self._changed[name] = now
            shown[name] = each
        self._shown = shown
        return dict(shown)
