"""Chapter 9's roles: folds without leaks, marked verbs, rules by word order, and kinds of mistakes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from conftest import CONFIG, random_model

from bertlearn import BertModel, WordPieceTokenizer, minilm_path
from bertlearn.course import labeled, roles
from bertlearn.course.labeled import Roles
from bertlearn.finetuning.spans import Span

TOKENIZER = WordPieceTokenizer.from_pretrained(minilm_path())


def small_encoder() -> BertModel:
    size = {"vocab_size": len(TOKENIZER.vocab), "max_position_embeddings": roles.LENGTH}
    config = replace(CONFIG, **size, num_hidden_layers=1)  # which learns in a few steps
    return random_model(BertModel, config, scale=0.2)


def parsed(line: str) -> Roles:
    """Return a sentence from its brackets."""
    text, spans = labeled.marked(line)
    (verb,) = (span for span in spans if span.label == labeled.PREDICATE)
    return Roles(text, verb, [span for span in spans if span is not verb])


def parts(text: str, spans: list[Span]) -> list[str]:
    return [f"{label}: {text[start:end]}" for start, end, label in spans]


BAKER = parsed("[agent The old baker] [predicate sold] [theme his shop] [beneficiary to a cousin].")
TRAIN = [
    parsed(f"[agent {who}] [predicate {verb}] [theme {what}].")
    for who in ("Tom", "Ada")
    for verb in ("saw", "sold", "found")
    for what in ("bread", "keys")
]


def test_five_folds_cover_every_sentence_once_and_no_text_is_on_both_sides() -> None:
    sentences = labeled.load_roles()
    assert len({one.text for one in sentences}) < len(sentences)  # some texts come with two verbs
    tested: list[Roles] = []
    for number in range(roles.FOLDS):
        train, test = roles.fold(sentences, number)
        assert not {one.text for one in train} & {one.text for one in test}
        assert len(train) + len(test) == len(sentences) and 30 <= len(test) <= 50
        assert [one for one in sentences if one in test] == test and train != [
            one for one in sentences if one in train
        ]
        assert (train, test) == roles.fold(sentences, number)
        tested += test
    assert sorted(map(str, tested)) == sorted(map(str, sentences))


def test_token_types_mark_the_verb_and_nothing_else_changes() -> None:
    sentences = [BAKER, parsed("They [predicate photosynthesize] [place in ponds].")]
    plain, marked = (roles.role_features(TOKENIZER, sentences, marked) for marked in (False, True))
    assert plain.targets == marked.targets
    verbs = [["sold"], ["photos", "##yn", "##thes", "##ize"]]
    for one, other, verb in zip(plain.encodings, marked.encodings, verbs, strict=True):
        assert one.input_ids == other.input_ids and set(one.token_type_ids) == {0}
        types = zip(other.tokens, other.token_type_ids, strict=True)
        assert [token for token, kind in types if kind] == verb and set(other.token_type_ids) == {0, 1}


def test_a_verb_beyond_the_last_token_is_refused() -> None:
    long = parsed(f"{'word ' * roles.LENGTH}[predicate ends]")
    with pytest.raises(ValueError, match="is beyond the first 96 tokens"):
        roles.role_features(TOKENIZER, [long])


def test_a_tagger_learns_a_trivial_set_with_frozen_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(roles.RECIPE, "learning_rate", 0.01)
    encoder = small_encoder()
    tagger = roles.train_tagger(encoder, TOKENIZER, TRAIN, seed=0)
    assert roles.tag(tagger, TRAIN) == [one.roles for one in TRAIN]
    for name, weight in tagger.model.bert.embeddings.state_dict().items():
        assert torch.equal(weight, encoder.embeddings.state_dict()[name])
    assert tagger.marked and not tagger.model.training


def test_only_a_marked_tagger_can_tell_two_verbs_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(roles.RECIPE, "learning_rate", 0.01)
    pair = [
        parsed("[agent Tom] [predicate saw] [theme Ada] and Kim sold Eve."),
        parsed("Tom saw Ada and [agent Kim] [predicate sold] [theme Eve]."),
    ]
    right = {}
    for marked in (True, False):
        tagger = roles.train_tagger(small_encoder(), TOKENIZER, pair, seed=0, marked=marked)
        found = roles.tag(tagger, pair)
        right[marked] = found == [one.roles for one in pair]
        assert marked or found[0] == found[1]
    assert right == {True: True, False: False}


def test_a_training_shows_the_verb_or_not_and_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(roles, "learn_features", lambda model, *given: seen.append(given))
    for options in ({}, {"marked": False}, {"longer": 3}):
        roles.train_tagger(small_encoder(), TOKENIZER, TRAIN, seed=4, **options)
    roles.train_reader(small_encoder(), TOKENIZER, TRAIN, seed=4)
    marks = [{kind for one in features.encodings for kind in one.token_type_ids} for features, *_ in seen]
    assert marks[:3] == [{0, 1}, {0}, {0, 1}]
    epochs = [recipe["epochs"] for _, recipe, _ in seen]
    assert epochs[0] == epochs[1] == epochs[2] / 3 and {seed for *_, seed in seen} == {4}
    assert epochs[3] == 2 * roles.RECIPE["steps"] * 16 / (len(TRAIN) * len(roles.NAMES))


@pytest.mark.parametrize("count", [3, 16, 40, 160])
def test_a_training_has_the_same_number_of_steps_for_any_number_of_examples(count: int) -> None:
    recipe = roles._recipe(count, longer=2)
    assert int(recipe["epochs"] * count + 1e-9) // min(16, count) == 2 * roles.RECIPE["steps"]


def test_the_questions_name_the_verb_in_the_order_of_the_roles() -> None:
    asked = roles.questions(BAKER)
    assert len(asked) == len(roles.NAMES) and all("sold" in question for question in asked)
    assert asked[roles.NAMES.index("place")] == "Where: sold?"
    assert list(roles.QUESTIONS) == list(roles.NAMES)


def test_a_reader_learns_to_answer_and_to_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(roles.RECIPE, "learning_rate", 0.01)
    encoder = small_encoder()
    twice = parsed("[agent Kim] and [agent Eve] [predicate ran].")
    sentences = [*TRAIN[:4], twice]
    model = roles.train_reader(encoder, TOKENIZER, sentences, seed=0)
    wanted = [one.roles for one in TRAIN[:4]] + [twice.roles[:1]]  # the first of two spans
    assert roles.ask(model, TOKENIZER, sentences) == wanted
    for name, weight in model.bert.embeddings.state_dict().items():
        assert torch.equal(weight, encoder.embeddings.state_dict()[name])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "The old baker [predicate sold] his shop to a cousin.",
            ["agent: The old baker", "theme: his shop", "beneficiary: to a cousin"],
        ),
        (
            "The bridge was [predicate built] by Roman soldiers across the river.",
            ["theme: The bridge", "agent: by Roman soldiers", "place: across the river"],
        ),
        (
            "She smiled, and the children [predicate sang] in the garden until noon, but left.",
            ["agent: the children", "place: in the garden", "time: until noon"],
        ),
        (
            "Tom [predicate baked] for her yesterday.",
            ["agent: Tom", "beneficiary: for her", "time: yesterday"],
        ),
        ("They have not [predicate seen] the letter.", ["agent: They", "theme: the letter"]),
        ("Tom [predicate cut] the bread with a knife.", ["agent: Tom", "theme: the bread"]),
        ("In 1920 Tom [predicate stood] by the door.", ["agent: In 1920 Tom"]),  # rules are rules
    ],
)
def test_word_order_gives_roles(line: str, found: list[str]) -> None:
    sentence = parsed(line)
    assert parts(sentence.text, roles.by_word_order(sentence)) == found


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        ([Span(0, 5, "agent")], {"right": 1, "missing": 1}),
        ([Span(0, 4, "agent")], {"wrong borders": 1, "missing": 1}),
        ([Span(0, 5, "theme")], {"wrong role": 1, "missing": 1}),
        ([Span(0, 4, "theme")], {"wrong in both": 1, "missing": 1}),
        ([Span(5, 9, "agent")], {"extra": 1, "missing": 2}),  # between the two, touching both
        ([Span(3, 12, "time")], {"wrong borders": 1}),  # shares with both, so none is missing
        ([], {"missing": 2}),
        ([Span(0, 5, "agent"), Span(9, 14, "time")], {"right": 2}),
    ],
)
def test_each_kind_of_mistake_is_counted(found: list[Span], kinds: dict[str, int]) -> None:
    truth = [Span(0, 5, "agent"), Span(9, 14, "time")]
    assert +roles.mistakes([found], [truth]) == Counter(kinds)
    assert set(kinds) <= set(roles.KINDS)


def test_mistakes_are_those_of_each_sentence() -> None:
    one, other = [Span(0, 5, "agent")], [Span(0, 4, "theme")]
    assert +roles.mistakes([one, other], [one, other]) == Counter(right=2)
    assert +roles.mistakes([one, other], [other, one]) == Counter({"wrong in both": 2})
