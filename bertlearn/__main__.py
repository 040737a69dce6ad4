"""Runs `python -m bertlearn`, which does the same as the command `bertlearn`."""

from bertlearn.cli import main

main()
