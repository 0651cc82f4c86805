"""What is wrong with a value that a user wrote: where, what it is, why it does not fit, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

Path = tuple[str | int, ...]
"""Names and list positions from the root, in YAML spelling: ("spec", "variants", 1, "replicas", "min")."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `value` is empty where there is none to show; `remedy` is an imperative without a full stop."""

    path: Path
    reason: str
    remedy: str
    value: str = ""

    def below(self, prefix: Path) -> Problem:
        """The same problem seen from further up."""
        return replace(self, path=prefix + self.path)

    def __str__(self) -> str:
        where = path_text(self.path)
        value = f"{self.value} " if self.value else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{where}: {value}{self.reason}{remedy}" if where else f"{value}{self.reason}{remedy}"


class RefusedError(ValueError):
    """Raised by a check of the model with every problem that it found, their paths relative to what was checked."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" | ".join(str(problem) for problem in self.problems))


def refuse_any(problems: Iterable[Problem]) -> None:
    """Raise RefusedError if there is any problem."""
    found = tuple(problems)
    if found:
        raise RefusedError(found)


def path_text(path: Path) -> str:
    """`spec.variants[1].replicas.min`; names that are no plain words are quoted in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{value_text(part)}]"
    return text


def value_text(value: object) -> str:
    """The value as one would write it in YAML's flow style, shortened to fit a line."""
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def printable(text: str) -> str:
    """The text with what would steer a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def either(names: Iterable[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{name}`" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
