"""CPU cost of a generated token: `python -m tests.bench.tokens` prints it for the model alone and for a server.

The server streams to this process over loopback, one event a token, at about 7 requests/s of 211 tokens; its CPU
time is read from the kernel. Idle time of the server is included, so is its start.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from random import Random

import psutil

from engine.profile_files import load_profile
from engine.sim.card import card_for
from engine.sim.interface import Request
from engine.sim.replica import Replica

PROMPT_TOKENS, OUTPUT_TOKENS, RPS, DURATION_S = 1164, 211, 7.0, 15.0
PROFILE = "h100-8b"


def model_cost() -> float:
    """CPU seconds a token of the model alone, in virtual time."""
    rng, at, requests = Random(1), 0.0, 2000
    replica = Replica(card_for(load_profile(PROFILE)), seed=1)
    began_s = time.process_time()
    for number in range(requests):
        at += rng.expovariate(RPS)
        replica.submit(Request(str(number), PROMPT_TOKENS, OUTPUT_TOKENS), at)
        replica.advance_to(at)
    replica.advance_to(at + 60.0)
    return (time.process_time() - began_s) / (requests * OUTPUT_TOKENS)


async def ask(port: int) -> int:
    """One streamed completion; returns its events, read as cheaply as can be."""
    body = json.dumps(
        {"prompt": [1] * PROMPT_TOKENS, "max_tokens": OUTPUT_TOKENS, "ignore_eos": True, "stream": True}
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    events = 0
    while data := await reader.read(65536):
        events += data.count(b"data: {")
    writer.close()
    return events


async def load(port: int) -> int:
    """Open-loop Poisson traffic; returns all events received."""
    rng, tasks, end_at = Random(2), [], time.monotonic() + DURATION_S
    while time.monotonic() < end_at:
        tasks.append(asyncio.create_task(ask(port)))
        await asyncio.sleep(rng.expovariate(RPS))
    return sum(await asyncio.gather(*tasks))


def server_cost() -> tuple[float, int, float]:
    """CPU seconds a token of a serving process, tokens streamed, and its busy share of a core."""
    command = [sys.executable, "-m", "engine.serve", "--port", "0", "--cold-start", "0", "--stdin-lifeline"]
    with subprocess.Popen(
        [*command, "--profile", PROFILE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("ready"))
        process = psutil.Process(server.pid)
        before, began_at = sum(process.cpu_times()[:2]), time.monotonic()
        tokens = asyncio.run(load(int(line.rsplit(":", 1)[1])))
        cpu_s = sum(process.cpu_times()[:2]) - before
        return cpu_s / tokens, tokens, cpu_s / (time.monotonic() - began_at)


def main() -> None:
    """Print both."""
    sys.stdout.write(f"model alone: {model_cost() * 1e6:.2f} us a token\n")
    per_token_s, tokens, share = server_cost()
    sys.stdout.write(f"server: {per_token_s * 1e6:.1f} us a token ({tokens} tokens, {share:.1%} of a core)\n")
    sys.stdout.write(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
