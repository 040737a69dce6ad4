"""Characters to tokens and back on many kinds of text, BIO labels both ways, answers against brute force."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import perturb
from torch import Tensor

from bertlearn.finetuning.spans import (
    NO_ANSWER,
    Answer,
    Span,
    TokenSpan,
    answer_positions,
    best_answers,
    bio_labels,
    chars_to_tokens,
    decode_bio,
    span_scores,
    split_words,
    text_tokens,
    token_labels,
    tokens_to_chars,
)
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import IGNORE, BertForTokenClassification
from bertlearn.tokenizer.encoding import Encoding
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

# Letters, capitals, digits; composed and combining accents; scripts without spaces; characters that become
# several (İ, ≮, 한) or none (soft hyphen, joiner, NUL); white space; punctuation; emoji; letters for [UNK].
POOL = [
    *"abcdeABCDE123ßσςΣ",
    *"éÅñǖộ",
    *"\u0301\u0323\u0308\u0345\u0903",
    *"電影한국で🙂👩",
    *"İ≮ﬁ½\u1e9b",
    *"\u00ad\u200d\x00\ufeff\ufffd",
    *"    \t\n\u00a0\u3000",
    *".,!?-#'[]$",
    *"xyzXYZж",
]
KNOWN = "abcde123σéåañnǖuộo\u0301\u0323\u0308電影ᄒ한ᅡᆫ국でi̇<ﬁ½İABCDE.,!?-#'[]$"
VOCAB = [*dict.fromkeys(KNOWN), *(f"##{c}" for c in dict.fromkeys(KNOWN)), "ab", "##cd", "##bc", "[", "]"]
KINDS = ["PER", "LOC"]
LABELS = bio_labels(KINDS)
LABEL2ID = {label: number for number, label in enumerate(LABELS)}
ID2LABEL = dict(enumerate(LABELS))


def make_tokenizer(**settings: bool) -> WordPieceTokenizer:
    return WordPieceTokenizer(list(dict.fromkeys([*SPECIAL_TOKENS, *VOCAB])), **settings)


TOKENIZERS = {"uncased": make_tokenizer(), "cased": make_tokenizer(do_lower_case=False)}


def random_text(rng: random.Random) -> str:
    """Return some characters of the pool, sometimes with an arbitrary character or a special token."""
    parts = rng.choices(POOL, k=rng.randint(1, 25))
    if rng.random() < 0.3:
        parts[rng.randrange(len(parts))] = chr(
            rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])
        )
    if rng.random() < 0.1:
        parts[rng.randrange(len(parts))] = rng.choice(SPECIAL_TOKENS)
    return "".join(parts)


def random_encoding(tokenizer: WordPieceTokenizer, rng: random.Random) -> tuple[str, Encoding, int]:
    """Encode a random text alone, or as the second of a pair; sometimes truncated, sometimes padded."""
    text, segment = random_text(rng), rng.randrange(2)
    texts = (random_text(rng), text) if segment else (text, None)
    max_length = rng.choice([None, None, 12])
    encoding = tokenizer.encode(*texts, max_length=max_length, padding=rng.choice([False, 40]))
    return text, encoding, segment


def random_span(length: int, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(length)
    return start, rng.randint(start + 1, min(length, start + 9))


# Characters and tokens.


@pytest.mark.parametrize("name", TOKENIZERS)
def test_characters_to_tokens_and_back(name: str) -> None:
    """5,000 texts per tokenizer, against a table of the characters of each token."""
    rng, found_some, found_none = random.Random(0), 0, 0
    for _ in range(5000):
        text, encoding, segment = random_encoding(TOKENIZERS[name], rng)
        start, end = random_span(len(text), rng)
        span = chars_to_tokens(encoding, start, end, segment)
        chars_of = {
            position: set(range(start_of, encoding.end(position)))
            for position, ((start_of, _), type_id) in enumerate(
                zip(encoding.offsets, encoding.token_type_ids, strict=True)
            )
            if type_id == segment and encoding.end(position) > 0
        }
        expected = [position for position, chars in chars_of.items() if chars & set(range(start, end))]
        if span is None:
            assert expected == []
            found_none += 1
            continue
        assert list(range(span.first, span.last + 1)) == expected
        back = tokens_to_chars(encoding, *span)
        covered = set().union(*(chars_of[position] for position in expected))
        assert back == (min(covered), max(covered) + 1)
        assert covered >= set(range(start, end)) & set().union(*chars_of.values())
        again = chars_to_tokens(encoding, *back, segment)
        assert tokens_to_chars(encoding, *again) == back
        found_some += 1
    assert found_some > 3000 and found_none > 200


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_characters_of_whole_words_give_the_same_tokens_alone(name: str) -> None:
    """The characters at the offsets, tokenized alone, give the same tokens: 5,000 texts per tokenizer."""
    rng, tried, shared = random.Random(1), 0, 0
    for _ in range(5000):
        text = random_text(rng)
        encoding = TOKENIZERS[name].encode(text)
        words = split_words(encoding)
        if not words:
            continue
        first = rng.randrange(len(words))
        last = rng.randrange(first, min(len(words), first + 3))
        span = TokenSpan(words[first].first, words[last].last)
        start, end = tokens_to_chars(encoding, *span)
        # If accents are kept, two words can share one character: ≮ becomes < and a stroke.
        if chars_to_tokens(encoding, start, end) != span:
            assert name == "cased"
            shared += 1
            continue
        tried += 1
        assert TOKENIZERS[name].tokenize(text[start:end]) == encoding.tokens[span.first : span.last + 1]
    assert tried > 4000 and shared < 100


def test_by_hand() -> None:
    encoding = TOKENIZERS["uncased"].encode("abcd. Adé", "ab", padding=12)
    assert encoding.tokens[:9] == ["[CLS]", "ab", "##cd", ".", "a", "##d", "##e", "[SEP]", "ab"]
    assert text_tokens(encoding) == [1, 2, 3, 4, 5, 6]
    assert text_tokens(encoding, 1) == [8]
    assert split_words(encoding) == [(1, 2), (3, 3), (4, 6)]
    assert chars_to_tokens(encoding, 0, 1) == (1, 1)
    assert chars_to_tokens(encoding, 1, 3) == (1, 2)
    assert chars_to_tokens(encoding, 3, 6) == (2, 3)
    assert chars_to_tokens(encoding, 5, 6) is None  # the space
    assert chars_to_tokens(encoding, 4, 9) == (3, 6)
    assert chars_to_tokens(encoding, 9, 99) is None
    assert chars_to_tokens(encoding, 0, 2, segment=1) == (8, 8)
    assert tokens_to_chars(encoding, 2, 5) == (2, 8)
    assert tokens_to_chars(encoding, 8, 8) == (0, 2)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 2), (2, 1), (6, 7), (6, 8), (1, 11), (-1, 2), (1, 99), (7, 7), (10, 11)]
)
def test_positions_that_are_not_a_span_are_refused(first: int, last: int) -> None:
    encoding = TOKENIZERS["uncased"].encode("abcd. Adé", "ab", padding=12)
    with pytest.raises(ValueError, match=f"first={first}, last={last} is not a span of one text"):
        tokens_to_chars(encoding, first, last)


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 2), (-1, 2)])
def test_an_empty_span_is_refused(start: int, end: int) -> None:
    encoding = TOKENIZERS["uncased"].encode("abcd")
    with pytest.raises(ValueError, match=f"start={start}, end={end} is not a span of a text"):
        chars_to_tokens(encoding, start, end)
    with pytest.raises(ValueError, match=f"start={start}, end={end} is not a span of a text"):
        token_labels(encoding, [Span(start, end, "PER")], LABEL2ID)


@pytest.mark.parametrize("segment", [2, -1, 0.0, None, True])
def test_a_third_text_is_refused(segment: object) -> None:
    encoding = TOKENIZERS["uncased"].encode("abcd", "ab")
    for call in (lambda: text_tokens(encoding, segment), lambda: chars_to_tokens(encoding, 0, 1, segment)):
        with pytest.raises(ValueError, match=f"segment={segment} must be a whole number from 0 to 1"):
            call()


def test_an_encoding_without_tokens_or_none_at_all_is_refused() -> None:
    tokenizer, zeros = TOKENIZERS["uncased"], torch.zeros(6)
    pair = tokenizer.encode("ab", "cd")
    stripped = pair._replace(tokens=[], offsets=[], ends={})
    for encoding, message in (
        (stripped, r"has 6 ids but 0 tokens and 0 offsets, which text_features drops; use tokenizer\.encode"),
        (pair._replace(tokens=[]), "has 6 ids but 0 tokens and 6 offsets"),
        (dict(pair._asdict()), r"encoding is dict, expected Encoding; use tokenizer\.encode"),
    ):
        for call in (
            lambda e: text_tokens(e),
            lambda e: tokens_to_chars(e, 1, 1),
            lambda e: split_words(e),
            lambda e: token_labels(e, [Span(0, 1, "PER")], LABEL2ID),
            lambda e: decode_bio(e, [0] * 6, ID2LABEL),
            lambda e: answer_positions(tokenizer, e, "cd", 0, 1),
            lambda e: span_scores(e, zeros, zeros),
            lambda e: best_answers(e, "cd", torch.zeros(6, 6)),
        ):
            with pytest.raises(ValueError, match=message):
                call(encoding)
    with pytest.raises(ValueError, match="tokenizer is NoneType, expected bertlearn's WordPieceTokenizer"):
        answer_positions(None, pair, "cd", 0, 1)


# Labels for tokens.


def test_labels_by_hand() -> None:
    text = "Abcd Ade bb, a-c. ab"
    encoding = TOKENIZERS["uncased"].encode(text, padding=20)
    tokens = ["[CLS]", "ab", "##cd", "a", "##d", "##e", "b", "##b", ",", "a", "-", "c", ".", "ab", "[SEP]"]
    assert encoding.tokens[:15] == tokens
    spans = [Span(0, 8, "PER"), Span(9, 11, "PER"), Span(13, 16, "LOC")]
    no = IGNORE
    labels = token_labels(encoding, spans, LABEL2ID)
    names = ["B-PER", no, "I-PER", no, no, "B-PER", no, "O", "B-LOC", "I-LOC", "I-LOC", "O", "O"]
    assert labels == [no, *(LABEL2ID.get(name, no) for name in names), no, *[no] * 5]
    assert decode_bio(encoding, labels, ID2LABEL) == spans
    assert [text[span.start : span.end] for span in spans] == ["Abcd Ade", "bb", "a-c"]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_spans_to_labels_and_back(name: str) -> None:
    """Spans of whole words, often adjacent ones, in 2,500 texts per tokenizer."""
    rng, count, neighbors = random.Random(2), 0, 0
    for _ in range(2500):
        encoding = TOKENIZERS[name].encode(random_text(rng), padding=30)
        spans: list[Span] = []
        words, index = split_words(encoding), 0
        while index < len(words):
            last = min(len(words) - 1, index + rng.choice([0, 0, 1, 2]))
            start, end = tokens_to_chars(encoding, words[index].first, words[last].last)
            if rng.random() < 0.5 and (not spans or start >= spans[-1].end):
                neighbors += (
                    bool(spans) and words[index - 1].last == chars_to_tokens(encoding, *spans[-1][:2]).last
                )
                spans.append(Span(start, end, rng.choice(KINDS)))
            index = last + 1
        try:
            labels = token_labels(encoding, rng.sample(spans, len(spans)), LABEL2ID)
        except ValueError as error:  # two words share one character, see above
            assert name == "cased" and "share a word" in str(error)
            continue
        assert decode_bio(encoding, labels, ID2LABEL) == spans
        firsts = {word.first for word in words}
        assert all((label == IGNORE) == (i not in firsts) for i, label in enumerate(labels))
        assert sum(label in (1, 3) for label in labels) == len(spans)
        noisy = [label if label != IGNORE else rng.randrange(5) for label in labels]
        assert (
            decode_bio(encoding, torch.tensor(noisy), ID2LABEL) == spans
        )  # labels at the other tokens are ignored
        count += len(spans)
    assert count > 3000 and neighbors > 800


def test_an_accent_comes_back_with_its_word() -> None:
    text = "Ade\u0301 bb\u0308. c\u200d"
    encoding = TOKENIZERS["uncased"].encode(text)
    spans = [Span(0, 4, "PER"), Span(5, 8, "LOC"), Span(10, 12, "PER")]
    assert decode_bio(encoding, token_labels(encoding, spans, LABEL2ID), ID2LABEL) == spans
    for inside in (Span(0, 3, "PER"), Span(3, 4, "PER"), Span(2, 5, "PER")):  # grows to the whole word
        labels = token_labels(encoding, [inside], LABEL2ID)
        assert decode_bio(encoding, labels, ID2LABEL) == [Span(0, 4, "PER")]
    pair = TOKENIZERS["uncased"].encode("ab", text)
    start, end = torch.zeros(2, len(pair.tokens))
    start[3] = end[5] = 1.0  # [CLS] ab [SEP] a ##d ##e
    answer = best_answers(pair, text, span_scores(pair, start, end))[0]
    assert answer.text == "Ade\u0301"


CLUSTERS = [
    *(
        "a",
        "b",
        "é",
        "e\u0301",
        "a\u0323\u0308",
        "B\u0345",
        "Å",
        "A\u030a",
        "한",
        "\u1112\u1161",
        "c\u00ad",
        "d\ufe0f",
    ),
    *(
        "👩\u200d💻",
        "❤\ufe0f",
        "🏳\ufe0f\u200d🌈",
        "👍🏽",
        "1\ufe0f\u20e3",
        "नि",
        "ש\u05c1",
        ".",
        "'",
        "!\u0301",
        "電\u0301",
    ),
]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_marks_joiners_and_selectors_survive_the_way_to_labels_and_back(name: str) -> None:
    """Spans of words, made of clusters of characters, in 5,000 texts per tokenizer."""
    rng, marked = random.Random(7), 0
    for _ in range(5000):
        words = ["".join(rng.choices(CLUSTERS, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 6))]
        text, spans = "", []
        for word in words:
            if rng.random() < 0.5 and TOKENIZERS[name].tokenize(word):
                spans.append(Span(len(text), len(text) + len(word), rng.choice(KINDS)))
            text += word + rng.choice((" ", "  ", "\n", "\u3000"))
        encoding = TOKENIZERS[name].encode(text)
        assert decode_bio(encoding, token_labels(encoding, spans, LABEL2ID), ID2LABEL) == spans, ascii(text)
        marked += len(encoding.ends)
    assert marked > (5000 if name == "uncased" else 100)


def test_a_partly_covered_word_belongs_to_the_span_and_truncated_words_are_lost() -> None:
    full = TOKENIZERS["uncased"].encode("abcd Ade bb")
    found = decode_bio(full, token_labels(full, [Span(3, 6, "LOC")], LABEL2ID), ID2LABEL)
    assert found == [Span(0, 8, "LOC")]
    cut = TOKENIZERS["uncased"].encode("abcd Ade bb", max_length=5)  # [CLS] ab ##cd a [SEP]
    spans = [Span(0, 8, "PER"), Span(9, 11, "LOC")]
    assert token_labels(cut, spans, LABEL2ID) == [
        IGNORE,
        LABEL2ID["B-PER"],
        IGNORE,
        LABEL2ID["I-PER"],
        IGNORE,
    ]
    assert decode_bio(cut, token_labels(cut, spans, LABEL2ID), ID2LABEL) == [Span(0, 6, "PER")]


def test_only_the_first_text_of_a_pair_is_labeled() -> None:
    encoding = TOKENIZERS["uncased"].encode("ab a", "ab a")
    labels = token_labels(encoding, [Span(0, 2, "PER")], LABEL2ID)
    assert labels == [IGNORE, 1, 0, IGNORE, IGNORE, IGNORE, IGNORE]
    assert decode_bio(encoding, [0, 1, 2, 1, 1, 2, 1], ID2LABEL) == [Span(0, 4, "PER")]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["I-PER", "I-PER", "O", "O"], [(0, 3, "PER")]),
        (["O", "I-PER", "O", "I-LOC"], [(2, 3, "PER"), (6, 7, "LOC")]),
        (["B-PER", "I-LOC", "I-LOC", "O"], [(0, 1, "PER"), (2, 5, "LOC")]),
        (["B-PER", "B-PER", "I-PER", "B-PER"], [(0, 1, "PER"), (2, 5, "PER"), (6, 7, "PER")]),
        (["I-LOC", "O", "I-LOC", "I-PER"], [(0, 1, "LOC"), (4, 5, "LOC"), (6, 7, "PER")]),
        (["O", "O", "O", "O"], []),
    ],
)
def test_inconsistent_labels_are_decoded_as_in_conlleval(tags: list[str], expected: list[tuple]) -> None:
    encoding = TOKENIZERS["uncased"].encode("a b c d")
    labels = [0, *(LABEL2ID[tag] for tag in tags), 0]
    assert decode_bio(encoding, labels, ID2LABEL) == expected


@pytest.mark.parametrize("seed", range(2))
def test_the_transformers_pipeline_finds_the_same_spans(seed: int, tmp_path: Path) -> None:
    """Its aggregation "first" also reads the first token of each word."""
    tokenizer, rng = TOKENIZERS["uncased"], random.Random(seed)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        id2label=ID2LABEL,
    )
    model = BertForTokenClassification(config).eval()
    perturb(model, seed, scale=0.5)
    with torch.no_grad():
        model.classifier.bias.zero_()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    tag = transformers.pipeline("token-classification", model=str(tmp_path), aggregation_strategy="first")
    count = 0
    for _ in range(60):
        text = " ".join("".join(rng.choices("abcde", k=rng.randint(1, 6))) for _ in range(8))
        encoding = tokenizer.encode(text)
        with torch.no_grad():
            labels = model(torch.tensor([encoding.input_ids])).logits[0].argmax(-1)
        found = decode_bio(encoding, labels, ID2LABEL)
        assert found == [Span(one["start"], one["end"], one["entity_group"]) for one in tag(text)]
        count += len(found)
    assert count > 60


def test_bio_labels_are_numbered_as_written() -> None:
    assert bio_labels(["PER", "LOC"]) == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    with pytest.raises(ValueError, match=r"kinds='PER' is a string, expected a list; use \['PER'\]"):
        bio_labels("PER")


BAD_SPANS = {
    "twice": ([Span(0, 2, "PER"), Span(0, 2, "PER")], "share a word"),
    "overlapping": ([Span(0, 4, "PER"), Span(3, 4, "LOC")], "share a word"),
    "two in a word": ([Span(0, 1, "PER"), Span(1, 2, "LOC")], "share a word; merge them"),
    "unknown": ([Span(0, 2, "ORG")], "the label 'B-ORG' has no number; label2id has O, B-PER"),
    "None": (None, "spans is None, expected a list of Span, empty if a text has none"),
    "a single one": (Span(0, 2, "PER"), r"spans is Span\(start=0, .* expected a list of Span"),
    "None in a list": ([None], r"a span is None, expected Span\(start, end, label\)"),
    "a dictionary": ([{"start": 0, "end": 2}], r"a span is \{'start': .*, expected Span"),
    "without a label": ([(0, 2)], r"a span is \(0, 2\), expected Span"),
    "text as a number": (
        [Span("0", 2, "PER")],
        "start='0', end=2 is not a span of a text; use whole numbers",
    ),
    "half a character": ([Span(0, 1.5, "PER")], "start=0, end=1.5 is not a span of a text"),
}


@pytest.mark.parametrize("name", BAD_SPANS)
def test_bad_spans_are_refused(name: str) -> None:
    spans, message = BAD_SPANS[name]
    with pytest.raises(ValueError, match=message):
        token_labels(TOKENIZERS["uncased"].encode("ab a"), spans, LABEL2ID)


def test_spans_may_come_as_tuples_lists_or_from_a_generator() -> None:
    encoding = TOKENIZERS["uncased"].encode("ab a")
    expected = token_labels(encoding, [Span(0, 2, "PER"), Span(3, 4, "LOC")], LABEL2ID)
    assert expected.count(LABEL2ID["O"]) == 0
    plain = [(0, 2, "PER"), [np.int64(3), np.int64(4), "LOC"]]
    assert token_labels(encoding, plain, LABEL2ID) == expected
    assert token_labels(encoding, (span for span in plain), LABEL2ID) == expected


@pytest.mark.parametrize(
    ("labels", "id2label", "message"),
    [
        ([0, 0, 0], ID2LABEL, "labels has length 3, but the encoding has 4 tokens; remove the padding"),
        ([0, 9, 0, 0], ID2LABEL, "the number 9 stands for None, expected O, or B-"),
        ([0, 0.9, 0, 0], ID2LABEL, r"labels is \[0, 0.9, 0, 0\], expected whole numbers"),
        (
            torch.zeros(4, 5),
            ID2LABEL,
            r"expected whole numbers; of logits \(S, C\), use logits\.argmax\(-1\)",
        ),
        (None, ID2LABEL, "labels is None, expected whole numbers"),
        ([0, 1, 0, 0], {0: "LABEL_0", 1: "LABEL_1"}, "stands for 'LABEL_1', expected O, or B-"),
        ([0, IGNORE, 0, 0], ID2LABEL, "the number -100 stands for None"),
        ([0, 1, 0, 0], {0: "O", 1: "B-"}, "stands for 'B-'"),
        (
            [0, 1, 0, 0],
            ["O", "B-PER"],
            "the number 1 stands for None, expected .*; use the model's own id2label",
        ),
        ([0, 1, 0, 0], LABEL2ID, "the number 1 stands for None, expected O, or B-"),
        ([0, 1, 0, 0], {0: "O", 1: 5}, "the number 1 stands for 5, expected O, or B-"),
        ([0, 1, 0, 0], {0: "O", 1: "O-PER"}, "stands for 'O-PER'"),
    ],
)
def test_bad_labels_are_refused(labels: list[int], id2label: dict[int, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_bio(TOKENIZERS["uncased"].encode("ab a"), labels, id2label)


# Answers.


QUESTION, CONTEXT = "ab?", "bb Adé, cd!"  # [CLS] ab ? [SEP] b ##b a ##d ##e , c ##d ! [SEP]


def allowed_answers(
    encoding: Encoding,
    starts: list[float],
    ends: list[float],
    max_answer_length: int,
    threshold: float | None,
) -> list[tuple[float, int, int]]:
    """Return all answers allowed by the paper's definition, best first; among equals "no answer" first."""
    answers = []
    for i, j in ((i, j) for i in range(len(starts)) for j in range(len(ends))):
        inside = all(
            encoding.token_type_ids[k] == 1 and encoding.attention_mask[k] and encoding.offsets[k] != (0, 0)
            for k in (i, j)
        )
        if inside and i <= j < i + max_answer_length:
            answers.append((starts[i] + ends[j], i, j))
    if threshold is not None:
        answers.append((starts[0] + ends[0] + threshold, 0, 0))
    return sorted(answers, key=lambda answer: (-answer[0], answer[1], answer[2]))


