"""A machine that can't run a fleet gets the reason and the remedy."""

import os
import platform
import shutil
from pathlib import Path

import pytest

from fleet import requirements
from fleet.cluster import cgroups
from fleet.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "fleet", tmp_path / "cache")


def test_a_mac_is_told_to_use_linux(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert [*requirements.unmet(layout)] == ["A fleet needs Linux namespaces, but this is Darwin. Use a Linux machine."]


def test_a_user_who_is_not_root_is_told_to_be(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any("Run it as root" in reason for reason in requirements.unmet(layout))


def test_a_machine_without_go_is_told_which_to_install(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "go" else f"/usr/bin/{name}")
    assert any("Install Go 1.25 or newer" in reason for reason in requirements.unmet(layout))


def test_missing_programs_are_named_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"ip", "buildah"} else f"/usr/bin/{name}")
    assert {"iproute2", "buildah"} <= set(requirements.missing_packages())


def test_a_machine_without_cgroups_is_told_so(monkeypatch: pytest.MonkeyPatch, layout: Layout, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "nothing")
    assert any("kubelets need cgroups" in reason for reason in requirements.unmet(layout))


def test_too_little_memory_is_told_with_what_is_needed(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 2**18)
    assert any(
        "1.0 GiB of memory are too few: a hub and two spokes need 5" in reason for reason in requirements.unmet(layout)
    )


def test_a_full_disk_is_told_with_the_folder(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=2**30))
    assert any(str(layout.folder) in r and "1.0 GiB free" in r for r in requirements.unmet(layout))


def test_every_refusal_names_the_alternative(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(requirements.RequirementsNotMet, match="FLEET=existing"):
        requirements.check(layout)
