"""Scenarios: what is shipped keeps its promises, what is wrong is named."""

from __future__ import annotations

from collections import Counter
from itertools import islice, takewhile
from pathlib import Path

import pytest
import yaml

from controller.errors import UsageError
from controller.model.fleet import Fleet
from engine.load.phases import segments_of
from engine.load.scenario import LoadWindow, Scenario
from engine.load.scenario_file import load_scenario, parse_scenario, shipped_scenarios
from engine.profile_files import load_profile

MOST_OUTPUT_TPS = 3000
FIXED = "{source: fixed, promptTokens: 8, outputTokens: 4}"


def written(phases: str = "[{name: a, kind: constant, duration: 5s, rps: 2}]", **replaced: str) -> str:
    parts = {
        "name": "mine",
        "description": "mine",
        "stack": "{startReplicas: 1}",
        "lengths": FIXED,
        "phases": phases,
        "fleet": yaml.safe_dump(load_scenario("calm").fleet_document(), default_flow_style=True, width=10_000),
    } | replaced
    return "\n".join(f"{name}: {text.strip()}" for name, text in parts.items())


def rates(scenario: Scenario, *at_s: float) -> list[float]:
    """The arrival rate at these times since the start."""
    found, start_s = {}, 0.0
    for segment in segments_of(scenario.phases):
        end_s = start_s + (segment.duration_s or float("inf"))
        found.update({at: segment.rate_rps(at - start_s) for at in at_s if start_s <= at < end_s})
        start_s = end_s
    return [found[at] for at in at_s]


