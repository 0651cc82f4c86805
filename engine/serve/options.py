"""The command line of a simulated server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import UsageError

_EPILOG = """\
examples:
  python -m engine.serve --port 8000
      an L40S serving Llama-3.1-8B on http://127.0.0.1:8000, after a cold start of about 38 s
  python -m engine.serve --profile h100-8b --model llama --port 0 --cold-start 0
      an H100, ready at once, on a free port that is printed
  curl -s http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
       -d '{"model": "llama", "prompt": "Rivers", "max_tokens": 32, "ignore_eos": true, "stream": true}'

Latencies follow the profile's step law as real cards do (a little slower than kernel tables); the text is synthetic.
Nothing listens before the cold start is over, as with vLLM. SIGTERM aborts what runs; drain before you send it.
"""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How one server shall run."""

    profile: str = "l40s-8b"
    port: int = 8000
    host: str = "127.0.0.1"
    model: str = ""
    """Served model name; empty: the profile's."""
    seed: int = 0
    cold_start_s: float | None = None
    """None: drawn from the profile's stages."""
    prefix_hit_ratio: float = 0.0
    max_num_seqs: int | None = None
    """None: the profile's."""
    never_ready: bool = False
    faults: bool = False
    stdin_lifeline: bool = False


def parse(argv: Sequence[str]) -> ServeOptions:
    """Options from arguments. Raises UsageError for values out of range; exits for --help and unknown arguments."""
    given = _parser().parse_args(argv)
    options = ServeOptions(**vars(given))
    if not 0 <= options.port <= 65535:
        raise UsageError(f"--port {options.port} is no port: choose 1-65535, or 0 for a free one.")
    if options.cold_start_s is not None and not 0 <= options.cold_start_s <= 86_400:
        raise UsageError(f"--cold-start {options.cold_start_s:g} must be between 0 and 86400 seconds.")
    if not 0 <= options.prefix_hit_ratio <= 1:
        raise UsageError(f"--prefix-hit-ratio {options.prefix_hit_ratio:g} must be between 0 and 1.")
    if options.max_num_seqs is not None and options.max_num_seqs < 1:
        raise UsageError(f"--max-num-seqs {options.max_num_seqs} must be at least 1.")
    return options


def _parser() -> argparse.ArgumentParser:
    default = ServeOptions()
    parser = argparse.ArgumentParser(
        prog="python -m engine.serve",
        description="A simulated vLLM server: its OpenAI API and its exact /metrics, without a GPU.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--profile", default=default.profile, help="shipped profile name or profile file (default: %(default)s)")
    add("--port", type=int, default=default.port, help="0: a free one, printed (default: %(default)s)")
    add("--host", default=default.host, help="address to listen on (default: %(default)s)")
    add("--model", default=default.model, help="served model name (default: the profile's model)")
    add("--seed", type=int, default=default.seed, help="same seed, same noise and lengths (default: %(default)s)")
    add(
        "--cold-start",
        type=float,
        dest="cold_start_s",
        metavar="SECONDS",
        help="whole start-up time (default: drawn from the profile's stages)",
    )
    add(
        "--prefix-hit-ratio",
        type=float,
        default=default.prefix_hit_ratio,
        metavar="RATIO",
        help="share of every prompt found in the prefix cache (default: %(default)s)",
    )
    add("--max-num-seqs", type=int, metavar="N", help="requests that run at once, as vLLM's (default: the profile's)")
    add("--never-ready", action="store_true", help="stay in the cold start for ever (for tests)")
    add("--faults", action="store_true", help="take orders to misbehave on POST /faults, from loopback (for tests)")
    add("--stdin-lifeline", action="store_true", help="end when standard input closes, so that no server is orphaned")
    return parser
