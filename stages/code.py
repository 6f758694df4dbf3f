"""Stage `code`: writes digests of the code, so that DVC reruns the stages whose code changed."""

from ablation.base.files import write_bytes
from ablation.plan.code import code_digests
from ablation.processes.stage import stage_process


def main() -> None:
    """Write one file for each script in stages/."""
    for path, content in code_digests().items():
        write_bytes(content.encode(), path)


if __name__ == "__main__":
    with stage_process():
        main()
