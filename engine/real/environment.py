"""Where real vLLM lives: a virtual environment of its own, the model it serves, and the variables it runs with.

It is kept apart from the project's own environment because the wheel pins more than a hundred packages, and because
nothing of the project may depend on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.errors import UsageError

HOME_VARIABLE = "GOVERNOR_VLLM_HOME"
"""Environment variable: the folder of the virtual environment, instead of the default."""

_MARKER = "governor-vllm.json"
_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
"""Nothing is fetched and nothing is reported when it runs."""


@dataclass(frozen=True, slots=True)
class VllmHome:
    """The folder of the virtual environment and what lies in it."""

    root: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "bin" / "python"

    @property
    def model(self) -> Path:
        """Folder of the tiny model."""
        return self.root / "models" / "tiny"

    @property
    def cache(self) -> Path:
        """Where vLLM keeps what it compiled, instead of in the user's home."""
        return self.root / "vllm-cache"

    def installed(self) -> Mapping[str, str]:
        """What an installation that was completed wrote about itself; empty when there is none."""
        try:
            facts = json.loads((self.root / _MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and self.python.exists() else {}

    def mark_installed(self, facts: Mapping[str, str]) -> None:
        """Write that the installation is complete. Raises OSError."""
        (self.root / _MARKER).write_text(json.dumps(dict(facts), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def require_installed(self) -> None:
        """Raise UsageError, with the command that mends it, when vLLM is not installed here."""
        if not self.installed():
            raise UsageError(
                f"real vLLM is not installed in {self.root}: run `python -m engine.real.install`, which says how much "
                f"it downloads (or set {HOME_VARIABLE} to the folder where it is)"
            )


def vllm_home(root: str | Path | None = None) -> VllmHome:
    """`root`, else what the environment variable names, else `.venv-vllm` in a checkout, else a cache folder."""
    chosen = root or os.environ.get(HOME_VARIABLE)
    return VllmHome(Path(chosen).expanduser().absolute() if chosen else _default_root())


def _default_root() -> Path:
    if (_CHECKOUT / "pyproject.toml").is_file():
        return _CHECKOUT / ".venv-vllm"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "vllm-governor" / "venv-vllm"


def script(name: str) -> Path:
    """A file of this package that is run by the environment's interpreter, which cannot import the package."""
    return _HERE / name
