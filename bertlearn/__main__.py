"""`python -m bertlearn`, the same as the command `bertlearn`."""

from bertlearn.cli import main

main()
