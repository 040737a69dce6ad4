"""Tokenization compared with transformers on all kinds of text; training compared with plain references."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import PreTokenizedString
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bertlearn.course.swap import use
from bertlearn.data import load_articles, load_bible, load_plots, load_reviews, minilm_path
from bertlearn.tokenizer import encoding, wordpiece, words
from bertlearn.tokenizer.learn import Merge, learn_wordpieces, train_wordpiece
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.tokenizer.words import BasicTokenizer

SPECIALS = list(SPECIAL_TOKENS)
TOY = [*SPECIALS, "un", "film", "##film", "##s", "##watch", "##able", "watch", "a", "##a", ",", ".", "'", "s"]


@pytest.fixture(scope="session")
def uncased() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained(minilm_path())


@pytest.fixture(scope="session")
def cased() -> WordPieceTokenizer:
    """Return a tokenizer with a cased vocabulary, learned from reviews, with capitals and accents."""
    texts = [*load_reviews().sentences[:3000], *2 * ["Ünïcödé Ça Éé Ωσς İı ﬁ ½ ß ά 電影 ですか한국"]]
    vocab = train_wordpiece(texts, 1500, do_lower_case=False, progress=False).vocab
    return WordPieceTokenizer(vocab, do_lower_case=False)


@pytest.fixture(scope="session")
def toy() -> WordPieceTokenizer:
    return WordPieceTokenizer(TOY)


@cache
def theirs(tokenizer: WordPieceTokenizer) -> transformers.BertTokenizer:
    """Return transformers' tokenizer with the same vocabulary and settings."""
    return transformers.BertTokenizer(
        vocab=dict(tokenizer.vocab),
        do_lower_case=tokenizer.do_lower_case,
        strip_accents=tokenizer.strip_accents,
        tokenize_chinese_chars=tokenizer.tokenize_chinese_chars,
    )


def their_encodings(
    tokenizer: WordPieceTokenizer, texts: list[str], pairs: list[str] | None = None, **options: object
) -> Iterator[tuple]:
    """Yield transformers' encodings of the texts in the order of our `Encoding`, without the ends."""
    batch = theirs(tokenizer)(texts, pairs, return_offsets_mapping=True, **options)
    for i, ids in enumerate(batch["input_ids"]):
        yield (
            ids,
            batch["token_type_ids"][i],
            batch["attention_mask"][i],
            batch.encodings[i].tokens,
            batch["offset_mapping"][i],
        )


def their_words(basic: BasicTokenizer) -> Callable[[str], list[tuple[str, tuple[int, int]]]]:
    """Return a function that splits a text into words, with offsets, by the `tokenizers` library."""
    normalizer = BertNormalizer(True, basic.tokenize_chinese_chars, basic.strip_accents, basic.do_lower_case)
    splitter = BertPreTokenizer()

    def words(text: str) -> list[tuple[str, tuple[int, int]]]:
        parts = PreTokenizedString(text)
        parts.normalize(normalizer.normalize)
        splitter.pre_tokenize(parts)
        return [(word, offsets) for word, offsets, _ in parts.get_splits("original", "char")]

    return words


def our_words(basic: BasicTokenizer, text: str) -> list[tuple[str, tuple[int, int]]]:
    return [(word.text, (word.starts[0], word.starts[-1] + 1)) for word in basic.tokenize_with_offsets(text)]


def assert_same_encodings(tokenizer: WordPieceTokenizer, texts: list[str]) -> None:
    for begin in range(0, len(texts), 1000):
        batch = texts[begin : begin + 1000]
        for text, expected in zip(batch, their_encodings(tokenizer, batch), strict=True):
            assert tokenizer.encode(text)[:5] == expected, repr(text)


# Against transformers: single characters, random strings, real text

SETTINGS = [(True, None, True), (False, None, True), (True, False, False), (False, True, True)]


