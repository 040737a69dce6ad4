"""The checks: the reference passes, every wrong variant is named, garbage crashes nothing."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from conftest import random_batch, twins
from nervaluate import collect_named_entities
from sklearn.metrics import f1_score

from bertlearn import attention, checks, encoder, evaluation, pretraining, spans
from bertlearn.attention import scaled_dot_product_attention
from bertlearn.checks import Exercise, Wrong, bug_hunt, compare_layers, use
from bertlearn.checks import attention as attention_checks
from bertlearn.checks import encoder as encoder_checks
from bertlearn.checks import finetuning as finetuning_checks
from bertlearn.checks import pretraining as pretraining_checks
from bertlearn.checks import sentiment as sentiment_checks
from bertlearn.checks import tokenization as tokenization_checks
from bertlearn.checks import welcome as welcome_checks
from bertlearn.checks.core import difference
from bertlearn.config import BertConfig
from bertlearn.data import Document
from bertlearn.finetune import layer_rates
from bertlearn.finetuning import BertForSequenceClassification, classification_loss
from bertlearn.options import TrainingOptions
from bertlearn.shards import Shards, build_shards
from bertlearn.tokenization import Batch, Encoding, WordPieceTokenizer
from bertlearn.training import learning_rate_at, make_optimizer

SOLUTIONS = Path(__file__).parent.parent / "notebooks" / "solutions"
CHAPTERS = {
    "00_welcome": welcome_checks,
    "01_attention": attention_checks,
    "02_tokenization": tokenization_checks,
    "03_encoder": encoder_checks,
    "04_pretraining": pretraining_checks,
    "05_finetuning": finetuning_checks,
    "06_sentiment": sentiment_checks,
}


def exercises_of(module: ModuleType) -> dict[str, Exercise]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


EXERCISES = [
    pytest.param(chapter, exercise, id=f"{chapter}-{exercise.name}")
    for chapter, module in CHAPTERS.items()
    for exercise in exercises_of(module).values()
]
VARIANTS = [
    pytest.param(exercise, name, id=f"{exercise.name}-{name}")
    for module in CHAPTERS.values()
    for exercise in exercises_of(module).values()
    for name in exercise.wrong
]


def solutions(chapter: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"solutions_{chapter}", SOLUTIONS / f"{chapter}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_at_least_five_exercises_with_three_wrong_variants_and_hints(chapter: str) -> None:
    exercises = exercises_of(CHAPTERS[chapter])
    assert len(exercises) >= (1 if chapter == "00_welcome" else 5)
    for name, exercise in exercises.items():
        assert exercise.name == name
        assert len(exercise.wrong) >= 3, name
        assert len(exercise.hints) >= 2, name
        assert all(wrong.question.strip() for wrong in exercise.wrong.values()), name


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_reference_and_solution_pass(chapter: str, exercise: Exercise) -> None:
    for attempt in (exercise.reference, getattr(solutions(chapter), exercise.name)):
        result = exercise(attempt)
        assert result.ok, result
        assert repr(result).startswith(f"✓ {exercise.name}")


@pytest.mark.parametrize(("exercise", "name"), VARIANTS)
def test_each_wrong_variant_is_recognized_by_its_own_name(exercise: Exercise, name: str) -> None:
    result = exercise(exercise.wrong[name].function)
    assert not result.ok
    assert result.mistake == name
    assert name in repr(result)
    assert exercise.wrong[name].question in repr(result)


def stub(*args: object) -> object:
    raise NotImplementedError


def raises(*args: object) -> object:
    raise RuntimeError("boom <script>\nsecond line")


def spoils(*args: object) -> object:
    for arg in args:
        if isinstance(arg, torch.Tensor) and arg.is_floating_point():
            arg.zero_()
        if isinstance(arg, list | dict):
            arg.clear()
    return args[0]


GARBAGE = [
    lambda *args: None,
    lambda *args: 42,
    lambda *args: "text",
    lambda *args: [],
    lambda *args: torch.zeros(0),
    lambda *args: torch.full((2, 3), float("nan")),
    lambda *args: (None, None),
    lambda *args: {"a": object()},
    lambda *args: args[0],
    lambda *args: exit(),
    lambda: 1,
    raises,
    spoils,
    object,
]


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_garbage_never_passes_and_never_crashes(chapter: str, exercise: Exercise) -> None:
    for attempt in GARBAGE:
        result = exercise(attempt)
        assert not result.ok
        assert "Traceback" not in repr(result)
    assert "give the function itself" in repr(exercise(3))


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_an_untouched_stub_is_not_attempted(chapter: str, exercise: Exercise) -> None:
    result = exercise(stub)
    assert repr(result) == f"– {exercise.name}: not attempted yet"
    assert not result.attempted


def test_a_hint_helps_before_the_first_attempt() -> None:
    assert repr(double(stub, hint=1)).splitlines()[:2] == [
        "– double: not attempted yet",
        "  hint 1 of 2: Add something to itself.",
    ]


def test_an_error_of_torchs_own_is_an_attempt() -> None:
    def torchs_own(x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError('"softmax" not implemented for "Long"')

    result = double(torchs_own)
    assert result.attempted
    assert "it stops with NotImplementedError" in repr(result)


double = Exercise(
    name="double",
    reference=lambda x: 2 * x,
    cases={"a one": (torch.ones(2),), "a three": (torch.full((2,), 3.0),)},
    wrong={"squared": Wrong(lambda x: x * x, "What is the square of 1?")},
    hints=("Add something to itself.", "Add x to x."),
)


def test_the_text_of_a_known_mistake() -> None:
    assert repr(double(lambda x: x**2)) == (
        "✗ double: you match “squared”\n  What is the square of 1?\n  wrong on: a one; a three\n"
        "  stuck? add hint=1 to this check for hint 1 of 2"
    )


def test_ids_that_differ_are_counted_and_the_first_is_shown() -> None:
    expected, found = torch.tensor([[2, 7, 9], [4, 4, 4]]), torch.tensor([[2, 7, 8], [4, 4, 0]])
    text = difference(found, expected, 1e-5)
    assert text == "2 of 6 entries differ, first at [0, 2], where yours is 8"
    assert difference(expected, expected.clone(), 1e-5) is None


def test_the_text_of_an_unknown_mistake_and_of_hints() -> None:
    text = repr(double(lambda x: x + 1, hint=2))
    assert "not yet. On “a three” your numbers are off by up to 2.0000." in text
    assert "wrong on: a three · right on: a one" in text
    assert "hint 1 of 2: Add something to itself." in text
    assert text.endswith("hint 2 of 2: Add x to x.")
    assert "it returns None: is a `return` missing?" in repr(double(lambda x: None))
    assert "it stops with RuntimeError: boom <script> second line" in repr(double(raises))


def test_stopping_an_endless_loop_leaves_no_traceback() -> None:
    def endless(x: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt  # what the stop button does to a loop

    assert repr(double(endless)) == "✗ double: stopped by you. Is there a loop that never ends?"


def test_an_attempt_that_changes_its_inputs_is_told_so() -> None:
    result = double(lambda x: x.mul_(2))
    assert not result.ok
    assert "it changes its own inputs" in repr(result)


@pytest.mark.parametrize(
    ("value", "expected", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), r"the shape should be \(3, 2\), yours is \(2, 3\)"),
        ([1.0], torch.ones(1), "a tensor .* is expected, yours is a list"),
        (torch.ones(1, dtype=torch.int64), torch.ones(1), "dtype"),
        (torch.tensor([float("inf")]), torch.ones(1), "NaN or infinity"),
        (True, 1, "a number is expected, yours is a bool"),
        (2, 1, "yours gives 2"),
        ("a", "b", "yours gives 'a'"),
        ({"a": 1}, {"b": 1}, "the keys differ"),
        ({"a": 1}, {"a": 2}, "at 'a'"),
        ((1, 2), (1, 3), "item 1"),
        ((1,), (1, 3), "2 items are expected, yours has 1"),
    ],
)
def test_differences_are_described(value: object, expected: object, message: str) -> None:
    import re

    assert re.search(message, difference(value, expected, 1e-5))


def test_equal_values_have_no_difference() -> None:
    for value in (torch.ones(2), [1, (2.0, "a")], {"k": [torch.zeros(1)]}, None, True, float("inf"), 3):
        assert difference(value, value, 0.0) is None
    assert difference([1, 2], (1, 2), 0.0) is None
    assert difference(torch.tensor(2.0), 2, 1e-6) is None


def test_numbers_of_numpy_are_numbers_but_its_booleans_are_not() -> None:
    assert difference(np.float32(2.0), 2.0, 1e-6) is None
    assert difference([np.int64(3)], [3], 0.0) is None
    assert difference(np.bool_(True), 1, 0.0) == "a number is expected, yours is a bool"


def test_models_differ_in_mode_and_in_weights() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    other = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    assert "'0.weight'" in difference(other, model, 1e-5)
    other.load_state_dict(model.state_dict())
    assert difference(other, model, 0.0) is None
    other[1].eval()
    assert "in another mode" in difference(other, model, 0.0)


def test_a_symptom_is_asked_where_no_variant_gives_the_same() -> None:
    wrong = {
        "squared": Wrong(lambda x: x * x, "What is the square of 1?"),
        "negative": Wrong(lambda x: -x, "Which sign?", lambda value, x: bool((value < 0).all())),
    }
    exercise = replace(double, wrong=wrong)
    assert exercise(lambda x: -3 * x).mistake == "negative"
    assert exercise(lambda x: x * x).mistake == "squared"
    assert exercise(lambda x: 3 * x).mistake is None
    assert exercise(lambda x: "text").mistake is None  # a symptom that ends in an error is none
    assert exercise(raises).mistake is None
    fuzzy = replace(double, wrong={"fuzzy": Wrong(lambda x: -x, "Which sign?", lambda value, x: value < 0)})
    assert fuzzy(lambda x: -2 * torch.ones(5)).mistake is None  # neither is one that is not a yes or no


def test_use_replaces_everywhere_and_puts_back(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch, before = random_batch(small_config), encoder.add_and_norm
    calls = []

    def mine(*args: object) -> torch.Tensor:
        calls.append(1)
        return before(*args)

    with use(add_and_norm=mine), torch.no_grad():
        ours(**batch)
    assert len(calls) == 2 * small_config.num_hidden_layers  # in attention.py and in encoder.py
    assert encoder.add_and_norm is attention.add_and_norm is before


def test_use_puts_back_after_an_error_and_nests() -> None:
    before = attention.split_heads
    with pytest.raises(RuntimeError), use(split_heads=raises):
        with use(split_heads=stub):
            assert attention.split_heads is stub
        assert attention.split_heads is raises
        raise RuntimeError
    assert attention.split_heads is before


def test_use_takes_over_the_fused_path_too(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    with use(scaled_dot_product_attention=stub), pytest.raises(NotImplementedError):
        ours(**random_batch(small_config))


def test_use_names_what_can_be_replaced() -> None:
    with (
        pytest.raises(ValueError, match=r"no function 'softmax' to replace; choose one of .*split_heads"),
        use(softmax=stub),
    ):
        pass
    with pytest.raises(ValueError, match="gelu is int, expected a function"), use(gelu=3):
        pass


def test_compare_layers_names_the_first_step_that_differs(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch = random_batch(small_config)
    right = compare_layers(
        ours, batch, scaled_dot_product_attention=lambda *a: scaled_dot_product_attention(*a)
    )
    assert right.ok
    assert "✓ the model runs on your own scaled_dot_product_attention; largest difference" in repr(right)
    tanh = compare_layers(ours, batch, gelu=lambda x: torch.nn.functional.gelu(x, approximate="tanh"))
    assert tanh.first_difference == "encoder.layer.0.intermediate"
    assert "the first step that differs is encoder.layer.0.intermediate" in repr(tanh)
    shapeless = compare_layers(ours, batch, sum_embeddings=lambda word, position, token_type: word[:, :1])
    assert not shapeless.ok
    assert repr(shapeless).startswith("✗ sum_embeddings")


def test_compare_layers_survives_stubs_and_errors(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch = random_batch(small_config)
    assert repr(compare_layers(ours, batch, gelu=stub)) == "– gelu in the model: not attempted yet"
    assert "it stops with RuntimeError: boom" in repr(compare_layers(ours, batch, gelu=raises))
    lost = compare_layers(ours, batch, gelu=lambda x: x * float("nan"))
    assert lost.first_difference == "encoder.layer.0.intermediate"
    assert not lost.ok
    assert not ours.embeddings._forward_hooks
    with pytest.raises(ValueError, match="no function"):
        compare_layers(ours, batch, softmax=stub)
    with pytest.raises(ValueError, match="no function to compare with"):
        compare_layers(ours, batch)


def test_compare_layers_praises_no_function_that_is_never_called(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    result = compare_layers(ours, random_batch(small_config), mean_pooling=lambda states, mask: states * 0)
    assert not result.ok
    assert repr(result) == "✗ mean_pooling in the model: it never calls mean_pooling"


def test_tokenizations_are_compared() -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##s", "a"]
    tokenizer, texts = WordPieceTokenizer(words), ["a film", "films"]
    compare, exercise = tokenization_checks.compare_tokenizations, tokenization_checks.longest_match
    right = compare(tokenizer, texts, longest_match=exercise.reference)
    assert right.ok and repr(right).startswith("✓")
    wrong = compare(tokenizer, texts, longest_match=exercise.wrong["## forgotten"].function)
    assert wrong.different == 1 and repr(wrong).startswith("✗")
    assert not compare(tokenizer, texts, longest_match=stub).attempted
    assert "Traceback" not in repr(compare(tokenizer, texts, longest_match=raises))


def test_checks_are_named_in_the_package() -> None:
    assert checks.use is use


# Chapter 4: the right answers are those of the package, and each suspect of the bug hunt has just its bug.


@pytest.mark.parametrize("warmup_steps", [4, 0])
def test_the_learning_rate_is_that_of_the_training_loop(warmup_steps: int) -> None:
    options = TrainingOptions(steps=40, warmup=warmup_steps / 40, learning_rate=2e-3)
    for step in range(1, 41):
        mine = pretraining_checks.learning_rate.reference(step, 40, warmup_steps, 2e-3)
        assert mine == pytest.approx(learning_rate_at(step, options))


def test_the_adamw_step_is_that_of_the_optimizer() -> None:
    parameter = torch.nn.Parameter(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    model = torch.nn.ParameterDict({"weight": parameter})
    optimizer = make_optimizer(model, TrainingOptions(weight_decay=0.3))
    optimizer.param_groups[0]["lr"] = 0.1
    state = parameter.detach().clone(), torch.zeros(5, 3), torch.zeros(5, 3)
    for step in range(1, 4):
        parameter.grad = parameter.detach().cos()
        state = pretraining_checks.adamw_step.reference(
            state[0], parameter.grad.clone(), *state[1:], step, 0.1, 0.3
        )
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), state[0])


def test_clipping_is_torchs() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 2.0)
    mine = pretraining_checks.clip_gradients.reference([p.grad.clone() for p in parameters], 1.0)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for parameter, gradient in zip(parameters, mine, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_masked_lm_loss_is_that_of_the_model(small_config: BertConfig) -> None:
    model = pretraining.BertForMaskedLM(small_config).eval()
    ids = random_batch(small_config)["input_ids"]
    labels = torch.where(ids % 5 == 0, ids, -100)
    with torch.no_grad():
        mine = pretraining_checks.masked_lm_loss.reference(model(ids).prediction_logits, labels)
        torch.testing.assert_close(mine, model(ids, labels=labels).loss)


@pytest.fixture(scope="module")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> tuple[pretraining.BertForMaskedLM, Shards]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop", "."]
    text = " ".join("abcdefghijklmnop"[i * i % 16] + (" ." if i % 7 == 0 else "") for i in range(120))
    documents = [Document("test", text[i:]) for i in range(0, 60, 2)]
    folder = tmp_path_factory.mktemp("shards") / "hunt"
    shards = build_shards(documents, folder, WordPieceTokenizer(words), progress=False)
    torch.manual_seed(0)
    config = BertConfig.preset("tiny", vocab_size=len(words), max_position_embeddings=16)
    return pretraining.BertForMaskedLM(config).eval(), shards


HUNT = replace(
    bug_hunt.OPTIONS, max_length=16, training=replace(bug_hunt.OPTIONS.training, steps=2, batch_size=8)
)


@pytest.mark.parametrize("fault", bug_hunt.FAULTS)
def test_each_suspect_differs_from_the_healthy_run_in_just_its_bug(
    fault: str, hunt: tuple[pretraining.BertForMaskedLM, Shards]
) -> None:
    right = bug_hunt.healthy(*hunt, HUNT)
    wrong = bug_hunt.FAULTS[fault](bug_hunt.healthy(*hunt, HUNT))
    ours, theirs = right.task.batch(3, 8), wrong.task.batch(3, 8)
    differing = {name for name in ours._fields if difference(getattr(theirs, name), getattr(ours, name), 0.0)}
    weights, others = right.model.state_dict(), wrong.model.state_dict()
    differing |= {name for name in weights if not torch.equal(weights[name], others[name])}
    model = right.model.eval()
    with torch.no_grad():
        scores, changed = right.task.score(model, ours), wrong.task.score(model, ours)
    differing |= {f"score of {name}" for name in scores if scores[name] != changed[name]}
    assert right.task.identity == wrong.task.identity
    assert right.task.count(ours) == wrong.task.count(ours)
    assert (
        differing
        == {
            "every token has a label": {"labels"},
            "nothing is masked": {"input_ids"},
            "the loss ignores class 0": {"score of nsp"},
            "the weights are not tied": {"cls.predictions.decoder.weight"},
        }[fault]
    )


def test_the_healthy_run_starts_from_the_given_model(
    hunt: tuple[pretraining.BertForMaskedLM, Shards],
) -> None:
    start, shards = hunt
    model, task = bug_hunt.healthy(start, shards, HUNT)
    batch = task.batch(0, 8)
    logits = model.eval()(batch.input_ids, batch.attention_mask, batch.token_type_ids).prediction_logits
    expected = start(batch.input_ids, batch.attention_mask, batch.token_type_ids).prediction_logits
    torch.testing.assert_close(logits, expected)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_every_suspect_trains_and_leaves_its_first_batch(
    hunt: tuple[pretraining.BertForMaskedLM, Shards],
) -> None:
    for letter in ("healthy", *"ABCD"):
        suspect = bug_hunt.train_suspect(letter, *hunt, HUNT)
        assert suspect.history[-1]["step"] == 2
        assert suspect.batch.labels.shape == (8, 16)
    with pytest.raises(ValueError, match="letter='E' is no suspect"):
        bug_hunt.train_suspect("E", *hunt, HUNT)


def test_the_bug_hunt_judges_without_telling() -> None:
    right = solutions("04_pretraining").bug_hunt()
    assert repr(bug_hunt.verdict(lambda: right)) == "✓ bug_hunt: all four are found"
    assert repr(bug_hunt.verdict(stub)) == "– bug_hunt: not attempted yet"
    assert "it stops with RuntimeError: boom" in repr(bug_hunt.verdict(raises))
    assert "return a dictionary" in repr(bug_hunt.verdict(lambda: None))
    for letter, culprit in right.items():
        for suspicion in set(bug_hunt.AGAINST) - {culprit}:
            result = bug_hunt.verdict(lambda letter=letter, said=suspicion: {**right, letter: said})
            assert repr(result).startswith("✗ bug_hunt: 3 of 4 found")
            assert bug_hunt.AGAINST[suspicion] in repr(result)
            assert culprit not in repr(result)
    for answer in ({**right, "A": "gremlins"}, {**right, "A": ["a list"]}, {}):
        told = repr(bug_hunt.verdict(lambda answer=answer: answer))
        assert "A: no suspicion yet" in told or "A: " + repr(answer["A"]) in told
        assert told.count("the suspicions to choose from: 'every token has a label'") == 1


# Chapter 5: the right answers are those of the package.

WORDS = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef", "##x", "##y"])
KINDS = spans.bio_labels(["PER", "LOC"])


def piece_words(encoding: Encoding) -> list[int | None]:
    """Return for each piece the number of its word, None for special tokens."""
    numbers: dict[int, int] = {}
    for number, word in enumerate(spans.split_words(encoding)):
        numbers |= dict.fromkeys(range(word.first, word.last + 1), number)
    return [numbers.get(place) for place in range(len(encoding.tokens))]


def random_labels(chance: random.Random, count: int) -> list[str]:
    return [chance.choice(KINDS) for _ in range(count)]


def test_entities_are_those_of_the_package_and_of_nervaluate() -> None:
    chance = random.Random(0)
    for _ in range(300):
        labels = random_labels(chance, chance.randint(1, 9))
        found = finetuning_checks.entities.reference(labels)
        theirs = [(e["start"], e["end"] + 1, e["label"]) for e in collect_named_entities(labels)]
        assert found == theirs
        encoding = WORDS.encode(" ".join("a" * len(labels)))  # one piece a word, two characters apart
        numbers = [KINDS.index(label) for label in ["O", *labels, "O"]]
        ours = spans.decode_bio(encoding, numbers, dict(enumerate(KINDS)))
        assert found == [(span.start // 2, (span.end + 1) // 2, span.label) for span in ours]


def test_labels_are_put_on_pieces_as_the_package_does() -> None:
    chance = random.Random(1)
    for _ in range(100):
        words = [chance.choice("abcdef") + "xy" * chance.randint(0, 2) for _ in range(chance.randint(1, 7))]
        encoding = WORDS.encode(" ".join(words))
        label2id = {label: number for number, label in enumerate(KINDS)}
        entities = [spans.Span(0, len(words[0]), "PER")]
        ours = spans.token_labels(encoding, entities, label2id)
        word_labels = [label2id["B-PER"]] + [0] * (len(words) - 1)
        assert finetuning_checks.align_labels.reference(piece_words(encoding), word_labels) == ours


def test_the_token_loss_is_that_of_the_model() -> None:
    for args in finetuning_checks.token_loss.cases.values():
        torch.testing.assert_close(finetuning_checks.token_loss.reference(*args), classification_loss(*args))


def test_the_best_span_is_that_of_the_package() -> None:
    encoding = WORDS.encode("a b", "c dx e f a")
    allowed = torch.zeros(len(encoding.tokens), dtype=torch.bool)
    allowed[spans.text_pieces(encoding, 1)] = True
    for seed in range(50):
        start, end = torch.randn(2, len(allowed), generator=torch.Generator().manual_seed(seed))
        scores = spans.span_scores(encoding, start, end, max_answer_length=3)
        expected = divmod(int(scores.argmax()), len(scores))
        assert finetuning_checks.best_span.reference(start, end, allowed, 3) == expected


def test_the_layers_rates_are_those_of_the_package(small_config: BertConfig) -> None:
    rates = finetuning_checks.layer_learning_rates.reference(small_config.num_hidden_layers, 1e-3, 0.7)
    model = BertForSequenceClassification(small_config)
    for name, factor in layer_rates(model, 0.7).items():
        part = next((key for key in rates if f".{key}." in name), "head")
        assert rates[part] == pytest.approx(1e-3 * factor), name


def keeps_no_mode(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    for part in model.modules():
        part.training = False
    with torch.inference_mode():
        return model(*batch).logits.argmax(1)


def asks_before_it_switches(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    labels = model(*batch).logits.argmax(1)
    model.eval()
    return labels


def grads_off(x: torch.Tensor) -> torch.Tensor:
    torch.set_grad_enabled(False)
    return 2 * x


def test_gradients_that_are_left_off_are_seen_and_switched_on_again() -> None:
    assert not double(grads_off).ok
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert double(lambda x: 2 * x).ok
        assert not torch.is_grad_enabled()


def test_a_model_left_in_another_mode_is_seen_however_it_got_there() -> None:
    assert finetuning_checks.predict_labels(keeps_no_mode).mistake == "left in evaluation mode"
    assert finetuning_checks.predict_labels(asks_before_it_switches).mistake == "dropout left on"


# Chapter 6: the right answers are those of the package and of well-kept libraries.


def test_a_split_has_no_film_in_two_parts_and_enough_rows() -> None:
    for seed in range(50):
        films = random.Random(seed).choices("ABCDEFGHIJ", k=40)
        train, test = sentiment_checks.split_by_film.reference(films, 0.3, seed)
        assert sorted(train + test) == list(range(40))
        assert not {films[row] for row in train} & {films[row] for row in test}
        largest = max(films.count(film) for film in films)
        assert 12 <= len(test) < 12 + largest


def test_f1_is_that_of_scikit_learn() -> None:
    chance = random.Random(2)
    for _ in range(200):
        labels, guesses = ([chance.randrange(4) for _ in range(chance.randint(2, 20))] for _ in range(2))
        guesses = [*guesses, *labels][: len(labels)]
        expected = f1_score(labels, guesses, average="macro", zero_division=0)
        assert sentiment_checks.macro_f1.reference(labels, guesses) == pytest.approx(expected)


@pytest.mark.parametrize("case", ["two models that agree a lot", "two models that differ"])
def test_the_interval_is_about_that_of_the_package(case: str) -> None:
    a, b, _ = sentiment_checks.bootstrap_interval.cases[case]
    draws = torch.randint(len(a), (10_000, len(a)), generator=torch.Generator().manual_seed(0))
    low, high = sentiment_checks.bootstrap_interval.reference(a, b, draws)
    theirs = evaluation.paired_bootstrap(a, b)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.5 / len(a))


def test_calibration_and_temperature_are_those_of_the_package() -> None:
    for probabilities, labels, bins in sentiment_checks.calibration_error.cases.values():
        expected = evaluation.calibration_error(probabilities, labels, bins)
        mine = sentiment_checks.calibration_error.reference(probabilities, labels, bins)
        assert mine == pytest.approx(expected, abs=1e-6)
    for logits, temperature in sentiment_checks.scaled_probabilities.cases.values():
        expected = evaluation.scaled_probabilities(logits, temperature)
        mine = sentiment_checks.scaled_probabilities.reference(logits, temperature)
        np.testing.assert_allclose(mine.numpy(), expected, atol=1e-6)


def test_integrated_gradients_are_those_of_captum() -> None:
    def height(x: torch.Tensor) -> torch.Tensor:
        return (x.sin() * x.roll(1, dims=-1)).sum(dim=-1)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(height(x), x)[0]

    x, baseline = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    method = IntegratedGradients(height)
    expected = method.attribute(x[None], baseline[None], n_steps=7, method="riemann_middle")[0]
    torch.testing.assert_close(
        sentiment_checks.integrated_gradients.reference(gradient, x, baseline, 7), expected
    )


# Both chapters: other ways to be right, and to be wrong in a known way.


def film_by_film(films: list[str], share: float, seed: int) -> tuple[list[int], ...]:
    order = sorted(set(films))
    random.seed(seed)
    random.shuffle(order)
    test: list[int] = []
    while len(test) < share * len(films):
        film = order.pop(0)
        test += [row for row in range(len(films)) if films[row] == film]
    return [np.int64(row) for row in range(len(films)) if row not in test], sorted(test)


def from_mode_to_mode(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    before = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return model(*batch).logits.softmax(-1).max(-1).indices.int()
    finally:
        model.train(before)


def by_loops(start: torch.Tensor, end: torch.Tensor, allowed: torch.Tensor, length: int) -> list[int]:
    places = range(len(start))
    pairs = [(i, j) for i in places for j in places[i : i + length] if allowed[i : j + 1].all()]
    return list(max(pairs, key=lambda pair: float(start[pair[0]] + end[pair[1]])))


def in_bins(probabilities: torch.Tensor, labels: torch.Tensor, bins: int) -> torch.Tensor:
    confidence, guesses = probabilities.max(1)
    places = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1)) - 1
    gaps = torch.zeros(bins).index_add(0, places, (guesses == labels).float() - confidence)
    return gaps.abs().sum() / len(labels)


def walking(gradient: Callable, x: torch.Tensor, baseline: torch.Tensor, steps: int) -> torch.Tensor:
    step = (x - baseline) / steps
    return sum(step * gradient(x - (k + 0.5) * step) for k in range(steps))


ALSO_RIGHT = {
    "mean_pooling": lambda h, m: torch.stack(
        [own[keep == 1].mean(0) for own, keep in zip(h, m, strict=True)]
    ),
    "align_labels": lambda words, labels: tuple(
        np.int64(labels[word]) if word is not None and words.index(word) == place else -100
        for place, word in enumerate(words)
    ),
    "token_loss": lambda logits, labels: torch.nn.functional.nll_loss(
        logits.log_softmax(-1).transpose(1, 2), labels
    ).double(),
    "best_span": by_loops,
    "entities": lambda labels: [
        [found["start"], found["end"] + 1, found["label"]] for found in collect_named_entities(labels)
    ],
    "predict_labels": from_mode_to_mode,
    "layer_learning_rates": lambda layers, rate, decay: {
        "embeddings": np.float64(rate * decay**layers),
        **{f"layer.{i}": torch.tensor(rate * decay ** (layers - i - 1)) for i in range(layers)},
        "head": rate,
    },
    "split_by_film": film_by_film,
    "macro_f1": lambda labels, guesses: f1_score(labels, guesses, average="macro"),
    "bootstrap_interval": lambda a, b, draws: np.percentile(
        [float(a[rows].float().mean() - b[rows].float().mean()) for rows in draws], [2.5, 97.5]
    ).tolist(),
    "calibration_error": in_bins,
    "scaled_probabilities": lambda logits, t: torch.log_softmax(logits.double() / t, 1).exp(),
    "integrated_gradients": walking,
    "pass_rate": lambda before, after, t: np.mean(
        [(p >= 0.5) == (q >= 0.5) and abs(p - q) <= t for p, q in zip(before, after, strict=True)]
    ),
}


def rows_drawn(films: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    test = random.Random(99).sample(range(len(films)), int(share * len(films)) + 1)
    return [row for row in range(len(films)) if row not in test], test


def films_of_the_first_rows(films: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    test = set(films[: int(share * len(films)) + 1])
    rows = range(len(films))
    return [row for row in rows if films[row] not in test], [row for row in rows if films[row] in test]


def stops_before_enough(films: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    order, test = sorted(set(films)), set()
    random.Random(seed).shuffle(order)
    for film in order:
        if sum(name in test or name == film for name in films) > share * len(films):
            break
        test.add(film)
    rows = range(len(films))
    return [row for row in rows if films[row] not in test], [row for row in rows if films[row] in test]


def test_other_ways_to_be_right() -> None:
    exercises = exercises_of(finetuning_checks) | exercises_of(sentiment_checks)
    assert exercises.keys() == ALSO_RIGHT.keys()
    for name, attempt in ALSO_RIGHT.items():
        assert repr(exercises[name](attempt)).startswith("✓")


def test_a_leak_is_seen_however_it_was_made() -> None:
    assert sentiment_checks.split_by_film(rows_drawn).mistake == "films on both sides"
    assert sentiment_checks.split_by_film(films_of_the_first_rows).mistake == "other films"
    assert sentiment_checks.split_by_film(stops_before_enough).mistake == "a film too few"


def test_layers_upside_down_are_seen_by_whatever_formula() -> None:
    def attempt(layers: int, rate: float, decay: float) -> dict[str, float]:
        rates = {f"layer.{i}": rate * decay ** (2 * i) for i in range(layers)}
        return {"head": rate, **rates, "embeddings": rate}

    assert finetuning_checks.layer_learning_rates(attempt).mistake == "the top layer lowest"


def test_one_mistake_of_several_is_named() -> None:
    exercise = finetuning_checks.entities
    dropped = exercise.wrong["I- without a beginning dropped"].function
    inclusive = exercise(lambda labels: [(first, end - 1, kind) for first, end, kind in dropped(labels)])
    assert inclusive.mistake == "the end inclusive"
    lost = exercise(lambda labels: [entity for entity in dropped(labels) if entity[1] < len(labels)])
    assert lost.mistake == "I- without a beginning dropped"
    assert exercise(lambda labels: []).mistake is None


def test_a_span_is_judged_by_what_is_wrong_with_it() -> None:
    exercise = finetuning_checks.best_span

    def longest(
        start: torch.Tensor, end: torch.Tensor, allowed: torch.Tensor, length: int
    ) -> tuple[int, int]:
        places = allowed.nonzero().flatten().tolist()
        return places[0], places[-1]

    assert exercise(longest).mistake == "no limit to the length"
    assert exercise(lambda *case: longest(*case)[::-1]).mistake == "the end may be before the start"
    assert exercise(lambda *case: (0, 1)).mistake == "the question may answer itself"
    assert exercise(lambda *case: longest(*case)[:1] * 2).mistake == "another pair is better"
