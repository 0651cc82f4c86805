"""The live page in a real browser, served by the real server: what it shows is what the API says."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from controller.clock import SystemClock
from controller.record.board import StatusBoard
from controller.record.facts import DaemonFacts
from controller.record.server import StatusServer
from tests.unit.record.browser import a_browser, find_chromium
from tests.unit.record.cycles import a_cycle, a_fleet, a_snapshot
from tests.unit.record.story import told

CYCLES = 180
BLIND_CYCLES = 154
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
HIGH_CONTRAST = 4.5
"""Least contrast of text by WCAG 2.1 AA."""


@dataclass
class Stack:
    """A board with a quarter of an hour behind it, its server, and what a browser did with it."""

    board: StatusBoard
    server: StatusServer
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def api(self, path: str) -> dict:
        return requests.get(f"{self.server.url}/api/v1/{path}", timeout=5).json()

    def open(self, browser: Browser, **context: object) -> Page:
        page = browser.new_page(**({"viewport": DESK} | context))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.goto(self.server.url)
        expect(page.locator("#decisions li").first).to_be_visible()
        return page


def a_stack(names: tuple[str, ...] = ("llama-8b",), cycles: int = CYCLES, client: Path | None = None) -> Stack:
    board = StatusBoard(SystemClock())
    for name in names:
        for record, outcomes in told(a_fleet(name), cycles, time.time() - 5 * cycles):
            board.publish([record], outcomes, 0.31)
    server = StatusServer(board, lambda: DaemonFacts("0.1.0"), client_stats=client)
    server.start()
    return Stack(board, server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def stack() -> Iterator[Stack]:
    stack = a_stack()
    yield stack
    stack.server.stop()
    assert stack.complaints == []
    assert stack.hosts == {urlsplit(stack.server.url).netloc}


def percent(ratio: float) -> str:
    return f"{int(ratio * 1000 + 1e-9) / 10:.1f} %"


def tile(page: Page, name: str) -> str:
    return page.locator(f"#tile-{name}").inner_text().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def test_the_values_on_the_page_are_those_of_the_api(stack: Stack, browser: Browser) -> None:
    page, fleet = stack.open(browser), stack.api("fleets/llm/llama-8b")
    f = fleet["figures"]
    expect(page.locator("h1")).to_have_text("llm/llama-8b")
    expect(page.locator("#state")).to_have_text(fleet["state"]["sentence"])
    expect(page.locator("#last-sentence")).to_have_text(fleet["decision"]["sentence"])
    assert tile(page, "arrivals").startswith(f"Arrivals {f['arrival_rps']:.1f}requests/s")
    assert f"carry {f['capacity_rps']:.1f} requests/s" in tile(page, "arrivals")
    assert tile(page, "ttft") == f"First token in time {percent(f['ttft_within_ratio'])} within 1 s · target 95 %"
    assert tile(page, "tpot") == f"Tokens in time {percent(f['tpot_within_ratio'])} within 50 ms · target 95 %"
    assert tile(page, "replicas") == f"Replicas ready {f['ready']}of {f['desired']} 0 starting · 0 draining"
    assert tile(page, "requests").startswith(f"Running {round(f['running'])}requests")
    assert tile(page, "cost").startswith(f"Cost {f['cost_per_hour']:.2f}per hour")
    cells = page.locator("#variants tbody td").all_inner_texts()
    assert cells[:4] == ["v1", "stable", "l40s", "100 %"]


def test_every_decision_is_listed_newest_first_with_equal_holds_folded(stack: Stack, browser: Browser) -> None:
    page = stack.open(browser)
    runs = stack.api("fleets/llm/llama-8b/decisions?limit=20")["decisions"]
    assert page.locator("#decisions .what").all_inner_texts() == [run["decision"]["sentence"] for run in runs]
    assert page.locator("#decisions .action").all_inner_texts() == [run["decision"]["action"] for run in runs]
    folded = next(i for i, run in enumerate(runs) if run["count"] > 1)
    assert f"held {runs[folded]['count']} times since" in page.locator("#decisions .why").nth(folded).inner_text()
    page.locator("#older").click()
    expect(page.locator("#decisions > li").nth(20)).to_be_visible()


def test_an_opened_decision_shows_steps_alternatives_counterfactuals_and_estimates_and_stays_open(
    stack: Stack, browser: Browser
) -> None:
    page = stack.open(browser)
    run = stack.api("fleets/llm/llama-8b/decisions?limit=20")["decisions"][3]
    entry = page.locator("#decisions > li").nth(3)
    entry.locator("summary").click()
    rows = entry.locator("tbody tr")
    steps = run["decision"]["steps"]
    expect(rows).to_have_count(len(steps))
    for n, step in enumerate(steps):
        texts = rows.nth(n).locator("td").all_inner_texts()
        assert (texts[0], texts[2], texts[3]) == (step["stage"], step["reason"], step["message"])
    inside = entry.locator(".inside").inner_text()
    assert run["decision"]["counterfactuals"][0] in inside
    assert run["decision"]["rejected"][0]["why_not"] in inside
    assert "requests/s" in entry.locator("dl").inner_text()
    page.wait_for_timeout(2500)
    assert entry.locator("details").get_attribute("open") is not None


def test_charts_have_axes_with_units_and_tell_the_values_under_the_pointer(stack: Stack, browser: Browser) -> None:
    page = stack.open(browser)
    assert page.locator(".chart").count() == 6
    for n in range(6):
        chart = page.locator(".chart").nth(n)
        expect(chart.locator("header span")).not_to_be_empty()
        expect(chart.locator(".plot text").nth(2)).to_be_attached()
        expect(chart.locator("path.mark").last).to_have_attribute("d", re.compile(r"^M.*L"))
    first, points = page.locator(".chart").first, stack.api("fleets/llm/llama-8b/history?since=0")["points"]
    box = first.locator(".plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 9, box["y"] + 40)
    expect(first.locator(".cursor")).to_be_attached()
    assert first.locator(".legend li b").last.inner_text() == f"{points[-1]['arrival_rps']:.1f}"
    page.mouse.move(box["x"] + 46, box["y"] + 40)
    expect(first.locator(".legend li b").last).to_have_text(f"{points[0]['arrival_rps']:.1f}")


def test_the_axis_of_requests_has_whole_numbers_at_equal_distances(browser: Browser) -> None:
    stack, fleet = a_stack(("calm",), cycles=0), a_fleet("calm")
    snapshot = a_snapshot(fleet, time.time())
    state = snapshot.variants[0]
    quiet = replace(state.signals, running=replace(state.signals.running, value=3.0))
    stack.board.publish(
        [a_cycle(fleet, snapshot=replace(snapshot, variants=(replace(state, signals=quiet),)))], [], 0.2
    )
    page = stack.open(browser)
    chart = page.locator("figure", has_text="Requests in the engines")
    labels = [int(text) for text in chart.locator('svg text[text-anchor="end"]').all_text_contents()]
    assert len(labels) > 2
    assert len({after - before for before, after in pairwise(labels)}) == 1
    stack.server.stop()


def test_new_cycles_appear_by_themselves(stack: Stack, browser: Browser) -> None:
    page = stack.open(browser)
    (record, _), *_ = told(cycles=1, at=time.time())
    stack.board.publish([record], [], 0.3)
    arrivals = record.plan.decision.estimates[0][1]
    expect(page.locator("#tile-arrivals")).to_contain_text(f"{arrivals:.1f}")
    expect(page.locator("#decisions .what").first).to_have_text(record.plan.decision.sentence)


def test_conditions_that_are_amiss_are_told_above_all(browser: Browser) -> None:
    stack = a_stack(cycles=BLIND_CYCLES)
    try:
        page = stack.open(browser)
        expect(page.locator("#amiss")).to_contain_text("MetricsAvailable is False (SourceSilent) since")
        expect(page.locator("#amiss")).to_contain_text("no sample of running, waiting for 24 s")
        expect(page.locator("#state .dot")).to_have_class("dot attention")
    finally:
        stack.server.stop()


def test_a_daemon_that_goes_away_and_comes_back(browser: Browser) -> None:
    stack = a_stack()
    page = stack.open(browser)
    port = urlsplit(stack.server.url).port
    assert port is not None
    stack.server.stop()
    expect(page.locator("#link")).to_contain_text("not reachable since", timeout=8000)
    expect(page.locator("h1")).to_have_text("llm/llama-8b")
    again = StatusServer(stack.board, lambda: DaemonFacts("0.2.0"), port=port)
    again.start()
    try:
        expect(page.locator("#link")).to_contain_text("version 0.2.0", timeout=8000)
    finally:
        again.stop()


def test_several_fleets_are_chosen_by_their_names(browser: Browser) -> None:
    stack = a_stack(("one", "two", "three"), 20)
    try:
        page = stack.open(browser)
        page.get_by_role("link", name="llm/two").click()
        expect(page.locator("h1")).to_have_text("llm/two")
        expect(page.locator('nav a[aria-current="page"]')).to_contain_text("llm/two")
        page.reload()
        expect(page.locator("h1")).to_have_text("llm/two")
    finally:
        stack.server.stop()


def test_what_the_clients_measured_is_shown_beside_the_servers_view(tmp_path: Path, browser: Browser) -> None:
    figures = {"rps": 9.2, "ttft_p95_s": 0.42, "tpot_p95_s": 0.031, "attainment_ratio": 0.9912, "failed": 0}
    (tmp_path / "client.jsonl").write_text(json.dumps(figures) + "\n")
    stack = a_stack(cycles=20, client=tmp_path / "client.jsonl")
    try:
        page = stack.open(browser)
        assert tile(page, "client") == "Clients: in time 99.1 % 9.2 requests/s · 0 failed"
        assert tile(page, "client-ttft") == "Clients: first token p95 420 ms p95 per token 31 ms"
    finally:
        stack.server.stop()


def test_names_from_outside_are_text_never_markup(browser: Browser) -> None:
    stack = a_stack(cycles=0)
    (record, _), *_ = told(cycles=1, at=time.time())
    object.__setattr__(record.plan.decision, "sentence", "<img src=x onerror=alert(1)><b>bold</b>")
    stack.board.publish([record], [], 0.3)
    try:
        page = stack.open(browser)
        expect(page.locator("#last-sentence")).to_have_text("<img src=x onerror=alert(1)><b>bold</b>")
        assert page.locator("main img").count() == 0
        assert stack.complaints == []
    finally:
        stack.server.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_one_column_without_sideways_scrolling(
    stack: Stack, browser: Browser, scheme: str
) -> None:
    page = stack.open(browser, viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    lefts = page.locator(".chart").evaluate_all("all => all.map((e) => e.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1


CONTRAST = """(selectors) => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const ground = (e) => { const c = getComputedStyle(e).backgroundColor;
    return /rgba\\(0, 0, 0, 0\\)/.test(c) && e.parentElement ? ground(e.parentElement) : c; };
  return selectors.map((s) => { const e = document.querySelector(s);
    const [a, b] = [luminance(getComputedStyle(e).color), luminance(ground(e))];
    return [s, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_schemes(stack: Stack, browser: Browser, scheme: str) -> None:
    page = stack.open(browser, color_scheme=scheme)
    dark_ground = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 21)"
    assert dark_ground == (scheme == "dark")
    selectors = ["h1", "#state", "#last-sentence", ".tile dt", ".tile .value", ".tile .note", ".legend li", "#link",
                 ".action", ".why", "th", "summary time"]  # fmt: skip
    low = [(name, ratio) for name, ratio in page.evaluate(CONTRAST, selectors) if ratio < HIGH_CONTRAST]
    assert low == []


def test_a_missing_browser_fails_the_tests_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        find_chromium()
