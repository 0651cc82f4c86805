"""Starts `python -m engine.serve` as a user would, and ends it with its standard input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

from engine.profile_files import SHIPPED

Popen = subprocess.Popen[str]


@dataclass(frozen=True)
class LiveServer:
    """A serving process."""

    url: str
    process: Popen

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=10)

    def post(self, path: str, body: object = None, *, raw: bytes | None = None) -> requests.Response:
        return requests.post(self.url + path, json=body, data=raw, timeout=10)

    def metric(self, sample: str) -> float:
        """The value of one sample, named with its labels as on the page, `engine` and `model_name` apart."""
        name, _, labels = sample.partition("{")
        for line in self.get("/metrics").text.splitlines():
            if line.startswith((name + "{", name + " ")) and labels.rstrip("}") in line:
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(sample)


def write_profile(path: Path) -> Path:
    """Steps of 1-2 ms, 16 seats, 16,384 blocks of 128 tokens, contexts of 1,024."""
    raw = yaml.safe_load((SHIPPED / "l40s-8b.yaml").read_text())
    raw["step"] = {"a_ms": 1.0, "b_us": 2, "c_us": 10, "d_ns": 10, "e_ns2": 1}
    raw["engine"] |= {"max_num_seqs": 16, "block_size": 128, "num_gpu_blocks": 16_384, "max_model_len": 1024}
    path.write_text(yaml.safe_dump(raw))
    return path


def launch(*arguments: str) -> Popen:
    """The process, with pipes."""
    command = [sys.executable, "-m", "engine.serve", "--port", "0", "--stdin-lifeline", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def start(*arguments: str) -> Iterator[LiveServer]:
    """A server that is ready."""
    with launch(*arguments) as process:
        try:
            assert process.stdout is not None
            ready = next(line for line in process.stdout if line.startswith("ready on "))
            yield LiveServer(ready.removeprefix("ready on ").strip(), process)
        finally:
            process.kill()
