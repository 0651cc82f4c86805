"""What the reader says about the bad files, as users see it: paths relative to their folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from controller.errors import UsageError
from controller.observe.fleet_file import load_fleets

BAD = Path(__file__).parent / "bad"


def refusal(file: Path) -> str:
    """The error text for one bad file, ending with a newline; empty if the file is accepted."""
    with contextlib.chdir(file.parent):
        try:
            load_fleets(Path(file.name))
        except UsageError as error:
            return f"{error}\n"
    return ""
