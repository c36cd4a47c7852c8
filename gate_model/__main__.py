"""`python -m gate_model` is `gate`."""

from gate_model.cli.app import main

main()
