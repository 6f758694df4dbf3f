"""The totals of a plan, for `check`.

A process of its own: it trains networks of any size that params.yaml asks for, and what breaks
there must not break `check`.
"""

import sys

from ablation.base.console import plain_errors
from ablation.plan.pipeline import PipelineError
from ablation.plan.plan import make_plan

if __name__ == "__main__":
    with plain_errors():
        try:
            totals = make_plan().totals()
        except PipelineError as error:  # DVC's to refuse
            sys.exit(str(error))
        print("\n".join(totals))
