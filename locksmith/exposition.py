"""The door to prometheus-client: how values become a page of metrics.

The ideas a reader would miss. What is computed when it is asked for is a `Collected`; so nothing has to be kept up to date.
Every value of a label that is a closed word is written from the start with 0, for an alert cannot see a series that does not
exist yet; an instant that has not come is left out, for 0 would be 1970.
"""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from locksmith import __version__
from locksmith.web import Page

__all__ = [
    "CollectorRegistry",
    "Counter",
    "Histogram",
    "Metric",
    "build_info",
    "each",
    "histograms",
    "instant",
    "one",
    "page",
    "registry",
    "rows",
    "total",
]


def registry(collect: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """A registry of what `collect` gives when it is asked, and of what the process itself costs."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    made = CollectorRegistry()
    made.register(_Collected(collect))
    ProcessCollector(registry=made)
    return made


class _Collected(Collector):
    """What is computed when it is asked for."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        return self._collect()


def page(of: CollectorRegistry) -> Page:
    """What Prometheus reads."""
    return Page(generate_latest(of), content_type=CONTENT_TYPE_LATEST)


def build_info() -> Metric:
    """What runs here; agents and gateways call it the same."""
    build = GaugeMetricFamily("locksmith_build_info", "What runs here.", labels=["version", "python"])
    build.add_metric([__version__, platform.python_version()], 1)
    return build


def one(name: str, text: str, value: float | None) -> Metric:
    """One value, or none."""
    return GaugeMetricFamily(name, text, value=None if value is None else float(value))


def each(name: str, text: str, label: str, values: Mapping[str, float | None]) -> Metric:
    """One value for each word of one label; a word with None has none."""
    return rows(name, text, (label,), {(word,): value for word, value in values.items()})


def rows(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float | None]) -> Metric:
    """One value for each combination of labels; one with None has none."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for words, value in values.items():
        if value is not None:
            family.add_metric(words, float(value))
    return family


def total(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """One value for each word of one label, of what only grows; `_total` is added to the name."""
    family = CounterMetricFamily(name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], float(value))
    return family


def histograms(
    name: str, text: str, label: str, bounds: Sequence[float], values: Mapping[str, tuple[Sequence[int], float]]
) -> Metric:
    """For each word of one label how many stand in each bucket, one more than bounds (not added up yet), and their sum."""
    family = HistogramMetricFamily(name, text, labels=[label])
    written = [*(str(float(bound)) for bound in bounds), "+Inf"]
    for word, (counts, summed) in values.items():
        below = [float(sum(counts[: place + 1])) for place in range(len(written))]
        family.add_metric([word], buckets=list(zip(written, below, strict=True)), sum_value=summed)
    return family


def instant(moment: datetime) -> float:
    """As Prometheus counts time: seconds since 1970."""
    return moment.timestamp()
