"""Reads capacity profiles: the shipped ones by name, one's own by path.

Every problem of a file is named at once, with its place, its value and the remedy.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from controller.errors import UsageError
from engine.profile import ColdStartStage, EngineLimits, Grade, Profile, Provenance, StepLaw

SHIPPED = Path(__file__).parent / "profiles"

Text = Annotated[str, Field(min_length=1, max_length=500)]
Count = Annotated[int, Field(ge=1, le=100_000_000)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Engine(_Part):
    max_num_batched_tokens: Count
    max_num_seqs: Count
    block_size: Count
    num_gpu_blocks: Count
    max_model_len: Count

    @model_validator(mode="after")
    def _one_request_fits(self) -> _Engine:
        room = (self.num_gpu_blocks - 1) * self.block_size
        if room < self.max_model_len:
            raise ValueError(
                f"{self.num_gpu_blocks} blocks of {self.block_size} tokens (one is reserved) hold {room} tokens, "
                f"less than one request of max_model_len {self.max_model_len}: lower it, or correct num_gpu_blocks"
            )
        return self


class _Step(_Part):
    a_ms: Positive
    b_us: NonNegative
    c_us: NonNegative
    d_ns: NonNegative
    e_ns2: NonNegative


class _Overhead(_Part):
    api_ms: NonNegative = 0


class _Stage(_Part):
    name: Text
    median_s: NonNegative
    cv: Annotated[float, Field(ge=0, le=5)] = 0.2


class _Provenance(_Part):
    grade: Grade
    source: Text
    error: Text


class _File(_Part):
    name: Text
    model: Text
    accelerator: Text
    gpus_per_replica: Count = 1
    engine: _Engine
    step: _Step
    overhead: _Overhead = _Overhead()
    cold_start: Annotated[list[_Stage], Field(min_length=1)]
    cost_per_gpu_hour: Positive
    provenance: _Provenance


def shipped_names() -> tuple[str, ...]:
    """Names of the profiles that come with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or any profile file by path. Raises UsageError naming every problem."""
    text = str(name_or_path)
    if text in shipped_names():
        return _read(SHIPPED / f"{text}.yaml")
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml", ".json")):
        return _read(Path(text))
    raise UsageError(
        f"There is no profile named {text!r}: name one of {', '.join(shipped_names())}, "
        "or give the path of a profile file (./name.yaml)."
    )


def find_profile(model: str, accelerator: str) -> Profile:
    """The shipped profile of a model on an accelerator. Raises UsageError with what exists.

    The organisation before the slash, case, and the older prefix "Meta-" do not matter.
    """
    profiles = _shipped()
    for profile in profiles:
        if profile.accelerator == accelerator.lower() and _plain(profile.model) == _plain(model):
            return profile
    known = "; ".join(f"{p.name}: {p.model} on {p.accelerator}" for p in profiles)
    raise UsageError(
        f"No shipped profile is for model {model!r} on accelerator {accelerator!r} ({known}). "
        "Set the variant's `profile` to one of these names or to a profile file."
    )


@cache
def _shipped() -> tuple[Profile, ...]:
    return tuple(load_profile(name) for name in shipped_names())


def _plain(model: str) -> str:
    return model.rsplit("/", 1)[-1].lower().removeprefix("meta-")


def _read(path: Path) -> Profile:
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"Profile {path} cannot be read ({reason}): check the path and its permissions.") from None
    except UnicodeDecodeError:
        raise UsageError(f"Profile {path} is not UTF-8 text: save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"Profile {path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(raw, dict):
        raise UsageError(f"Profile {path} must be a mapping with name, model, engine, step, …: see {SHIPPED}.")
    try:
        return _profile(_File.model_validate(raw))
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(item)}" for item in error.errors())
        raise UsageError(
            f"Profile {path} is not valid; compare it with {SHIPPED / 'l40s-8b.yaml'}:\n{problems}"
        ) from None


def _problem(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{place}: is missing: add it"
    if item["type"] == "extra_forbidden":
        return f"{place}: is no known field: remove it or correct its name"
    shown = "" if isinstance(item["input"], dict | list) else f"{item['input']!r} is refused: "
    return f"{place}: {shown}{message[0].lower()}{message[1:]}"


def _profile(file: _File) -> Profile:
    step = file.step
    return Profile(
        name=file.name,
        model=file.model,
        accelerator=file.accelerator.lower(),
        gpus_per_replica=file.gpus_per_replica,
        limits=EngineLimits(**file.engine.model_dump()),
        law=StepLaw(
            base_s=step.a_ms / 1e3,
            prefill_s_per_token=step.b_us / 1e6,
            attention_s_per_token2=step.e_ns2 / 1e9,
            batch_s_per_seq=step.c_us / 1e6,
            kv_s_per_token=step.d_ns / 1e9,
        ),
        api_overhead_s=file.overhead.api_ms / 1e3,
        cold_start=tuple(ColdStartStage(s.name, s.median_s, s.cv) for s in file.cold_start),
        cost_per_gpu_hour=file.cost_per_gpu_hour,
        provenance=Provenance(file.provenance.grade, file.provenance.source, file.provenance.error),
    )
