"""A reader who follows one text through `predict` does not have to jump from file to file."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import trace_files

MOST_CHANGES = 16


def test_predict_goes_through_few_files() -> None:
    calls = trace_files.calls_of_predict()
    files = [file for file, _ in groupby(calls, key=lambda call: call[0])]
    assert {"predict", "encode", "check_inputs", "fused_attention"} <= {function for _, function in calls}
    assert sum(function == "fused_attention" for _, function in calls) == 2  # two layers
    assert len(files) - 1 <= MOST_CHANGES, files