@pytest.mark.parametrize("threshold", [None, 0.0, 1.5, -2.0])
def test_answers_against_brute_force(threshold: float | None) -> None:
    rng, generator, no_answer, several = random.Random(4), torch.Generator().manual_seed(4), 0, 0
    for _ in range(150):
        context = random_text(rng)
        encoding = TOKENIZERS["uncased"].encode(
            random_text(rng),
            context,
            max_length=rng.choice([None, 20]),
            padding=rng.choice([False, 24]),
        )
        # Quarters add up without rounding, so equal scores are exactly equal, and some do occur.
        starts, ends = (torch.randn(2, len(encoding.tokens), generator=generator) * 8).round() / 4
        longest = rng.choice([1, 3, 30])
        expected = allowed_answers(encoding, starts.tolist(), ends.tolist(), longest, threshold)
        scores = span_scores(encoding, starts, ends, longest, threshold)
        assert int((scores > -math.inf).sum()) == len(expected)
        if not expected:
            with pytest.raises(ValueError, match="no token of the context is left"):
                best_answers(encoding, context, scores)
            continue
        found = best_answers(encoding, context, scores, n_best=7)
        total = math.fsum(math.exp(score) for score, _, _ in expected)
        assert len(found) == min(7, len(expected))
        for answer, (score, i, j) in zip(found, expected, strict=False):
            start, end = (0, 0) if j == 0 else (encoding.offsets[i][0], encoding.end(j))
            assert answer[:4] == (context[start:end], start, end, score)
            assert answer.probability == pytest.approx(math.exp(score) / total, rel=1e-4)
        no_answer += found[0].text == ""
        several += len(found) == 7
    assert several > 50
    assert (no_answer > 0) == (threshold is not None)


