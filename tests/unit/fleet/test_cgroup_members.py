"""The processes of a cgroup, while the kubelet removes others beside it."""

from pathlib import Path

import pytest

from fleet.cluster import cgroups


def test_a_cgroup_that_goes_while_it_is_read_has_no_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    for group in ("stays", "goes"):
        (tmp_path / "memory" / "fleet-x" / group).mkdir(parents=True)
    (tmp_path / "memory" / "fleet-x" / "stays" / "cgroup.procs").write_text("7\n9\n")
    # Listed, and not there when it is opened.
    (tmp_path / "memory" / "fleet-x" / "goes" / "cgroup.procs").symlink_to(tmp_path / "gone")

    assert cgroups.processes("fleet-x") == {7, 9}
