"""Asking a running daemon through its JSON API."""

from __future__ import annotations

from typing import Annotated, Any, cast
from urllib.parse import quote

import requests
import typer

from controller.errors import UsageError
from controller.settings import Settings

DEFAULT_URL = f"http://127.0.0.1:{Settings.model_fields['listen_port'].default}"
_TIMEOUT_S = 5.0

UrlOption = Annotated[
    str, typer.Option("--url", help="Address of the running daemon.", envvar="GOVERNOR_URL", metavar="URL")
]


def overview(url: str) -> dict[str, Any]:
    """The daemon and its fleets. Raises UsageError as `ask`."""
    found = ask(url, "fleets")
    if not isinstance(found.get("fleets"), list):
        raise UsageError(f"what answers at {url} is no governor: give the daemon's address with --url")
    return found


def ask(url: str, *path: str, **parameters: float) -> dict[str, Any]:
    """GET /api/v1/<path>. Raises UsageError when nobody, or somebody else, answers, or there is no such thing."""
    session = requests.Session()
    session.trust_env = False
    address = "/".join((url.rstrip("/"), "api/v1", *(quote(part, safe="") for part in path)))
    try:
        answer = session.get(address, params=parameters, timeout=_TIMEOUT_S)
        content = answer.json()
    except requests.JSONDecodeError as error:
        raise UsageError(f"what answers at {url} is no governor: give the daemon's address with --url") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise UsageError(
            f"no daemon answers at {url}: start one with `governor run` or `governor local`, or give its address"
            " with --url"
        ) from error
    except requests.RequestException as error:
        raise UsageError(f"{url} is no address of a daemon: write it as {DEFAULT_URL}") from error
    finally:
        session.close()
    if not answer.ok or not isinstance(content, dict):
        problem = content.get("error", "") if isinstance(content, dict) else ""
        raise UsageError(
            f"the daemon at {url} answers {answer.status_code}: {problem or 'it may be of another version'}"
        )
    return cast("dict[str, Any]", content)