def test_answers_by_hand() -> None:
    encoding = TOKENIZERS["uncased"].encode(QUESTION, CONTEXT)
    assert encoding.tokens == [
        *("[CLS]", "ab", "?", "[SEP]"),
        *("b", "##b", "a", "##d", "##e", ",", "c", "##d", "!", "[SEP]"),
    ]
    starts, ends = torch.zeros(14), torch.zeros(14)
    starts[6], ends[8] = math.log(6), math.log(4)  # "Adé" weighs 24
    starts[1] = ends[13] = ends[2] = 50.0  # question and [SEP] cannot answer
    scores = span_scores(encoding, starts, ends, max_answer_length=3)
    # Spans of up to 3 of 9 tokens: 9 + 8 + 7 = 24; three begin at 6, three end at 8, one is both.
    total = 24 + 2 * 6 + 2 * 4 + 19
    first, second = best_answers(encoding, CONTEXT, scores, n_best=2)
    assert first[:3] == ("Adé", 3, 6)
    assert (first.score, first.probability) == pytest.approx((math.log(24), 24 / total))
    assert second[:3] == ("A", 3, 4)
    assert second.probability == pytest.approx(6 / total)
    for threshold, text in ((math.log(24) + 0.01, ""), (math.log(24) - 0.01, "Adé")):
        answer = best_answers(encoding, CONTEXT, span_scores(encoding, starts, ends, 3, threshold))[0]
        assert answer.text == text
    starts[0] = math.log(24)
    null = best_answers(encoding, CONTEXT, span_scores(encoding, starts, ends, 3, null_threshold=0.0))[0]
    assert null == Answer("", 0, 0, pytest.approx(math.log(24)), pytest.approx(24 / (total + 24)))


