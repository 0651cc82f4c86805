"""Every PromQL text of the product, as named pure functions with their window, labels and unit.

All of them aggregate by (namespace, model_name, variant), so that their number and the size of the answers do not
depend on how many pods there are. A query may carry several legs, told apart by the label `leg`. Names of
other vLLM versions are asked for inside the aggregation (`new or old`), because a canary that changes the version
is exactly when names change. Rates are taken for each series and then summed, which survives counter resets, births
and deaths. Dashboards and alerts draw these very texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from controller.settings import MetricLabels
from engine.metrics import (
    ENVOY_CLUSTER_LABEL,
    ENVOY_NONE_HEALTHY,
    GPU_ACTIVE_RATIO,
    GPU_MEMORY_FREE_MIB,
    GPU_MEMORY_USED_MIB,
    GPU_UTIL_PERCENT,
    family_markers,
    names_for,
    prefixed,
)

LEG = "leg"
"""Label that tells the legs of one query apart."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query is about: label names, windows, and which series belong to vLLM, DCGM and Envoy."""

    window_s: float
    """Window of rates."""
    stale_after_s: float
    """Age above which an engine's sample does not count as reported."""
    labels: MetricLabels = field(default_factory=MetricLabels)
    matchers: tuple[tuple[str, str], ...] = ()
    """Further label = value pairs that vLLM's series must carry, such as ("job", "vllm")."""
    gpu_namespace: str = "namespace"
    """DCGM's label for the pod's namespace (`exported_namespace` where the exporter's labels are not honoured)."""
    gpu_pod: str = "pod"
    """DCGM's label for the pod (`exported_pod` likewise)."""
    envoy_matchers: tuple[tuple[str, str], ...] = (("job", "envoy"),)
    """Label = value pairs of the proxies' series."""
    only: tuple[str, ...] = ()
    """Finished matchers that narrow vLLM's series to a few fleets; see `narrowed`."""

    @property
    def by(self) -> str:
        """The grouping of every answer."""
        return f"{self.labels.namespace}, {self.labels.model_name}, {self.labels.variant}"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL text: what it yields, in which unit, over which window."""

    name: str
    promql: str
    legs: tuple[str, ...]
    unit: str
    window_s: float = 0.0
    """Length of the range it looks at; 0 for an instant."""
    split: str = ""
    """Label, besides the grouping, that distinguishes rows; empty when there is none."""


def quote(text: str) -> str:
    """A PromQL string literal; nothing in `text` can end it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def duration(seconds: float) -> str:
    """A PromQL duration, exact to the millisecond."""
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{round(seconds)}s"


def edge_pattern(edges: Iterable[float]) -> str:
    """Regular expression for the `le` values of these edges and +Inf, as "1" and as "1.0"."""
    return "|".join([*(_edge(edge) for edge in sorted(set(edges))), r"\+Inf"])


def _edge(edge: float) -> str:
    whole = f"{edge:.0f}"
    return rf"{whole}(\.0)?" if float(whole) == edge else re.escape(repr(edge))


def _braces(pairs: Iterable[str]) -> str:
    inside = ",".join(pairs)
    return f"{{{inside}}}" if inside else ""


def _equal(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}={quote(value)}" for name, value in pairs]


def series(scope: Scope, name: str, *more: str) -> str:
    """Selector of one vLLM metric. `model_name` must be there: a router's copies of the engine's names lack it."""
    return name + _braces([f'{scope.labels.model_name}!=""', *_equal(scope.matchers), *scope.only, *more])


def narrowed(scope: Scope, wanted: Iterable[tuple[str, str]]) -> Scope:
    """The scope, looking only at series that the wanted (namespace, model name) pairs may have.

    For a look at a few fleets among many: it may let through a pair that was not wanted, never hide one that was.
    """
    pairs = sorted(set(wanted))
    return replace(scope, only=tuple(_one_of(scope, pairs)))


