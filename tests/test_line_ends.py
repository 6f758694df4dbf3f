"""A clone has the same bytes regardless of git's settings for line endings."""

import subprocess
from pathlib import Path

import pytest

from tests.clones import Clone
from tests.test_demo import unpack


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """All files of the project, including results, in one commit."""
    folder = unpack(tmp_path_factory.mktemp("project"))
    project = Clone(folder, folder / ".cache/trials")
    project.run("git", "init", "--quiet")
    project.commit("The project")
    return project


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf"])
def test_every_file_of_a_clone_has_the_bytes_that_were_committed(
    setting: str, project: Clone, tmp_path: Path
) -> None:
    """Otherwise DVC would consider it modified, and train again."""
    project.run(
        "git", "clone", "--quiet", "-c", setting, str(project.path), str(tmp_path / "clone")
    )
    names = project.run("git", "ls-files", "-z").split("\0")[:-1]
    assert "dvc.lock" in names and "data/models/mlp.safetensors" in names
    changed = [
        name
        for name in names
        if (tmp_path / "clone" / name).read_bytes() != (project.path / name).read_bytes()
    ]
    assert changed == []


def test_a_carriage_return_of_an_editor_is_not_committed(project: Clone) -> None:
    """To git, params.yaml is unchanged if it is saved by an editor on Windows."""
    params = project.path / "params.yaml"
    lines = params.read_bytes()
    params.write_bytes(lines.replace(b"\n", b"\r\n"))
    assert "insertion" not in project.run("git", "diff", "--stat")
    params.write_bytes(lines)


def test_git_treats_no_binary_file_as_text(project: Clone) -> None:
    listed = subprocess.check_output(
        ["git", "ls-files", "--eol"], cwd=project.path, text=True
    ).splitlines()
    kinds = {line.split("\t")[1]: line.split()[:2] for line in listed}
    for name, kind in kinds.items():
        is_binary = name.endswith((".png", ".npz", ".safetensors"))
        assert kind == (["i/-text", "w/-text"] if is_binary else ["i/lf", "w/lf"]), name
