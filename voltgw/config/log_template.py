"""Templates of log lines: text with fields in braces, read once; `TEMPLATE_FIELDS` is what may stand there.

``{{`` and ``}}`` are braces. Where a field stands decides how its value is written, so that no value can pass for another
field: inside double quotes a quote in a value is escaped; outside of them a space is, too. An empty value is written ``-``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from voltgw.config.formats import Format
from voltgw.config.suggest import did_you_mean

#: Longest template, and most fields in it.
MAX_TEMPLATE: Final = 4096
MAX_FIELDS: Final = 128

#: Keys of JSON records that are text or numbers, by their names there (`voltgw.observe.fields`)…
_OF_RECORDS: Final = (
    "time", "connected_time", "listener", "scheme", "sni", "tls_version", "tls_cipher_suite", "src", "src_site", "src_ip",
    "src_port", "user", "country", "region", "city", "asn", "site", "cluster_name", "hostname", "namespace", "vh_name",
    "vh_type", "app_type", "proxy_type", "route", "authority", "original_authority", "method", "req_path", "original_path",
    "req_params",
    "req_size", "req_id", "trace_id", "http_version", "x_forwarded_for", "user_agent", "rsp_code", "rsp_code_class",
    "rsp_code_details", "response_flags", "grpc_status", "auth", "auth_user", "policy", "rate_limit", "rsp_size",
    "upstream_cluster", "dst", "dst_ip", "dst_port", "dst_site", "rollout", "attempts", "duration_s",
)
#: …those that only lines for reading need…
_FOR_READING: Final = (
    "time_clf", "time_unix", "target", "request_line", "endpoint", "virtual_host", "duration_ms", "upstream_ms",
)
#: …and those that name a header field: ``{request_header:referer}``.
HEADER_FIELDS: Final = ("request_header", "response_header")
TEMPLATE_FIELDS: Final = _OF_RECORDS + _FOR_READING

#: Apache's Common Log Format and its Combined one; `rsp_size` counts the head of the answer, too, as Apache's ``%O`` does.
COMMON: Final = '{src_ip} - {auth_user} [{time_clf}] "{request_line}" {rsp_code} {rsp_size}'
COMBINED: Final = COMMON + ' "{request_header:referer}" "{user_agent}"'

_PIECES: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+").finditer
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch


class Piece(NamedTuple):
    """A part of a template: `text` as it stands there, or a field, of `header` where it has one, inside quotes or not."""

    text: str = ""
    field: str = ""
    header: str = ""
    quoted: bool = False


def parse(template: str) -> tuple[Piece, ...]:
    """The pieces of a template. Raises ValueError, with words for whoever wrote it."""
    if len(template) > MAX_TEMPLATE:
        raise ValueError(f"a template of {len(template)} characters is longer than {MAX_TEMPLATE}")
    if not template.isprintable():
        raise ValueError("a template is one line of printable characters")
    pieces: list[Piece] = []
    text = ""
    quoted = False
    for found in _PIECES(template):
        whole = found[0]
        if found[1] is None:
            if whole in "{}":
                raise ValueError(f"a {whole} that stands alone; write {whole}{whole} for the character")
            whole = whole[0] if whole in ("{{", "}}") else whole
            text += whole
            quoted ^= whole.count('"') % 2 == 1
            continue
        if text:
            pieces.append(Piece(text))
            text = ""
        pieces.append(_field(found[1], quoted))
    if text:
        pieces.append(Piece(text))
    count = sum(bool(piece.field) for piece in pieces)
    if not 0 < count <= MAX_FIELDS:
        raise ValueError(f"a template has 1 to {MAX_FIELDS} fields, this one {count}")
    return tuple(pieces)


def _field(said: str, quoted: bool) -> Piece:
    name, colon, header = said.partition(":")
    if name in HEADER_FIELDS:
        if _HEADER(header) is None:
            raise ValueError(f"{{{said}}} names no header field; write {{{name}:referer}}")
        return Piece("", name, header.lower(), quoted)
    if colon or name not in TEMPLATE_FIELDS:
        hint = did_you_mean(name, (*TEMPLATE_FIELDS, *HEADER_FIELDS))
        raise ValueError(f"there is no field {{{said}}}" + (f"; {hint}" if hint else ""))
    return Piece("", name, "", quoted or name == "time_clf")     # it stands in brackets, and its space is part of it


def _read(text: str) -> str:
    parse(text)
    return text


TEMPLATE: Final = Format("template of a line", _read)
