"""The command `ablation`, from the command line."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from ablation.cli import main
from tests.pictures.test_picture import seven

REPOSITORY = Path(__file__).parents[1]


class Said(NamedTuple):
    """The result of a command: its exit status or final message, and its output."""

    status: str | int | None
    out: str
    err: str


Ablation = Callable[..., Said]


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ablation:
    """Run the command in this process, which has already imported torch."""

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["ablation", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Said(end.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    seven().save(path)
    return path


def test_one_model_predicts_if_the_other_finds_no_writing(
    ablation: Ablation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MLP uses whole pictures, as after a study of another data set."""
    models = tmp_path / "data/models"
    models.mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    shutil.copy(REPOSITORY / "data/models/cnn.safetensors", models)
    with safe_open(REPOSITORY / "data/models/mlp.safetensors", framework="numpy") as file:
        about = json.loads(file.metadata()["ablation"]) | {"conversion": "as-is"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, models / "mlp.safetensors", {"ablation": json.dumps(about)})
    Image.new("L", (64, 64), 128).save(tmp_path / "empty.png")
    monkeypatch.chdir(tmp_path)
    said = ablation("predict", "empty.png")
    assert said.status in (0, None)
    _, line = said.out.splitlines()
    assert line.split()[:2] == ["empty.png", "mlp"]
    assert said.err.startswith("warning: empty.png: cnn: no writing found")