@pytest.mark.parametrize("name", shipped_scenarios())
def test_a_shipped_scenario_is_whole(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert Fleet.model_validate(scenario.fleet_document()) == scenario.fleet
    profile = load_profile(scenario.stack.profile)
    assert max(sum(pair) for pair in scenario.lengths.pairs()) <= profile.limits.max_model_len
    bounds = scenario.fleet.spec.variants[0].replicas
    assert bounds.min <= scenario.stack.start_replicas <= bounds.max
    assert scenario.fleet.spec.scaling.cold_start == scenario.stack.cold_start


@pytest.mark.parametrize("name", shipped_scenarios())
def test_no_shipped_scenario_asks_for_more_tokens_than_a_small_machine_simulates(name: str) -> None:
    assert load_scenario(name).peak_output_tps <= MOST_OUTPUT_TPS


def test_the_default_never_streams_more_than_3000_tokens_in_any_second() -> None:
    scenario = load_scenario("default")
    per_second: Counter[int] = Counter()
    for arrival in takewhile(lambda a: a.at_s < 1200, scenario.arrivals()):
        per_second.update(int(arrival.at_s + 0.3 + 0.03 * token) for token in range(arrival.output_tokens))
    assert max(per_second.values()) <= MOST_OUTPUT_TPS


def test_the_default_climbs_threefold_holds_bursts_falls_and_goes_on() -> None:
    scenario = load_scenario("default")
    start, hold, burst, wave = rates(scenario, 10, 150, 199, 400)
    assert hold == pytest.approx(3 * start)
    assert burst > rates(scenario, 190)[0]
    assert wave < hold
    assert scenario.duration_s is None
    assert scenario.stack.start_replicas == 2


def test_the_step_is_threefold_within_a_second_and_held_for_150() -> None:
    scenario = load_scenario("step")
    assert scenario.load_window == LoadWindow(60, 210)
    before, *during, after = rates(scenario, 59, 61, 209.9, 212)
    assert before == after == pytest.approx(2 * 0.6 * 3.9)
    assert during == pytest.approx([3 * before] * 2)
    bounds, scaling = scenario.fleet.spec.variants[0].replicas, scenario.fleet.spec.scaling
    assert (bounds.min, bounds.max, scenario.stack.start_replicas) == (2, 8, 2)
    assert (scenario.stack.cold_start, scenario.stack.scrape_interval, scaling.stabilization.down) == (15, 2, 60)
    assert scenario.objectives.ttft_target_ratio == scenario.objectives.tpot_target_ratio == 0.99
    assert (scenario.objectives.ttft_s, scenario.objectives.tpot_s) == (1.0, 0.05)


@pytest.mark.parametrize("name", ["thresholds", "calm", "zero"])
def test_scenarios_where_the_rate_does_not_matter_stay_below_500_tokens_a_second(name: str) -> None:
    assert load_scenario(name).peak_output_tps <= 500


def test_the_same_seed_gives_the_same_traffic_and_another_one_does_not() -> None:
    scenario = load_scenario("step")
    first, again, other = (list(islice(scenario.arrivals(seed), 200)) for seed in (1, 1, 2))
    assert first == again != other


def test_lengths_do_not_change_with_the_rate() -> None:
    slow, fast = (parse_scenario(written(f"[{{name: a, kind: constant, rps: {r}}}]"), "f") for r in (1, 5))
    slow, fast = (s.model_copy(update={"lengths": load_scenario("calm").lengths}) for s in (slow, fast))
    pairs = [[(a.prompt_tokens, a.output_tokens) for a in islice(s.arrivals(), 50)] for s in (slow, fast)]
    assert pairs[0] == pairs[1]


def test_every_kind_of_phase_has_its_shape() -> None:
    scenario = parse_scenario(
        written("""[
            {name: a, kind: constant, duration: 10s, rps: 2}, {name: b, kind: step, duration: 10s, rps: 6, within: 2s},
            {name: c, kind: ramp, duration: 10s, from: 6, to: 1},
            {name: d, kind: burst, duration: 10s, rps: 1, peak: 9, length: 1s, every: 5s},
            {name: e, kind: wave, rps: 1, amplitude: 2, period: 8s}]"""),
        "f",
    )
    assert rates(scenario, 5, 11, 15, 25, 31, 34.5, 35, 42, 46) == pytest.approx([2, 4, 6, 3.5, 1, 9, 1, 3, 0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("- a", "f: no scenario; write a mapping", id="no mapping"),
        pytest.param("a: [", "f: not valid YAML", id="no YAML"),
        pytest.param(written(nmae="x"), "f: nmae: is no known field; did you mean `name`?", id="unknown field"),
        pytest.param(written("[]"), "f: phases: [] has 0 entries; write at least 1", id="no phases"),
        pytest.param(
            written("[{name: a, kind: wobble, rps: 1}]"), "f: phases[0].kind: \"wobble\" is not `constant`", id="kind"
        ),
        pytest.param(
            written("[{name: a, kind: ramp, duration: 5s, from: 1}]"), "f: phases[0].to: is missing: a ramp", id="to"
        ),
        pytest.param(
            written("[{name: a, kind: constant, rps: 1, peak: 2}]"),
            "phases[0].peak: means nothing in a constant, which has `rps`; remove it",
            id="peak",
        ),
        pytest.param(
            written("[{name: a, kind: constant, rps: 1}, {name: b, kind: constant, rps: 1}]"),
            "phases[0].duration: is missing: only the last phase may go on for ever",
            id="endless in the middle",
        ),
        pytest.param(
            written("[{name: a, kind: constant, rps: 1, load: true}]"), "a judged load has an end", id="endless load"
        ),
        pytest.param(
            written("[" + ",".join(f"{{name: a, kind: constant, duration: 1s, rps: 1, load: {x}}}" for x in
                    ("true", "false", "true")) + "]"),
            "phases: have load: true in several places",
            id="two loads",
        ),
        pytest.param(
            written(stack="{startReplicas: 1, coldStart: 15}"), 'stack.coldStart: 15 has no unit; write', id="no unit"
        ),
        pytest.param(written(stack="{startReplicas: 60}"), "stack.startReplicas: 60 is above the max", id="start"),
        pytest.param(
            written(lengths="{source: fixed}"), "lengths.promptTokens: is missing: fixed lengths need it", id="lengths"
        ),
        pytest.param(
            written(fleet="{metadata: {name: x}, spec: {modelName: m, host: h, variants: []}}"),
            "f: fleet.spec.variants: [] has 0 entries",
            id="a wrong fleet",
        ),
    ],
)  # fmt: skip
def test_a_wrong_scenario_is_named_by_path_value_reason_and_remedy(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "f")
    assert said in str(caught.value)


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_scenario(written("[{name: a, kind: constant, rps: -1}]", name="A B", seed="x"), "f")
    assert [line.split(":")[1].strip() for line in str(caught.value).splitlines()] == ["name", "seed", "phases[0].rps"]


def test_a_file_of_ones_own_is_read_and_a_missing_one_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(written())
    assert load_scenario(str(path)).duration_s == 5
    with pytest.raises(UsageError, match="neither a shipped one nor a file; give one of calm, default"):
        load_scenario(str(tmp_path / "none.yaml"))
