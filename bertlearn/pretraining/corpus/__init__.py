"""Text of any size as token shards on disk, and training examples read from them (chapter 4).

`read_documents` streams text, `build_shards` turns it into a folder of memory-mapped arrays, `Shards.open`
opens and checks such a folder, and `Examples` draws the rows of a batch: sentence pairs, or windows of text.
Row number n is a pure function of (shards, seed, n), so a run can be resumed, or distributed over processes,
at any point.

Source: Devlin et al. 2019, §3.1 and appendix A.2; Liu et al. 2019 (RoBERTa), §4.2, for windows.
Leaves out: masking, which is drawn for each batch (`bertlearn.pretraining.masking`). This package does not
import torch, so worker processes start fast and need little memory.
"""

from bertlearn.pretraining.corpus.build import build_shards, check_free
from bertlearn.pretraining.corpus.examples import Examples, Rows
from bertlearn.pretraining.corpus.store import Shard, Shards
from bertlearn.pretraining.corpus.texts import (
    SkippedRows,
    check_apart,
    input_bytes,
    read_documents,
    sample_texts,
    split_sentences,
)

__all__ = [
    "Examples",
    "Rows",
    "Shard",
    "Shards",
    "SkippedRows",
    "build_shards",
    "check_apart",
    "check_free",
    "input_bytes",
    "read_documents",
    "sample_texts",
    "split_sentences",
]
