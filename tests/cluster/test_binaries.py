"""Where the parts of the test cluster come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import PermanentError, UsageError
from tests.cluster.plane import pins
from tests.cluster.plane.binaries import ASSETS, cache_folder, installed, located
from tests.cluster.plane.build import build, go_mod
from tests.cluster.plane.golang import find_go


def assets(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def test_a_folder_of_kubebuilder_assets_wins_for_its_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = assets(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    monkeypatch.setenv(ASSETS, str(folder))
    found = located(tmp_path / "cache")
    assert found.program(pins.ETCD) == folder / "etcd"
    assert found.program(pins.KUBECTL) == folder / "kubectl"
    assert found.program(pins.KWOK).is_relative_to(tmp_path / "cache")


def test_a_folder_of_kubebuilder_assets_that_lacks_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ASSETS, str(assets(tmp_path / "assets", "etcd", "kubectl")))
    assert located(tmp_path / "cache").program(pins.ETCD).is_relative_to(tmp_path / "cache")


def test_what_is_missing_is_named_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ASSETS, str(assets(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vllm-governor" / "cluster"
    with pytest.raises(
        UsageError, match=r"lacks kube-controller-manager, .*`python -m tests\.cluster\.plane\.binaries`"
    ):
        installed()


def test_another_version_or_another_stamp_is_another_folder() -> None:
    stamped = replace(pins.KWOK, stamps=(("main.version", "x"),))
    newer = replace(pins.KWOK, version="v0.9.0")
    assert len({pins.KWOK.folder, stamped.folder, newer.folder}) == 3
    assert newer.folder.startswith("kwok-v0.9.0-")


def test_a_module_around_kubernetes_takes_its_staging_modules_from_their_release() -> None:
    own = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n\tk8s.io/utils v0.0.0-2026\n)\n"
    assert go_mod(pins.KUBECTL, own) == (
        "module governor.dev/test-cluster/kubectl\n"
        "go 1.26.0\n"
        f"require k8s.io/kubernetes {pins.KUBERNETES}\n"
        f"replace k8s.io/api => k8s.io/api {pins.KUBERNETES.replace('v1.', 'v0.')}\n"
    )


def test_a_command_that_its_module_lacks_is_refused_with_the_compilers_words(tmp_path: Path) -> None:
    absent = replace(pins.KWOK, name="absent", package="sigs.k8s.io/kwok/cmd/absent")
    with pytest.raises(PermanentError, match=r"absent v0.8.0 could not be built, go ended with code 1: .*cmd/absent"):
        build(absent, find_go(tmp_path), tmp_path)
    assert list(tmp_path.iterdir()) == []
