"""Who may ask the admin interface: programs of this machine, and no page of another site in a browser on it.

A browser will send requests to 127.0.0.1 for any page that asks it to. Two things give such a page away: what the browser
says of it (Origin, Sec-Fetch-Site, Referer), and, after DNS rebinding, the name in Host, which is the page's and not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from voltgw.values.address import is_loopback

#: Values of Sec-Fetch-Site that are not another page's doing: one of our pages, or somebody typed the address. A page
#: on another port of this machine is ``same-site`` and has no business here.
_OWN_DOING: Final = frozenset((b"same-origin", b"none"))

FieldValues = Callable[[bytes], Collection[bytes]]


def host_of(authority: str) -> str:
    """The host of ``host:port``, in lower case, without port, brackets and the final dot; "" if it is none."""
    host = authority.strip().lower()
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        return host if bracket and _is_port(port) else ""
    host, colon, port = host.partition(":")
    return host.removesuffix(".") if _is_port(colon + port) else ""


def refusal(values: FieldValues, local_address: str, names: Collection[str], *, any_host: bool = False,
            scheme: bytes = b"http") -> str:
    """Why a request may not be answered, "" = it may. `values(name)` gives a field's values.

    Host must be a loopback name or address, the address that the connection came to, or one of `names` (lower case).
    `any_host` is for a unix socket, which no browser can reach. `scheme` is that of our own pages.
    """
    hosts = values(b"host")
    if len(hosts) > 1:
        return "more than one Host"
    authority = b"".join(hosts)
    if not any_host:
        host = host_of(authority.decode("latin-1"))
        if not (is_loopback(host) or host in names or (local_address and host == local_address)):
            return "this Host is not one of the admin interface; use its address, or a loopback name"
    if any(site.strip().lower() not in _OWN_DOING for site in values(b"sec-fetch-site")):
        return "pages of other sites may not use the admin interface"
    ours = scheme + b"://" + authority.strip().lower()
    if any(origin.strip().lower() != ours for origin in values(b"origin")):
        return "pages of other origins may not use the admin interface"
    if any(not (page.strip().lower() + b"/").startswith(ours + b"/") for page in values(b"referer")):
        return "pages of other sites may not lead to the admin interface"      # a text browser says no more than this
    return ""


def _is_port(text: str) -> bool:
    """Whether this is nothing, or a colon and digits (which may be none, RFC 3986 3.2.3)."""
    return not text or (text[0] == ":" and (not text[1:] or (text[1:].isascii() and text[1:].isdigit())))
