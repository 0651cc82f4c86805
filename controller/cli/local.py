"""`governor local`: the whole system on this machine, live in the terminal and in the browser."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

from controller.cli import local_options as option
from controller.errors import UsageError

_NEEDED = ("aiohttp", "envoy", "psutil", "uvloop")
"""What the extra `local` brings."""


def local(
    scenario: option.ScenarioOption = None,
    fleet: option.FleetOption = None,
    engine: option.EngineOption = "simulated",
    policy: option.PolicyOption = "fleet",
    trace: option.TraceOption = None,
    rate: option.RateOption = None,
    duration: option.DurationOption = None,
    exit_: option.ExitOption = False,
    json_report: option.JsonOption = None,
    seed: option.SeedOption = None,
    port: option.PagePortOption = None,
    proxy_port: option.ProxyPortOption = 0,
    prometheus: option.PrometheusSwitch = True,
    run_dir: option.RunDirOption = None,
) -> None:
    """Run everything on this machine: a fleet behind Envoy, traffic, Prometheus and the daemon that scales it.

    Ends with Ctrl-C, or by itself with --exit or --duration. Prints what clients saw and what it cost.

    Exit code 0; 2 for a mistake in what was given or a part that failed; 3 for a run that the machine was too busy for.

    Examples:
      governor local
      governor local --scenario step --exit --json report.json
      governor local --engine vllm
      governor local --trace AzureLLMInferenceTrace_conv.csv.gz --rate 6 --duration 5m
    """
    session = _session()
    run = session.run_of(scenario, fleet, engine, policy, trace, rate, duration, seed, port)
    options = session.StackOptions(
        run_dir=run_dir,
        scrape_interval_s=run.scenario.stack.scrape_interval,
        proxy_port=proxy_port,
        prometheus=prometheus,
    )
    session.play(run, options, json_report, until_end=exit_ or duration is not None)


def _session() -> ModuleType:
    """The local stack, which the daemon does without. Raises UsageError where the extra is not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"`governor local` needs the extra `local` ({' and '.join(missing)} not installed): "
            "pip install 'vllm-governor[local]'"
        )
    from controller.cli import local_session  # noqa: PLC0415 - no other command waits for it, or needs the extra

    return local_session
