"""Characters to pieces and back on every kind of text, BIO labels both ways, answers against brute force."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
import transformers
from conftest import perturb

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
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import Encoding, WordPieceTokenizer

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
PIECES = [*dict.fromkeys(KNOWN), *(f"##{c}" for c in dict.fromkeys(KNOWN)), "ab", "##cd", "##bc", "[", "]"]
KINDS = ["PER", "LOC"]
LABELS = bio_labels(KINDS)
LABEL2ID = {label: number for number, label in enumerate(LABELS)}
ID2LABEL = dict(enumerate(LABELS))


def make_tokenizer(**settings: bool) -> WordPieceTokenizer:
    return WordPieceTokenizer(list(dict.fromkeys([*SPECIAL_TOKENS, *PIECES])), **settings)


TOKENIZERS = {"uncased": make_tokenizer(), "cased": make_tokenizer(do_lower_case=False)}


def random_text(chance: random.Random) -> str:
    """Some characters of the pool, now and then any character at all, or a special token."""
    parts = chance.choices(POOL, k=chance.randint(1, 25))
    if chance.random() < 0.3:
        parts[chance.randrange(len(parts))] = chr(
            chance.choice([chance.randrange(0xD800), chance.randrange(0xE000, 0x110000)])
        )
    if chance.random() < 0.1:
        parts[chance.randrange(len(parts))] = chance.choice(SPECIAL_TOKENS)
    return "".join(parts)


def random_encoding(tokenizer: WordPieceTokenizer, chance: random.Random) -> tuple[str, Encoding, int]:
    """Encode a random text alone, or as the second of a pair; maybe cut, maybe padded."""
    text, segment = random_text(chance), chance.randrange(2)
    texts = (random_text(chance), text) if segment else (text, None)
    max_length = chance.choice([None, None, 12])
    encoding = tokenizer.encode(*texts, max_length=max_length, padding=chance.choice([False, 40]))
    return text, encoding, segment


def random_stretch(length: int, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(length)
    return start, chance.randint(start + 1, min(length, start + 9))


# Characters and pieces.


@pytest.mark.parametrize("name", TOKENIZERS)
def test_from_characters_to_pieces_and_back(name: str) -> None:
    """5,000 texts with each tokenizer, against a table of which character each piece has."""
    chance, found_some, found_none = random.Random(0), 0, 0
    for _ in range(5000):
        text, encoding, segment = random_encoding(TOKENIZERS[name], chance)
        start, end = random_stretch(len(text), chance)
        pieces = chars_to_tokens(encoding, start, end, segment)
        owned = {
            place: set(range(*offsets))
            for place, (offsets, token, kind) in enumerate(
                zip(encoding.offsets, encoding.tokens, encoding.token_type_ids, strict=True)
            )
            if kind == segment and offsets != (0, 0)
        }
        expected = [place for place, own in owned.items() if own & set(range(start, end))]
        if pieces is None:
            assert expected == []
            found_none += 1
            continue
        assert list(range(pieces.first, pieces.last + 1)) == expected
        back = tokens_to_chars(encoding, *pieces)
        everything = set().union(*(owned[place] for place in expected))
        assert back == (min(everything), max(everything) + 1)
        assert everything >= set(range(start, end)) & set().union(*owned.values())
        again = chars_to_tokens(encoding, *back, segment)
        assert tokens_to_chars(encoding, *again) == back
        found_some += 1
    assert found_some > 3000 and found_none > 200


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_characters_of_whole_words_give_the_same_pieces_alone(name: str) -> None:
    """What is cut out of the text by offsets becomes the same pieces: 5,000 texts with each tokenizer."""
    chance, tried, shared = random.Random(1), 0, 0
    for _ in range(5000):
        text = random_text(chance)
        encoding = TOKENIZERS[name].encode(text)
        words = split_words(encoding)
        if not words:
            continue
        first = chance.randrange(len(words))
        last = chance.randrange(first, min(len(words), first + 3))
        pieces = TokenSpan(words[first].first, words[last].last)
        start, end = tokens_to_chars(encoding, *pieces)
        found = chars_to_tokens(encoding, start, end)
        if found != pieces:  # two words are of one character: ≮ is < and a stroke, where marks are kept
            assert name == "cased"
            shared += 1
            continue
        tried += 1
        assert TOKENIZERS[name].tokenize(text[start:end]) == encoding.tokens[pieces.first : pieces.last + 1]
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
def test_places_of_no_stretch_are_refused(first: int, last: int) -> None:
    encoding = TOKENIZERS["uncased"].encode("abcd. Adé", "ab", padding=12)
    with pytest.raises(ValueError, match=f"the places {first} to {last} are no stretch of one text"):
        tokens_to_chars(encoding, first, last)


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 2), (-1, 2)])
def test_a_stretch_without_characters_is_refused(start: int, end: int) -> None:
    encoding = TOKENIZERS["uncased"].encode("abcd")
    with pytest.raises(ValueError, match=f"start={start}, end={end} is no stretch of a text"):
        chars_to_tokens(encoding, start, end)
    with pytest.raises(ValueError, match=f"start={start}, end={end} is no stretch of a text"):
        token_labels(encoding, [Span(start, end, "PER")], LABEL2ID)


# Labels for tokens.


def test_labels_by_hand() -> None:
    text = "Abcd Ade bb, a-c. ab"
    encoding = TOKENIZERS["uncased"].encode(text, padding=20)
    pieces = ["[CLS]", "ab", "##cd", "a", "##d", "##e", "b", "##b", ",", "a", "-", "c", ".", "ab", "[SEP]"]
    assert encoding.tokens[:15] == pieces
    spans = [Span(0, 8, "PER"), Span(9, 11, "PER"), Span(13, 16, "LOC")]
    no = IGNORE
    labels = token_labels(encoding, spans, LABEL2ID)
    names = ["B-PER", no, "I-PER", no, no, "B-PER", no, "O", "B-LOC", "I-LOC", "I-LOC", "O", "O"]
    assert labels == [no, *(LABEL2ID.get(name, no) for name in names), no, *[no] * 5]
    assert decode_bio(encoding, labels, ID2LABEL) == spans
    assert [text[span.start : span.end] for span in spans] == ["Abcd Ade", "bb", "a-c"]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_spans_to_labels_and_back(name: str) -> None:
    """Spans of whole words, often one right after the other, in 2,500 texts with each tokenizer."""
    chance, count, neighbors = random.Random(2), 0, 0
    for _ in range(2500):
        encoding = TOKENIZERS[name].encode(random_text(chance), padding=30)
        spans: list[Span] = []
        words, place = split_words(encoding), 0
        while place < len(words):
            last = min(len(words) - 1, place + chance.choice([0, 0, 1, 2]))
            start, end = tokens_to_chars(encoding, words[place].first, words[last].last)
            if chance.random() < 0.5 and (not spans or start >= spans[-1].end):
                neighbors += (
                    bool(spans) and words[place - 1].last == chars_to_tokens(encoding, *spans[-1][:2]).last
                )
                spans.append(Span(start, end, chance.choice(KINDS)))
            place = last + 1
        try:
            labels = token_labels(encoding, chance.sample(spans, len(spans)), LABEL2ID)
        except ValueError as error:  # two words of one character, see above
            assert name == "cased" and "share a word" in str(error)
            continue
        assert decode_bio(encoding, labels, ID2LABEL) == spans
        firsts = {word.first for word in words}
        assert all((label == IGNORE) == (i not in firsts) for i, label in enumerate(labels))
        assert sum(label in (1, 3) for label in labels) == len(spans)
        noisy = [label if label != IGNORE else chance.randrange(5) for label in labels]
        assert decode_bio(encoding, torch.tensor(noisy), ID2LABEL) == spans  # as a model's answers are
        count += len(spans)
    assert count > 3000 and neighbors > 800


def test_a_word_met_in_part_belongs_to_the_span_and_what_was_cut_off_is_lost() -> None:
    whole = TOKENIZERS["uncased"].encode("abcd Ade bb")
    found = decode_bio(whole, token_labels(whole, [Span(3, 6, "LOC")], LABEL2ID), ID2LABEL)
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
def test_labels_that_do_not_fit_each_other(tags: list[str], expected: list[tuple]) -> None:
    encoding = TOKENIZERS["uncased"].encode("a b c d")
    labels = [0, *(LABEL2ID[tag] for tag in tags), 0]
    assert decode_bio(encoding, labels, ID2LABEL) == expected


@pytest.mark.parametrize("seed", range(2))
def test_transformers_pipeline_finds_the_same_spans(seed: int, tmp_path: Path) -> None:
    """Its aggregation "first" reads each word's first piece, too."""
    tokenizer, chance = TOKENIZERS["uncased"], random.Random(seed)
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
        text = " ".join("".join(chance.choices("abcde", k=chance.randint(1, 6))) for _ in range(8))
        encoding = tokenizer.encode(text)
        with torch.no_grad():
            labels = model(torch.tensor([encoding.input_ids])).logits[0].argmax(-1)
        found = decode_bio(encoding, labels, ID2LABEL)
        assert found == [Span(one["start"], one["end"], one["entity_group"]) for one in tag(text)]
        count += len(found)
    assert count > 60


