"""Addresses as one writes them."""

from __future__ import annotations


def where(address: str | None, port: int) -> str:
    """An address and port as one writes them: ``10.0.0.1:80``, ``[::1]:80``, ``*:80`` (None = every address).

    An address that begins with a slash is the path of a Unix socket, which has no port: ``unix:/run/app.sock``.
    """
    if address is None:
        return f"*:{port}"
    if address.startswith("/"):
        return f"unix:{address}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