@pytest.mark.parametrize("settings", SETTINGS, ids=["uncased", "cased", "accents kept", "cased, stripped"])
def test_every_code_point_is_split_as_by_the_library(settings: tuple) -> None:
    basic = BasicTokenizer(*settings)
    words = their_words(basic)
    points = [
        *range(0xD800),
        *range(0xE000, 0x32000),
        *range(0xE0000, 0xE0200),
        *range(0x32000, 0x110000, 97),
    ]
    points = points if settings == SETTINGS[0] else points[::4]
    for begin in range(0, len(points), 64):
        text = " ".join(f"a{chr(point)}b" for point in points[begin : begin + 64])
        assert our_words(basic, text) == words(text)
        assert basic.tokenize(text) == [word for word, _ in our_words(basic, text)]


def test_reordered_marks_have_the_offsets_of_the_library() -> None:
    """Marks of several classes, with removed characters between them and marks newer than the library."""
    letters = "ab|é\x00\u200b\u0301\u0323\u0334\u302e\u1baa\u1dfb\U0001d15e\U0001d165\U0001d16d\u0f73"
    letters += "\u1abf\u1abf\U00011938\U00011938"
    rng = random.Random(3)
    for settings in SETTINGS:
        basic = BasicTokenizer(*settings)
        words = their_words(basic)
        for _ in range(4000):
            text = "".join(rng.choices(letters, k=7))
            assert our_words(basic, text) == words(text), ascii(text)


ALPHABETS = {
    "ASCII": "abcdefghijklmnopqrstuvwxyz" * 3 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()[]{}#-_$€",
    "accents": "éèêëàâäçñöüßœæøåÉÀÇÑÖÜŒÆØÅžšđłőűǆǅ",
    "marks": "\u0300\u0301\u0308\u0323\u0327\u0334\u0345\u0488\u20dd\u0f71\u0f72\u0f73\u0344",
    "sorted marks": "\U0001d15f\U0001d165\U0001d16e\u302e\u302f\u1baa\u1b44\U0001e000\u08e0\u0301\u0323",
    "Greek": "αβγσςΣΑΒΓώΐάΌϐ",
    "Cyrillic": "абвгйёЙЁЖѢ",
    "Turkish": "İıIi",
    "ligatures": "ﬁﬂﬀĳŉ½²①ＡａＫÅΩ",
    "Chinese": "电影電影我喜歡㐀豈\U00020000\U0002a700\U0002b820\U0002b920\U0002f800",
    "Japanese": "です映画がカガｶﾞ々ー",
    "Korean": "한국어\u1112\u1161\u11ab",
    "right to left": "שָׁלוֹםمرحباً\u200f\u202b\u0640",
    "Indic": "हिन्दीকাকொක්‍ෂ",
    "Thai": "ภาษาไทย",
    "emoji": "😀👍🏽👩‍💻❤️🇫🇷🫠🪿",
    "controls": "\x00\x01\x08\x0b\x0c\x1b\x1c\x1f\x7f\x80\x85\x9f\xad\ufffd\ufeff\ufffe\ue000\U000f0000",
    "white space": " \t\n\r\xa0\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000\u180e\u200b",
    "unassigned": "\u0378\u0984\u2fe0\U0001fbff\U0003ffff\U000e0fff\U0010fffe",
    "newest capitals": "\u1c89\ua7cb\ua7dc\U00010d50",
}
FRAGMENTS = [
    *SPECIALS,
    "[mask]",
    "[MASK",
    "MASK]",
    "[UNK]s",
    "##",
    "##s",
    "don't",
    "U.S.A.",
    "film",
    "the",
    "ß" * 99,
]


def random_text(rng: random.Random) -> str:
    """Return up to twelve parts: words of one script, arbitrary characters, special tokens, long words."""
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.75:
            alphabet = ALPHABETS[rng.choice(list(ALPHABETS))]
            parts.append("".join(rng.choices(alphabet, k=rng.randint(1, 6))))
        elif kind < 0.85:
            parts.append(chr(rng.choice((rng.randint(1, 0xD7FF), rng.randint(0xE000, 0x1FFFF)))))
        elif kind < 0.995:
            parts.append(rng.choice(FRAGMENTS))
        else:
            parts.append(rng.choice("aé影") * rng.randint(98, 102))
        parts.append(rng.choice(("", "", " ", " ", "  ", "\t", "\u3000")))
    return "".join(parts)


