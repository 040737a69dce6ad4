"""Unigram splits against brute force and the tokenizers library; files read exactly or refused by name."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import models, normalizers, trainers

from bertlearn.course.swap import use
from bertlearn.data import load_bible, load_reviews
from bertlearn.tokenizer import unigram
from bertlearn.tokenizer.unigram import Split, UnigramTokenizer, best_split, best_splits, sample_split
from bertlearn.tokenizer.unigram_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

SCORES = {"▁": -4.0, "a": -3.0, "b": -3.2, "ab": -5.0, "▁a": -4.1, "ba": -4.4, "bab": -7.0, "x": -9.0}
UNKNOWN, LONGEST = -19.0, 3
CHINESE = [
    "今天天气很好，我们去公园看花。",
    "这家酒店的房间很干净，服务也很好。",
    "话说天下大势，分久必合，合久必分。",
    "这本书的内容不错，可是印刷质量太差了！",
]
# Composed and decomposed letters, full width, ligatures, marks after spaces, joiners, special tokens, unknown
ALPHABET = "abcdeXYZ éèßÅﬁΩ你好天气①ﾃﾞ\u3099\u0301\u200d\u200b\t\n\u3000１ａＢع한नि🎉▁" + "今天"
XLM_R_ORDER = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SPELLED = ["<mask>", " <mask>", "</s>", "<unk>", "<s>", "<pad>"]


@pytest.fixture(scope="module")
def tokenizer() -> UnigramTokenizer:
    """Return a tokenizer with 1,200 pieces, learned by the library from English and Chinese."""
    fast = tokenizers.Tokenizer(models.Unigram())
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = unigram._splitter()
    trainer = trainers.UnigramTrainer(
        vocab_size=1200,
        special_tokens=list(SPECIAL_TOKENS),
        unk_token=SPECIAL_TOKENS.unk,
        show_progress=False,
    )
    fast.train_from_iterator([*load_reviews().sentences[:1500], *CHINESE * 20], trainer)
    learned = {piece: score for piece, score in json.loads(fast.to_str())["model"]["vocab"]}
    scores = dict.fromkeys(XLM_R_ORDER, 0.0) | learned
    return UnigramTokenizer(list(scores.items()), normalizers.NFKC())


def random_texts(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    parts = [*ALPHABET, *SPELLED]
    return ["".join(generator.choices(parts, k=generator.randint(1, 24))) for _ in range(count)]


def all_splits(word: str) -> list[Split]:
    """Return every split of a word into pieces or unknown characters, by trying all of them."""
    found = []
    for cuts in product([False, True], repeat=len(word) - 1):
        ends = [at + 1 for at, cut in enumerate(cuts) if cut] + [len(word)]
        pieces = [word[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if all(piece in SCORES or len(piece) == 1 for piece in pieces):
            found.append(Split(pieces, sum(SCORES.get(piece, UNKNOWN) for piece in pieces)))
    return sorted(found, key=lambda split: -split.score)


# Splits of a word


@pytest.mark.parametrize("word", ["▁ab", "▁abab", "babab", "aabbaab", "▁", "▁bbabxab"])
def test_the_best_splits_are_those_of_brute_force(word: str) -> None:
    expected = all_splits(word)
    assert best_split(word, SCORES, UNKNOWN, LONGEST) == expected[0].pieces
    found = best_splits(word, SCORES, UNKNOWN, LONGEST, count=4)
    assert [split.score for split in found] == pytest.approx([split.score for split in expected[:4]])
    assert found[0].pieces == expected[0].pieces


def test_the_best_split_is_not_the_greedy_one() -> None:
    assert best_split("aba", SCORES, UNKNOWN, LONGEST) == ["a", "ba"], "greedy: ab, a"


def test_unknown_characters_stand_together() -> None:
    assert best_split("▁a??b?", SCORES, UNKNOWN, LONGEST) == ["▁a", "??", "b", "?"]
    assert best_splits("??", SCORES, UNKNOWN, LONGEST, 3) == [Split(["??"], 2 * UNKNOWN)]


def test_a_word_of_no_characters_has_no_pieces() -> None:
    assert best_split("", SCORES, UNKNOWN, LONGEST) == []


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_sampled_splits_have_the_probabilities_of_their_scores(alpha: float) -> None:
    word, draws = "▁abab", 20_000
    weights = {tuple(split.pieces): math.exp(alpha * split.score) for split in all_splits(word)}
    generator = random.Random(0)
    counts = Counter(
        tuple(sample_split(word, SCORES, UNKNOWN, LONGEST, generator, alpha)) for _ in range(draws)
    )
    assert counts.keys() <= weights.keys()
    for pieces, weight in weights.items():
        expected = weight / sum(weights.values())
        assert counts[pieces] / draws == pytest.approx(
            expected, abs=4 * math.sqrt(expected * (1 - expected) / draws) + 1e-9
        )


# Whole texts, against the library


def assert_same(tokenizer: UnigramTokenizer, texts: list[str]) -> None:
    fast = tokenizer.fast()
    for text in texts:
        mine, theirs = tokenizer.encode(text), fast.encode(text)
        assert mine.input_ids == theirs.ids, ascii(text)
        assert mine.offsets == [tuple(pair) for pair in theirs.offsets], ascii(text)
        assert mine.tokens == [token.strip() if "<mask>" in token else token for token in theirs.tokens]


def test_texts_are_split_as_by_the_library(tokenizer: UnigramTokenizer) -> None:
    assert_same(tokenizer, random_texts(4000, seed=0))
    assert_same(tokenizer, [*CHINESE, *load_reviews().sentences[5000:6000]])
    assert_same(tokenizer, [verse.text for verse in load_bible()[:500]])


@pytest.mark.parametrize("seed", range(20))
def test_ties_and_unknown_characters_are_settled_as_by_the_library(seed: int) -> None:
    generator = random.Random(seed)
    pieces = {"".join(generator.choices("▁abcd", k=generator.randint(1, 3))) for _ in range(25)}
    whole = [(piece, float(generator.randint(-12, -1))) for piece in sorted(pieces)]  # so that sums are equal
    texts = ["".join(generator.choices("abcde ", k=generator.randint(1, 15))) for _ in range(200)]
    made = UnigramTokenizer([*((token, 0.0) for token in XLM_R_ORDER), *whole])
    assert_same(made, [text for text in texts if text.strip()])


def test_pairs_truncation_and_padding_are_the_librarys(tokenizer: UnigramTokenizer) -> None:
    fast = tokenizer.fast()
    generator = random.Random(1)
    texts = [*CHINESE, *load_reviews().sentences[:200]]
    for _ in range(200):
        one, other = generator.sample(texts, 2)
        length = generator.randint(4, 40)
        fast.enable_truncation(length)
        fast.enable_padding(pad_id=1, pad_token="<pad>", length=length)
        mine, theirs = tokenizer.encode(one, other, length, padding=True), fast.encode(one, other)
        assert mine.input_ids == theirs.ids
        assert mine.attention_mask == theirs.attention_mask
        assert set(mine.token_type_ids) == {0} == set(theirs.type_ids)


def test_a_pair_has_two_separators_between_its_texts(tokenizer: UnigramTokenizer) -> None:
    tokens = tokenizer.encode("today", "film").tokens
    assert [tokens[0], tokens[-1], tokens.count("</s>")] == ["<s>", "</s>", 3]


def test_offsets_point_at_the_characters_of_the_original_text(tokenizer: UnigramTokenizer) -> None:
    text = "Ａ ﬁlm:  今天天气 <mask>"
    encoding = tokenizer.encode(text)
    assert encoding.tokens[-2] == "<mask>" and encoding.offsets[-2] == (text.index(" <"), len(text))
    found = [text[start:end] for start, end in encoding.offsets[1:-2]]
    assert found[0] == "Ａ" and found[-1][-1] == "气" and " " not in "".join(found)


def test_decoding_gives_the_normalized_text_back(tokenizer: UnigramTokenizer) -> None:
    for text in load_reviews().sentences[:200]:
        plain = " ".join(normalizers.NFKC().normalize_str(text).split())
        known = tokenizer.unk_token_id not in tokenizer.encode(text).input_ids
        assert not known or tokenizer.decode(tokenizer.encode(text).input_ids, True) == plain
    assert tokenizer.decode([]) == ""


def test_cached_words_change_nothing(tokenizer: UnigramTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = UnigramTokenizer(list(tokenizer.scores.items()), normalizers.NFKC())
    before = [fresh.encode(text) for text in CHINESE]
    assert [fresh.encode(text) for text in CHINESE] == before
    monkeypatch.setattr(unigram, "CACHE_SIZE", 0)
    empty = UnigramTokenizer(list(tokenizer.scores.items()), normalizers.NFKC())
    assert [empty.encode(text) for text in CHINESE] == before and not empty._cache


def test_a_learners_split_replaces_the_packages(tokenizer: UnigramTokenizer) -> None:
    before = tokenizer.tokenize(CHINESE[0])
    with use(best_split=lambda word, scores, unknown, longest: list(word)):
        assert tokenizer.tokenize(CHINESE[0])[:4] == ["▁", "今", "天", "天"]
    assert tokenizer.tokenize(CHINESE[0]) == before


# Files


def test_saved_files_are_read_by_both_libraries(tokenizer: UnigramTokenizer, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("an older tokenizer")
    tokenizer.save_pretrained(tmp_path, model_max_length=12)
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    mine = UnigramTokenizer.from_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*CHINESE, *random_texts(300, seed=2)]:
        assert mine.encode(text).input_ids == tokenizer.encode(text).input_ids
        assert mine.encode(text, max_length=12).input_ids == theirs(text, truncation=True).input_ids


def test_a_tokenizer_of_transformers_is_read(tokenizer: UnigramTokenizer, tmp_path: Path) -> None:
    theirs = transformers.XLMRobertaTokenizer(vocab=list(tokenizer.scores.items()))
    theirs.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    mine = UnigramTokenizer.from_pretrained(tmp_path)
    for text in [*CHINESE, *random_texts(300, seed=3)]:
        assert mine.encode(text).input_ids == theirs(text).input_ids, ascii(text)


def edit_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].update(type="BPE"), r"model\.type in .*'BPE', expected 'Unigram'; use transf"),
        (lambda c: c["model"].update(type="WordPiece"), "use WordPieceTokenizer"),
        (lambda c: c["model"].update(byte_fallback=True), "byte_fallback"),
        (lambda c: c["model"].update(unk_id=0), r"unk_id=0 .* is not the id of <unk>"),
        (lambda c: c["model"].update(vocab={"a": 1}), "not a list of pieces with scores"),
        (lambda c: c["model"].pop("vocab"), "no vocabulary"),
        (lambda c: c["added_tokens"].pop(), "are not supported|which is not supported, only <pad>"),
        (lambda c: c["added_tokens"][0].update(id=7), "has the id 7 .* where another piece is"),
        (lambda c: c["added_tokens"][0].update(rstrip=True), "has the option rstrip"),
        (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer in .* is 'Whitespace'"),
        (lambda c: c.update(post_processor=None), "post_processor in .* is None"),
        (lambda c: c.update(normalizer={"type": "Nonsense"}), "cannot be read"),
        (lambda c: c["model"]["vocab"].append(["a", 0.0]), "'a' occurs more than once"),
        (lambda c: c["model"]["vocab"].append(["zzz", "x"]), "not a list of pieces with scores"),
    ],
)
def test_other_tokenizers_are_refused_by_name(
    tokenizer: UnigramTokenizer, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    tokenizer.save_pretrained(tmp_path)
    edit_json(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        UnigramTokenizer.from_pretrained(tmp_path)


def test_xlm_roberta_is_refused_because_its_positions_start_at_2(
    tokenizer: UnigramTokenizer, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    with pytest.raises(ValueError, match=r"'xlm-roberta' .* is not a BERT \(its positions start at 2\)"):
        UnigramTokenizer.from_pretrained(tmp_path)


def test_a_folder_without_tokenizer_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer\.json"):
        UnigramTokenizer.from_pretrained(tmp_path)


def test_the_wordpiece_tokenizer_names_the_other_class(tokenizer: UnigramTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'Unigram'.*use UnigramTokenizer"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    transformers.XLMRobertaTokenizer(vocab=list(tokenizer.scores.items())).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"XLMRobertaTokenizer.*use UnigramTokenizer"):
        WordPieceTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([("a", -1.0)], "have no <pad> <unk> <s> </s> <mask>"),
        ([*((token, 0.0) for token in SPECIAL_TOKENS), ("a", math.nan)], "the score of 'a' is nan"),
        (
            [*((token, 0.0) for token in SPECIAL_TOKENS), ("a", -1.0), ("a", -2.0)],
            "'a' occurs more than once",
        ),
        ([*((token, 0.0) for token in SPECIAL_TOKENS), ("", -1.0)], "a piece is empty"),
        (["ab", "c"], r"expected a list of \(piece, score\)"),
    ],
)
def test_pieces_that_make_no_vocabulary_are_refused(pieces: list[tuple[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnigramTokenizer(pieces)


def test_a_full_disk_leaves_the_older_tokenizer(
    tokenizer: UnigramTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer.save_pretrained(tmp_path)
    before = (tmp_path / "tokenizer.json").read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == before
    assert not list(tmp_path.glob(".saving-*"))
