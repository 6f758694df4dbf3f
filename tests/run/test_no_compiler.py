import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
# Prints the weights that every optimizer reaches, and how much of the compiler was imported.
STEPS = """
import sys
import torch
from ablation.trial.techniques import OPTIMIZERS
if sys.argv[1] == "without":
    from ablation.run.no_compiler import leave_compiler_out
    leave_compiler_out()
for optimizer in OPTIMIZERS.values():
    torch.manual_seed(0)
    weights = torch.randn(100, requires_grad=True)
    stepping = optimizer([weights], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(stepping, 5)
    for _ in range(3):
        stepping.zero_grad()
        (weights**2).sum().backward()
        stepping.step()
        schedule.step()
    print(weights.tolist())
print(sum(name.startswith("torch._dynamo.") for name in sys.modules), file=sys.stderr)
"""
ASKS_FOR_MORE = """
from ablation.run.no_compiler import leave_compiler_out
leave_compiler_out()
import torch
import torch._dynamo.config
print(torch._dynamo.config.cache_size_limit > 0, torch._dynamo.is_compiling())
"""


def run(script: str, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.deep
def test_optimizers_give_the_same_steps_without_the_compiler() -> None:
    weights, imported = run(STEPS, "without")
    assert imported == "0\n"
    with_it, imported = run(STEPS, "with")
    assert int(imported) > 0
    assert weights == with_it


def test_other_attributes_import_the_real_compiler() -> None:
    assert run(ASKS_FOR_MORE)[0] == "True False\n"
