"""Fleets whose parts are each well formed, and often contradict each other: for comparing two judges of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_NAMES = ("v1", "v2", "v3")
_SUBSETS = ("v1", "canary")
_BOUNDS = st.integers(0, 6)
_COSTS = st.sampled_from((0.5, 2, 4.25))
_TIMES = st.sampled_from(("00:00", "00:00:00", "08:00", "08:00:00", "18:30"))
_DURATIONS = st.sampled_from(
    ("0s", "1d", "24h", "1d0.5h", "1470m", "86400s", "86400000ms", "0.5d", "12h0.000001s", "90s")
)
_LATENCIES = st.sampled_from(("1s", "1000ms", "0.75s", "50ms", "0.05s", "60ms", "2.5s", "1h", "2560s", "1s0.001ms"))
_EDGES = st.lists(st.sampled_from(("10ms", "50ms", "0.05s", "1s", "1000ms", "1.5s")), min_size=1, max_size=3)
_STEPS = st.sampled_from(([], [100], [5, 100], [50, 10, 100], [10, 10, 100], [0, 100], [50], [10, 50, 120]))


def _fields(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


_REPLICAS = _fields({}, min=_BOUNDS, max=st.integers(1, 6))
_SCHEDULE = _fields(
    {"from": _TIMES, "to": _TIMES | st.just("24:00")},
    variant=st.sampled_from(("v1", "v2", "v9")),
    min=_BOUNDS,
    max=_BOUNDS,
)
_UNTIL = {"until": st.just("2026-12-24T18:00:00Z"), "reason": st.just("launch")}
_SCALING = {
    "maxCostPerHour": st.sampled_from((0.5, 2, 8, 20, 60)),
    "thresholds": _fields(
        {}, gpuUp=st.sampled_from((0.2, 0.3, 0.9)), queueUp=st.integers(3, 6), queueDown=st.integers(3, 6)
    ),
    "override": _fields(
        {"replicas": st.dictionaries(st.sampled_from(("v1", "v2", "v9")), _BOUNDS, min_size=1, max_size=2), **_UNTIL}
    ),
    "coldStart": _DURATIONS,
    "startDeadline": _DURATIONS,
    "schedules": st.lists(_SCHEDULE, min_size=1, max_size=2),
}
_ROUTE = {"virtualService": st.just({"name": "vllm", "route": "primary"})}
_ROLLOUT = _fields(
    _ROUTE,
    mode=st.sampled_from(("canary", "blueGreen", "preview")),
    steps=_STEPS,
    capacity=st.sampled_from(("surge", "swap")),
    bake=_DURATIONS,
    maxStepTime=_DURATIONS,
)
_WEIGHTS = st.dictionaries(st.sampled_from((*_SUBSETS, "v9")), st.sampled_from((0, 50, 100)), min_size=1, max_size=2)
_OBJECTIVE = _fields({"threshold": _LATENCIES}, bucketEdges=_EDGES)
_PARTS = {
    "rollout": _ROLLOUT,
    "traffic": _fields({**_ROUTE, "weights": _WEIGHTS}),
    "objectives": _fields({}, ttft=_OBJECTIVE, tpot=_OBJECTIVE),
}
_WILD = ("targets", "subsets", "replicas", *_SCALING, *_PARTS)
"""What may be odd; of a fleet only few parts are, or one contradiction would hide another."""


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A spec that passes the structural schema."""
    wild = draw(st.lists(st.sampled_from(_WILD), min_size=1, max_size=3, unique=True))
    spec: dict[str, Any] = {"modelName": "llama", "host": "vllm", "variants": draw(_variants(wild))}
    scaling = {name: draw(values) for name, values in _SCALING.items() if name in wild}
    for index, schedule in enumerate(scaling.get("schedules", ())):
        schedule["name"] = f"s{index}"
    parts = {name: draw(values) for name, values in _PARTS.items() if name in wild}
    return spec | parts | ({"scaling": scaling} if scaling else {})


@st.composite
def _variants(draw: st.DrawFn, wild: list[str]) -> list[dict[str, Any]]:
    targets = st.sampled_from(("vllm", "other")) if "targets" in wild else None
    subsets = st.sampled_from(_SUBSETS) if "subsets" in wild else None
    replicas = _REPLICAS if "replicas" in wild else st.just({"min": 1, "max": 4})
    return [
        {
            "name": name,
            "scaleTargetRef": {"name": draw(targets) if targets is not None else f"vllm-{name}"},
            "subset": draw(subsets) if subsets is not None else _SUBSETS[index % 2],
            "accelerator": "l40s",
            "costPerHour": draw(_COSTS),
            "replicas": draw(replicas),
        }
        for index, name in enumerate(_NAMES[: draw(st.integers(1, 3))])
    ]
