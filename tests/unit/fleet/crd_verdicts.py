"""Who in a cluster refuses each of the bad fleet files, and in what words `kubectl` shows it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NamedTuple

FLEETS = Path(__file__).parents[2] / "golden" / "fleet"


class By(Enum):
    """Who says no."""

    KUBECTL = "kubectl: what it reads is no Fleet"
    KUBERNETES = "the API server: its own rules of object metadata"
    STRICT = "the API server: unknown fields, which kubectl asks it to refuse"
    SCHEMA = "the API server: the structural schema"
    RULE = "the API server: a rule in CEL"
    DAEMON = "the daemon alone, in a condition of the Fleet"
    NOBODY = "nobody: kubectl or the server read a good fleet in it"


class Verdict(NamedTuple):
    """Who refuses a file, and some of the words."""

    by: By
    words: tuple[str, ...] = ()


def _rule(*words: str) -> Verdict:
    return Verdict(By.RULE, words)


def _schema(*words: str) -> Verdict:
    return Verdict(By.SCHEMA, words)


def _strict(*fields: str) -> Verdict:
    return Verdict(By.STRICT, tuple(f'unknown field "{field}"' for field in fields))


VERDICTS: dict[str, Verdict] = {
    "alias_bomb": Verdict(By.KUBECTL),
    "alias_of_itself": Verdict(By.KUBECTL),
    "budget_below_floor": _rule(
        "spec.scaling.maxCostPerHour: Invalid value: 3.5 is below the cost of the fewest replicas of all variants, "
        "4 per hour; raise it, or lower replicas.min"
    ),
    "custom_edges_wrong": _rule(
        "spec.objectives.ttft.bucketEdges: Invalid value: the edges do not rise; list the edges in rising order",
        "spec.objectives.tpot.threshold: Invalid value: 50ms is no bucket edge of the TPOT histogram",
        'write one of bucketEdges, ["20ms", "40ms", "80ms"]',
    ),
    "deadline_before_cold_start": _rule(
        "spec.scaling.startDeadline: Invalid value: 5m is not longer than coldStart, which is 10m: every replica would "
        "be given up; allow several times the expected start"
    ),
    "duplicate_fleet": Verdict(By.NOBODY),
    "duplicate_variants": _schema(
        'spec.variants[2]: Duplicate value: {"name":"v1"}',
        "spec.variants: Invalid value: vllm-v1 is scaled by more than one variant; name an object of its own for each",
    ),
    "duration_unreadable": _schema("spec.objectives.tpot.threshold", "spec.scaling.coldStart", "should match"),
    "duration_without_unit": _schema(
        "spec.objectives.ttft.threshold", "spec.scaling.coldStart", "must be of type string"
    ),
    "empty": Verdict(By.KUBECTL, ("no objects passed",)),
    "field_in_the_wrong_place": _strict("spec.maxCostPerHour", "spec.paused", "spec.ttft"),
    "fraction_of_a_replica": _schema("spec.variants[0].replicas.min", "must be of type integer"),
    "from_the_cluster": Verdict(By.NOBODY),
    "merge_of_a_text": Verdict(By.KUBECTL),
    "min_above_max": _rule(
        "spec.variants[0].replicas.min: Invalid value: 30 is above max, which is 20; lower min or raise max",
        "spec.variants[1].replicas.min: Invalid value: 12 is above max, which is 10; lower min or raise max",
    ),
    "misspelt_fields": _strict("spec.scalling", "spec.variants[0].acelerator", "spec.variants[0].replica"),
    "mistakes_do_not_hide_each_other": _rule(
        "spec.scaling.maxCostPerHour: Invalid value: 1 is below the cost",
        "spec.scaling.thresholds.gpuUp: Invalid value: 0.2 is not above gpuDown, which is 0.3; leave a gap",
        "spec.rollout.steps: Invalid value: [50, 10, 100] does not rise strictly from 1",
        "spec.objectives.ttft.threshold: Invalid value: 3s is no bucket edge of the TTFT histogram",
        "write 2.5s or 5s, or list custom edges in bucketEdges",
    ),
    "name_missing": Verdict(By.KUBERNETES, ("resource name may not be empty",)),
    "name_not_kubernetes": Verdict(By.KUBERNETES, ("RFC 1123",)),
    "negative_numbers": _schema("spec.variants[0].costPerHour", "spec.variants[0].replicas.min"),
    "nested_too_deeply": _schema("spec"),
    "not_finite": Verdict(By.KUBECTL),
    "number_in_quotes": _schema("spec.variants[0].costPerHour", "spec.variants[0].replicas.min"),
    "override_incomplete": _schema("spec.scaling.override.reason: Required", "spec.scaling.override.until: Required"),
    "override_naive": _schema("spec.scaling.override.until", "spec.scaling.override.reason"),
    "override_unknown_and_outside": _rule(
        'spec.scaling.override.replicas: Invalid value: v3 is the name of no variant; write one of ["v1", "v2"]',
        "spec.scaling.override.replicas: Invalid value: 50 is outside the bounds of variant v1, its own and those of "
        "its schedules, which an override does not lift; stay inside, or change the variant's replicas",
    ),
    "percent_for_ratio": _schema("spec.objectives.ttft.target", "spec.objectives.availability.target"),
    "rollout_mode_contradictions": _rule(
        "spec.rollout.steps: Invalid value: [50, 100] contradicts mode blueGreen, whose steps are [100]",
        "spec.rollout.capacity: Invalid value: swap contradicts mode blueGreen, which builds the whole new fleet "
        "beside the old one; set capacity to surge",
        "spec.rollout.maxStepTime: Invalid value: 2h is not longer than bake, which is 3h: no verdict could be reached",
    ),
    "rollout_of_one_version": _rule(
        "spec.rollout: Invalid value: needs two versions, but every variant is of subset v1; add a variant"
    ),
    "rollout_steps": _rule(
        "spec.rollout.steps: Invalid value: [10, 5, 5, 50] does not rise strictly from 1; let weights rise strictly",
        "spec.rollout.steps: Invalid value: [10, 5, 5, 50] does not end at 100; let the last step be 100: all traffic",
    ),
    "rollout_steps_out_of_range": _rule(
        "[0, 50, 120] does not rise strictly from 1", "[0, 50, 120] does not end at 100"
    ),
    "rollout_without_route": _schema("spec.rollout.virtualService: Required value", "spec.rollout.onInconclusive"),
    "scale_target_as_text": _schema("spec.variants[0].scaleTargetRef", "must be of type object"),
    "schedule_against_variant": _schema(
        'spec.scaling.schedules[3]: Duplicate value: {"name":"a"}',
        "schedule a: min 25 is above max of variant v1, which is 20; lower min, or give the schedule a max as well",
        "schedule b: max 1 is below min of variant v1, which is 2; raise max, or give the schedule a min as well",
        'schedule c: v11 is the name of no variant; write one of ["v1", "v2"]',
    ),
    "schedule_bounds": _schema("spec.scaling.schedules[2].days", '"Tuesday"'),
    "schedule_time_zone": Verdict(By.DAEMON),
    "schedule_times": _schema(
        "spec.scaling.schedules[1].from",
        "spec.scaling.schedules[3].to",
        "spec.scaling.schedules[2].to: Invalid value: 08:00 equals from, so the window is empty; write another time",
    ),
    "schedule_too_dear": _rule(
        "spec.scaling.schedules: Invalid value: schedule peak: min 10 costs 40 per hour with the other variants, above "
        "maxCostPerHour, 25; lower min or raise maxCostPerHour"
    ),
    "second_document_bad": _strict("spec.model"),
    "snake_case": _strict("spec.model_name", "spec.variants[0].cost_per_hour"),
    "spec_empty": _strict("host", "modelName"),
    "spec_missing": _schema("spec: Required value"),
    "switch_as_word": Verdict(By.NOBODY),
    "syntax_duplicate_key": Verdict(By.NOBODY),
    "syntax_missing_space_after_colon": Verdict(By.KUBECTL),
    "syntax_python_tag": _schema("spec"),
    "syntax_tab_indent": Verdict(By.KUBECTL),
    "syntax_unclosed_bracket": Verdict(By.KUBECTL),
    "syntax_undefined_alias": Verdict(By.KUBECTL),
    "terminal_escape_in_value": _strict("spec.new\nline"),
    "threshold_beyond_last_edge": _rule(
        "1h is no bucket edge of the TTFT histogram",
        "write 2560s, or list custom edges in bucketEdges",
        "5ms is no bucket edge of the TPOT histogram",
        "write 10ms, or list custom edges in bucketEdges",
    ),
    "threshold_off_bucket_edge": _rule(
        "spec.objectives.ttft.threshold: Invalid value: 1500ms is no bucket edge of the TTFT histogram, so the share "
        "within it cannot be counted; write 1s or 2.5s, or list custom edges in bucketEdges",
        "spec.objectives.tpot.threshold: Invalid value: 60ms is no bucket edge of the TPOT histogram, so the share "
        "within it cannot be counted; write 50ms or 75ms, or list custom edges in bucketEdges",
    ),
    "thresholds_without_gap": _rule(
        "spec.scaling.thresholds.gpuUp: Invalid value: 0.3 is not above gpuDown, which is 0.3; leave a gap",
        "spec.scaling.thresholds.queueUp: Invalid value: 5 is not above queueDown, which is 10; leave a gap",
    ),
    "too_many_replicas": _schema("spec.variants[0].replicas.max"),
    "top_is_a_list": Verdict(By.KUBECTL),
    "top_is_a_text": Verdict(By.KUBECTL),
    "traffic_and_rollout": _rule(
        "spec.traffic: Invalid value: sets the weights by hand, which rollout moves as well: only one of the two may; "
        "remove traffic, or remove rollout"
    ),
    "traffic_numbers": _schema("spec.traffic.weights.v1", "spec.traffic.weights.canary", "virtualService.route"),
    "traffic_sum": _rule("spec.traffic.weights: Invalid value: the weights sum to 90; let them sum to 100"),
    "traffic_unknown_subset": _rule('is the subset of no variant; write one of ["v1", "canary"]'),
    "unknown_field": _strict("spec.bananas"),
    "unknown_policy": _schema("spec.scaling.policy", '"slo", "thresholds"'),
    "value_left_empty": Verdict(By.NOBODY),
    "variants_as_mapping": _strict("spec.variants.v1"),
    "variants_empty": _schema("spec.variants", "at least 1 items"),
    "variants_missing": _schema("spec.variants: Required value"),
    "wrong_api_version": Verdict(By.KUBECTL, ("no matches for kind",)),
    "wrong_kind": Verdict(By.KUBECTL, ("no matches for kind",)),
}
"""By the name of the file."""
