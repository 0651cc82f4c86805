"""Write the expected texts anew: `python -m tests.golden.fleet.regenerate`. Then read the diff."""

from __future__ import annotations

from tests.golden.fleet.refusals import BAD, refusal


def main() -> None:
    """One text beside each bad file. Raises SystemExit naming a bad file that is accepted."""
    for file in sorted(BAD.glob("*.yaml")):
        text = refusal(file)
        if not text:
            raise SystemExit(f"{file}: is accepted, but lies among the bad files")
        file.with_suffix(".txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
