"""Installed packages have exact versions and known hashes."""

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
# An entry of the lock: name and version, then one hash per line.
ENTRY = re.compile(r"([a-z0-9-]+)==([\w.]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def test_every_package_has_a_version_and_hashes() -> None:
    assert re.fullmatch(f"(?:{ENTRY.pattern})+", (ROOT / "requirements.lock").read_text())


def test_the_lock_has_all_requirements_of_the_project_and_its_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = chain(project["dependencies"], *project["optional-dependencies"].values())
    locked = {name for name, *_ in ENTRY.findall((ROOT / "requirements.lock").read_text())}
    assert {re.split(r"[\[<>=]", name)[0] for name in needed} <= locked


def test_make_installs_only_packages_with_known_hashes() -> None:
    dry = ["make", "--dry-run", "--always-make", "install"]
    said = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    installs = [line for line in said.splitlines() if "pip install" in line]
    # The last one is this project itself, which is not in the lock.
    assert installs[-1].endswith("--no-deps --no-build-isolation --editable .")
    assert len(installs) > 1
    for line in installs[:-1]:
        assert "--require-hashes" in line
        assert "--no-build-isolation" in line
