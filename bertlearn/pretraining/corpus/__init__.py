"""Text of any size as token shards on disk, and training examples read from them (chapter 4).

`read_documents` streams text, `build_shards` turns it into a folder of memory-mapped arrays, `Shards.open`
checks such a folder, and `Examples` draws the rows of a batch: sentence pairs or plain windows. Row number n
is a pure function of (shards, seed, n), so that a run can be resumed or shared out anywhere.

Source: Devlin et al. 2019, §3.1 and appendix A.2; Liu et al. 2019 (RoBERTa), §4.2, for plain windows.
Leaves out: masking, which is drawn on the batch (`bertlearn.pretraining`). Imports no torch, so that the
processes that build are light.
"""

from bertlearn.pretraining.corpus.build import build_shards, check_free
from bertlearn.pretraining.corpus.examples import Examples, Rows
from bertlearn.pretraining.corpus.store import Shard, Shards
from bertlearn.pretraining.corpus.texts import (
    SkippedRows,
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
    "check_free",
    "input_bytes",
    "read_documents",
    "sample_texts",
    "split_sentences",
]
