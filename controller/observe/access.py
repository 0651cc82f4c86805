"""How the daemon proves to Prometheus who it is: token, password, certificates, tenant. Secrets stay in their files.

Files are read again when they change: projected service account tokens are replaced every hour.
"""

from __future__ import annotations

from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from controller.errors import UsageError
from controller.observe.bounded_http import BoundedSession
from controller.settings import PrometheusAccess


class SecretFile:
    """A one-line secret in a file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._text = ""

    def read(self) -> str:
        """The secret. Raises requests.ConnectionError with the reason where there is none."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._seen:
                self._text, self._seen = self._path.read_text("utf-8").strip(), stamp
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise requests.ConnectionError(f"{self._path} cannot be read: {reason}") from error
        if not self._text or not self._text.isprintable():
            raise requests.ConnectionError(f"{self._path} holds no one-line secret")
        return self._text


class BearerFile(AuthBase):
    """`Authorization: Bearer` from a file."""

    def __init__(self, path: Path) -> None:
        self._secret = SecretFile(path)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with its header. Raises requests.ConnectionError where the file has no token."""
        request.headers["Authorization"] = f"Bearer {self._secret.read()}"
        return request


class BasicFile(AuthBase):
    """`Authorization: Basic` with the password from a file."""

    def __init__(self, username: str, path: Path) -> None:
        self._username = username
        self._secret = SecretFile(path)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with its header. Raises requests.ConnectionError where the file has no password."""
        HTTPBasicAuth(self._username.encode(), self._secret.read().encode())(request)
        return request


def authorised(access: PrometheusAccess, max_bytes: int) -> BoundedSession:
    """A session whose every request carries what `access` says.

    Raises UsageError for a file that is not there: what is wrong at the start is a mistake, later it is an outage.
    """
    _check(access)
    session = BoundedSession(max_bytes)
    session.headers.update(access.headers)
    if access.tenant is not None:
        session.headers["X-Scope-OrgID"] = access.tenant
    if access.bearer_token_file is not None:
        session.auth = BearerFile(access.bearer_token_file)
    if access.username is not None and access.password_file is not None:
        session.auth = BasicFile(access.username, access.password_file)
    if access.ca_file is not None:
        session.verify = str(access.ca_file)
    if access.client_certificate_file is not None and access.client_key_file is not None:
        session.cert = (str(access.client_certificate_file), str(access.client_key_file))
    return session


def _check(access: PrometheusAccess) -> None:
    names = ("bearer_token_file", "password_file", "ca_file", "client_certificate_file", "client_key_file")
    for name in names:
        path: Path | None = getattr(access, name)
        if path is not None and not path.is_file():
            raise UsageError(f"{path} for the access to Prometheus is no file: name one that exists")
