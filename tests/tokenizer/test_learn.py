"""Learning a vocabulary from text with many characters: how many it keeps, which, and what it says."""

from __future__ import annotations

import random
import warnings

import pytest
import tokenizers

from bertlearn import WordPieceTokenizer, train_wordpiece
from bertlearn.tokenizer.learn import ALPHABET, alphabet_limit, check_sizes, learn_wordpieces
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS


def chinese(characters: int, length: int = 60_000) -> list[str]:
    """Return texts with so many different characters, the first ones far more frequent, and English words."""
    rng = random.Random(0)
    drawn = [chr(0x4E00 + int(characters * rng.random() ** 3)) for _ in range(length)]
    drawn += [chr(0x4E00 + number) for number in range(characters)] * 2
    lines = ["".join(drawn[first : first + 50]) for first in range(0, len(drawn), 50)]
    return [f"{line} {rng.choice(('the', 'then', 'weather'))}" for line in lines]


def test_5000_characters_are_learned_with_the_default_limit() -> None:
    with pytest.warns(UserWarning) as caught:
        vocab = train_wordpiece(chinese(5000), 4096, progress=False).vocab
    characters = {token.removeprefix("##") for token in vocab[5:] if len(token.removeprefix("##")) == 1}
    assert len(characters) == 3840
    assert {"the", "weather"} <= set(vocab)
    text = str(caught[0].message)
    assert text.startswith(
        "the texts have 5,007 different characters, of which the vocabulary keeps the 3,840"
    )
    assert "limit_alphabet keeps more" in text


def test_the_limit_is_a_quarter_of_the_vocabulary_but_at_least_1000() -> None:
    english = {"the": 9, "weather": 9}
    limits = [alphabet_limit(size, english) for size in (1, 4000, 4004, 21128)]
    assert limits == [ALPHABET, ALPHABET, 1001, 5282]


def test_nearly_all_of_a_vocabulary_for_chinese_may_be_characters() -> None:
    assert alphabet_limit(4096, {"天": 9, "气": 9, "fine": 4}) == 3840
    assert alphabet_limit(4096, {"天": 9, "气": 9, "fine": 5}) == 1024
    texts = ["今天天气很好，我们去公园看花。", "这家酒店的房间很干净，服务也很好。"] * 2
    vocab = train_wordpiece(texts, 100, progress=False).vocab
    assert not any(token.startswith("##") for token in vocab)
    assert "[UNK]" not in WordPieceTokenizer(vocab).tokenize("".join(texts))


def test_the_share_of_unknown_text_is_that_of_the_tokenizer() -> None:
    texts = chinese(900)
    with pytest.warns(UserWarning, match=r"907 different .* the 300 most .*: (\d+\.\d+)% of the") as caught:
        vocab = train_wordpiece(texts, 2000, progress=False, limit_alphabet=300).vocab
    said = float(str(caught[0].message).partition("[UNK]: ")[2].partition("%")[0]) / 100
    tokenizer = WordPieceTokenizer(vocab)
    unknown = sum(tokenizer.tokenize(text).count("[UNK]") for text in texts)
    characters = sum(len(text.replace(" ", "")) for text in texts)
    assert said == pytest.approx(unknown / characters, abs=1e-4) and said > 0.1


@pytest.mark.parametrize("limit", [8, 60, 300])
def test_the_alphabet_is_that_of_the_tokenizers_library(limit: int) -> None:
    """Counts are all different, because the library breaks ties in any order."""
    counts = {chr(0x4E00 + number): 10 + number for number in range(400)}
    counts |= {"ab": 5000, "abc": 4001, "cde": 3002}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = learn_wordpieces(
            counts, 1000, "frequency", min_frequency=1, progress=False, limit_alphabet=limit
        )
    fast = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=1000,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        limit_alphabet=limit,
        show_progress=False,
    )
    fast.train_from_iterator((f"{word} " * n for word, n in counts.items()), trainer)
    theirs = fast.get_vocab().keys()
    first = [{token for token in vocab if len(token) == 1} for vocab in (ours.vocab, theirs)]
    if limit == 8:  # theirs adds every character of the alphabet, ours only those that begin a word
        first[1] -= set("bde")
    else:
        first = [characters - set("bde") for characters in first]
    assert first[0] == first[1]
    if limit > 8:
        assert {"ab", "abc", "cde"} <= set(ours.vocab) & set(theirs)


def test_text_within_the_limit_is_learned_as_without_one() -> None:
    texts = ["the weather then", "een été là-bas"] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned = train_wordpiece(texts, 60, progress=False)
        assert train_wordpiece(texts, 60, progress=False, limit_alphabet=5000) == learned


def test_of_equally_frequent_characters_the_smaller_is_kept() -> None:
    with pytest.warns(UserWarning, match="keeps the 2 most frequent"):
        vocab = train_wordpiece(["d c b a a b c d"], 9, progress=False, limit_alphabet=2).vocab
    assert vocab[5:] == ["a", "b"]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5"])
def test_a_limit_that_is_not_a_count_is_rejected(value: object) -> None:
    for check in (lambda: check_sizes(50, value), lambda: train_wordpiece(["a a"], 50, limit_alphabet=value)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"limit_alphabet={value!r} must be a whole number"):
            check()


def test_a_vocabulary_without_room_names_a_remedy_that_exists() -> None:
    with pytest.raises(ValueError, match="use at least 10, or a lower limit_alphabet"):
        train_wordpiece(["a film a film"], 9, progress=False)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "the texts have no words: there are none, or they are empty"),
        (["", " \n", "\u200b\x01"], "the texts have no words: there are none, or they are empty"),
        (
            ["a" * 101, "bc" * 300],
            r"all words .* longer than 100 characters, such as 'a{20}'… of 101, .* spaces",
        ),
        (["ab ba"], "no word of the texts has only characters that occur 2 times; give more text"),
    ],
)
def test_texts_without_usable_words_are_named(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_wordpiece(texts, 50, progress=False)
    train_wordpiece([*texts, "aa aa"], 50, progress=False)
