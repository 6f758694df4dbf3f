"""`python -m ablation` is the command `ablation`."""

from ablation.cli import main

main()
