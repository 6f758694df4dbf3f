import torch

from ablation.trial.replay import graphed_on_cuda


def test_on_a_cpu_a_function_is_unchanged() -> None:
    def function(rows: torch.Tensor) -> None: ...

    assert graphed_on_cuda(torch.Generator())(function) is function
