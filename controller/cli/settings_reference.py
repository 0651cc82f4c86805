"""The reference of the settings as Markdown, from the model: `python -m controller.cli.settings_reference`.

`docs/settings.md` is what this prints; a test holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.cli.run import OPTIONS
from controller.settings import Settings

_INTRODUCTION = """\
# Settings of the daemon

Generated from the model by `python -m controller.cli.settings_reference > docs/settings.md`. They are given as a YAML
file, `governor run --settings settings.yaml` (or `GOVERNOR_SETTINGS`), one a line; those with an option may be given
by that instead, and the option wins:

```yaml
prometheus_url: https://mimir.monitoring:8080/prometheus
prometheus_access:
  bearer_token_file: /var/run/secrets/prometheus/token
  tenant: platform
labels:
  variant: vllm_variant
scrape_interval_s: 30
```

Unknown names, impossible values and contradictions are refused with the name, the value, the reason and the remedy.
"""


def reference() -> str:
    """The whole document."""
    return "\n".join([_INTRODUCTION, *_sections(Settings, "")])


def _sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """One table for the model, and one for each model inside it."""
    inner = {name: kind for name, field in model.model_fields.items() if (kind := _model_of(field)) is not None}
    heading = f"## `{prefix.rstrip('.')}`\n\n{model.__doc__}\n" if prefix else "## All of them\n"
    rows = [_row(prefix + name, field) for name, field in model.model_fields.items() if name not in inner]
    yield "\n".join([heading, "| setting | option | default | meaning |", "|---|---|---|---|", *rows, ""])
    for name, kind in inner.items():
        yield from _sections(kind, f"{prefix}{name}.")


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _row(path: str, field: FieldInfo) -> str:
    name = path.rpartition(".")[2]
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    option = OPTIONS.get(path) or OPTIONS.get(name) or ""
    return f"| `{name}` | {f'`{option}`' if option else ''} | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    value = None if field.default_factory is not None else field.default
    return "" if value is None or value == {} else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
