"""The `/metrics` page: every family and label set of a vLLM 0.32 server, and a DCGM-shaped view of its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engine import metrics
from engine.profile import EngineLimits
from engine.serve.exposition import Family, bucket_names, histogram_values, labelled
from engine.sim.counters import FINISHED_REASONS, Tally
from engine.sim.interface import EngineSnapshot

ENGINE = "0"
REJECTIONS = ("max_num_queued_reqs", "max_num_queued_tokens")

_ROWS: tuple[tuple[str, str, tuple[str, ...], Callable[[EngineSnapshot], Sequence[float]]], ...] = (
    ("vllm:estimated_flops_per_gpu_total", "", (), lambda _: (0,)),
    ("vllm:estimated_read_bytes_per_gpu_total", "", (), lambda _: (0,)),
    ("vllm:estimated_write_bytes_per_gpu_total", "", (), lambda _: (0,)),
    ("vllm:num_requests_running", "", (), lambda s: (s.running,)),
    ("vllm:num_requests_waiting", "", (), lambda s: (s.waiting,)),
    ("vllm:num_requests_waiting_by_reason", "reason", ("capacity", "deferred"), lambda s: (s.waiting, 0)),
    ("vllm:engine_sleep_state", "sleep_state", ("awake", "weights_offloaded", "discard_all"), lambda _: (1, 0, 0)),
    ("vllm:kv_cache_usage_perc", "", (), lambda s: (s.kv_usage_ratio,)),
    ("vllm:prefix_cache_queries_total", "", (), lambda s: (s.prefix_queries,)),
    ("vllm:prefix_cache_hits_total", "", (), lambda s: (s.prefix_hits,)),
    ("vllm:external_prefix_cache_queries_total", "", (), lambda _: (0,)),
    ("vllm:external_prefix_cache_hits_total", "", (), lambda _: (0,)),
    ("vllm:mm_cache_queries_total", "", (), lambda _: (0,)),
    ("vllm:mm_cache_hits_total", "", (), lambda _: (0,)),
    ("vllm:num_preemptions_total", "", (), lambda s: (s.preemptions,)),
    ("vllm:prompt_tokens_total", "", (), lambda s: (s.prompt_tokens,)),
    (
        "vllm:prompt_tokens_by_source_total",
        "source",
        ("local_compute", "local_cache_hit", "external_kv_transfer"),
        lambda s: (s.prompt_tokens - s.cached_tokens, s.cached_tokens, 0),
    ),
    ("vllm:prompt_tokens_cached_total", "", (), lambda s: (s.cached_tokens,)),
    (
        "vllm:prompt_tokens_cached_by_source_total",
        "source",
        ("device", "host", "p2p", "disk", "external_unspecified"),
        lambda s: (s.prefix_hits, 0, 0, 0, 0),
    ),
    ("vllm:generation_tokens_total", "", (), lambda s: (s.generation_tokens,)),
    (
        "vllm:request_success_total",
        "finished_reason",
        FINISHED_REASONS,
        lambda s: [s.finished[reason] for reason in FINISHED_REASONS],
    ),
)
"""Name, extra label, its values, and the samples' values in their order."""


@dataclass(slots=True)
class CallCounters:
    """What the API server counts that the engine does not see: a request with n answers is one call."""

    n: Tally = field(default_factory=lambda: Tally(metrics.N))
    longest: Tally = field(default_factory=lambda: Tally(()))

    @staticmethod
    def for_context(max_model_len: int) -> CallCounters:
        """Empty counters with the token buckets of this context length."""
        return CallCounters(longest=Tally(metrics.token_buckets(max_model_len)))

    def finished(self, n: int, longest_tokens: int) -> None:
        """One prompt's answers are complete."""
        self.n.observe(n)
        self.longest.observe(longest_tokens)


