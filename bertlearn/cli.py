"""The command line: `bertlearn doctor` and `bertlearn data`."""

from __future__ import annotations

import os
import sys
from typing import Literal

import tyro

SourceName = Literal["reviews", "wikipedia", "bible", "minilm"]


def doctor(json: bool = False) -> int:
    """Examine this machine: Python, packages, device, memory, disk, data, and the time each chapter takes.

    Args:
        json: Print the report as JSON, for programs.

    Returns:
        Exit status: 0 when all is well, 1 when something needs mending.
    """
    from bertlearn.doctor import examine

    report = examine()
    print(report.to_json() if json else report)
    return 0 if report.ok else 1


def data(names: tyro.conf.Positional[tuple[SourceName, ...]] = (), check: bool = False) -> int:
    """Fetch the course's texts and weights, each once, checked; what is there already is left alone.

    Args:
        names: Sources to fetch; all of them when none is named.
        check: Fetch nothing; only say what is cached and intact.

    Returns:
        Exit status: 0 when everything asked for is there and intact, 1 when not.
    """
    from bertlearn import data as sources

    try:
        if not check:
            sources.fetch(names or None)
        found = [status for status in sources.status() if not names or status.name in names]
    except sources.DataError as error:
        print(f"bertlearn data: {error}", file=sys.stderr)
        return 1
    for status in found:
        print(f"{status.name:<10} {status.state:<8} {status.size / 1e6:6.1f} MB  {status.folder}")
    return 0 if all(status.state == "intact" for status in found) else 1


def main() -> None:
    """Run the command line and exit with its status."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know ✓
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            {"doctor": doctor, "data": data},
            prog="bertlearn",
            description="The companion of the bertlearn course.",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except KeyboardInterrupt:
        print("bertlearn: stopped", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


if __name__ == "__main__":
    main()
