"""The multilingual encoder, unpacked: against transformers with the same weights, and against its file."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
import transformers
from torch.nn.functional import normalize

from bertlearn.course.encoders import load_multilingual
from bertlearn.data import load_packed_multilingual, load_shop_reviews
from bertlearn.model.bert import BertModel
from bertlearn.tokenizer.unigram import UnigramTokenizer, nmt_nfkc

PAIRS = [
    ("The weather is lovely today", "今天天气很好"),
    ("Stock prices fell sharply", "股市大跌"),
    ("The hotel room was clean", "这家酒店的房间很干净"),
]


@pytest.fixture(scope="module")
def multilingual() -> tuple[BertModel, UnigramTokenizer]:
    return load_multilingual()


def test_hidden_states_equal_those_of_transformers(multilingual: tuple[BertModel, UnigramTokenizer]) -> None:
    model, tokenizer = multilingual
    theirs = transformers.BertModel(
        transformers.BertConfig(**load_packed_multilingual().sizes), add_pooling_layer=False
    ).eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    batch = tokenizer.encode_batch([f"query: {text}" for pair in PAIRS for text in pair])
    with torch.no_grad():
        mine = model(**batch._asdict()).last_hidden_state
        expected = theirs(**batch._asdict()).last_hidden_state
    keep = batch.attention_mask.bool()
    torch.testing.assert_close(mine[keep], expected[keep], rtol=1e-4, atol=1e-4)


def test_translations_are_nearest(multilingual: tuple[BertModel, UnigramTokenizer]) -> None:
    model, tokenizer = multilingual
    texts = [f"query: {text}" for pair in PAIRS for text in pair]
    batch = tokenizer.encode_batch(texts)
    with torch.no_grad():
        hidden = model(**batch._asdict()).last_hidden_state
    keep = batch.attention_mask[:, :, None]
    vectors = normalize((hidden * keep).sum(1) / keep.sum(1), dim=1)
    cosines = vectors @ vectors.T - 2 * torch.eye(len(texts))
    assert cosines.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]
    assert cosines[0, 1].item() == pytest.approx(0.888, abs=0.002)


def test_its_tokens_are_the_librarys_on_chinese_reviews(
    multilingual: tuple[BertModel, UnigramTokenizer],
) -> None:
    _, tokenizer = multilingual
    fast = tokenizer.fast()
    for review in random.Random(0).sample(load_shop_reviews(), 2000):
        mine, theirs = tokenizer.encode(review.text), fast.encode(review.text)
        assert mine.input_ids == theirs.ids
        assert mine.offsets == [tuple(pair) for pair in theirs.offsets]
        assert all(one[0] <= other[0] for one, other in pairwise(mine.offsets[1:-1]))


def test_our_normalization_is_the_table_in_the_file() -> None:
    replaced, normalizer = load_packed_multilingual().replaced, nmt_nfkc()
    assert len(replaced) == 4837
    assert {old: normalizer.normalize_str(old) for old in replaced} == replaced
    kept = [chr(code) for code in range(1, 0x3000) if chr(code) not in replaced]
    assert all(normalizer.normalize_str(character) == character for character in kept)
    assert normalizer.normalize_str("很好～") == "很好～"
