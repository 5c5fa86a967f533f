"""One access log among others: which records it takes, how their lines look, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from twisted.logger import Logger

from voltgw.observe.sink import Sink
from voltgw.values.compiling import mypyc_attr
from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from voltgw.observe.chosen import Chosen
    from voltgw.observe.lines import Lines
    from voltgw.values.record import ConnectionRecord


class Taker(Protocol):
    """Where lines go: a `Sink`, syslog or journald. No method raises, and none waits, but `close` for a moment."""

    wants_records: bool             # whether `put` looks at the records
    lines: int                      # taken
    bytes: int                      # written
    failures: int                   # writes that failed
    dropped_blocked: int            # lines that nobody took in time
    dropped_failed: int             # lines that could not be written
    problem: str                    # what is wrong now, "" = nothing

    @property
    def blocked(self) -> bool:
        """Whether something waits to be written."""

    def put(self, lines: Sequence[str], records: Sequence[Exchange | ConnectionRecord], /) -> None:
        """Take lines, each of which ends in a line feed, and the records that they are about, if it wants them."""

    def flush(self) -> None:
        """Write what waits, as far as that goes."""

    def reopen(self) -> str:
        """Open it by its name again; the answer says what went wrong, "" = nothing."""

    def close(self) -> None:
        """Write what waits, as far as that goes within a moment, and stop."""


@mypyc_attr(native_class=False)        # a `Sink` is none
class FileSink(Sink):
    """A `Sink` that takes lines as text."""

    __slots__ = ()
    wants_records = False

    def put(self, lines: Sequence[str], records: Sequence[Exchange | ConnectionRecord], /) -> None:
        """Write a batch with one system call."""
        self.write("".join(lines).encode("ascii"), len(lines))


class Output:
    """One log, called `name`; `chosen` None = it takes every record. With `weighed`, JSON lines say of what share they are."""

    _log: ClassVar[Logger] = Logger()

    __slots__ = ("_chosen", "_keeps", "_lines", "_records", "_texts", "_weighed", "dropped_format", "left_out", "name", "sink")

    def __init__(self, name: str, lines: Lines, sink: Taker, chosen: Chosen | None = None, weighed: bool = False) -> None:
        self.name = name
        self.sink = sink
        self.dropped_format = 0             # records that could not be formatted: bugs, all of them
        self.left_out = 0                   # records that were not chosen
        self._lines = lines
        self._chosen = chosen
        self._weighed = weighed
        self._texts: list[str] = []
        self._records: list[Exchange | ConnectionRecord] = []
        self._keeps = sink.wants_records

    @property
    def dropped(self) -> int:
        """Lines lost here."""
        return self.dropped_format + self.sink.dropped_blocked + self.sink.dropped_failed

    def take(self, records: Sequence[Exchange | ConnectionRecord], offset: float) -> None:
        """Format those records that are ours; `deliver` writes them. Never raises."""
        http, connection = self._lines.http, self._lines.connection
        chosen, weighed, keeps = self._chosen, self._weighed, self._keeps
        texts = self._texts
        share = 1.0
        for record in records:
            try:
                if type(record) is Exchange:
                    if chosen is not None:
                        share = chosen.exchange(record)
                        if not share:
                            self.left_out += 1
                            continue
                    text = http(record, offset)
                else:
                    if chosen is not None:
                        share = chosen.connection(record)       # type: ignore[arg-type]  # there are only these two
                        if not share:
                            self.left_out += 1
                            continue
                    text = connection(record, offset)           # type: ignore[arg-type]
                if weighed:
                    text = f'{text[:-2]},"sample_rate":"{share:.6f}"}}\n'
            except Exception:
                if not self.dropped_format:
                    self._log.failure("a record of the access log could not be formatted; others will only be counted")
                self.dropped_format += 1
                continue
            texts.append(text)
            if keeps:
                self._records.append(record)

    def forget(self) -> None:
        """Let go of what lines so far were made of."""
        self._lines.forget()

    def deliver(self) -> None:
        """Hand over what was formatted, or what waits in the sink; what lines were made of may be wanted again (`forget`)."""
        if self._texts:
            texts, self._texts = self._texts, []
            records, self._records = self._records, []
            self.sink.put(texts, records)
        elif self.sink.blocked:
            self.sink.flush()

    def view(self) -> dict[str, Any]:
        """Its state, for the admin page: plain values."""
        sink = self.sink
        return {
            "log": self.name, "lines": sink.lines, "bytes": sink.bytes, "problem": sink.problem, "left_out": self.left_out,
            "dropped": {"format": self.dropped_format, "blocked": sink.dropped_blocked, "failed": sink.dropped_failed},
        }
