"""`python -m engine.serve`: one simulated vLLM server in this process."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from dataclasses import replace

import uvloop
from aiohttp import web

from controller.errors import UsageError
from engine.profile import Profile
from engine.profile_files import load_profile
from engine.serve.app import GpuCard, Server
from engine.serve.faults import Faults
from engine.serve.lengths import AnswerLengths
from engine.serve.lifeline import watch_stdin
from engine.serve.options import ServeOptions, parse
from engine.sim.card import card_for
from engine.sim.cold_start import sample_cold_start
from engine.sim.replica import Replica

MEMORY_MIB = {"l40s": 46_068.0, "h100": 81_559.0, "a10g": 23_028.0, "a100": 81_920.0}
MEMORY_UNKNOWN_MIB = 81_920.0
BACKLOG = 2048
ABORT_S = 0.01
"""What running requests get at the end: nothing, but 0 would mean for ever to the server."""


def main() -> None:
    """Run until a signal or the lifeline ends it. Exit code 2 for a user's mistake."""
    try:
        options = parse(sys.argv[1:])
        profile = with_seats(load_profile(options.profile), options.max_num_seqs)
        with bind(options.host, options.port) as listener:
            uvloop.run(serve(options, profile, listener))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


def with_seats(profile: Profile, max_num_seqs: int | None) -> Profile:
    """The profile with another limit of requests that run at once, where one is given."""
    if max_num_seqs is None:
        return profile
    return replace(profile, limits=replace(profile.limits, max_num_seqs=max_num_seqs))


def bind(host: str, port: int) -> socket.socket:
    """Take the address without listening on it, as vLLM does before it loads. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise _unusable(host, port, error) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from None
    return listener


def _unusable(host: str, port: int, error: OSError) -> UsageError:
    taken = error.errno == errno.EADDRINUSE
    remedy = "choose another --port, or 0 for a free one" if taken else "check --host and --port"
    return UsageError(f"Cannot listen on {host}:{port} ({error.strerror or error}): {remedy}.")


async def serve(options: ServeOptions, profile: Profile, listener: socket.socket) -> None:
    """Cold start, then answer until told to end. Raises UsageError when another process listens by then."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    if options.stdin_lifeline:
        watch_stdin(lambda: loop.call_soon_threadsafe(ending.set))
    host, port = listener.getsockname()[:2]
    if await _ended_while_starting(options, profile, ending):
        return
    runner = web.AppRunner(
        _server(options, profile, port).app(), handler_cancellation=True, access_log=None, shutdown_timeout=ABORT_S
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
    except OSError as error:
        raise _unusable(host, port, error) from None
    _say(f"ready on http://{host}:{port}")
    await ending.wait()
    await runner.cleanup()


def _server(options: ServeOptions, profile: Profile, port: int) -> Server:
    card = card_for(profile, options.prefix_hit_ratio)
    memory_mib = MEMORY_MIB.get(profile.accelerator, MEMORY_UNKNOWN_MIB)
    return Server(
        model_name=options.model or profile.model,
        limits=profile.limits,
        model=Replica(card, options.seed),
        card=GpuCard(profile.accelerator, f"{socket.gethostname()}-{port}", memory_mib),
        lengths=AnswerLengths(options.seed),
        faults=Faults() if options.faults else None,
    )


async def _ended_while_starting(options: ServeOptions, profile: Profile, ending: asyncio.Event) -> bool:
    """Sleep through the stages; True when told to end before they are over."""
    for span in sample_cold_start(profile.cold_start, options.seed, options.cold_start_s):
        _say(f"{span.name}: {span.duration_s:.1f} s")
        if await _ended_within(ending, span.duration_s):
            return True
    if options.never_ready:
        await ending.wait()
    return ending.is_set()


async def _ended_within(ending: asyncio.Event, duration_s: float) -> bool:
    try:
        await asyncio.wait_for(ending.wait(), duration_s)
    except TimeoutError:
        return False
    return True


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
