"""`make cluster`: a control plane with GPU nodes and istiod, until Ctrl-C."""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.errors import GovernorError, UsageError
from engine.local.interrupts import Interrupts
from tests.cluster.plane.binaries import install
from tests.cluster.plane.pins import KUBECTL, KUBERNETES
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.stages import COLD_START

_CHECK_EVERY_S = 1.0
_COLD = json.dumps({"spec": {"template": {"metadata": {"annotations": {COLD_START: "30s"}}}}}, separators=(",", ":"))
_NODES = (("l40s-0", 4, "l40s"), ("l40s-1", 4, "l40s"), ("h100-0", 8, "h100"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def _only_one(run_dir: Path) -> Iterator[None]:
    """Raise UsageError when another plane runs in the folder."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = (run_dir / "lock").open("w")
    except OSError as error:
        raise UsageError(f"the run folder {run_dir} cannot be used: {error.strerror}; give --run-dir") from error
    with lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"a cluster already runs in {run_dir}: end it, or give another --run-dir") from error
        yield


def _introduction(plane: ControlPlane, took_s: float) -> str:
    kubectl = plane.binaries.program(KUBECTL)
    return f"""
Kubernetes {KUBERNETES} with istiod runs at {plane.server}, after {took_s:.0f} s. Logs: {plane.run_dir}/logs

  export KUBECONFIG={plane.kubeconfig}
  alias kubectl={kubectl}

Things to try:
  kubectl get nodes -L governor.dev/accelerator
  kubectl create deployment chat --image=vllm --replicas=3 && kubectl get pods -w
  kubectl patch deployment chat -p '{_COLD}'
  kubectl get crds | grep -e istio -e monitoring

Pods have no processes: they only look alive. Ctrl-C ends everything."""


def _hold(run_dir: Path, *, istiod: bool) -> None:
    binaries = install()
    begun = time.monotonic()
    with _only_one(run_dir), ControlPlane(run_dir, istiod=istiod, binaries=binaries) as plane:
        plane.install_crds("istio", "prometheus-operator", "gateway-api")
        for name, gpus, accelerator in _NODES:
            plane.add_node(name, gpus=gpus, accelerator=accelerator)
        _say(_introduction(plane, time.monotonic() - begun))
        while True:
            plane.check()
            time.sleep(_CHECK_EVERY_S)


def main() -> int:
    """The command: 0 after Ctrl-C or SIGTERM, 2 for what the user can mend, 1 for the rest."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.plane", description=__doc__)
    parser.add_argument("--run-dir", type=Path, default=Path(".governor/cluster"), help="where files and logs go")
    parser.add_argument("--no-istiod", action="store_true", help="Kubernetes alone")
    options = parser.parse_args()
    interrupts = Interrupts()
    interrupts.catch()
    try:
        _hold(options.run_dir, istiod=not options.no_istiod)
    except KeyboardInterrupt:
        _say("ended")
    except GovernorError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    finally:
        interrupts.restore()
    return 0


if __name__ == "__main__":
    sys.exit(main())
