"""Kubernetes' REST API as raw JSON over the official client: its configuration, tokens and TLS, our errors and limits.

Typed objects of the client cost five times the memory of the JSON that they are made from, so none are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from controller.errors import TransientError, UsageError

Json = dict[str, Any]
PAGE = 500
"""Objects in one page of a list."""
MAX_ANSWER_BYTES = 64 * 2**20


class PatchKind(StrEnum):
    """How a patch is to be read."""

    JSON = "application/json-patch+json"
    """A list of operations; `test` operations make it conditional."""
    MERGE = "application/merge-patch+json"
    APPLY = "application/apply-patch+yaml"
    """Server-side apply; needs `fieldManager` in the query."""


class ApiError(TransientError):
    """The API server refused. `code` is HTTP's, `reason` Kubernetes' ("Conflict", "Expired", "Forbidden", …)."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class NotFoundError(ApiError):
    """404: no such object, or no such kind."""


class ConflictError(ApiError):
    """409: the object moved on, or is there already."""


class ExpiredError(ApiError):
    """410: the resource version is too old to go on from; list again."""


class ForbiddenError(ApiError):
    """401 or 403: the service account may not."""


class InvalidError(ApiError):
    """400 or 422: the object does not pass the schema, a rule, a webhook, or a patch's test."""


class UnreachableError(TransientError):
    """No answer: whether a write took effect shows in the next reading."""


_BY_CODE: Mapping[int, type[ApiError]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object as it stands in paths. The core group is empty."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Path of a collection or an object; without a namespace of all of them, or of an object that has none."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


class Watch(Iterator[Json]):
    """Events of one open watch. An ERROR event is raised as its `ApiError`, a broken stream as `UnreachableError`."""

    def __init__(self, path: str, answer: urllib3.BaseHTTPResponse) -> None:
        self._path = path
        self._answer = answer
        self._lines = _lines(answer)

    def __next__(self) -> Json:
        try:
            event = next(self._lines)
        except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            raise UnreachableError(f"the watch on {self._path} broke: {error}") from error
        if event.get("type") == "ERROR":
            raise _refusal(event.get("object", {}), int(event.get("object", {}).get("code", 0)))
        return event

    def interrupt(self) -> None:
        """End the iteration from another thread, which may be waiting for an event."""
        # It has ended by itself where there is nothing to shut down any more.
        with suppress(ValueError, RuntimeError, OSError):
            self._answer.shutdown()

    def close(self) -> None:
        """Let go of the connection. Only by the thread that iterates, or when none does."""
        self._answer.close()


class ClusterClient:
    """One connection pool to one API server. Thread-safe; every call has a time-out.

    Errors of every call: `ApiError` (or its subclass) for a refusal, `UnreachableError` for no answer.
    """

    def __init__(self, api: ApiClient, timeout_s: float = 5.0) -> None:
        self._api = api
        self._timeout_s = timeout_s

    @classmethod
    def of_environment(cls, kubeconfig: Path | None = None, context: str | None = None, timeout_s: float = 5.0) -> Self:
        """By a kubeconfig file, else by the pod's service account, else by the user's own kubeconfig.

        Raises UsageError where none of them is to be had.
        """
        settings = Configuration()
        try:
            _load(settings, kubeconfig, context)
        except (ConfigException, OSError) as error:
            raise UsageError(
                f"no Kubernetes cluster to talk to: {error}; run in a pod with a service account, "
                "or give --kubeconfig FILE (and --context NAME)"
            ) from error
        # What failed once is planned afresh by the next cycle; a write is never sent twice blindly.
        settings.retries = urllib3.Retry(total=0)
        settings.connection_pool_maxsize = 16
        return cls(ApiClient(settings), timeout_s)

    @property
    def server(self) -> str:
        """Address of the API server."""
        return str(self._api.configuration.host)

    def get(self, path: str, **query: str) -> Json:
        """One object, or one whole collection."""
        return self._json("GET", path, query)

    def pages(self, path: str, *, limit: int = PAGE, **query: str) -> Iterator[Json]:
        """A collection, page by page."""
        more: dict[str, str] = {}
        while True:
            page = self._json("GET", path, {**query, "limit": str(limit), **more})
            yield page
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            more = {"continue": str(token)}

    def create(self, path: str, body: Mapping[str, Any], **query: str) -> Json:
        """POST."""
        return self._json("POST", path, query, body)

    def replace(self, path: str, body: Mapping[str, Any], **query: str) -> Json:
        """PUT; with a resource version in the body only against that one."""
        return self._json("PUT", path, query, body)

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Json], kind: PatchKind, **query: str) -> Json:
        """PATCH."""
        return self._json("PATCH", path, query, body, kind.value)

    def delete(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Json:
        """DELETE; `body` are DeleteOptions."""
        return self._json("DELETE", path, query, body)

    def watch(self, path: str, resource_version: str, *, timeout_s: float, **query: str) -> Watch:
        """Events since a resource version, bookmarks included, until the server ends the stream after `timeout_s`."""
        asked = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(timeout_s))),
        }
        return Watch(path, self._send("GET", path, asked, None, "application/json", timeout_s + self._timeout_s))

    def _json(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, kind: str = "application/json"
    ) -> Json:
        answer = self._send(method, path, query, body, kind, self._timeout_s)
        try:
            text = answer.read(MAX_ANSWER_BYTES + 1)
            if len(text) > MAX_ANSWER_BYTES:
                raise UnreachableError(f"{self.server} answered {path} with more than {MAX_ANSWER_BYTES >> 20} MiB")
            found = json.loads(text) if text else {}
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise UnreachableError(f"{self.server} did not finish its answer to {method} {path}: {error}") from error
        finally:
            answer.release_conn()
        if not isinstance(found, dict):
            raise UnreachableError(f"{self.server} answered {method} {path} with something that is no object")
        return found

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str, timeout_s: float
    ) -> urllib3.BaseHTTPResponse:
        """The open answer of a request that was not refused."""
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if body is not None else {})
        method, url, headers, sent, form = self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(method, url, headers, sent, form, _request_timeout=timeout_s)
        except ApiException as error:
            raise _refused(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"the API server at {self.server} does not answer: {_cause(error)}") from error
        response: urllib3.BaseHTTPResponse = answer.response
        if not 200 <= response.status < 300:
            text = response.read(2**20)
            response.release_conn()
            raise _refusal(_document(text), response.status)
        return response


def _load(settings: Configuration, kubeconfig: Path | None, context: str | None) -> None:
    if kubeconfig is None and context is None:
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except ConfigException:
            pass
        else:
            return
    file = str(kubeconfig) if kubeconfig is not None else None
    config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=file, context=context, client_configuration=settings, persist_config=False
    )


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    """The JSON objects of a stream, one a line."""
    rest = b""
    for chunk in answer.stream(2**16):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (json.loads(line) for line in whole if line.strip())


def _document(text: bytes) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        return {"message": text[:300].decode(errors="replace")}
    return found if isinstance(found, dict) else {}


def _refused(error: ApiException) -> ApiError:
    body = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
    return _refusal(_document(body), int(error.status or 0))


def _refusal(status: Mapping[str, Any], code: int) -> ApiError:
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or reason or "no reason given")
    return _BY_CODE.get(code, ApiError)(code, reason, f"the API server refused ({code}): {message}")


def _cause(error: urllib3.exceptions.HTTPError) -> str:
    reason = getattr(error, "reason", None) or error
    # It is a time-out by its class only: most often the connection was refused.
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return str(reason).rpartition(": ")[2]
    return "no answer in time" if isinstance(reason, urllib3.exceptions.TimeoutError) else str(reason)