def _one_of(scope: Scope, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for at, label in enumerate((scope.labels.namespace, scope.labels.model_name)):
        yield f"{label}=~{quote('|'.join(re.escape(value) for value in sorted({pair[at] for pair in pairs})))}"


def newest(scope: Scope, measure: str) -> str:
    """The gauge of a measure by its newest name that an engine exposes."""
    return " or ".join(series(scope, name) for name in names_for(measure, scope.labels.metric_prefix))


def gauge(scope: Scope, measure: str) -> str:
    """The gauge of a measure that has kept its name in all versions: a selector, so `timestamp` and `offset` apply.

    Raises ValueError for a measure with several names.
    """
    (name,) = names_for(measure, scope.labels.metric_prefix)
    return series(scope, name)


def rates(scope: Scope, measures: Iterable[str], suffix: str = "", *more: str) -> str:
    """Rate of each series of a counter (or of a histogram's part) by its newest name; measures are tried in order."""
    names = chain.from_iterable(names_for(measure, scope.labels.metric_prefix) for measure in measures)
    window = duration(scope.window_s)
    return " or ".join(f"rate({series(scope, name + suffix, *more)}[{window}])" for name in names)


def summed(scope: Scope, vector: str) -> str:
    """Sum over replicas and engines."""
    return f"sum by ({scope.by}) ({vector})"


def union(legs: Mapping[str, str]) -> str:
    """One vector out of several, each marked with its leg's name."""
    return " or ".join(f'label_replace({text}, "{LEG}", "{leg}", "", "")' for leg, text in legs.items())


def _query(name: str, legs: Mapping[str, str], unit: str, window_s: float = 0.0) -> Query:
    return Query(name, union(legs), tuple(legs), unit, window_s, LEG)


def source_time() -> Query:
    """The source's own clock, UTC seconds. Every other query of a tick is evaluated at this instant."""
    return Query("source_time", "time()", ("source_time",), "seconds")


def vitals(scope: Scope) -> Query:
    """Who reports, and how old it is: engines and replicas with a recent sample, age of the oldest sample.

    `distinct` counts the same engines once each: fewer of them than `engines` means duplicated series.
    """
    by, pod = scope.by, scope.labels.pod
    age = f"time() - timestamp({gauge(scope, 'running')})"
    recent = f"({age} <= {scope.stale_after_s:g})"
    return _query(
        "vitals",
        {
            "engines": f"count by ({by}) {recent}",
            "distinct": f"count by ({by}) (group by ({by}, instance, {pod}, engine) {recent})",
            "replicas": f"count by ({by}) (group by ({by}, instance, {pod}) {recent})",
            "age": f"max by ({by}) ({age})",
        },
        "engines, replicas, seconds",
    )


def load(scope: Scope) -> Query:
    """Requests running and waiting, by the newest samples."""
    return _query("load", {leg: summed(scope, gauge(scope, leg)) for leg in ("running", "waiting")}, "requests")


def load_before(scope: Scope) -> Query:
    """Running + waiting one window ago, how many replicas reported then, and how old the newest sample was."""
    back = f"offset {duration(scope.window_s)}"
    running = f"{gauge(scope, 'running')} {back}"
    waiting = f"{gauge(scope, 'waiting')} {back}"
    total = f"{summed(scope, running)} + {summed(scope, waiting)}"
    age = f"min by ({scope.by}) (time() - {scope.window_s:g} - timestamp({running}))"
    replicas = f"count by ({scope.by}) (group by ({scope.by}, instance, {scope.labels.pod}) ({running}))"
    legs = {"before": total, "before_replicas": replicas, "before_age": age}
    return _query("load_before", legs, "requests, replicas, seconds", scope.window_s)


def kv_usage(scope: Scope) -> Query:
    """Share of KV blocks in use: mean and worst engine."""
    usage = newest(scope, "kv_usage")
    legs = {f"kv_{how}": f"{how} by ({scope.by}) ({usage})" for how in ("avg", "max")}
    return _query("kv_usage", legs, "ratio")


def kv_capacity(scope: Scope) -> Query:
    """KV blocks and their size, as label values, by how many engines.

    vLLM does not put the model's name on this metric: it is taken from the same engine's load.
    """
    names = scope.labels
    own = f"{names.namespace}, instance, {names.pod}, engine"
    info = f"{names_for('cache_config', names.metric_prefix)[0]}{_braces(_equal(scope.matchers))}"
    joined = f"{info} * on ({own}) group_left ({names.model_name}, {names.variant}) {_one_for_each(scope, own)}"
    text = f"count by ({scope.by}, num_gpu_blocks, block_size) ({joined})"
    return Query("kv_capacity", text, ("kv_capacity",), "engines", split="num_gpu_blocks")


def _one_for_each(scope: Scope, own: str) -> str:
    """Exactly one series of value 1 for each engine or pod: a doubled one must not fail the join for everybody."""
    labels = f"{scope.by}, instance, {scope.labels.pod}, engine"
    return f"topk by ({own}) (1, group by ({labels}) ({gauge(scope, 'running')}))"


def within(scope: Scope, name: str, measures: Iterable[str], edges: Iterable[float]) -> Query:
    """Rates of a histogram's events at or below the given edges, and of all (+Inf)."""
    buckets = rates(scope, measures, "_bucket", f"le=~{quote(edge_pattern(edges))}")
    return Query(name, f"sum by ({scope.by}, le) ({buckets})", (name,), "events/second", scope.window_s, "le")


def ttft(scope: Scope, edges: Iterable[float]) -> Query:
    """First tokens per second, within the objectives' edges and in all."""
    return within(scope, "ttft", ("ttft",), edges)


def tpot(scope: Scope, edges: Iterable[float]) -> Query:
    """Finished requests per second by their time per output token; before vLLM 0.11, tokens by their latency."""
    return within(scope, "tpot", ("tpot", "itl"), edges)


def itl(scope: Scope) -> Query:
    """Inter-token latency: seconds summed per second, and tokens per second; their ratio is the mean."""
    legs = {f"itl_{part}": summed(scope, rates(scope, ("itl",), f"_{part}")) for part in ("sum", "count")}
    return _query("itl", legs, "seconds/second, tokens/second", scope.window_s)


def tokens(scope: Scope) -> Query:
    """Prompt tokens admitted (cached ones among them), prompt tokens found in a cache, tokens generated."""
    legs = {leg: summed(scope, rates(scope, (leg,))) for leg in ("prompt", "cached", "generated")}
    return _query("tokens", legs, "tokens/second", scope.window_s)


def work(scope: Scope) -> Query:
    """Requests finished for whatever reason, engine steps, preemptions."""
    legs = {
        "finished": summed(scope, rates(scope, ("finished",))),
        "steps": summed(scope, rates(scope, ("steps",), "_count")),
        "preemptions": summed(scope, rates(scope, ("preemptions",))),
    }
    return _query("work", legs, "events/second", scope.window_s)


def gpu(scope: Scope) -> Query:
    """GPU utilisation and memory in use of the variant's pods, as ratios, and the age of the oldest sample.

    DCGM knows pods, not models: the model and variant are taken from vLLM's series of the same pod.
    """
    own = f"{scope.labels.namespace}, {scope.labels.pod}"
    there = f"{scope.labels.model_name}, {scope.labels.variant}"

    def of_variant(how: str, vector: str) -> str:
        joined = f"{_gpu_pod(scope, vector)} * on ({own}) group_left ({there}) {_one_for_each(scope, own)}"
        return f"{how} by ({scope.by}) ({joined})"

    busy = f"({GPU_UTIL_PERCENT} / 100 or {GPU_ACTIVE_RATIO})"
    memory = f"({GPU_MEMORY_USED_MIB} / ({GPU_MEMORY_USED_MIB} + {GPU_MEMORY_FREE_MIB}))"
    age = f"(time() - (timestamp({GPU_UTIL_PERCENT}) or timestamp({GPU_ACTIVE_RATIO})))"
    legs = {"gpu": of_variant("avg", busy), "gpu_memory": of_variant("avg", memory), "gpu_age": of_variant("max", age)}
    return _query("gpu", legs, "ratio, seconds")


def _gpu_pod(scope: Scope, vector: str) -> str:
    pairs = ((scope.labels.namespace, scope.gpu_namespace), (scope.labels.pod, scope.gpu_pod))
    for wanted, exposed in pairs:
        if wanted != exposed:
            vector = f'label_replace({vector}, "{wanted}", "$1", "{exposed}", "(.+)")'
    return vector


def refused(scope: Scope) -> Query:
    """Requests that the proxies turned away for lack of a healthy replica, by proxy cluster, and the samples' age."""
    counter = ENVOY_NONE_HEALTHY + _braces(_equal(scope.envoy_matchers))
    legs = {
        "refused": f"sum by ({ENVOY_CLUSTER_LABEL}) (rate({counter}[{duration(scope.window_s)}]))",
        "refused_age": f"max by ({ENVOY_CLUSTER_LABEL}) (time() - timestamp({counter}))",
    }
    return _query("refused", legs, "requests/second, seconds", scope.window_s)


def exposed_names(scope: Scope) -> Query:
    """Which of the names that tell vLLM's versions apart are there. Heavier than the others: ask seldom."""
    names = (prefixed(name, scope.labels.metric_prefix) for name in family_markers())
    matcher = f"__name__=~{quote('|'.join(re.escape(name) for name in names))}"
    selector = _braces([matcher, f'{scope.labels.model_name}!=""', *_equal(scope.matchers)])
    return Query("exposed_names", f"group by (__name__, {scope.by}) ({selector})", ("names",), "info", split="__name__")


def pressure(scope: Scope) -> Query:
    """Running + waiting in one number, by the newest samples: the light query between two ticks."""
    return Query("pressure", summed(scope, _requests(scope)), ("pressure",), "requests")


def _requests(scope: Scope) -> str:
    names = (*names_for("running", scope.labels.metric_prefix), *names_for("waiting", scope.labels.metric_prefix))
    matcher = f"__name__=~{quote('|'.join(re.escape(name) for name in names))}"
    return _braces([matcher, f'{scope.labels.model_name}!=""', *_equal(scope.matchers), *scope.only])


def replica_load(scope: Scope, wanted: Iterable[tuple[str, str]]) -> Query:
    """Running + waiting of each replica of the wanted (namespace, model name) pairs: for choosing who leaves."""
    only = narrowed(scope, wanted)
    text = f"sum by ({scope.by}, {scope.labels.pod}) ({_requests(only)})"
    return Query("replica_load", text, ("replica_load",), "requests", split=scope.labels.pod)


def tick_queries(scope: Scope, ttft_edges: Iterable[float], tpot_edges: Iterable[float]) -> tuple[Query, ...]:
    """What every tick asks for, whatever the number of fleets; `source_time` goes before them."""
    return (
        vitals(scope),
        load(scope),
        load_before(scope),
        kv_usage(scope),
        kv_capacity(scope),
        ttft(scope, ttft_edges),
        tpot(scope, tpot_edges),
        itl(scope),
        tokens(scope),
        work(scope),
        gpu(scope),
        refused(scope),
    )