def test_bio_labels_are_numbered_as_written() -> None:
    assert bio_labels(["PER", "LOC"]) == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    with pytest.raises(ValueError, match=r"kinds='PER' is one text, expected a list; use \['PER'\]"):
        bio_labels("PER")


BAD_SPANS = {
    "twice": ([Span(0, 2, "PER"), Span(0, 2, "PER")], "share a word"),
    "overlapping": ([Span(0, 4, "PER"), Span(3, 4, "LOC")], "share a word"),
    "two in a word": ([Span(0, 1, "PER"), Span(1, 2, "LOC")], "share a word; join them"),
    "unknown": ([Span(0, 2, "ORG")], "the label 'B-ORG' has no number; label2id has O, B-PER"),
}


@pytest.mark.parametrize("name", BAD_SPANS)
def test_bad_spans_are_named(name: str) -> None:
    spans, message = BAD_SPANS[name]
    with pytest.raises(ValueError, match=message):
        token_labels(TOKENIZERS["uncased"].encode("ab a"), spans, LABEL2ID)


@pytest.mark.parametrize(
    ("labels", "id2label", "message"),
    [
        ([0, 0, 0], ID2LABEL, "labels has length 3, the encoding 4 tokens; cut away what a batch padded"),
        ([0, 9, 0, 0], ID2LABEL, "the number 9 stands for None, expected O, or B-"),
        ([0, 1, 0, 0], {0: "LABEL_0", 1: "LABEL_1"}, "stands for 'LABEL_1', expected O, or B-"),
        ([0, IGNORE, 0, 0], ID2LABEL, "the number -100 stands for None"),
        ([0, 1, 0, 0], {0: "O", 1: "B-"}, "stands for 'B-'"),
        ([0, 1, 0, 0], {0: "O", 1: "O-PER"}, "stands for 'O-PER'"),
    ],
)
def test_bad_labels_are_named(labels: list[int], id2label: dict[int, str], message: str) -> None:
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
    """All of them by the paper's definition, the best first; no answer first among equals."""
    found = []
    for i, j in ((i, j) for i in range(len(starts)) for j in range(len(ends))):
        inside = all(
            encoding.token_type_ids[k] == 1 and encoding.attention_mask[k] and encoding.offsets[k] != (0, 0)
            for k in (i, j)
        )
        if inside and i <= j < i + max_answer_length:
            found.append((starts[i] + ends[j], i, j))
    if threshold is not None:
        found.append((starts[0] + ends[0] + threshold, 0, 0))
    return sorted(found, key=lambda answer: (-answer[0], answer[1], answer[2]))


