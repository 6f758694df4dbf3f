"""Write digests of the code, so that DVC reruns the stages whose code changed."""

from ablation.base.files import write_bytes
from ablation.plan.code import stage_digests
from ablation.processes.stage import stage_process


def main() -> None:
    """Write one file for each script in stages/."""
    for path, content in stage_digests().items():
        write_bytes(content.encode(), path)


if __name__ == "__main__":
    with stage_process():
        main()
