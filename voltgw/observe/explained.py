"""Lines of the access log that say why: a sample of the JSON lines gets the key ``explain``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, TypeAlias

from voltgw.observe.decisions import sentences
from voltgw.observe.sampling import sampled

if TYPE_CHECKING:
    from voltgw.observe.lines import Lines
    from voltgw.values.exchange import Exchange
    from voltgw.values.reason import Reason
    from voltgw.values.record import ConnectionRecord

#: Says why a finished exchange went where it went.
Explain: TypeAlias = "Callable[[Exchange], Sequence[Reason]]"


class ExplainedLines:
    """`lines`, which are JSON; `share` (0 to 1) of the exchanges are explained, those with an error no more than others."""

    __slots__ = ("_explain", "_lines", "_share", "connection", "forget")

    def __init__(self, lines: Lines, explain: Explain, share: float) -> None:
        self._lines = lines
        self._explain = explain
        self._share = share
        self.connection: Callable[[ConnectionRecord, float], str] = lines.connection
        self.forget: Callable[[], None] = lines.forget

    def http(self, exchange: Exchange, offset: float, /) -> str:
        """The line of one finished exchange."""
        line = self._lines.http(exchange, offset)
        if not sampled(exchange.request_id, self._share):
            return line
        said = ",".join(map(quoted, sentences(self._explain(exchange))))
        return f'{line[:-2]},"explain":[{said}]}}\n'
