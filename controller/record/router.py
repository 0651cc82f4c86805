"""From a path to an answer: what the daemon's HTTP server says."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic_core import to_json

from controller.record import api
from controller.record.board import DECISIONS_MAX, StatusBoard
from controller.record.exporter import exposition
from controller.record.facts import DaemonFacts

_GRACE_S = 60.0
"""A daemon without a cycle is alive for so long after its start."""
_SILENT_TICKS = 5
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Answer(NamedTuple):
    """One response."""

    status: HTTPStatus
    kind: str
    body: bytes


class Router:
    """From a path to an answer."""

    def __init__(self, board: StatusBoard, facts: Callable[[], DaemonFacts], client_stats: Path | None) -> None:
        self._board = board
        self._facts = facts
        self._client_stats = client_stats

    def answer(self, target: str) -> Answer:
        """The answer to GET `target`."""
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.split("/") if part]
        if parts[:2] == ["api", "v1"]:
            return self._api(parts[2:], parse_qs(url.query))
        match parts:
            case ["healthz"]:
                return _health(self._not_alive())
            case ["readyz"]:
                return _health(self._not_ready())
            case ["metrics"]:
                return Answer(HTTPStatus.OK, _EXPOSITION, exposition(self._board, self._facts))
            case [] | [_]:
                return _static(parts[0] if parts else "index.html")
        return _missing(url.path)

    def _api(self, parts: list[str], query: dict[str, list[str]]) -> Answer:
        match parts:
            case ["fleets"]:
                return _json(api.overview(self._board, self._facts()))
            case ["client"]:
                return _json(api.client_figures(self._client_stats))
            case ["fleets", namespace, name, *rest]:
                return self._fleet(f"{namespace}/{name}", rest, query)
        return _missing("/api/v1/" + "/".join(parts))

    def _fleet(self, key: str, parts: list[str], query: dict[str, list[str]]) -> Answer:
        record = self._board.record(key)
        if record is None:
            return problem(HTTPStatus.NOT_FOUND, f"no fleet {key}: GET /api/v1/fleets lists them")
        match parts:
            case []:
                return _json(api.detail(record))
            case ["history"]:
                since = _number(query, "since", 0.0)
                return _bad("since") if since is None else _json(api.history(self._board, key, since))
            case ["decisions"]:
                limit = _number(query, "limit", 50.0)
                if limit is None or limit < 1:
                    return _bad("limit")
                runs = self._board.decisions(key, min(int(limit), DECISIONS_MAX))
                return _json(api.decision_runs(runs))
        return _missing("/".join(("", "api", "v1", "fleets", key, *parts)))

    def _not_alive(self) -> str:
        facts = self._facts()
        last, patience_s = self._board.last_tick(), max(30.0, _SILENT_TICKS * facts.interval_s)
        if not facts.leading:
            return ""
        if last is None:
            waited = self._board.age_s()
            return f"no cycle ended within {waited:.0f} s of the start" if waited > _GRACE_S else ""
        return f"the last cycle ended {last.age_s:.0f} s ago" if last.age_s > patience_s else ""

    def _not_ready(self) -> str:
        facts = self._facts()
        if not facts.leading:
            return ""
        if self._board.last_tick() is None:
            return "the first cycle has not ended yet"
        return facts.journal_error or facts.memory_error or self._not_alive()


def _json(value: object) -> Answer:
    return Answer(HTTPStatus.OK, _JSON, to_json(value, inf_nan_mode="null"))


def problem(status: HTTPStatus, sentence: str) -> Answer:
    """An error as the API tells it."""
    return Answer(status, _JSON, to_json({"error": sentence}))


def _missing(path: str) -> Answer:
    return problem(HTTPStatus.NOT_FOUND, f"nothing at {path}")


def _bad(parameter: str) -> Answer:
    return problem(HTTPStatus.BAD_REQUEST, f"{parameter} must be a number, for instance ?{parameter}=50")


def _health(problem: str) -> Answer:
    if problem:
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{problem}\n".encode())
    return Answer(HTTPStatus.OK, _TEXT, b"ok\n")


def _static(name: str) -> Answer:
    """A file of the page: names without a path, of a known kind, and nothing else."""
    kind = _TYPES.get(Path(name).suffix)
    file = resources.files("controller.record") / "page" / name
    if kind is None or Path(name).name != name or not file.is_file():
        return _missing(f"/{name}")
    return Answer(HTTPStatus.OK, kind, file.read_bytes())


def _number(query: dict[str, list[str]], name: str, default: float) -> float | None:
    """A parameter; its default when absent, None when it is no finite number."""
    try:
        value = float(query.get(name, [str(default)])[0])
    except ValueError:
        return None
    return value if math.isfinite(value) else None
