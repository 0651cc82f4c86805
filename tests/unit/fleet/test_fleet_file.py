"""Fleets from files while the files change under the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.errors import UsageError
from controller.observe.fleet_file import FleetFile, load_fleets

FLEET = """\
metadata: {{name: {name}}}
spec:
  modelName: {name}
  host: vllm
  variants: [{{name: v1, scaleTargetRef: {{name: {name}}}, subset: v1, accelerator: l40s, costPerHour: {cost}}}]
"""


def text(name: str, cost: object = 1) -> str:
    return FLEET.format(name=name, cost=cost)


def costs(source: FleetFile) -> dict[str, float]:
    return {fleet.key: fleet.spec.variants[0].cost_per_hour for fleet in source.fleets()}


def rewrite(file: Path, content: str) -> None:
    """As editors do: a new file in the place of the old one."""
    draft = file.with_suffix(".draft")
    draft.write_text(content)
    draft.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleets.yaml"
    path.write_text(text("llama") + "---\n" + text("qwen"))
    return path


def test_a_changed_file_is_read_again_and_an_unchanged_one_yields_the_same_values(file: Path) -> None:
    source = FleetFile(file)
    first = source.fleets()
    assert [a is b for a, b in zip(first, source.fleets(), strict=True)] == [True, True]
    rewrite(file, text("llama", 3))
    assert costs(source) == {"default/llama": 3}
    assert source.problems() == {}


def test_a_fleet_that_turned_bad_keeps_its_last_good_version_while_the_others_move_on(file: Path) -> None:
    source = FleetFile(file)
    source.fleets()
    rewrite(file, text("llama", -1) + "---\n" + text("qwen", 5))
    assert costs(source) == {"default/llama": 1, "default/qwen": 5}
    assert list(source.problems()) == ["default/llama"]
    assert "costPerHour: -1 is not above 0; write more than 0" in source.problems()["default/llama"]
    rewrite(file, text("llama", 2) + "---\n" + text("qwen", 5))
    assert costs(source) == {"default/llama": 2, "default/qwen": 5}
    assert source.problems() == {}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("spec: [", id="no YAML"),
        pytest.param("", id="empty, as between truncation and writing"),
        pytest.param("metadata: {}\n", id="a document whose name cannot be told"),
    ],
)
def test_a_file_that_cannot_be_read_keeps_all_that_came_from_it(file: Path, content: str) -> None:
    source = FleetFile(file)
    source.fleets()
    rewrite(file, content)
    assert costs(source) == {"default/llama": 1, "default/qwen": 1}
    assert set(source.problems()) == {"default/llama", "default/qwen"}
    assert len(set(source.problems().values())) == 1


def test_a_vanished_file_keeps_its_fleets_and_says_so(file: Path) -> None:
    source = FleetFile(file)
    source.fleets()
    file.unlink()
    assert set(costs(source)) == {"default/llama", "default/qwen"}
    said = f"{file}: does not exist; name a file or folder that does"
    assert source.problems() == {"default/llama": said, "default/qwen": said}


def test_a_bad_file_without_a_fleet_so_far_is_named_by_its_place(file: Path) -> None:
    file.write_text("spec: [")
    source = FleetFile(file)
    assert costs(source) == {}
    assert list(source.problems()) == [str(file)]


def test_a_nameless_document_beside_good_ones_concerns_only_those_that_are_missing(file: Path) -> None:
    source = FleetFile(file)
    source.fleets()
    rewrite(file, text("llama", 2) + "---\nmetadata: {}\n")
    assert costs(source) == {"default/llama": 2, "default/qwen": 1}
    assert list(source.problems()) == ["default/qwen"]


def test_two_fleets_on_one_object_are_refused_with_both_named_and_the_last_good_set_stays(file: Path) -> None:
    source = FleetFile(file)
    source.fleets()
    rewrite(file, text("llama", 2) + "---\n" + text("qwen", 2).replace("name: qwen}, subset", "name: llama}, subset"))
    assert costs(source) == {"default/llama": 1, "default/qwen": 1}
    assert source.problems() == {
        "default/llama": f'{file}:1: document 1: spec.variants[0].scaleTargetRef.name: "llama" is scaled by fleet '
        f"default/qwen at {file}:7 too; name an object of its own for each fleet, or remove one of the fleets",
        "default/qwen": f'{file}:7: document 2: spec.variants[0].scaleTargetRef.name: "llama" is scaled by fleet '
        f"default/llama at {file}:1 too; name an object of its own for each fleet, or remove one of the fleets",
    }
    with pytest.raises(UsageError, match="2 problems"):
        load_fleets(file)


def test_two_fleets_whose_metrics_could_not_be_told_apart_are_refused(file: Path) -> None:
    file.write_text(text("llama") + "---\n" + text("qwen").replace("modelName: qwen", "modelName: llama"))
    with pytest.raises(UsageError, match=r'variants\[0\]\.name: "v1" is a variant of the same model in fleet default/'):
        load_fleets(file)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"metadata: {name: qwen}": "metadata: {name: qwen, namespace: other}"}, id="another namespace"),
        pytest.param({"scaleTargetRef: {name": "scaleTargetRef: {kind: StatefulSet, name"}, id="another kind"),
    ],
)
def test_an_object_of_the_same_name_elsewhere_is_another_one(file: Path, second: dict[str, str]) -> None:
    document = text("qwen").replace("{name: qwen}, subset", "{name: llama}, subset")
    for old, new in second.items():
        document = document.replace(old, new)
    file.write_text(text("llama") + "---\n" + document)
    assert len(load_fleets(file)) == 2


def test_a_fleet_that_never_was_good_is_missing_and_reported(file: Path) -> None:
    file.write_text(text("llama") + "---\n" + text("qwen", "dear"))
    source = FleetFile(file)
    assert costs(source) == {"default/llama": 1}
    assert list(source.problems()) == ["default/qwen"]


class TestFolder:
    """A folder of files, as a mounted ConfigMap."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "a.yaml").write_text(text("llama"))
        (tmp_path / "b.yml").write_text(text("qwen"))
        (tmp_path / "notes.txt").write_text("not YAML: [")
        (tmp_path / ".hidden.yaml").write_text("[")
        (tmp_path / "sub.yaml").mkdir()
        return tmp_path

    def test_its_yaml_files_are_read_in_the_order_of_their_names(self, folder: Path) -> None:
        assert [fleet.key for fleet in load_fleets(folder)] == ["default/llama", "default/qwen"]

    def test_a_new_file_joins_and_a_removed_one_leaves(self, folder: Path) -> None:
        source = FleetFile(folder)
        source.fleets()
        (folder / "c.yaml").write_text(text("phi"))
        (folder / "a.yaml").unlink()
        assert set(costs(source)) == {"default/qwen", "default/phi"}

    def test_one_broken_file_keeps_only_its_own_fleets(self, folder: Path) -> None:
        source = FleetFile(folder)
        source.fleets()
        rewrite(folder / "a.yaml", "[")
        rewrite(folder / "b.yml", text("qwen", 7))
        assert costs(source) == {"default/llama": 1, "default/qwen": 7}

    def test_one_name_in_two_files_is_refused_in_both_and_the_last_good_version_stays(self, folder: Path) -> None:
        source = FleetFile(folder)
        source.fleets()
        (folder / "c.yaml").write_text(text("llama", 9))
        assert costs(source) == {"default/llama": 1, "default/qwen": 1}
        assert "declared at" in source.problems()["default/llama"]
        with pytest.raises(UsageError, match=r"c\.yaml:1 too; give each fleet a name of its own"):
            load_fleets(folder)

    def test_a_folder_without_fleet_files_is_an_error(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(UsageError, match=r"holds no \*\.yaml or \*\.yml file"):
            load_fleets(empty)


class TestUnreadable:
    """Files that give no text."""

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="does not exist; name a file or folder that does"):
            load_fleets(tmp_path / "none.yaml")

    def test_a_file_that_is_not_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yaml"
        path.write_bytes(b"metadata:\n  name: caf\xe9\n")
        with pytest.raises(UsageError, match=r"f\.yaml:2: is not UTF-8; save it in that encoding"):
            load_fleets(path)

    def test_a_byte_order_mark_is_no_mistake(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + text("llama").encode())
        assert len(load_fleets(path)) == 1

    def test_a_pipe_is_refused_instead_of_waited_for(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yaml"
        os.mkfifo(path)
        with pytest.raises(UsageError, match="is no regular file"):
            load_fleets(path)

    def test_a_file_of_absurd_size(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yaml"
        with path.open("wb") as stream:
            stream.truncate(9 * 2**20)
        with pytest.raises(UsageError, match="is larger than 8 MiB; spread the fleets"):
            load_fleets(path)

    def test_a_link_that_leads_in_a_circle(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yaml"
        path.symlink_to(path)
        with pytest.raises(UsageError, match=r"cannot be read \(.*\); check the file and its permissions"):
            load_fleets(path)
