"""Addresses as one writes them."""

from __future__ import annotations

from ipaddress import ip_address


def where(address: str | None, port: int) -> str:
    """An address and port as one writes them: ``10.0.0.1:80``, ``[::1]:80``, ``*:80`` (None = every address).

    An address that begins with a slash is the path of a Unix socket, which has no port: ``unix:/run/app.sock``.
    """
    if address is None:
        return f"*:{port}"
    if address.startswith("/"):
        return f"unix:{address}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host name or IP literal (without brackets) can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
