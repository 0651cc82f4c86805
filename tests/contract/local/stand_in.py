"""Stands in for `governor local` where the whole program has to be killed: a stack, a daemon and a load that idle."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from engine.local.config import FleetConfig
from engine.local.stack import LocalStack, StackOptions
from tests.contract.local.rigs import tiny_config, tiny_fleet

IDLE = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


def main(run_dir: Path) -> None:
    config = tiny_config(FleetConfig.of(tiny_fleet(), replicas={"v1": 2}))
    with LocalStack(config, StackOptions(run_dir=run_dir)) as stack:
        stack.start_daemon(IDLE)
        stack.start_load(IDLE)
        stack.wait_until_ready(20)
        print("up", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