@pytest.fixture(scope="session")
def random_texts() -> list[str]:
    rng = random.Random(0)
    return [random_text(rng) for _ in range(100_000)]


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_random_texts_are_encoded_as_by_transformers(
    name: str, random_texts: list[str], request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(name)
    texts = random_texts[:50_000] if name == "uncased" else random_texts[50_000:]
    assert_same_encodings(tokenizer, texts)


def packaged_texts() -> list[str]:
    return [
        *load_reviews().sentences,
        *(plot.text for plot in load_plots()),
        *(paragraph for article in load_articles() for paragraph in article.paragraphs),
        *(verse.text for verse in load_bible()),
    ]


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_all_packaged_text_is_encoded_as_by_transformers(name: str, request: pytest.FixtureRequest) -> None:
    texts = packaged_texts()
    assert len(texts) > 45_000
    texts = texts if name == "uncased" else texts[::4]
    assert_same_encodings(request.getfixturevalue(name), texts)


def test_tokenize_gives_the_tokens_of_encode(
    uncased: WordPieceTokenizer, cased: WordPieceTokenizer, random_texts: list[str]
) -> None:
    for tokenizer in (uncased, cased):
        for text in random_texts[:3000]:
            assert tokenizer.tokenize(text) == tokenizer.encode(text, add_special_tokens=False).tokens


def test_fast_gives_the_same_encodings(
    uncased: WordPieceTokenizer, cased: WordPieceTokenizer, random_texts: list[str]
) -> None:
    unusual = WordPieceTokenizer(cased.vocab, True, False, False)
    for tokenizer in (uncased, cased, unusual):
        fast = tokenizer.fast()
        assert isinstance(fast, tokenizers.Tokenizer)
        for text in random_texts[:1000]:
            one, ours = fast.encode(text, "a pair"), tokenizer.encode(text, "a pair")
            assert ours[:5] == (one.ids, one.type_ids, one.attention_mask, one.tokens, one.offsets)
            assert tokenizer.decode(ours.input_ids) == fast.decode(one.ids, skip_special_tokens=False)


# Cases written by hand


def test_an_encoding_by_hand(toy: WordPieceTokenizer) -> None:
    encoding = toy.encode("Unwatchable  FILMS, é", "aa [MASK]")
    assert encoding.tokens == [
        *("[CLS]", "un", "##watch", "##able", "film", "##s", ",", "[UNK]", "[SEP]"),
        *("a", "##a", "[MASK]", "[SEP]"),
    ]
    assert encoding.input_ids == [2, 5, 9, 10, 6, 8, 14, 1, 3, 12, 13, 4, 3]
    assert encoding.token_type_ids == [0] * 9 + [1] * 4
    assert encoding.attention_mask == [1] * 13
    assert encoding.offsets == [
        *((0, 0), (0, 2), (2, 7), (7, 11), (13, 17), (17, 18), (18, 19), (20, 21), (0, 0)),
        *((0, 1), (1, 2), (3, 9), (0, 0)),
    ]


def test_words_of_a_basic_tokenizer_by_hand() -> None:
    assert BasicTokenizer().tokenize("Isn't CAFÉ-Ole\u0301 我爱 ΣΑΣ\x00!?") == (
        ["isn", "'", "t", "cafe", "-", "ole", "我", "爱", "σασ", "!", "?"]
    )
    assert BasicTokenizer(do_lower_case=False).tokenize("CAFÉ ΣΑΣ") == ["CAFÉ", "ΣΑΣ"]
    assert BasicTokenizer(strip_accents=False).tokenize("İ É") == ["i\u0307", "é"]
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("我爱") == ["我爱"]
    assert BasicTokenizer().tokenize("") == []
    assert our_words(BasicTokenizer(), "a\u0301\u200bB…") == [("ab", (0, 4)), ("…", (4, 5))]
    assert our_words(BasicTokenizer(), "a\x00b|\tc") == [("ab", (0, 3)), ("|", (3, 4)), ("c", (5, 6))]


def test_each_step_of_normalization_by_hand() -> None:
    assert words.clean_text("a\x00\ufffd\u200b\u2028b\tc") == "a b c"
    assert words.separate_chinese("a我b") == "a 我 b"
    assert words.strip_accents("é ñ हिन्दी ø 한") == "e n हिनदी ø \u1112\u1161\u11ab"
    assert words.lower_case("ÀΣ İ") == "àσ i\u0307"
    assert words.split_on_punctuation("a--b$") == ["a", "-", "-", "b", "$"]


def test_longest_match_takes_the_longest_wordpiece_and_returns_unk_if_one_is_missing() -> None:
    vocab = {piece: index for index, piece in enumerate(TOY)}
    assert wordpiece.longest_match("unfilms", vocab) == ["un", "##film", "##s"]
    assert wordpiece.longest_match("unfilmx", vocab) == ["[UNK]"]
    assert wordpiece.longest_match("a" * 100, vocab) == ["a"] + ["##a"] * 99
    assert wordpiece.longest_match("a" * 101, vocab) == ["[UNK]"]
    assert wordpiece.longest_match("filmx", vocab, "<?>", 5) == ["<?>"]


def test_dropped_accents_and_joiners_belong_to_the_token_before_them(toy: WordPieceTokenizer) -> None:
    text = "a\u0301\u200d, \u0301film\ufe0f\u0301 s\x1c\u2028\u0301a\u0301films\u0301[MASK]\u0301\x00 '"
    encoding = toy.encode(text, "a\u0301 a", padding=20)
    assert encoding.tokens[1:11] == ["a", ",", "film", "s", "a", "##film", "##s", "[MASK]", "'", "[SEP]"]
    followed = {1: ", ", 3: " s", 4: "\u2028", 5: "films", 7: "[MASK]"}
    assert encoding.ends == {number: text.index(after) for number, after in followed.items()} | {11: 2}
    assert [encoding.end(number) for number in (0, 6, 11, 12)] == [0, text.index("s\u0301["), 2, 4]
    assert encoding.offsets[3] == (6, 10)
    assert toy.encode(text, max_length=4).ends == {1: 3}


# Pairs, truncation, padding, batches


def test_pairs_are_encoded_and_truncated_as_by_transformers(uncased: WordPieceTokenizer) -> None:
    rng = random.Random(1)
    words = ["a", "film", "about", "unwatchable", "Küche", "[MASK]", "电影", ",", "and"]
    for _ in range(60):
        max_length = rng.randint(3, 14)
        texts, pairs = (
            [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(40)] for _ in range(2)
        )
        expected = their_encodings(uncased, texts, pairs, truncation=True, max_length=max_length)
        for text, pair, theirs in zip(texts, pairs, expected, strict=True):
            assert uncased.encode(text, pair, max_length)[:5] == theirs
        expected = their_encodings(uncased, texts, truncation=True, max_length=max_length)
        assert [uncased.encode(text, max_length=max_length)[:5] for text in texts] == list(expected)


def test_truncation_takes_from_the_longer_text_first() -> None:
    assert encoding.longest_first(3, 9, 8) == (3, 5)
    assert encoding.longest_first(9, 3, 8) == (5, 3)
    assert encoding.longest_first(9, 9, 7) == (3, 4)
    assert encoding.longest_first(10, 9, 7) == (4, 3)
    assert encoding.longest_first(2, 2, 4) == (2, 2)
    assert encoding.longest_first(9, 0, 4) == (4, 0)


def test_padding_and_missing_special_tokens_are_as_in_transformers(uncased: WordPieceTokenizer) -> None:
    texts, pairs = ["a film", "about [PAD] a very long sentence indeed"], ["it", "is"]
    padded = list(their_encodings(uncased, texts, pairs, padding="max_length", max_length=20))
    both = list(zip(texts, pairs, strict=True))
    assert [uncased.encode(t, p, 20, padding=True)[:5] for t, p in both] == padded
    assert [uncased.encode(t, p, padding=20)[:5] for t, p in both] == padded
    bare = list(their_encodings(uncased, texts, pairs, add_special_tokens=False))
    assert [uncased.encode(t, p, add_special_tokens=False)[:5] for t, p in both] == bare
    assert len(uncased.encode("a film", padding=1).tokens) == 4


def test_a_batch_is_what_transformers_gives_the_model(uncased: WordPieceTokenizer) -> None:
    texts, pairs = ["A film.", "It is far too long", "電影"], ["x", "y [MASK] z", "a b c"]
    for seconds in (None, pairs):
        expected = theirs(uncased)(
            texts, seconds, padding=True, truncation=True, max_length=9, return_tensors="pt"
        )
        batch = uncased.encode_batch(texts, seconds, max_length=9)._asdict()
        assert list(batch) == ["input_ids", "attention_mask", "token_type_ids"]
        for name, tensor in batch.items():
            assert tensor.dtype == torch.int64
            assert torch.equal(tensor, expected[name])


# Back to text


def test_decode_gives_what_transformers_gives(uncased: WordPieceTokenizer) -> None:
    rng = random.Random(2)
    reference = theirs(uncased)
    interesting = uncased.tokenize("don't we've they're I'm it's do not n ' s . , ! ? ##s [MASK]")
    interesting = uncased.convert_tokens_to_ids([*interesting, "##.", "##'", "##n", "do", "not", *SPECIALS])
    for _ in range(3000):
        ids = [rng.choice(interesting) if rng.random() < 0.6 else rng.randrange(30522) for _ in range(8)]
        for skip in (False, True):
            assert uncased.decode(ids, skip) == reference.decode(ids, skip_special_tokens=skip)
    spaced = WordPieceTokenizer([*SPECIALS, "a do not b", "a ' b", "##x . y", "n't", "##'s"])
    reference = theirs(spaced)
    for ids in ([5, 6, 7, 8, 9], [8, 5, 8], [6, 6, 7]):
        assert spaced.decode(ids) == reference.decode(ids)
    assert uncased.decode([]) == uncased.decode([0, 0], skip_special_tokens=True) == ""
    assert uncased.decode(torch.tensor([101, 2023, 2143, 1012])) == "[CLS] this film."


def test_ids_and_tokens_are_converted_into_each_other(toy: WordPieceTokenizer) -> None:
    assert toy.convert_tokens_to_ids(["film", "##s", "nowhere"]) == [6, 8, 1]
    assert toy.convert_ids_to_tokens([6, 8, 1]) == ["film", "##s", "[UNK]"]
    assert toy.vocab_size == len(TOY)
    ids = (toy.pad_token_id, toy.unk_token_id, toy.cls_token_id, toy.sep_token_id, toy.mask_token_id)
    assert ids == (0, 1, 2, 3, 4)


# Functions replaced by the learner's


def test_swapped_functions_take_effect_and_leave_no_trace(toy: WordPieceTokenizer) -> None:
    before = toy.encode("Films é")
    with use(longest_match=lambda word, vocab: ["watch"]):
        assert toy.tokenize("Films é") == ["watch", "watch"]
        assert toy.encode("Films é").tokens == ["[CLS]", "watch", "watch", "[SEP]"]
    with use(split_on_punctuation=lambda word: ["a"]):
        assert toy.tokenize("films, films") == ["a", "a"]
    with use(lower_case=lambda text: text):
        assert toy.tokenize("a A") == ["a", "[UNK]"]
    with use(wordpiece_offsets=lambda word, pieces, start: [(start, start + 1) for _ in pieces]):
        assert toy.encode("films").offsets == [(0, 0), (0, 1), (0, 1), (0, 0)]
    assert toy.encode("Films é") == before


def test_words_are_cached_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "CACHE_SIZE", 3)
    tokenizer, text = WordPieceTokenizer(TOY), "Films é watch watch filmé s Film " + "x" * 101
    for _ in range(2):
        assert tokenizer.encode(text) == WordPieceTokenizer(TOY).encode(text)
    assert list(tokenizer._cache) == ["Films", "é", "watch"]
    monkeypatch.setattr(wordpiece, "CACHE_SIZE", 99)
    tokenizer.encode(text)
    assert "Film" in tokenizer._cache and "x" * 101 not in tokenizer._cache
    with use(longest_match=lambda word, vocab: ["watch"]):
        tokenizer.encode("new")
    assert "new" not in tokenizer._cache


