"""`python -m engine.load`: the load generator as a process of its own, so that measuring disturbs nothing measured."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.errors import UsageError
from engine.load.arrivals import Arrival
from engine.load.client import Target
from engine.load.generator import Generator, LoadSettings
from engine.load.live import Stats
from engine.load.rate import replayed
from engine.load.records import JudgedObjectives, RequestRecord, RunEnd, RunStart, to_line
from engine.load.scenario import Scenario
from engine.load.scenario_file import load_scenario, shipped_scenarios
from engine.load.traces import Trace

_EXAMPLES = """\
examples:
  the traffic of a shipped scenario, against a proxy on port 8080:
    python -m engine.load --target http://127.0.0.1:8080 --scenario step --results step.jsonl
  a recorded hour at 6 requests/s for five minutes (Azure CSV or Mooncake JSONL, plain or .gz):
    python -m engine.load --target http://127.0.0.1:8080 --trace conv.csv.gz --rate 6 --duration 300 \\
        --model meta-llama/Meta-Llama-3.1-8B-Instruct --results replay.jsonl

Arrivals never wait for answers, and TTFT counts from the scheduled arrival. Standard output carries one JSON object a
second; the results file one line for each request. Ends by itself when all is answered; SIGTERM and SIGINT end it at
once and write what there is. Exit status: 0 done, 2 a mistake in what was given.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine.load",
        description="Open-loop load for an OpenAI-compatible completions server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", required=True, metavar="URL", help="base address, http://HOST:PORT")
    add("--results", required=True, metavar="FILE", type=Path, help="JSON lines: run, requests, end")
    add("--scenario", metavar="NAME|FILE", help=f"a YAML file, or one of: {', '.join(shipped_scenarios())}")
    add("--trace", metavar="FILE", type=Path, help="real arrivals and lengths instead of the scenario's")
    add("--rate", metavar="R", type=float, help="mean requests/s of what is played of --trace (default: its own)")
    add(
        "--duration",
        metavar="S",
        type=float,
        help="seconds of arrivals (default: the scenario's, or one lap of a trace)",
    )
    add("--seed", metavar="N", type=int, help="seed of arrivals and lengths (default: the scenario's, else 1)")
    add("--model", metavar="NAME", help="model to ask for (default: the scenario's)")
    add(
        "--max-model-len",
        metavar="N",
        type=int,
        help="shorten requests that do not fit (default for --trace: the server's context)",
    )
    add("--prompt", choices=("words", "ids"), default="words", help="how prompts are written (ids: exact, heavier)")
    add("--stdin-lifeline", action="store_true", help="end when standard input closes: no orphan outlives its parent")
    return parser


@dataclass(frozen=True, slots=True)
class _Job:
    settings: LoadSettings
    arrivals: Iterable[Arrival]


def _job(options: argparse.Namespace) -> _Job:
    """What to send where. Raises UsageError."""
    if options.scenario is None and options.trace is None:
        raise UsageError("nothing to send: give --scenario NAME|FILE or --trace FILE")
    if options.rate is not None and options.trace is None:
        raise UsageError("--rate belongs to --trace; a scenario has rates of its own")
    for name in ("rate", "duration", "max_model_len"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be above 0")
    scenario = load_scenario(options.scenario) if options.scenario is not None else None
    model = options.model or (scenario.fleet.spec.model_name if scenario else None)
    if model is None:
        raise UsageError("--trace without --scenario does not say which model: give --model NAME")
    seed = options.seed if options.seed is not None else (scenario.seed if scenario else 1)
    duration_s = options.duration
    if duration_s is None and scenario is not None and options.trace is None:
        duration_s = scenario.duration_s
    return _Job(_settings(options, scenario, model, seed, duration_s), _arrivals(options, scenario, seed, duration_s))


def _settings(
    options: argparse.Namespace, scenario: Scenario | None, model: str, seed: int, duration_s: float | None
) -> LoadSettings:
    patience = (
        {}
        if scenario is None
        else {
            "request_timeout_s": scenario.stack.request_timeout,
            "answer_timeout_s": scenario.stack.answer_timeout,
        }
    )
    target = Target.parse(options.target)
    limit = options.max_model_len
    if limit is None and options.trace is not None:
        limit = target.max_model_len(model)
    return LoadSettings(
        target=target,
        model=model,
        objectives=scenario.objectives if scenario else JudgedObjectives(),
        duration_s=duration_s,
        max_model_len=limit,
        prompt_form=options.prompt,
        source=str(options.trace or options.scenario),
        seed=seed,
        **patience,
    )


def _arrivals(
    options: argparse.Namespace, scenario: Scenario | None, seed: int, duration_s: float | None
) -> Iterable[Arrival]:
    if options.trace is not None:
        return replayed(Trace(options.trace, seed), options.rate, duration_s, seed)
    return scenario.arrivals(seed) if scenario is not None else ()


class _Shown:
    """Lines on standard output that never block the load: a reader that does not read misses some."""

    def __init__(self) -> None:
        self._fd = sys.stdout.fileno()
        if not stat.S_ISREG(os.fstat(self._fd).st_mode) and not os.isatty(self._fd):
            os.set_blocking(self._fd, False)

    def line(self, value: object) -> None:
        """Write one line, or nothing."""
        text = json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n"
        try:
            os.write(self._fd, text.encode())
        except (BlockingIOError, BrokenPipeError):
            return


class _Lifeline(asyncio.Protocol):
    """Ends the run when standard input closes."""

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        """Asyncio's callback."""
        self._stop("standard input closed")


async def _generate(job: _Job, results: Path, *, lifeline: bool) -> None:
    shown = _Shown()
    with results.open("w", encoding="utf-8") as lines:
        pending: list[str] = []

        def flush() -> None:
            lines.write("".join(pending))
            pending.clear()
            lines.flush()

        def record(value: RunStart | RequestRecord | RunEnd) -> None:
            # Written once a second: a full disk must not break the callback of a socket.
            pending.append(to_line(value))
            if not isinstance(value, RequestRecord):
                shown.line({"type": "run" if isinstance(value, RunStart) else "end", **asdict(value)})

        def show(stats: Stats) -> None:
            flush()
            shown.line({"type": "stats", **asdict(stats)})

        generator = Generator(job.settings, record, show)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, generator.stop, signal.Signals(number).name)
        if lifeline:
            await loop.connect_read_pipe(lambda: _Lifeline(generator.stop), sys.stdin)
        await generator.run(job.arrivals)
        flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - where it is not installed, asyncio's own loop does
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main(arguments: list[str] | None = None) -> int:
    """Run to the end. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        job = _job(options)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_generate(job, options.results, lifeline=options.stdin_lifeline))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.results}: cannot write the results: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
