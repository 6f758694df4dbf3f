"""Prints the totals of a plan, for the stage `check`.

Runs in its own process, because it trains networks of the sizes in params.yaml: a failure there
must not make `check` fail.
"""

import sys

from ablation.base.console import plain_errors
from ablation.plan.pipeline import PipelineError
from ablation.plan.plan import make_plan

if __name__ == "__main__":
    with plain_errors():
        try:
            totals = make_plan().totals()
        except PipelineError as error:  # DVC reports it, if it is an error at all
            sys.exit(str(error))
        print("\n".join(totals))
