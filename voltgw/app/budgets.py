"""How much memory and how many descriptors each process may have, by the configuration or by what the system allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.app.usage import group_memory_bytes, host_memory_bytes
from voltgw.security.overload import Action, Budget
from voltgw.values import defaults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltgw.config.overload import Overload as OverloadConfig


def memory_budget(config: OverloadConfig | None, processes: int) -> Budget | None:
    """What each of so many processes may have in RAM; None = nobody has set a limit."""
    said = None if config is None else config.memory
    amount = None if said is None else said.budget
    if amount is None:
        share = None if said is None else said.share
        there = group_memory_bytes()
        if there is None:
            if share is None:
                return None
            there = host_memory_bytes()
        amount = int(min(there, host_memory_bytes()) * (share or 1.0)) // processes
    return Budget(max(amount, 1), _shares(said, {
        Action.KEEP_ALIVE: defaults.OVERLOAD_MEMORY_KEEP_ALIVE_SHARE, Action.REFUSE: defaults.OVERLOAD_MEMORY_REFUSE_SHARE,
        Action.ACCEPT: defaults.OVERLOAD_MEMORY_ACCEPT_SHARE, Action.RESET: defaults.OVERLOAD_MEMORY_RESET_SHARE}))


def files_budget(config: OverloadConfig | None, open_files: int) -> Budget:
    """How many descriptors each process may have."""
    said = None if config is None else config.open_files
    amount = open_files if said is None or said.budget is None else min(said.budget, open_files)
    return Budget(max(amount, 1), _shares(said, {
        Action.KEEP_ALIVE: defaults.OVERLOAD_FILES_KEEP_ALIVE_SHARE, Action.REFUSE: defaults.OVERLOAD_FILES_REFUSE_SHARE,
        Action.ACCEPT: defaults.OVERLOAD_FILES_ACCEPT_SHARE, Action.RESET: 0.0}))


def _shares(said: Any, absent: Mapping[Action, float]) -> dict[Action, float]:
    """From which share on each action is taken; 0 leaves it out."""
    shares = {}
    for action, share in absent.items():
        own = None if said is None else getattr(said, action.value)
        share = share if own is None else own
        if share:
            shares[action] = share
    return shares
