"""How families of metrics are made: names from the table, samples one by one as they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from voltgw.observe.names import METRICS
from voltgw.values.counters import LATENCY_BOUNDS_US, Histogram

#: Stands for all that have no time series of their own.
OTHER: Final = "_other"

_BY_NAME: Final = {metric.name: metric for metric in METRICS}
_BOUNDS: Final = (*(floatToGoString(bound / 1e6) for bound in LATENCY_BOUNDS_US), "+Inf")

#: Label values and a number; for histograms, `histogram` makes the samples itself.
Row = tuple[tuple[str, ...], float]
#: The same of a histogram: the sum of several.
Times = tuple[tuple[str, ...], Sequence[Histogram]]
#: A family, still empty, and its samples; None among them = a pause: much was looked at, and little said.
Family = tuple[Metric, Iterator[Sample | None]]


def metric(name: str) -> Metric:
    """An empty family of the table."""
    named = _BY_NAME[name]
    family = name.removesuffix("_total") if named.type == "counter" else name.removesuffix("_info")
    return Metric(family, named.meaning.replace("``", ""), named.type)


def family(name: str, rows: Iterable[Row | None]) -> Family:
    """A family of the table with one sample for each row, and a pause for each None."""
    labels = _BY_NAME[name].labels
    return metric(name), (
        None if row is None else Sample(name, dict(zip(labels, row[0], strict=True)), float(row[1])) for row in rows)


def histograms(name: str, rows: Iterable[Times | None]) -> Family:
    """A family of histograms: of each row the sum of several, with the latest exemplar of each bucket; None is a pause."""
    return metric(name), _histograms(name, rows)


def _histograms(name: str, rows: Iterable[Times | None]) -> Iterator[Sample | None]:
    """The cumulative buckets that Prometheus wants, from ours, which count each value once."""
    labels = _BY_NAME[name].labels
    for row in rows:
        if row is None:
            yield None
            continue
        key, several = row
        named = dict(zip(labels, key, strict=True))
        counts = [sum(column) for column in zip(*(each.buckets for each in several), strict=True)]
        shown = _exemplars(several)
        total = 0
        for index, (bound, total) in enumerate(zip(_BOUNDS, accumulate(counts), strict=True)):  # the last one is the count
            yield Sample(name + "_bucket", {**named, "le": bound}, float(total), None, shown.get(index))
        yield Sample(name + "_sum", named, sum(each.sum_s for each in several))
        yield Sample(name + "_count", named, float(total))


def _exemplars(several: Sequence[Histogram]) -> dict[int, Exemplar]:
    found: dict[int, Exemplar] = {}
    for each in several:
        for index, one in each.exemplars.items():
            if index not in found or found[index].timestamp < one.wall:     # type: ignore[operator]  # ours have one
                found[index] = Exemplar({"trace_id": one.trace_id}, one.value, one.wall)
    return found