class EnginePage:
    """Renders the vLLM families; label texts are made once."""

    def __init__(self, model_name: str, limits: EngineLimits, calls: CallCounters, started_at: float) -> None:
        self._base = {"engine": ENGINE, "model_name": model_name}
        self._calls = calls
        self._started_at = started_at
        self._labels = {row[0]: _label_texts(self._base, row[1], row[2]) for row in _ROWS}
        self._rejections = _label_texts({"model_name": model_name}, "reason", REJECTIONS)
        self._cache_info = labelled(cache_config(limits))
        self._bucket_names: dict[str, list[str]] = {}

    def families(self, snapshot: EngineSnapshot) -> list[Family]:
        """Every `vllm:` family."""
        families: list[Family] = []
        for name, _, _, read in _ROWS:
            families += self._plain(name, self._labels[name], read(snapshot))
        families += self._plain("vllm:admission_rejections_total", self._rejections, (0, 0))
        calls = {
            "vllm:request_params_n": self._calls.n.freeze(),
            "vllm:request_max_num_generation_tokens": self._calls.longest.freeze(),
        }
        for name, histogram in {**snapshot.histograms, **calls}.items():
            if name not in self._bucket_names:
                self._bucket_names[name] = bucket_names(self._base, histogram.edges)
            samples = list(zip(self._bucket_names[name], histogram_values(histogram), strict=True))
            families += [Family(name, metrics.metric(name).kind, samples), self._created(name, [labelled(self._base)])]
        return [*families, Family("vllm:cache_config_info", "gauge", [(self._cache_info, 1.0)])]

    def _plain(self, name: str, labels: list[str], values: Sequence[float]) -> list[Family]:
        family = Family(name, metrics.metric(name).kind, list(zip(labels, values, strict=True)))
        if family.kind != "counter":
            return [family]
        return [family, self._created(name.removesuffix("_total"), labels)]

    def _created(self, name: str, labels: list[str]) -> Family:
        return Family(f"{name}_created", "gauge", [(text, self._started_at) for text in labels])


def card_families(card: Mapping[str, str], busy_ratio: float, memory_mib: tuple[float, float]) -> list[Family]:
    """The card as NVIDIA's DCGM exporter would show it: busy percent, memory used and free."""
    labels, (used_mib, free_mib) = labelled(card), memory_mib
    return [
        Family(metrics.GPU_UTIL_PERCENT, "gauge", [(labels, float(round(100 * min(1.0, busy_ratio))))]),
        Family(metrics.GPU_MEMORY_USED_MIB, "gauge", [(labels, used_mib)]),
        Family(metrics.GPU_MEMORY_FREE_MIB, "gauge", [(labels, free_mib)]),
    ]


def cache_config(limits: EngineLimits) -> dict[str, str]:
    """Labels of vllm:cache_config_info; those the simulation knows nothing of have vLLM's defaults."""
    tokens = limits.num_gpu_blocks * limits.block_size
    known = {
        "block_size": str(limits.block_size),
        "effective_attention_block_size": str(limits.block_size),
        "num_gpu_blocks": str(limits.num_gpu_blocks),
        "kv_cache_size_tokens": str(tokens),
        "kv_cache_max_concurrency": str(tokens / limits.max_model_len),
    }
    return {**_CACHE_DEFAULTS, **known, "engine": ENGINE}


_NONE = (
    "cache_hit_alignment_tokens hash_block_size kv_cache_layout kv_cache_memory_bytes kv_offloading_size "
    "mamba_block_size mamba_page_size_padded num_cpu_blocks num_gpu_blocks_override prefix_match_unit "
    "skip_page_size_padded sliding_window"
)
_FALSE = (
    "enable_mamba_shared_prefix_checkpoint is_attention_free kv_sharing_fast_prefill use_kda_recoverssm "
    "use_replayssm user_specified_block_size"
)
_CACHE_DEFAULTS = {
    **dict.fromkeys(_NONE.split(), "None"),
    **dict.fromkeys(_FALSE.split(), "False"),
    "_block_size_resolved": "True",
    "cache_dtype": "auto",
    "enable_prefix_caching": "True",
    "gpu_memory_utilization": "0.92",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_offloading_backend": "native",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_ssm_cache_dtype": "float32",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "replayssm_buffer_len": "16",
    "swa_bounded_replay": "True",
}


def _label_texts(base: Mapping[str, str], label: str, values: Sequence[str]) -> list[str]:
    if not label:
        return [labelled(base)]
    return [labelled({**base, label: value}) for value in values]
