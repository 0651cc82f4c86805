"""Facts for people or for machines: the option, and how each form is printed."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml


class Output(StrEnum):
    """How facts are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="For people (table) or for machines.")]


def emit(facts: Any, output: Output) -> None:
    """Print facts as JSON or YAML."""
    if output is Output.JSON:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        typer.echo(yaml.safe_dump(facts, allow_unicode=True, sort_keys=False), nl=False)