def test_the_positions_of_an_answer_decode_to_it() -> None:
    """If the correct start and end score highest, the result is the words that the answer overlaps."""
    rng, count = random.Random(5), 0
    tokenizer = TOKENIZERS["uncased"]
    for _ in range(1000):
        context = random_text(rng)
        start, end = random_span(len(context), rng)
        encoding = tokenizer.encode("ab?", context)
        if not tokenizer.tokenize(context[start:end]):
            with pytest.raises(ValueError, match="is not in the context or has no words"):
                answer_positions(tokenizer, encoding, context, start, end)
            continue
        first, last = answer_positions(tokenizer, encoding, context, start, end)
        assert (first, last) != NO_ANSWER
        starts, ends = torch.zeros(2, len(encoding.tokens))
        starts[first] = ends[last] = 9.0
        answer = best_answers(encoding, context, span_scores(encoding, starts, ends))[0]
        assert (answer.start, answer.end) == tokens_to_chars(encoding, first, last)
        assert answer.text == context[answer.start : answer.end]
        assert (first, last) == chars_to_tokens(encoding, start, end, segment=1)
        count += 1
    assert count > 700


@pytest.mark.parametrize(
    ("max_length", "start", "end", "expected"),
    [
        (None, 3, 6, (6, 8)),
        (None, 2, 7, (6, 9)),  # with the space before it and the comma
        (10, 3, 6, (6, 8)),  # [CLS] ab ? [SEP] b ##b a ##d ##e [SEP]: the answer just fits
        (10, 3, 7, NO_ANSWER),  # the comma is truncated
        (9, 3, 6, NO_ANSWER),  # a token of it is truncated
        (8, 3, 6, NO_ANSWER),
        (7, 3, 6, NO_ANSWER),  # all of it is truncated
        (7, 0, 3, (4, 5)),  # the space after it has no token
    ],
)
def test_a_truncated_answer_is_no_answer(
    max_length: int | None, start: int, end: int, expected: TokenSpan
) -> None:
    tokenizer = TOKENIZERS["uncased"]
    encoding = tokenizer.encode(QUESTION, CONTEXT, max_length=max_length)
    assert answer_positions(tokenizer, encoding, CONTEXT, start, end) == expected