def test_both_models_are_found_from_any_folder(drawn: Path) -> None:
    command = [sys.executable, "-m", "ablation", "predict", drawn.name]
    environment = {"PYTHONPATH": str(REPOSITORY / "src"), "LANG": "C.UTF-8"}
    said = subprocess.run(
        command, env=environment, cwd=drawn.parent, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    _, mlp, cnn = said.stdout.splitlines()
    assert mlp.split()[:3] == ["seven.png", "mlp", "7"]
    assert cnn.split()[:2] == ["cnn", "7"]
    assert mlp.count("%") == cnn.count("%") == 3


def test_the_models_are_those_of_the_current_study(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, ablation: Ablation
) -> None:
    """The study may have fitted a single family."""
    (drawn.parent / "dvc.yaml").write_text("stages: {}")
    (drawn.parent / "deeper").mkdir()
    monkeypatch.chdir(drawn.parent / "deeper")
    own = ("predict", "../seven.png", "--json")
    assert list(json.loads(ablation(*own).out)[0]) == ["image", "warning", "mlp", "cnn"]
    (drawn.parent / "data/models").mkdir(parents=True)
    model = drawn.parent / "data/models/mlp.safetensors"
    shutil.copy(REPOSITORY / "data/models/mlp.safetensors", model)
    assert list(json.loads(ablation(*own).out)[0]) == ["image", "warning", "mlp"]
    assert ablation(*own, "--model", "cnn").status == (
        f"error: {model.with_name('cnn.safetensors')}: no such file; `dvc repro fit` creates it"
    )


@pytest.mark.parametrize("model", ["mlp", "cnn", str(REPOSITORY / "data/models/cnn.safetensors")])
def test_one_model_can_be_selected(model: str, drawn: Path, ablation: Ablation) -> None:
    (prediction,) = json.loads(ablation("predict", drawn, "--model", model, "--json").out)
    name = "mlp" if model == "mlp" else "cnn"
    assert list(prediction) == ["image", "warning", name]
    assert prediction["image"] == str(drawn)
    assert prediction[name][0]["character"] == "7"
    assert 0 < prediction[name][0]["probability"] <= 1


def test_several_characters_are_counted_instead_of_guessed(tmp_path: Path) -> None:
    """The warning precedes the table."""
    both = Image.new("L", (520, 200), 240)
    both.paste(seven(), (0, 0))
    both.paste(seven(), (220, 0))
    both.save(tmp_path / "both.png")
    command = [sys.executable, "-m", "ablation", "predict", "both.png"]
    environment = {"PYTHONPATH": str(REPOSITORY / "src"), "LANG": "C.UTF-8"}
    said = subprocess.check_output(
        command, env=environment, cwd=tmp_path, text=True, stderr=subprocess.STDOUT
    )
    warning, _, mlp, cnn = said.splitlines()
    assert warning.startswith("warning: ")
    assert mlp.split() == ["both.png", "mlp", "2", "characters"]
    assert cnn.split() == ["cnn", "2", "characters"]


def test_an_unreadable_image_is_one_line_and_exit_status_1(drawn: Path, ablation: Ablation) -> None:
    said = ablation("predict", drawn.parent / "gone.png", drawn)
    assert said.status == 1
    assert said.err == f"error: {drawn.parent / 'gone.png'}: no such file\n"
    assert "cnn" in said.out


def test_an_unreadable_image_is_an_object_of_the_json_array(
    drawn: Path, ablation: Ablation
) -> None:
    said = ablation("predict", drawn.parent, drawn, "--json")
    assert said.status == 1
    bad, good = json.loads(said.out)
    assert bad == {
        "image": str(drawn.parent),
        "error": "a folder, not an image; name the images in it",
    }
    assert good["warning"] is None


@pytest.fixture
def in_its_folder(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(drawn.parent)
    return drawn


def test_brackets_and_colons_in_names_are_printed_literally(
    in_its_folder: Path, ablation: Ablation
) -> None:
    name = "[bold]a[b] :smile: [red].png"
    in_its_folder.rename(name)
    assert name in ablation("predict", name).out


def test_control_characters_in_a_name_do_not_reach_the_terminal(
    in_its_folder: Path, ablation: Ablation
) -> None:
    name = "\x1b[2Jseven\n\udcff.png"
    in_its_folder.rename(name)
    said = ablation("predict", name, "gone\x07.png")
    assert "?[2Jseven??.png" in said.out
    assert said.err == "error: gone?.png: no such file\n"


def in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a bash command line in which `ablation` is this project's, and $S its exit status."""
    start = f'ablation() {{ {sys.executable} -m ablation "$@"; }}; set -o pipefail; '
    environment = {"PYTHONPATH": str(REPOSITORY / "src"), "LANG": "C.UTF-8"}
    return subprocess.run(
        ["bash", "-c", start + command],
        env=environment | {"PATH": os.environ["PATH"]},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("predict {name}", marks=pytest.mark.deep),
        "predict {name} --json",
        "--help",
    ],
)
def test_a_closed_pipe_ends_the_command_silently(command: str, drawn: Path) -> None:
    done = in_a_shell(f"ablation {command.format(name=drawn.name)} | true", drawn.parent)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (">&-", "error: standard output is closed, but results are written there; open it\n"),
        (">/dev/full", "error: standard output: No space left on device; redirect it elsewhere\n"),
    ],
)
def test_an_unwritable_output_is_a_one_line_error(command: str, said: str, drawn: Path) -> None:
    done = in_a_shell(f"ablation predict {drawn.name} {command}", drawn.parent)
    assert (done.returncode, done.stderr) == (1, said)


def test_errors_are_not_mixed_with_predictions_if_stderr_is_closed(drawn: Path) -> None:
    done = in_a_shell(f"ablation predict gone.png {drawn.name} --json 2>&-", drawn.parent)
    assert [*json.loads(done.stdout)[0]] == ["image", "error"]


