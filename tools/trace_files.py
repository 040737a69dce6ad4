"""Follow one text through `predict` and print how often the path changes from one file to another.

python tools/trace_files.py            the number of changes, and the files in order
python tools/trace_files.py --calls    every call, with its file

Counted are changes of file between successive calls of functions defined in bertlearn/, on a warm cache: a
reader who follows the program opens that many files. Two layers, tokenization and checks of inputs included;
left out is arguments.py, whose checks of single numbers no one needs to read to go on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from types import FrameType

import torch

from bertlearn import BertConfig, BertForSequenceClassification, WordPieceTokenizer, predict

PACKAGE = Path(__file__).resolve().parent.parent / "bertlearn"
TEXT = "the film was a delight"
LEFT_OUT = PACKAGE / "arguments.py"


def calls_of(run: Callable[[], object]) -> list[tuple[str, str]]:
    """Return (file, function) of each call of a function of the package, in order."""
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE) and path != LEFT_OUT:
            calls.append((str(path.relative_to(PACKAGE)), code.co_name))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def calls_of_predict() -> list[tuple[str, str]]:
    """Return the calls of `predict` on one text with a classifier of two layers."""
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT.split()])
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=tokenizer.vocab_size)).eval()
    predict(model, tokenizer, [TEXT])  # fills the tokenizer's cache of words
    return calls_of(lambda: predict(model, tokenizer, [TEXT]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", action="store_true")
    calls = calls_of_predict()
    if parser.parse_args().calls:
        print("\n".join(f"{file:28} {function}" for file, function in calls))
    files = [file for file, _ in groupby(calls, key=lambda call: call[0])]
    print(" → ".join(files))
    print(f"{len(files) - 1} changes of file, {len(set(files))} files, {len(calls)} calls")


if __name__ == "__main__":
    main()
