"""The encoders that the chapters fine-tune, by their short names."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONFIG

from bertlearn.course import encoders, snapshots
from bertlearn.model.bert import BertModel
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def test_the_named_encoders_are_the_courses_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps, real = [], snapshots.load_snapshot
    monkeypatch.setattr(snapshots, "load_snapshot", lambda step: steps.append(step) or real(0))
    encoder, tokenizer = encoders.load_encoder("snapshot")
    assert steps == [max(snapshots.STEPS)]
    assert encoder.config.hidden_size == 128 and tokenizer.vocab_size == encoder.config.vocab_size
    BertModel(CONFIG).save_pretrained(tmp_path)
    words = (f"w{number}" for number in range(96))
    WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]).save_pretrained(tmp_path)
    monkeypatch.setattr(encoders, "minilm_path", lambda: tmp_path)
    assert encoders.load_encoder("minilm")[0].config == CONFIG
    assert encoders.load_encoder(str(tmp_path))[1].vocab_size == 101
