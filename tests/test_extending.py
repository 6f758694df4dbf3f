"""Performs the pages on how to add a technique, a family, a data set and a strategy.

An edit on a page is a code block below a sentence such as "In `params.yaml`, after `seed: 1729`,
add:". The named line is found by its text without indentation, and must be unique; the block gets
the same indentation.
"""

import ast
import json
import re
import sys
import textwrap
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from ablation.base.checked import read_yaml
from ablation.base.files import read_csv
from ablation.trial.recipe import TECHNIQUES
from tests.clones import CHAIN, ROOT, TINY, Clone, MakeOnce, copy_project, make_tiny

PAGES = ("add-a-technique", "add-a-family", "add-a-dataset", "search")
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL)
SENTENCE = re.compile(
    r"In `(?P<file>[^`\n]+)`, (?P<place>at the end|(after|before|instead of) `(?P<line>[^`\n]+)`), "
    r"(add|write):\n\n\Z"
)
STUDIED = ("mlp", "resnet")
PRINTED = "printed.txt"
# Only what the pages add is explored. One worker, because two would load torch in every stage.
SMALL = {
    "validation": TINY["validation"],
    "training": TINY["training"] | {"batch_size": 16, "workers": 1},
    "baseline": {"optimizer": {"name": "adam", "lr": 0.01}, "dropout": 0.0},
    "fit": {"seeds": 1},
    "worth": TINY["worth"],
    "techniques": {technique: [] for technique in TECHNIQUES},
}
# Prints the result of one step with the baseline and, after the pages' edits, with more recipes.
STEP = """
import sys
from pathlib import Path
import torch
from ablation.data.splits import make_repeats
from ablation.trial.recipe import Sgd, load_recipe
from ablation.trial.families import MlpSpec
from ablation.trial.training import Part, train

root = Path(sys.argv[1])
generator = torch.Generator().manual_seed(0)
images = torch.randint(256, (64, 28, 28), dtype=torch.uint8, generator=generator)
part = Part(images, torch.randint(4, (64,), generator=generator))
recipe = load_recipe(root / "data/recipes/mlp/baseline.yaml")
spec, repeat = MlpSpec(hidden=(9, 8, 7), epochs=1), make_repeats(1, "shuffle", 0.5, 1)[0]

def step(recipe):
    options = dict(classes=4, batch_size=64, bf16=False)
    done = train(spec, recipe, repeat, part, part, **options)
    weights = torch.cat([values.flatten() for values in done.network.parameters()])
    return [done.curves.train_loss, weights.double().sum().item()]

recipe = recipe.having("optimizer", Sgd(name="sgd", lr=0.1))
print(step(recipe))
"""
MORE = """
from torch import nn
from ablation.fitted.model import Fitted
from ablation.trial.models import LayerNorm, _reject_unsupported_layers
from ablation.trial.recipe import NAdam
from ablation.trial.weights import MasterWeights

print(step(recipe.having("clipping", 0.001)))
print(step(recipe.having("optimizer", NAdam(name="nadam", lr=0.1))))
print([Fitted.load(root / "data/models/mlp.safetensors").metadata.recipe.clipping])
network = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), LayerNorm(8), nn.Linear(8, 4))
_reject_unsupported_layers(network)
MasterWeights(network, torch.bfloat16)
print([str(network(torch.ones(3, 1, 28, 28).bfloat16()).dtype), str(network[2].weight.dtype)])
"""


def perform(page: Path, project: Path) -> int:
    """Perform the page's edits in a copy of the project; returns their number."""
    text = page.read_text()
    blocks = [each for each in FENCED.finditer(text) if each["language"] != "bash"]
    for fenced in blocks:
        sentence = SENTENCE.search(text[: fenced.start()])
        assert sentence, f"{page.name} does not say where this goes:\n{fenced[0]}"
        edit(project / sentence["file"], sentence["place"], sentence["line"], fenced["block"])
    return len(blocks)


