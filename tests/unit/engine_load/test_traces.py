"""Recorded traffic: what is read, what is refused and how it is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from controller.errors import UsageError
from engine.load.arrivals import Arrival
from engine.load.traces import QUANTUM_S, Trace

AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
MOONCAKE = "".join(
    json.dumps({"timestamp": at, "input_length": 10 + at, "output_length": 5, "hash_ids": [0, 1]}) + "\n"
    for at in (1000, 1000, 1000, 4000, 9500)
)


def written(folder: Path, content: str | bytes, name: str = "trace") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_an_azure_csv_begins_at_zero_and_keeps_its_microseconds(tmp_path: Path) -> None:
    first, second = Trace(written(tmp_path, AZURE))
    assert first == Arrival(0.0, 374, 44)
    assert (second.prompt_tokens, second.output_tokens) == (396, 109)
    assert second.at_s == pytest.approx(4.314579, abs=1e-6)


def test_the_format_is_told_from_the_content_and_not_from_the_name(tmp_path: Path) -> None:
    packed = written(tmp_path, gzip.compress(AZURE.encode()), "azure.jsonl")
    assert list(Trace(packed)) == list(Trace(written(tmp_path, AZURE)))


def test_columns_may_stand_in_any_order_with_time_zones(tmp_path: Path) -> None:
    text = "GeneratedTokens,TIMESTAMP,ContextTokens\n7,2024-05-10 00:00:00+00:00,9\n8,2024-05-10T02:00:01+02:00,9\n"
    assert [(a.at_s, a.output_tokens) for a in Trace(written(tmp_path, text))] == [(0.0, 7), (1.0, 8)]


def test_mooncake_requests_of_one_timestamp_are_spread_until_the_next_one(tmp_path: Path) -> None:
    arrivals = list(Trace(written(tmp_path, MOONCAKE), seed=3))
    group, alone = arrivals[:3], arrivals[3:]
    assert [a.prompt_tokens for a in arrivals] == [1010, 1010, 1010, 4010, 9510]
    assert group[0].at_s == 0
    assert sorted(a.at_s for a in group) == [a.at_s for a in group]
    assert len({a.at_s for a in group}) == 3
    assert group[-1].at_s < QUANTUM_S
    assert alone[1].at_s - alone[0].at_s == 5.5


def test_a_long_silence_does_not_stretch_the_group_before_it(tmp_path: Path) -> None:
    line = '{{"timestamp": {}, "input_length": 1, "output_length": 1}}\n'
    arrivals = list(Trace(written(tmp_path, line.format(0) * 50 + line.format(600_000)), seed=1))
    assert max(a.at_s for a in arrivals[:50]) < QUANTUM_S


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    trace = Trace(written(tmp_path, MOONCAKE), seed=5)
    assert list(trace) == list(trace)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("", "the trace is empty", id="an empty file"),
        pytest.param("a,b,c\n1,2,3\n", "line 1: neither the header", id="another CSV"),
        pytest.param(AZURE + "2023-11-16 18:15:51,12\n", "line 4: not a request", id="a missing cell"),
        pytest.param(AZURE + "yesterday,12,3\n", "line 4: not a request (Invalid isoformat", id="no time"),
        pytest.param(AZURE + "\n2023-11-16 18:15:52,x,3\n", "line 5: not a request", id="no number after a blank line"),
        pytest.param(AZURE + "2023-11-16 18:15:52,0,3\n", "a length below 1 token", id="an empty prompt"),
        pytest.param(AZURE + "2023-11-16 18:15:01,9,3\n", "sort the file by time", id="time running backwards"),
        pytest.param(MOONCAKE + '{"timestamp": 9600, "input_len', "line 6: not a request", id="half a line"),
        pytest.param(MOONCAKE + '{"timestamp": 9600}\n', "no field 'input_length'", id="a missing field"),
        pytest.param(MOONCAKE + "[1]\n", "line 6: not a request", id="no object"),
        pytest.param('{"timestamp": NaN, "input_length": 1, "output_length": 1}\n', "line 1", id="a time that is none"),
        pytest.param(MOONCAKE.replace("5,", "5.5,"), "lengths are not whole numbers", id="half tokens"),
        pytest.param(b"\xff\xfe\x00", "is not UTF-8; save it in that encoding", id="binary"),
        pytest.param(gzip.compress(AZURE.encode())[:-12], "the compressed file is damaged", id="half a gzip"),
    ],
)
def test_a_malformed_line_gets_one_sentence_with_place_text_and_remedy(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        list(Trace(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "; " in message
    assert "\n" not in message


def test_a_missing_file_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the trace: No such file"):
        list(Trace(tmp_path / "none.csv"))