# Files


def test_we_and_transformers_load_what_the_other_saved(
    uncased: WordPieceTokenizer, cased: WordPieceTokenizer, tmp_path: Path
) -> None:
    text = "Ünïcode Films, [MASK] 電影 isn't İt"
    for number, ours in enumerate((uncased, cased, WordPieceTokenizer(TOY, True, False, False))):
        folder, back = tmp_path / f"ours{number}", tmp_path / f"theirs{number}"
        ours.save_pretrained(folder)
        for loader in (transformers.BertTokenizer, transformers.AutoTokenizer):
            reference = loader.from_pretrained(folder)
            assert reference(text)["input_ids"] == ours.encode(text).input_ids
        reference.save_pretrained(back)
        for saved in (folder, back):
            again = WordPieceTokenizer.from_pretrained(saved)
            assert again.vocab == ours.vocab
            assert again.encode(text) == ours.encode(text)
            assert vars(again.basic_tokenizer) == vars(ours.basic_tokenizer)


# Bad input


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "NoneType"),
        (b"film", "bytes"),
        (3, "int"),
        (["film"], "list"),
        ("", "text is empty"),
        ("a\ud800b", "index 1"),
    ],
)
def test_invalid_texts_are_rejected(text: object, message: str, toy: WordPieceTokenizer) -> None:
    with pytest.raises(ValueError, match=message):
        toy.encode(text)
    with pytest.raises(ValueError, match=message.replace("text", "pair") if text == "" else message):
        toy.encode("a", text) if text is not None else toy.encode_batch(["a", None])
    if text != "":
        with pytest.raises(ValueError, match=message):
            toy.tokenize(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.encode("a", max_length=1), "max_length=1"),
        (lambda t: t.encode("a", "b", max_length=2), "max_length=2"),
        (lambda t: t.encode("a", max_length=-1, add_special_tokens=False), "max_length=-1"),
        (lambda t: t.encode("a", max_length=4.0), "max_length=4.0 must be a whole number of at least 2"),
        (lambda t: t.encode("a", max_length="4"), "max_length='4' must be"),
        (lambda t: t.encode("a", max_length=True), "max_length=True must be a whole number"),
        (lambda t: t.encode("a", padding=4.0), "padding=4.0 must be a whole number of at least 0"),
        (lambda t: t.encode("a", padding=True), "padding=True"),
        (lambda t: t.encode("a", padding=-1), "padding=-1"),
        (lambda t: t.encode_batch("a film"), "texts is str"),
        (lambda t: t.encode_batch(None), "texts is NoneType"),
        (lambda t: t.encode_batch([]), r"texts=\[\] is empty"),
        (lambda t: t.pad([]), "encodings is empty, expected at least one"),
        (lambda t: t.pad([t.encode("a"), None]), r"encodings\[1\] is NoneType, expected what encode returns"),
        (lambda t: t.pad(t.encode("a")), r"encodings\[0\] is list, .*put a single encoding into a list"),
        (lambda t: t.encode_batch(["a"], "b"), "pairs is str"),
        (lambda t: t.encode_batch(["a"], ["b", "c"]), "2 pairs"),
        (lambda t: t.encode_batch(["a", ""]), r"texts\[1\] is empty"),
        (lambda t: t.decode([len(TOY)]), f"id {len(TOY)}"),
        (lambda t: t.decode([-1]), "id -1"),
        (lambda t: t.decode([1.5]), "whole numbers"),
        (lambda t: t.decode(None), "whole numbers"),
        (lambda t: t.convert_tokens_to_ids("film"), "one string"),
        (lambda t: t.convert_tokens_to_ids(["film", 5]), "tokens has int, expected strings only"),
        (lambda t: t.convert_tokens_to_ids([["film"]]), "tokens has list, expected strings only"),
        (lambda t: t.convert_tokens_to_ids([None]), "tokens has NoneType, expected strings only"),
    ],
)
def test_invalid_arguments_are_rejected(call: Callable, message: str, toy: WordPieceTokenizer) -> None:
    with pytest.raises(ValueError, match=message):
        call(toy)