@pytest.mark.parametrize(
    "source", ["- < seven.png", pytest.param("<(cat seven.png)", marks=pytest.mark.deep)]
)
def test_a_picture_can_be_read_from_a_pipe(source: str, drawn: Path) -> None:
    """Both models predict it, although a pipe can be read only once."""
    done = in_a_shell(f"ablation predict --json {source}", drawn.parent)
    assert done.returncode == 0, done.stderr
    (prediction,) = json.loads(done.stdout)
    assert prediction["image"] == source[0] or prediction["image"].startswith("/dev/fd/")
    assert [prediction[name][0]["character"] for name in ("mlp", "cnn")] == ["7", "7"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("< /dev/null", "error: -: not an image that can be read; save it as PNG or JPEG\n"),
        ("<&-", "error: -: standard input is closed; name a picture, or pipe one in\n"),
    ],
)
def test_an_empty_pipe_is_a_one_line_error(source: str, said: str, drawn: Path) -> None:
    done = in_a_shell(f"ablation predict - {source}", drawn.parent)
    assert (done.returncode, done.stderr) == (1, said)


def test_show_writes_the_input_of_the_network(drawn: Path, ablation: Ablation) -> None:
    sheet = drawn.parent / "new/seen.png"
    assert ablation("predict", drawn, "--show", sheet).status == 0
    assert Image.open(sheet).convert("L").getextrema() == (0, 255)


def test_predictions_are_printed_if_the_contact_sheet_cannot_be_written(
    drawn: Path, ablation: Ablation
) -> None:
    said = ablation("predict", drawn, "--show", drawn / "seen.png")
    assert str(said.status).startswith(f"error: {drawn}")
    assert "cnn" in said.out


def test_an_invalid_output_name_is_reported_before_any_work(ablation: Ablation) -> None:
    said = ablation("predict", "gone.png", "--show", "seen.gif")
    assert said == ("error: seen.gif: suffix: '.gif' is not one of .png, .jpg, .jpeg", "", "")


def test_an_invalid_model_is_a_one_line_error(drawn: Path, ablation: Ablation) -> None:
    folder = drawn.parent
    mistakes: dict[str | Path, str] = {
        "cmn": "--model: 'cmn' is not one of mlp, cnn, both, search (did you mean 'cnn'?); "
        "nor is it a file",
        folder: f"{folder}: a folder; give a file written by `dvc repro fit`",
        # and, in brackets, what safetensors says
        drawn: f"{drawn}: not a valid model file; recreate it with `dvc repro fit` (",
    }
    for model, said in mistakes.items():
        status = ablation("predict", drawn, "--model", model).status
        assert str(status).startswith(f"error: {said}")


def test_a_model_with_an_unknown_conversion_is_reported(drawn: Path, ablation: Ablation) -> None:
    content = (REPOSITORY / "data/models/cnn.safetensors").read_bytes()
    model = drawn.with_name("model")
    model.write_bytes(content.replace(b'\\"emnist\\"', b'\\"emnits\\"'))
    assert ablation("predict", drawn, "--model", model).status == (
        f"error: {model}: its metadata: conversion: 'emnits' is not one of emnist, mnist, "
        "as-is (did you mean 'emnist'?)"
    )


def test_a_port_in_use_is_reported(ablation: Ablation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ablation("draw", "--port", str(port)).status == (
            f"error: port {port}: Address already in use; "
            "choose another one; --port 0 selects any free port"
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "ablation: error: the following arguments are required: COMMAND"),
        (("paint",), "ablation: error: argument COMMAND: invalid choice: 'paint' (choose from "),
        (("predict",), "ablation predict: error: the following arguments are required: images"),
        (("predict", "a.png", "--modell"), "ablation: error: unrecognized arguments: --modell"),
        (("predict", "a.png", "--model"), "ablation predict: error: argument --model: expected"),
        (("diff",), "ablation diff: error: the following arguments are required: revision"),
        (
            ("diff", "main", "--json", "--markdown"),
            "ablation diff: error: argument --markdown: ",
        ),
        (("draw", "--port", "-1"), "ablation draw: error: argument --port: '-1' is not a number "),
        (("draw", "--port", "65536"), "ablation draw: error: argument --port: '65536' is not a"),
    ],
)
def test_an_invalid_command(arguments: tuple[str, ...], said: str, ablation: Ablation) -> None:
    status, _, err = ablation(*arguments)
    assert status == 2
    assert err.splitlines()[-1].startswith(said)
