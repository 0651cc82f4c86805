"""A Prometheus that does not let everybody in: what the daemon shows it, and what it says when that is not enough."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from controller.errors import UsageError
from controller.model.describe import problems_of
from controller.observe.access import authorised
from controller.observe.prometheus import PrometheusSignals
from controller.settings import PrometheusAccess, Settings
from tests.contract.observe.builders import fleet, scope

MAX_BYTES = 2**20
EMPTY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


class Guarded(ThreadingHTTPServer):
    """Keeps the headers of every query; over TLS where it is given a context."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(200)
                self.send_header("Content-Length", str(len(EMPTY)))
                self.end_headers()
                self.wfile.write(EMPTY)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_port}"
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A client that does not trust the certificate hangs up: no traceback for that."""


@pytest.fixture
def server() -> Iterator[Guarded]:
    with Guarded() as found:
        yield found
        found.shutdown()


def secret(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def ask(url: str, access: PrometheusAccess) -> tuple[str, ...]:
    """One tick's look; the warnings that came of it."""
    with PrometheusSignals(url, scope(), timeout_s=3.0, session=authorised(access, MAX_BYTES)) as signals:
        return signals.read([fleet("chat")], {})["llm/chat"].warnings


def test_a_bearer_token_is_read_from_its_file_and_again_when_it_was_replaced(server: Guarded, tmp_path: Path) -> None:
    token = secret(tmp_path / "token", "first\n")
    access = PrometheusAccess(bearer_token_file=token)
    with PrometheusSignals(server.url, scope(), timeout_s=3.0, session=authorised(access, MAX_BYTES)) as signals:
        signals.pressure([fleet("chat")])
        secret(tmp_path / "new", "second\n").rename(token)
        signals.pressure([fleet("chat")])
    assert [headers["authorization"] for headers in server.headers] == ["Bearer first", "Bearer second"]


def test_name_and_password_tenant_and_headers_go_with_every_query(server: Guarded, tmp_path: Path) -> None:
    password = secret(tmp_path / "password", "s€cret\n")
    access = PrometheusAccess(username="gov", password_file=password, tenant="team-a", headers={"X-Gate": "7"})
    ask(server.url, access)
    assert server.headers
    for headers in server.headers:
        assert headers["authorization"] == "Basic " + base64.b64encode("gov:s€cret".encode()).decode()
        assert (headers["x-scope-orgid"], headers["x-gate"]) == ("team-a", "7")


def test_a_token_that_vanishes_is_an_outage_that_names_the_file_and_not_the_secret(
    server: Guarded, tmp_path: Path
) -> None:
    token = secret(tmp_path / "token", "hush")
    session = authorised(PrometheusAccess(bearer_token_file=token), MAX_BYTES)
    with PrometheusSignals(server.url, scope(), timeout_s=3.0, session=session) as signals:
        token.unlink()
        (warning, *_) = signals.read([fleet("chat")], {})["llm/chat"].warnings
    assert f"{token} cannot be read: No such file or directory" in warning
    assert server.headers == []


@pytest.mark.parametrize("text", ["", "two\nlines"], ids=["empty", "two lines"])
def test_a_file_without_a_one_line_secret_sends_nothing(server: Guarded, tmp_path: Path, text: str) -> None:
    token = secret(tmp_path / "token", text)
    (warning, *_) = ask(server.url, PrometheusAccess(bearer_token_file=token))
    assert "holds no one-line secret" in warning
    assert server.headers == []


def test_a_certificate_is_trusted_by_the_file_that_is_named_and_no_other(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for name, one in (("ours.pem", authority), ("other.pem", stranger)):
        one.cert_pem.write_to_path(tmp_path / name)
    with Guarded(context) as server:
        trusted = ask(server.url, PrometheusAccess(ca_file=tmp_path / "ours.pem"))
        seen = len(server.headers)
        (distrusted, *_) = ask(server.url, PrometheusAccess(ca_file=tmp_path / "other.pem"))
        server.shutdown()
    assert seen > 0
    assert not any("certificate" in warning.lower() for warning in trusted)
    assert "certificate" in distrusted.lower()
    assert len(server.headers) == seen


def test_nothing_is_taken_from_the_environment(server: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HTTP_PROXY", "http://127.0.0.1:9")
    ask(server.url, PrometheusAccess())
    assert server.headers
    assert "authorization" not in server.headers[0]


def test_a_file_that_is_not_there_is_a_mistake_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere for the access to Prometheus is no file"):
        authorised(PrometheusAccess(bearer_token_file=tmp_path / "nowhere"), MAX_BYTES)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        ({"username": "a"}, "username and password_file belong together"),
        ({"client_key_file": Path("k")}, "client_certificate_file and client_key_file belong together"),
        ({"bearer_token_file": "t", "username": "a", "password_file": "p"}, "two ways of proving the same"),
        ({"headers": {"authorization": "Bearer x"}}, "is a secret: name its file"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers"),
        ({"tenant": "a\nb"}, "tenant"),
    ],
    ids=["no password", "no certificate", "twice", "secret in a header", "two headers in one", "tenant"],
)
def test_what_cannot_be_right_is_refused(access: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PrometheusAccess(**access)
    assert said in " ".join(str(problem) for problem in problems_of(caught.value, PrometheusAccess))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prometheus_url": "http://me:pw@prom:9090"}, "carries a name or password"),
        ({"prometheus_url": "http://p:9090", "prometheus_access": {"ca_file": "c.pem"}}, "is no https address"),
    ],
    ids=["password in the address", "certificates without TLS"],
)
def test_addresses_and_access_must_fit(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    problems = " ".join(str(problem) for problem in problems_of(caught.value, Settings))
    assert said in problems
    assert "pw" not in problems
