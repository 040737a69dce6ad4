"""Make the files in bertlearn/course/snapshots/chinese: vocabulary and weights of one pretraining run.

python tools/make_chinese.py vocabulary     learn the vocabulary of 4,096 wordpieces (half a minute)
python tools/make_chinese.py train WORK     pretrain and keep the weights; resumes from the folder WORK
"""

from __future__ import annotations

import sys
from pathlib import Path

from make_snapshots import VOCAB_SIZE, LongRun, train_snapshots

from bertlearn.course import chinese
from bertlearn.tokenizer.learn import train_wordpiece
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

RUN = LongRun(
    chinese.FOLDER,
    chinese.STEPS,
    chinese.OPTIONS,
    chinese.chinese_shards,
    ("novel", "reviews"),
    "python tools/make_chinese.py train WORK",
    "114 chapters of Romance of the Three Kingdoms, and the reviews for training",
)


def make_vocabulary() -> None:
    texts = [document.text for document in chinese.chinese_documents("train")]
    WordPieceTokenizer(train_wordpiece(texts, VOCAB_SIZE).vocab).save_pretrained(chinese.FOLDER)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vocabulary"]:
            make_vocabulary()
        case ["train", folder]:
            train_snapshots(RUN, Path(folder))
        case _:
            sys.exit(__doc__)