def test_an_accent_that_normalization_drops_does_not_truncate_the_answer() -> None:
    tokenizer, context = TOKENIZERS["uncased"], "ab ade\u0301"
    encoding = tokenizer.encode("ab", context)
    assert answer_positions(tokenizer, encoding, context, 3, 7) == (4, 6)


BAD_ANSWERS = {
    "white space": (CONTEXT, 2, 3, "the answer from 2 to 3, ' ', is not in the context or has no words"),
    "beyond the end": (CONTEXT, 7, 12, "characters of the context, which has 11"),
    "behind the end": (CONTEXT, 40, 42, "'', is not in the context or has no words"),
    "backwards": (CONTEXT, 6, 3, "start=6, end=3 is not a span"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_are_refused(name: str) -> None:
    context, start, end, message = BAD_ANSWERS[name]
    tokenizer = TOKENIZERS["uncased"]
    with pytest.raises(ValueError, match=message):
        answer_positions(tokenizer, tokenizer.encode(QUESTION, context), context, start, end)


def test_scores_that_are_not_numbers_are_named() -> None:
    encoding = TOKENIZERS["uncased"].encode(QUESTION, CONTEXT)
    row = torch.zeros(14)
    for value in (torch.nan, torch.inf):
        broken = torch.full((14,), value)
        with pytest.raises(
            ValueError, match="end_logits has 14 NaN or infinite among 14 numbers; check the mod"
        ):
            span_scores(encoding, row, broken)
        scores = span_scores(encoding, row, row)
        scores[4, 5] = value
        with pytest.raises(ValueError, match="scores has 1 NaN or infinite among 196 numbers"):
            best_answers(encoding, CONTEXT, scores)
    huge = torch.full((14,), 3e38)  # the sum of two is infinite
    with pytest.raises(ValueError, match="scores has 24 NaN or infinite among 196 numbers"):
        best_answers(encoding, CONTEXT, span_scores(encoding, huge, huge, max_answer_length=3))


def test_a_token_can_be_excluded_by_minus_infinity() -> None:
    encoding = TOKENIZERS["uncased"].encode(QUESTION, CONTEXT)
    starts, ends = torch.zeros(14), torch.zeros(14)
    starts[6] = -torch.inf
    found = best_answers(encoding, CONTEXT, span_scores(encoding, starts, ends, 3), n_best=99)
    assert len(found) == 24 - 3 and 3 not in {answer.start for answer in found}
    assert math.fsum(answer.probability for answer in found) == pytest.approx(1)


def test_scores_may_be_arrays_or_lists() -> None:
    encoding = TOKENIZERS["uncased"].encode(QUESTION, CONTEXT)
    starts, ends = torch.randn(2, 14, generator=torch.Generator().manual_seed(0))
    expected = span_scores(encoding, starts, ends, 3)
    for convert in (Tensor.tolist, Tensor.numpy, Tensor.double):
        found = span_scores(encoding, convert(starts), convert(ends), np.int64(3))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)
        answers = best_answers(encoding, CONTEXT, convert(expected), np.int64(2))
        assert answers == best_answers(encoding, CONTEXT, expected, 2)


OTHER_CONTEXTS = {
    "shorter": CONTEXT[:-4],
    "by one character": CONTEXT[:-1],
    "empty": "",
    "of the same length": "cc Adé, cd!",
    "with other words": "ab ab ab ab ab ab",
    "moved": " " + CONTEXT,
}


@pytest.mark.parametrize("name", OTHER_CONTEXTS)
def test_another_context_than_the_encodings_is_refused(name: str) -> None:
    tokenizer, row = TOKENIZERS["uncased"], torch.zeros(14)
    encoding, other = tokenizer.encode(QUESTION, CONTEXT), OTHER_CONTEXTS[name]
    message = (
        "the encoding's second text has the token .* but the context has .* give the text that was encoded"
    )
    with pytest.raises(ValueError, match=message):
        best_answers(encoding, other, span_scores(encoding, row, row))
    with pytest.raises(ValueError, match=message):
        answer_positions(tokenizer, encoding, other, 0, 2)


def test_a_context_of_another_type_is_named() -> None:
    encoding, row = TOKENIZERS["uncased"].encode(QUESTION, CONTEXT), torch.zeros(14)
    with pytest.raises(ValueError, match="context is NoneType, expected str"):
        best_answers(encoding, None, span_scores(encoding, row, row))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_encodings_own_context_is_never_refused(name: str) -> None:
    rng, tokenizer, count = random.Random(9), TOKENIZERS[name], 0
    for _ in range(3000):
        context = random_text(rng)
        encoding = tokenizer.encode("ab?", context, max_length=rng.choice([None, 12]), padding=20)
        if not text_tokens(encoding, 1):
            continue
        scores = torch.full((len(encoding.tokens),) * 2, -torch.inf)
        scores[text_tokens(encoding, 1)[-1], text_tokens(encoding, 1)[-1]] = 0.0
        (answer,) = best_answers(encoding, context, scores)
        assert answer.text == context[answer.start : answer.end] != ""
        count += 1
    assert count > 2500


def test_bad_scores_are_refused() -> None:
    tokenizer = TOKENIZERS["uncased"]
    encoding, alone = tokenizer.encode(QUESTION, CONTEXT), tokenizer.encode(CONTEXT)
    row = torch.zeros(14)
    for arguments, message in (
        ((alone, row, row), r"no second text; use tokenizer\.encode\(question, context\)"),
        ((encoding, row[:-1], row), "start_logits has length 13, but the encoding has 14 tokens"),
        (
            (encoding, row, torch.zeros(20)),
            "end_logits has length 20, but the encoding has 14 tokens; remove",
        ),
        ((encoding, row[None], row), r"start_logits has shape \(1, 14\), expected \(S,\); take one row"),
        (
            (encoding, row, row, 0),
            "max_answer_length=0 must be a whole number of at least 1",
        ),
        ((encoding, row, row, 2.5), "max_answer_length=2.5 must be a whole number"),
        ((encoding, row, row, 3, math.nan), "null_threshold=nan, expected a number, or None"),
        ((encoding, row, row, 3, "0"), "null_threshold='0', expected a number, or None"),
        ((encoding, ["a"] * 14, row), "start_logits is list, expected a tensor of floats"),
        ((encoding, None, row), "start_logits is NoneType, expected a tensor of floats"),
    ):
        with pytest.raises(ValueError, match=message):
            span_scores(*arguments)
    with pytest.raises(ValueError, match="no second text"):
        answer_positions(tokenizer, alone, CONTEXT, 0, 2)
    scores = span_scores(encoding, row, row)
    for count, message in (
        (0, "n_best=0 must be a whole number of at least 1"),
        (2.5, "n_best=2.5 must be a whole number"),
        (True, "n_best=True"),
    ):
        with pytest.raises(ValueError, match=message):
            best_answers(encoding, CONTEXT, scores, n_best=count)
    for wrong in (scores[0], scores[:, :-1], scores[None]):
        with pytest.raises(
            ValueError, match=r"scores has shape .*, expected \(14, 14\) for an encoding of 14"
        ):
            best_answers(encoding, CONTEXT, wrong)
    cut = tokenizer.encode(QUESTION, "a", max_length=4)
    with pytest.raises(ValueError, match="no token of the context is left; make max_length larger"):
        best_answers(cut, "a", span_scores(cut, torch.zeros(4), torch.zeros(4)))
