"""The collaborator on OpenFL itself: collected where OpenFL is installed (`make test-openfl`), and nowhere else."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.exchange.reference_run import forget_workspace, importable

collect_ignore_glob = [] if find_spec("openfl") else ["test_*.py"]

DIGITS = Path(__file__).parents[3] / "examples" / "digits-openfl"


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits split over the sites c1 and c2, in a folder each, and a held-out folder."""
    folder = tmp_path_factory.mktemp("shards")
    with importable(DIGITS):
        from make_shards import make_shards  # noqa: PLC0415 - a script of the example, importable only here

        make_shards(folder, ["c1", "c2"])
    return folder


@pytest.fixture(autouse=True)
def one_workspace_at_a_time() -> Iterator[None]:
    """Forget the package `src`: each test imports another workspace, and all workspaces use that name."""
    path = list(sys.path)
    forget_workspace()
    yield
    forget_workspace()
    sys.path[:] = path
