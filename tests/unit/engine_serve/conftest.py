"""Live simulated servers on free ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.unit.engine_serve.servers import LiveServer, start, write_profile


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fast card with the limits of the server that recorded load.prom."""
    return write_profile(tmp_path_factory.mktemp("profile") / "tiny.yaml")


@pytest.fixture(scope="module")
def server(profile: Path) -> Iterator[LiveServer]:
    """A server for one module of tests."""
    with start("--profile", str(profile), "--model", "tiny", "--cold-start", "0", "--faults") as live:
        yield live


@pytest.fixture
def client(server: LiveServer) -> Iterator[OpenAI]:
    """The official client."""
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=20) as client:
        yield client
