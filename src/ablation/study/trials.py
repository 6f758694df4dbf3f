"""Running trials that do not race."""

import time
from collections.abc import Iterable

from ablation.base.console import console
from ablation.base.formatting import counted
from ablation.base.progress import progress
from ablation.run.runner import TrialRunner
from ablation.trial.trials import Result, Trial


def run_trials(runner: TrialRunner, trials: Iterable[Trial], name: str) -> dict[Trial, Result]:
    """Run each trial once, and print how many were trained and cached.

    Args:
        name: of the progress, such as `mlp`.

    Returns:
        the results, in the order of the trials.

    Raises:
        SplitError: the characters cannot be split as params.yaml specifies.
    """
    started = time.monotonic()
    wanted = [*dict.fromkeys(trials)]
    missing = sum(not runner.is_cached(trial) for trial in wanted)
    finished: dict[Trial, Result] = {}
    trained = 0
    with progress(name, missing) as update:
        for trial, result, cached in runner.run(wanted):
            finished[trial] = result
            trained += not cached
            update(trained, missing)
    console.print(
        f"{name}: {counted(trained, 'trial')} trained in {time.monotonic() - started:,.0f} s, "
        f"{len(wanted) - trained} cached"
    )
    return {trial: finished[trial] for trial in wanted}
