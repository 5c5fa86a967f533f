"""Addresses as one writes them."""

from __future__ import annotations


def where(address: str | None, port: int) -> str:
    """An address and port as one writes them: ``10.0.0.1:80``, ``[::1]:80``, ``*:80`` (None = every address)."""
    if address is None:
        return f"*:{port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
