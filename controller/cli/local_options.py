"""The options of `governor local`, as values that need nothing of the local stack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from controller.model.fields import format_duration, parse_duration_s
from controller.model.problems import RefusedError

MOST_SPAN_S = 31_536_000.0
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")

Engine = Literal["simulated", "vllm"]
Policy = Literal["fleet", "slo", "thresholds", "static"]


def _span_s(text: str) -> float:
    """Seconds of "90", "90s" or "1h30m", at least one."""
    try:
        seconds = float(text) if _NUMBER.fullmatch(text) else parse_duration_s(text)
    except RefusedError as error:
        raise typer.BadParameter(f"{text!r} {error}") from error
    if not 1 <= seconds <= MOST_SPAN_S:
        raise typer.BadParameter(f"{text!r} is not between 1 s and {format_duration(MOST_SPAN_S)}")
    return seconds


ScenarioOption = Annotated[
    str | None,
    typer.Option("--scenario", "-s", help="Shipped name or YAML file; else default, or vllm.", metavar="NAME|FILE"),
]
FleetOption = Annotated[Path | None, typer.Option("--fleet", help="Your own Fleet file, instead of the scenario's.")]
EngineOption = Annotated[Engine, typer.Option("--engine", help="simulated, or vllm: real vLLM on the CPU.")]
PolicyOption = Annotated[
    Policy, typer.Option("--policy", help="fleet: as the Fleet says; static: decide, write nothing.")
]
TraceOption = Annotated[
    Path | None, typer.Option("--trace", help="Replay real arrivals (Azure CSV, Mooncake JSONL; plain or .gz).")
]
RateOption = Annotated[
    float | None,
    typer.Option("--rate", help="Mean requests/s that the played stretch of the trace is thinned or repeated to."),
]
DurationOption = Annotated[
    float | None,
    typer.Option("--duration", help="Of the traffic: 90, 90s, 5m, 1h30m.", parser=_span_s, metavar="SPAN"),
]
ExitOption = Annotated[bool, typer.Option("--exit", help="End when the traffic has ended.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the report as JSON here.", metavar="REPORT")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Of arrivals and lengths.", min=0)]
PagePortOption = Annotated[
    int | None,
    typer.Option("--port", help="Of the live page; 0: a free one. Default: 9470 where free.", min=0, max=65535),
]
ProxyPortOption = Annotated[int, typer.Option("--proxy-port", help="Of Envoy; 0: a free one.", min=0, max=65535)]
PrometheusSwitch = Annotated[bool, typer.Option(help="Use Prometheus where it is installed.")]
RunDirOption = Annotated[Path | None, typer.Option("--run-dir", help="Folder for logs, journal and results.")]
