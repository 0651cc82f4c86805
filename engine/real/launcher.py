"""How one replica of real vLLM is started: its command line and environment, for the local supervisor.

Every server has three processes: API server, engine core and a resource tracker. They share a process group, and
SIGTERM to the first ends all of them; what it aborts must have been drained before.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from controller.errors import UsageError
from controller.model.fields import Model
from engine.local.launch import Command, Launch
from engine.local.ports import LOOPBACK
from engine.real.environment import OFFLINE, VllmHome, script, vllm_home

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class ServerOptions(Model):
    """The arguments of `vllm serve` that matter here, with values that suit a small machine."""

    max_num_seqs: Count = 2
    """Seats: few, so that one replica is full while the machine has a core left for a second one."""
    max_model_len: Count = 1024
    """Tokens."""
    num_gpu_blocks_override: Count = 65
    """KV blocks (of 128 tokens on the CPU; one is reserved). vLLM would else reserve a whole GiB."""
    enforce_eager: bool = True
    """No compilation: halves the start."""
    extra: tuple[str, ...] = ()
    """Further arguments, as they are."""

    def argv(self) -> tuple[str, ...]:
        """As arguments of `vllm serve`."""
        return (
            *("--max-num-seqs", str(self.max_num_seqs)),
            *("--max-model-len", str(self.max_model_len)),
            *("--num-gpu-blocks-override", str(self.num_gpu_blocks_override)),
            *(("--enforce-eager",) if self.enforce_eager else ()),
            *self.extra,
        )


def server_command(
    home: VllmHome, port: int, served_model_name: str, options: ServerOptions, model: Path | None = None
) -> Command:
    """One server on the loopback interface. `model` is a model's folder, else the tiny one."""
    argv = (str(home.python), "-P", str(script("vllm_entry.py")), "serve", str(model or home.model))
    address = ("--host", LOOPBACK, "--port", str(port), "--served-model-name", served_model_name)
    # In one process the worker does not spin while it waits for the engine core, which would take a second core.
    executor = ("--distributed-executor-backend", "uni")
    return Command((*argv, *address, *executor, *options.argv()), _environment(home))


def _environment(home: VllmHome) -> Mapping[str, str]:
    return {
        **OFFLINE,
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        # The platform accepts the executor above only so; the server has its engine core in a process either way.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CACHE_ROOT": str(home.cache),
        "PYTHONUNBUFFERED": "1",
    }


class RealLauncher:
    """The local supervisor's launcher for real vLLM.

    `home` is where vLLM is installed, `options` are fields of ServerOptions. Raises UsageError when it is not
    installed, or an option is unknown: before anything is started.
    """

    def __init__(self, home: str | None = None, **options: Any) -> None:
        self._home = vllm_home(home)
        self._home.require_installed()
        self._options = server_options(options)

    def command(self, launch: Launch) -> Command:
        """The command of one replica."""
        return server_command(self._home, launch.port, launch.model, self._options)


def server_options(values: Mapping[str, Any]) -> ServerOptions:
    """Options from a configuration. Raises UsageError for an unknown one or an impossible value."""
    try:
        return ServerOptions.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"vLLM option {where}: {first['msg']}") from error
