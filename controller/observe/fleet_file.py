"""Fleets declared in YAML: one file or a folder of them, re-read when they change.

A fleet that turned bad keeps its last good version: a typing mistake must not let go of a running fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from controller.errors import UsageError
from controller.model.fleet import Fleet
from controller.observe.clashes import clashes
from controller.observe.fleet_documents import Entry, read_file

_SUFFIXES = (".yaml", ".yml")
_Stamp = tuple[int, int, int, int]
"""Inode, times of change of content and of permissions, size: what tells one version of a file from another."""


def load_fleets(path: Path) -> tuple[Fleet, ...]:
    """The fleets in a file, or in every *.yaml and *.yml file of a folder, in the order of files and documents.

    Raises UsageError with a sentence for every problem in any of them: file, line, document, field, value, reason
    and remedy.
    """
    entries = _entries(path)
    problems = [problem for entry in entries for problem in entry.problems]
    if len(problems) == 1:
        raise UsageError(problems[0])
    if problems:
        raise UsageError("\n  ".join([f"{len(problems)} problems in {path}:", *problems]))
    return tuple(entry.fleet for entry in entries if entry.fleet is not None)


class FleetFile:
    """Fleets of a file or folder as they are now. Implements `controller.ports.FleetSource`.

    A fleet leaves when its document or, in a folder, its file is removed. What cannot be read keeps the fleets
    that came from it, and so do a document whose name cannot be told and a folder left without any file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamps: dict[Path, _Stamp] | None = None
        self._good: dict[str, tuple[Path, Fleet]] = {}
        self._problems: Mapping[str, str] = MappingProxyType({})

    def problems(self) -> Mapping[str, str]:
        """What is wrong at the last reading: by fleet key, or by file and document where that is not known."""
        return self._problems

    def fleets(self) -> Sequence[Fleet]:
        """Every valid fleet, in its newest valid version. Never raises for what is in the files."""
        stamps = _stamps(self._path)
        if stamps != self._stamps:
            self._take(_entries(self._path))
            self._stamps = stamps
        return tuple(fleet for _, fleet in self._good.values())

    def _take(self, entries: Sequence[Entry]) -> None:
        bad = [entry for entry in entries if entry.fleet is None]
        kept = {
            key: (file, fleet)
            for key, (file, fleet) in self._good.items()
            if any(_concerns(entry, key, file, self._path) for entry in bad)
        }
        fresh = {entry.key: (entry.file, entry.fleet) for entry in entries if entry.fleet is not None}
        self._good = kept | fresh
        problems: dict[str, list[str]] = {}
        for entry in bad:
            held = ((key, file) for key, (file, _) in kept.items() if key not in fresh)
            concerned = [key for key, file in held if _concerns(entry, key, file, self._path)]
            for label in concerned or [entry.label]:
                problems.setdefault(label, []).extend(entry.problems)
        self._problems = MappingProxyType({label: " | ".join(found) for label, found in problems.items()})


def _concerns(entry: Entry, key: str, file: Path, root: Path) -> bool:
    """Whether a bad entry may be the fleet that was good before: by name, or nameless in its file or folder."""
    return entry.key == key or (not entry.key and entry.file in (file, root))


def _entries(path: Path) -> tuple[Entry, ...]:
    if not path.is_dir():
        return _apart(read_file(path))
    try:
        files = _files(path)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        return (Entry(path, 0, 1, "", None, (f"{path}: cannot be listed ({reason}); check its permissions",)),)
    if not files:
        sentence = f"{path}: holds no *.yaml or *.yml file; put fleets into it, or name another folder"
        return (Entry(path, 0, 1, "", None, (sentence,)),)
    return _apart(tuple(entry for file in files for entry in read_file(file)))


def _files(folder: Path) -> tuple[Path, ...]:
    """Its own fleet files by name; hidden ones are other programs' business."""
    found = (f for f in folder.iterdir() if f.suffix in _SUFFIXES and not f.name.startswith(".") and not f.is_dir())
    return tuple(sorted(found))


def _apart(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Entries that bear the same name, or claim the same, are all refused: none is more right than the other."""
    return _without_clashes(_without_duplicates(entries))


def _without_clashes(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    names = {entry.key: f"fleet {entry.key} at {entry.file}:{entry.line}" for entry in entries}
    problems: dict[str, list[str]] = {}
    for clash in clashes([entry.fleet for entry in entries if entry.fleet is not None]):
        for key in clash.places:
            problems.setdefault(key, []).append(clash.sentence(key, names))
    return tuple(
        entry if entry.fleet is None or entry.key not in problems else _refused(entry, problems[entry.key])
        for entry in entries
    )


def _without_duplicates(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    places: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.key:
            places.setdefault(entry.key, []).append(entry)
    return tuple(_refused_if_twice(entry, places.get(entry.key, [])) for entry in entries)


def _refused_if_twice(entry: Entry, same: Sequence[Entry]) -> Entry:
    others = [f"{e.file}:{e.line}" for e in same if e is not entry]
    if not others:
        return entry
    sentence = (
        f"metadata.name: fleet {entry.key} is declared at {' and '.join(others)} too; "
        "give each fleet a name of its own, or remove one"
    )
    return _refused(entry, [sentence])


def _refused(entry: Entry, sentences: Sequence[str]) -> Entry:
    place = f"{entry.file}:{entry.line}: document {entry.number}"
    problems = (*entry.problems, *(f"{place}: {sentence}" for sentence in sentences))
    return Entry(entry.file, entry.number, entry.line, entry.key, None, problems)


def _stamps(path: Path) -> dict[Path, _Stamp]:
    try:
        files = _files(path) if path.is_dir() else (path,)
    except OSError:
        files = (path,)
    return {file: stamp for file in files if (stamp := _stamp(file)) is not None}


def _stamp(file: Path) -> _Stamp | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
