"""`governor crd`: the CustomResourceDefinition of Fleet."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
import yaml

from controller.cli.output import Output, emit
from controller.model.crd import custom_resource_definition


class Form(StrEnum):
    """What `kubectl apply` reads."""

    YAML = "yaml"
    JSON = "json"


FormOption = Annotated[Form, typer.Option("--output", "-o", help="The form to print it in.")]


def crd(output: FormOption = Form.YAML) -> None:
    """Print the CustomResourceDefinition of Fleet: fields, defaults, limits and the checks across fields.

    The same version always prints the same bytes. Needs Kubernetes 1.29 or later. Exit code 0.

    Examples: governor crd | kubectl apply --server-side -f -; then kubectl explain fleet.spec.scaling
    """
    if output is Form.JSON:
        emit(custom_resource_definition(), Output.JSON)
    else:
        typer.echo(yaml_text(), nl=False)


def yaml_text() -> str:
    """The resource as YAML, its long rules in few lines."""
    return yaml.safe_dump(custom_resource_definition(), allow_unicode=True, sort_keys=False, width=116)