def edit(file: Path, place: str, line: str | None, block: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    if line is None:
        lines.append(block)
    else:
        places = [n for n, found in enumerate(lines) if found.strip() == line]
        assert len(places) == 1, f"{file.name} has {len(places)} lines that read {line!r}"
        at = places[0]
        indentation = lines[at].removesuffix(lines[at].lstrip())
        start, end = {"after": (1, 1), "before": (0, 0), "instead of": (0, 1)}[place.split(" `")[0]]
        lines[at + start : at + end] = [textwrap.indent(block, indentation)]
    file.write_text("".join(lines))


@pytest.fixture(scope="session")
def extended(make_once: MakeOnce) -> Clone:
    """A copy of the project after the edits of all pages. Read-only."""

    def make(folder: Path) -> None:
        project = copy_project(folder / "project")
        for page in PAGES:
            assert perform(ROOT / f"docs/{page}.md", project.path) >= 3
        project.run("ruff", "format", "--quiet", ".")

    folder = make_once("extended", make)
    return Clone(folder / "project", folder / "project-cache")


@pytest.fixture(scope="session")
def studied(extended: Clone, make_once: MakeOnce) -> Clone:
    """A small study of it, without the CNN to save time. Read-only."""

    def make(folder: Path) -> None:
        project = extended.duplicate(folder / "project")
        make_tiny(project, SMALL, CHAIN)
        new = read_yaml(project.path / "params.yaml")["models"]["resnet"]
        models = {"mlp": TINY["models"]["mlp"], "resnet": new | {"epochs": 1}}
        project.edit("models", value=models)
        pipeline = project.path / "dvc.yaml"
        lines = pipeline.read_text().splitlines(keepends=True)
        pipeline.write_text("".join(line for line in lines if "/cnn" not in line))
        (project.path / PRINTED).write_text(project.run("dvc", "repro"))

    folder = make_once("studied", make)
    return Clone(folder / "project", folder / "project/.cache/trials")


def about(project: Clone, model: str) -> dict[str, Any]:
    """The metadata of a model file."""
    with safe_open(project.path / f"data/models/{model}.safetensors", framework="numpy") as file:
        content: dict[str, Any] = json.loads(file.metadata()["ablation"])
        return content


@pytest.mark.deep
def test_the_project_is_as_clean_as_before(extended: Clone) -> None:
    """Its parameters are valid, and tests that iterate over tables pass."""
    extended.run("ruff", "check", ".")
    about_tables = (
        *("test_dvc_yaml", "test_params", "trial/test_recipe", "trial/test_models"),
        "search/test_strategies",
    )
    extended.run("pytest", "-q", *(f"tests/{name}.py" for name in about_tables))


@pytest.mark.deep
def test_the_code_on_the_pages_passes_mypy(extended: Clone) -> None:
    extended.run("mypy", "src")


@pytest.mark.deep
@pytest.mark.parametrize("model", STUDIED)
def test_a_new_technique_has_its_stage_and_its_rows(model: str, studied: Clone) -> None:
    assert f"Running stage 'clipping@{model}'" in (studied.path / PRINTED).read_text()
    plots = studied.path / "plots" / model
    chain, gains, candidates = (
        read_csv(plots / name)
        for name in ("clipping/chain.csv", "leave_one_out/gains.csv", "clipping/candidates.csv")
    )
    first, *between = chain["stage"]
    assert (first, sorted(between[:-1]), between[-1]) == (
        "baseline",
        sorted(TECHNIQUES[:-1]),
        "clipping",
    )
    assert gains["technique"].tolist() == [*between, "epochs", "all"]
    assert set(candidates["setting"]) == {"none", "1", "5"}
    assert (studied.path / f"metrics/{model}/clipping.json").exists()
    for charts in ("gains", "curves"):
        assert list((studied.path / "plots/charts" / charts).glob("*clipping*.csv")), charts


@pytest.mark.deep
def test_new_techniques_train_and_old_results_are_unchanged(extended: Clone) -> None:
    (before,) = in_python(ROOT, STEP)
    plain, clipped, nadam, old_model, taught = in_python(extended.path, STEP + MORE)
    assert plain == before
    assert clipped[0] == plain[0], "the loss before the first step"
    assert clipped[1] != plain[1], "the weights after it"
    assert nadam[0] == plain[0]
    assert nadam[1] != plain[1]
    assert old_model == [0.0]
    assert taught == ["torch.bfloat16", "torch.float32"], "a layer norm between layers in bf16"


@pytest.mark.deep
def test_a_new_family_has_its_model_and_its_comparisons(studied: Clone) -> None:
    assert about(studied, "resnet")["spec"] == {"epochs": 1, "channels": [16, 32], "blocks": 1}
    models = read_csv(studied.path / "plots/comparison/models.csv")
    assert models["model"].tolist() == [*STUDIED]
    pairs = {path.stem for path in (studied.path / "metrics/comparison").iterdir()}
    assert pairs == {"-".join(pair) for pair in combinations(STUDIED, 2)}


@pytest.mark.deep
def test_a_new_data_set_is_studied_and_its_note_is_shown(studied: Clone) -> None:
    output = (studied.path / PRINTED).read_text()
    assert "a study of glyph-digits" in output
    assert "Made from the digits of the glyphs dataset" in output
    classes = read_csv(studied.path / "data/classes.csv", text=["character"])
    assert classes["character"].tolist() == [*"0123456789"]
    for model in STUDIED:
        assert about(studied, model)["classes"] == [*"0123456789"]
        assert about(studied, model)["conversion"] == "emnist"


def in_python(folder: Path, program: str) -> list[list[Any]]:
    """Run a program that imports the project of a folder; returns the lists that it prints."""
    command = ("env", f"PYTHONPATH={folder / 'src'}", sys.executable, "-c", program, str(ROOT))
    return [ast.literal_eval(line) for line in Clone(folder, folder).run(*command).splitlines()]