def test_other_whole_numbers_and_generators_are_read(toy: WordPieceTokenizer) -> None:
    expected = toy.encode("film films", max_length=3, padding=6)
    assert toy.encode("film films", max_length=np.int64(3), padding=torch.tensor(6)) == expected
    assert toy.convert_tokens_to_ids(token for token in ["film", "##s"]) == [6, 8]
    rows = [toy.encode("film"), toy.encode("film films")]
    assert all(map(torch.equal, toy.pad(row for row in rows), toy.pad(rows)))


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        (None, "NoneType"),
        ("vocab.txt", "from_pretrained"),
        ([], r"no \[PAD\]"),
        (SPECIALS[:4], r"no \[MASK\]"),
        ([*TOY, "film"], "'film' more than once"),
        ([*TOY, 7], "not a str"),
        ({token: number + 1 for number, token in enumerate(TOY)}, "gaps"),
        ({token: 0 for token in TOY}, "gaps"),
        ({token: float(number) for number, token in enumerate(TOY)}, "ids of vocab are not all whole num"),
        ({token: [number] for number, token in enumerate(TOY)}, "ids of vocab are not all whole numbers"),
    ],
)
def test_invalid_vocabularies_are_rejected(vocab: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer(vocab)


# Training


def merged(pieces: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    out: list[str] = []
    i = 0
    while i < len(pieces):
        if pieces[i : i + 2] == (left, right):
            out.append(left + right.removeprefix("##"))
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return tuple(out)


def counted(words: list[tuple[tuple[str, ...], int]]) -> Counter[str]:
    counts = Counter[str]()
    for pieces, number in words:
        for piece in pieces:
            counts[piece] += number
    return counts


def log_likelihood(words: list[tuple[tuple[str, ...], int]]) -> float:
    """Return Σ log p(wordpiece) over the text, where p is the relative frequency of the wordpiece."""
    counts = counted(words)
    total = sum(counts.values())
    return math.fsum(n * math.log(n / total) for n in counts.values())


def naive_training(
    word_counts: dict[str, int], vocab_size: int, criterion: str, min_frequency: int
) -> list[Merge]:
    """Train by counting everything again for each candidate of each merge."""
    words = [((w[0], *("##" + c for c in w[1:])), n) for w, n in word_counts.items()]
    characters = counted(words)
    rare = {piece for piece, n in characters.items() if n < min_frequency}
    words = [(pieces, n) for pieces, n in words if not rare & set(pieces)]
    vocab = {*SPECIALS, *(characters.keys() - rare)}
    merges: list[Merge] = []
    while len(vocab) < vocab_size:
        singles = counted(words)
        candidates = []
        for left, right in {pair for pieces, _ in words for pair in pairwise(pieces)}:
            after = [(merged(pieces, left, right), n) for pieces, n in words]
            count = sum((len(old) - len(new)) * n for (old, n), (new, _) in zip(words, after, strict=True))
            score = float(count)
            if criterion == "ratio":
                score = count / (singles[left] * singles[right])
            if criterion == "likelihood":
                score = round(log_likelihood(after) - log_likelihood(words), 6)
            if count >= min_frequency and score > 0:
                candidates.append((-score, -count, left, right, after))
        if not candidates:
            break
        score, count, left, right, words = min(candidates, key=lambda c: c[:4])
        merges.append(Merge(left, right, left + right.removeprefix("##"), -score, -count))
        vocab.add(merges[-1].merged)
    return merges


def random_words(seed: int) -> dict[str, int]:
    """Return words made of a few stems, with so few letters that pairs overlap, as in aaa."""
    rng = random.Random(seed)
    letters = "abc" if seed % 2 else "abcde"
    stems = ["".join(rng.choices(letters, k=rng.randint(2, 6))) for _ in range(8)]
    words = ("".join(rng.choices(stems, k=rng.randint(1, 3))) for _ in range(30))
    return {word: rng.choice((1, 1, 2, 3, 10)) for word in words}


@pytest.mark.parametrize("criterion", ["likelihood", "ratio", "frequency"])
@pytest.mark.parametrize("seed", range(6))
def test_training_equals_a_naive_reference(criterion: str, seed: int) -> None:
    words, min_frequency = random_words(seed), 1 + seed % 3
    learned = learn_wordpieces(words, 60, criterion, min_frequency, progress=False)
    expected = naive_training(words, 60, criterion, min_frequency)
    assert len(expected) > 9
    assert [m[:3] for m in learned.merges] == [m[:3] for m in expected]
    assert [m.pair_count for m in learned.merges] == [m.pair_count for m in expected]
    assert [m.score for m in learned.merges] == pytest.approx(
        [m.score for m in expected], rel=1e-12, abs=2e-6
    )


def test_training_on_real_words_equals_byte_pair_encoding() -> None:
    words = Counter(BasicTokenizer().tokenize(" ".join(load_reviews().sentences[:5])))
    learned = learn_wordpieces(words, 90, "frequency", progress=False)
    assert learned.merges == naive_training(words, 90, "frequency", 2)


def test_the_criteria_prefer_different_pairs() -> None:
    words = {"xy": 3, "that": 50, "this": 50, "tan": 50, "has": 50, "th": 90}
    first = {
        name: learn_wordpieces(words, 30, name, progress=False).merges[0]
        for name in ("likelihood", "ratio", "frequency")
    }
    assert first["ratio"][:2] == ("x", "##y")
    assert first["frequency"][:2] == first["likelihood"][:2] == ("t", "##h")


def test_the_likelihood_of_a_merge_by_hand() -> None:
    """Twice a ##b ##c ##c: eight wordpieces. With a ##b merged there are six, a third of them ab."""
    merge = learn_wordpieces({"abcc": 2}, 9, "likelihood", progress=False).merges[0]
    before = 2 * math.log(2 / 8) + 2 * math.log(2 / 8) + 4 * math.log(4 / 8)
    after = 2 * math.log(2 / 6) + 4 * math.log(4 / 6)
    assert merge == Merge("a", "##b", "ab", pytest.approx(after - before, abs=1e-6), 2)


def test_a_learned_vocabulary_has_its_layout_and_covers_its_text() -> None:
    texts = load_reviews().sentences[:1500]
    vocab, merges = train_wordpiece(texts, 1000, progress=False)
    assert len(vocab) == len(set(vocab)) == 1000
    assert vocab[:5] == SPECIALS
    characters = [piece for piece in vocab[5:] if len(piece.removeprefix("##")) == 1 and piece != "##"]
    assert vocab[5 : 5 + len(characters)] == sorted(characters, key=lambda p: (p.startswith("##"), p))
    assert vocab[5 + len(characters) :] == list(dict.fromkeys(merge.merged for merge in merges))
    tokenizer = WordPieceTokenizer(vocab)
    rare = Counter("".join(BasicTokenizer().tokenize(" ".join(texts))))
    tokens = [token for text in texts for token in tokenizer.tokenize(text)]
    assert tokens.count("[UNK]") <= sum(n == 1 for n in rare.values()) + 3


def test_training_is_deterministic_and_takes_any_iterable() -> None:
    texts = load_reviews().sentences[:300]
    learned = train_wordpiece(texts, 400, progress=False)
    assert train_wordpiece(iter(texts), 400, progress=False) == learned
    assert sorted(train_wordpiece(reversed(texts), 400, progress=False).vocab) == sorted(learned.vocab)
    assert any(
        piece.istitle() for piece in train_wordpiece(texts, 400, do_lower_case=False, progress=False).vocab
    )


def test_very_long_words_and_rare_characters_are_ignored() -> None:
    learned = train_wordpiece(["ab ab ab é" + " " + "c" * 101] * 1 + ["ab x"], 40, progress=False)
    assert learned.vocab == [*SPECIALS, "a", "##b", "ab"]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("a film", {}, "put a single one in a list"),
        (None, {}, "NoneType"),
        ([None], {}, "NoneType"),
        ([], {}, "no word"),
        (["a film"], {"min_frequency": 5}, "no word"),
        (["a film a film"], {"vocab_size": 9}, "at least 10"),
        (["a film a film"], {"vocab_size": 0}, "vocab_size=0"),
        (["a film a film"], {"min_frequency": 0}, "min_frequency=0"),
        (["a film a film"], {"criterion": "best"}, "'best'"),
    ],
)
def test_training_rejects_invalid_arguments(texts: object, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_wordpiece(texts, **{"vocab_size": 50, "progress": False, **options})
