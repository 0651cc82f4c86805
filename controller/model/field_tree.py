"""The fields of a model as a tree with YAML names: what is known where, and what an unknown name may have meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.model.problems import Path, either, path_text

Root = type[BaseModel]


def fields_of(model: Root) -> dict[str, FieldInfo]:
    """The fields of a model by their names in YAML."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def model_in(annotation: object) -> Root | None:
    """The model in `X`, `X | None` or `tuple[X, ...]`, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part)) is not None), None)


def field_at(path: Path, root: Root) -> FieldInfo | None:
    """The field that a path leads to, if there is one."""
    parent = _model_at(path[:-1], root)
    return fields_of(parent).get(str(path[-1])) if parent is not None and path else None


def nearest_field(path: Path, root: Root) -> str:
    """What to do about an unknown field: the one near it by its letters, its own name elsewhere, or what is known."""
    parent = _model_at(path[:-1], root)
    known = {_plain(name): name for name in fields_of(parent)} if parent is not None else {}
    wanted = _plain(str(path[-1]))
    near = get_close_matches(wanted, known, n=1, cutoff=0.7)
    if near:
        return f"did you mean `{known[near[0]]}`?"
    elsewhere = [place for place in _places(root, ()) if _plain(str(place[-1])) == wanted]
    if 1 <= len(elsewhere) <= 3:
        return f"did you mean {either(path_text(place) for place in elsewhere)}?"
    return f"remove it, or write one of {', '.join(known.values())}"


def meaning(path: Path, root: Root) -> str:
    """The first clause of a field's description; empty where it has none."""
    info = field_at(path, root)
    text = (info.description or "") if info is not None else ""
    return " ".join(text.split(":")[0].split(";")[0].split(". ")[0].rstrip(".").split())


def _model_at(path: Path, root: Root) -> Root | None:
    model: Root | None = root
    for part in path:
        if isinstance(part, str) and model is not None:
            info = fields_of(model).get(part)
            model = model_in(info.annotation) if info is not None else None
    return model


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _places(model: Root, prefix: Path) -> Iterator[Path]:
    for name, info in fields_of(model).items():
        yield (*prefix, name)
        inner = model_in(info.annotation)
        if inner is not None:
            yield from _places(inner, (*prefix, name))