@pytest.mark.parametrize("threshold", [None, 0.0, 1.5, -2.0])
def test_answers_against_brute_force(threshold: float | None) -> None:
    chance, generator, none_there, several = random.Random(4), torch.Generator().manual_seed(4), 0, 0
    for _ in range(150):
        context = random_text(chance)
        encoding = TOKENIZERS["uncased"].encode(
            random_text(chance),
            context,
            max_length=chance.choice([None, 20]),
            padding=chance.choice([False, 24]),
        )
        # Quarters add up without rounding, so that equal scores are equal, and there are some.
        starts, ends = (torch.randn(2, len(encoding.tokens), generator=generator) * 8).round() / 4
        longest = chance.choice([1, 3, 30])
        expected = allowed_answers(encoding, starts.tolist(), ends.tolist(), longest, threshold)
        scores = span_scores(encoding, starts, ends, longest, threshold)
        assert int((scores > -math.inf).sum()) == len(expected)
        if not expected:
            with pytest.raises(ValueError, match="no piece of the context is left"):
                best_answers(encoding, context, scores)
            continue
        found = best_answers(encoding, context, scores, n_best=7)
        total = math.fsum(math.exp(score) for score, _, _ in expected)
        assert len(found) == min(7, len(expected))
        for answer, (score, i, j) in zip(found, expected, strict=False):
            start, end = (0, 0) if j == 0 else (encoding.offsets[i][0], encoding.offsets[j][1])
            assert answer[:4] == (context[start:end], start, end, score)
            assert answer.probability == pytest.approx(math.exp(score) / total, rel=1e-4)
        none_there += found[0].text == ""
        several += len(found) == 7
    assert several > 50
    assert (none_there > 0) == (threshold is not None)


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
    # Spans of up to 3 of 9 pieces: 9 + 8 + 7 = 24; three begin at 6, three end at 8, one is both.
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


