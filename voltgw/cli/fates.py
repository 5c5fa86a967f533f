"""What becomes of a request in one configuration and in another: in words, and what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voltgw.app.explain import Explanation

#: What of an explanation makes two of them different; places in files do not.
_TOLD: Final = ("outcome", "listener", "virtual_host", "route", "shares", "status", "flag", "refused_by", "target")


def fate(found: Explanation) -> str:
    """What becomes of a request, in one line."""
    parts = [found.outcome]
    if found.virtual_host:
        parts.append(f"host {found.virtual_host}")
    if found.route:
        parts.append(f"route {found.route}")
    if found.shares:
        parts.append("cluster " + " or ".join(
            name if share > 0.999999 else f"{name} ({share:.1%})" for name, share in sorted(found.shares.items())))
    if found.status is not None:
        parts.append(f"status {found.status}")
    return ", ".join(parts)


def facts(found: Explanation) -> dict[str, Any]:
    """All that a client or an endpoint could notice: who answers, with what, and what is sent to whom."""
    plain = found.plain()
    said = {name: plain[name] for name in _TOLD}
    for head in ("sent", "told"):
        lines = plain[head]
        said[head] = [] if lines is None else [lines["start"], *(f"{name}: {value}" for name, value in lines["fields"])]
    return said


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What of `facts` differs, a line each: ``cluster: a -> b``, and fields that came or went."""
    lines = []
    for name, old in before.items():
        new = after[name]
        if old == new:
            continue
        if isinstance(old, list):
            what = "the endpoint gets" if name == "sent" else "the client gets"
            lines += [f"{what} no more: {each}" for each in old if each not in new]
            lines += [f"{what} now: {each}" for each in new if each not in old]
        else:
            label = "clusters" if name == "shares" else name.replace("_", " ")
            lines.append(f"{label}: {_shown(old)} -> {_shown(new)}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({share:.1%})" if share < 0.999999 else str(name)
                         for name, share in sorted(value.items())) or "none"
    return "none" if value in (None, "") else str(value)
