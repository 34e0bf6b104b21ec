"""An image's name says what is in it."""

from pathlib import Path

from fleet.images import Recipe, content_digest


def recipe(tmp_path: Path, text: str = "FROM scratch", content: str = "x", **arguments: str) -> Recipe:
    (tmp_path / "Containerfile").write_text(text)
    (tmp_path / "tree").mkdir(exist_ok=True)
    (tmp_path / "tree" / "file").write_text(content)
    return Recipe("probe", tmp_path / "Containerfile", {"tree": tmp_path / "tree"}, arguments)


def test_the_same_content_has_the_same_name(tmp_path: Path) -> None:
    assert recipe(tmp_path).key() == recipe(tmp_path).key()


def test_each_part_changes_the_name(tmp_path: Path) -> None:
    keys = [
        recipe(tmp_path).key(),
        recipe(tmp_path, text="FROM other").key(),
        recipe(tmp_path, content="y").key(),
        recipe(tmp_path, BASE="other").key(),
    ]
    assert len(set(keys)) == len(keys)


def test_a_file_that_moves_or_becomes_executable_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = content_digest(tmp_path)
    (tmp_path / "a").chmod(0o755)
    executable = content_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({before, executable, content_digest(tmp_path)}) == 3
