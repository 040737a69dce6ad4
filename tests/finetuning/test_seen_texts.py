"""What a model sees of labeled texts: cut texts, unknown words, texts that become the same."""

from __future__ import annotations

import pytest

from bertlearn.finetuning.labeled_texts import LabeledTexts
from bertlearn.finetuning.seen_texts import SeenTexts, describe_cut, look, unseen
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer([*SPECIAL_TOKENS, "ba", "be", "bi"])


def seen(tokenizer: WordPieceTokenizer, texts: list, labels: str = "", max_length: int = 5) -> SeenTexts:
    return look(tokenizer, LabeledTexts(texts, list(labels or "x" * len(texts))), max_length)


def test_the_share_of_unknown_words_by_hand(tokenizer: WordPieceTokenizer) -> None:
    assert seen(tokenizer, ["ba be"]).unknown == 0
    assert seen(tokenizer, ["ba 好 好", "ba be bi", "好 [SEP]"], max_length=9).unknown == 3 / 7
    assert seen(tokenizer, [("ba", "好"), ("好 be", "bi")], max_length=9).unknown == 2 / 5
    assert seen(tokenizer, ["ba"] * 90_000 + ["好"] * 10_000).unknown == 0.1


def test_texts_with_a_token_too_many_are_counted(tokenizer: WordPieceTokenizer) -> None:
    assert describe_cut(seen(tokenizer, ["ba be bi", "ba", " ba be bi \u200b"])) == "truncated to 5 tokens"
    texts = seen(tokenizer, ["ba be bi", "ba be bi ba", "be", "bi " * 99])
    assert describe_cut(texts) == "truncated to 5 tokens; 2 of 4 (50%) are longer"
    assert unseen(texts, "training") == [
        "50% of the training texts are longer than 5 tokens; the model does not see the rest: use a larger "
        "--max-length, up to the model's number of positions, or shorter texts"
    ]
    pairs = seen(tokenizer, [("ba", "be"), ("ba be", "bi"), ("ba", "be bi")])
    assert describe_cut(pairs) == "truncated to 5 tokens; 2 of 3 (67%) are longer"
    assert unseen(seen(tokenizer, ["ba be bi ba", *["ba"] * 4]), "training") == []
    many = seen(tokenizer, ["ba be bi ba", "ba"] * 50_001)
    assert describe_cut(many) == "truncated to 5 tokens; 496 of 991 (50%) are longer"


def test_texts_that_become_the_same_with_other_labels_are_counted(tokenizer: WordPieceTokenizer) -> None:
    sentence = (
        "{} of the validation texts become the same tokens as one with another label, such as {!r}; the "
        "model cannot tell them apart: they differ only beyond the truncation, in unknown words, or in case "
        "and accents"
    )
    kept = ["ba", "be", "bi"] * 3
    for texts in (["ba be bi ba", "ba be bi be"], ["BA bi", "ba bi"], ["好 ba", "天 ba"]):
        found = unseen(seen(tokenizer, [*texts, *kept], "xy" + "zzz" * 3), "validation")
        assert found == [sentence.format(2, texts[0])]
        assert unseen(seen(tokenizer, [*texts, *kept], "xx" + "zzz" * 3), "validation") == []
    for texts in (["ba bi", "ba  bi"], ["ba bi", "ba bi"]):  # the same text, which `doubts` reports
        assert unseen(seen(tokenizer, [*texts, *kept], "xy" + "zzz" * 3), "validation") == []
