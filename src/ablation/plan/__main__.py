"""The totals of a plan, for `check`.

A process of its own, since it makes networks of the sizes that params.yaml asks for, whatever these
are, and what breaks there must not break `check`.
"""

from ablation.base.console import plain_errors
from ablation.plan.plan import make_plan

if __name__ == "__main__":
    with plain_errors():
        print("\n".join(make_plan().totals()))