def test_the_positions_of_an_answer_lead_back_to_it() -> None:
    """The right start and end, scored highest, give the words the answer meets."""
    chance, count = random.Random(5), 0
    tokenizer = TOKENIZERS["uncased"]
    for _ in range(1000):
        context = random_text(chance)
        start, end = random_stretch(len(context), chance)
        encoding = tokenizer.encode("ab?", context)
        if not tokenizer.tokenize(context[start:end]):
            with pytest.raises(ValueError, match="is no word of the context"):
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
        (10, 3, 6, (6, 8)),  # [CLS] ab ? [SEP] b ##b a ##d ##e [SEP]: just whole
        (10, 3, 7, NO_ANSWER),  # the comma is lost
        (9, 3, 6, NO_ANSWER),  # a piece of it is lost
        (8, 3, 6, NO_ANSWER),
        (7, 3, 6, NO_ANSWER),  # all of it is lost
        (7, 0, 3, (4, 5)),  # the space behind it is no loss
    ],
)
def test_an_answer_that_was_cut_off_is_none(
    max_length: int | None, start: int, end: int, expected: TokenSpan
) -> None:
    tokenizer = TOKENIZERS["uncased"]
    encoding = tokenizer.encode(QUESTION, CONTEXT, max_length=max_length)
    assert answer_positions(tokenizer, encoding, CONTEXT, start, end) == expected


def test_a_mark_that_normalization_drops_is_no_loss() -> None:
    tokenizer, context = TOKENIZERS["uncased"], "ab ade\u0301"
    encoding = tokenizer.encode("ab", context)
    assert answer_positions(tokenizer, encoding, context, 3, 7) == (4, 6)


BAD_ANSWERS = {
    "white space": (CONTEXT, 2, 3, "the answer from 2 to 3, ' ', is no word of the context"),
    "beyond the end": (CONTEXT, 7, 12, "is no word of the context, which has 11 characters"),
    "behind the end": (CONTEXT, 40, 42, "'', is no word of the context"),
    "backwards": (CONTEXT, 6, 3, "start=6, end=3 is no stretch"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_are_named(name: str) -> None:
    context, start, end, message = BAD_ANSWERS[name]
    tokenizer = TOKENIZERS["uncased"]
    with pytest.raises(ValueError, match=message):
        answer_positions(tokenizer, tokenizer.encode(QUESTION, context), context, start, end)


def test_bad_scores_are_named() -> None:
    tokenizer = TOKENIZERS["uncased"]
    encoding, alone = tokenizer.encode(QUESTION, CONTEXT), tokenizer.encode(CONTEXT)
    row = torch.zeros(14)
    for given, message in (
        ((alone, row, row), r"no second text; use tokenizer\.encode\(question, context\)"),
        ((encoding, row[:-1], row), "start_logits has length 13, the encoding 14 tokens"),
        ((encoding, row, torch.zeros(20)), "end_logits has length 20, the encoding 14 tokens; cut away"),
        ((encoding, row[None], row), r"start_logits has shape \(1, 14\), expected \(S,\); take one row"),
        ((encoding, row, row, 0), "max_answer_length=0 leaves no answer"),
    ):
        with pytest.raises(ValueError, match=message):
            span_scores(*given)
    with pytest.raises(ValueError, match="no second text"):
        answer_positions(tokenizer, alone, CONTEXT, 0, 2)
    with pytest.raises(ValueError, match="n_best=0 asks for no answer"):
        best_answers(encoding, CONTEXT, span_scores(encoding, row, row), n_best=0)
    cut = tokenizer.encode(QUESTION, "a", max_length=4)
    with pytest.raises(ValueError, match="no piece of the context is left; make max_length larger"):
        best_answers(cut, "a", span_scores(cut, torch.zeros(4), torch.zeros(4)))
