"""Files that other processes watch: replaced whole, by a rename into place, and only when they change."""

from __future__ import annotations

import json
import os
from pathlib import Path


def replace_text(path: Path, text: str) -> bool:
    """Make `path` contain `text`. Returns whether it had to be changed. Raises OSError; then it is as before."""
    if path.exists() and path.read_text() == text:
        return False
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 - the call whose atomicity is meant
    return True


def replace_json(path: Path, value: object) -> bool:
    """As `replace_text`, with a value as JSON."""
    return replace_text(path, json.dumps(value, indent=1) + "\n")
