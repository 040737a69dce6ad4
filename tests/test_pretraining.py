"""The heads and their losses against transformers and by hand; the statistics of masking; fill_mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb, random_batch, twin_of
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

from bertlearn import pretraining
from bertlearn.encoder import BertModel
from bertlearn.pretraining import (
    IGNORE,
    BertForMaskedLM,
    BertForPreTraining,
    PretrainingBatch,
    count_targets,
    fill_mask,
    mask_tokens,
    score_batch,
)
from bertlearn.tokenization import SPECIAL_TOKENS, WordPieceTokenizer

CLASSES = [
    (BertForPreTraining, transformers.BertForPreTraining),
    (BertForMaskedLM, transformers.BertForMaskedLM),
]


def twins(ours: type[nn.Module], theirs: type[nn.Module], seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Return both models with the same perturbed weights, in evaluation mode."""
    torch.manual_seed(seed)
    one = ours(CONFIG).eval()
    perturb(one, seed)
    return one, twin_of(one, theirs)


def labeled_batch(pairs: bool, seed: int = 0) -> dict[str, torch.Tensor]:
    """Two segments, padding, and labels on some of the tokens that are not padding."""
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(CONFIG, batch=5, length=13, seed=seed)
    shape = batch["input_ids"].shape
    chosen = (torch.rand(shape, generator=generator) < 0.4) & (batch["attention_mask"] == 1)
    chosen[0, 0] = True
    batch["labels"] = torch.where(chosen, torch.randint(101, shape, generator=generator), IGNORE)
    if pairs:
        batch["next_sentence_label"] = torch.randint(2, (5,), generator=generator)
    return batch


def logits_of(output: object) -> torch.Tensor:
    return output.prediction_logits if hasattr(output, "prediction_logits") else output.logits


def parity(ours: nn.Module, theirs: nn.Module, seed: int = 0) -> float:
    """Return the largest difference over losses, masked logits, full logits and, where there are, pairs."""
    pairs = hasattr(theirs.cls, "seq_relationship")
    batch = labeled_batch(pairs, seed)
    bare = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        found, expected, full = ours(**batch), theirs(**batch), ours(**bare)
    where = batch["labels"] != IGNORE
    differences = [
        largest(found.loss, expected.loss),
        largest(found.prediction_logits, logits_of(expected)[where]),
        largest(full.prediction_logits, logits_of(expected)),
    ]
    assert full.loss is None
    if pairs:
        differences.append(largest(found.seq_relationship_logits, expected.seq_relationship_logits))
    return max(differences)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_losses_and_logits_equal_transformers(
    ours: type[nn.Module], theirs: type[nn.Module], seed: int
) -> None:
    one, other = twins(ours, theirs, seed)
    assert parity(one, other, seed) < 1e-5
    assert list(one.state_dict()) == list(other.state_dict())
    one.load_state_dict(other.state_dict(), strict=True)


def drop_decoder_bias(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    nn.init.zeros_(model.cls.predictions.bias)


def untie(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = model.cls.predictions.decoder
    decoder.weight = nn.Parameter(torch.randn_like(decoder.weight) * 0.05)


def drop_layer_norm(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    model.cls.predictions.transform.LayerNorm = nn.Identity()


def drop_gelu(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "gelu", lambda x: x)


def ignore_zero(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "cross_entropy", lambda x, y: cross_entropy(x, y, ignore_index=0))


def take_mean_of_all(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pretraining, "cross_entropy", lambda x, y: cross_entropy(x, y, reduction="sum") / (5 * 13)
    )


def guess_every_token(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "labeled", lambda states, labels: states.flatten(0, 1))
    monkeypatch.setattr(pretraining, "targets", lambda labels: labels.flatten().clamp(min=0))


MUTANTS = [
    drop_decoder_bias,
    untie,
    drop_layer_norm,
    drop_gelu,
    ignore_zero,
    take_mean_of_all,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_parity_sees_a_mistake(mutate: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = twins(*CLASSES[0])
    mutate(one, monkeypatch)
    assert parity(one, other) > 1e-4


def test_parity_sees_a_loss_over_all_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = twins(*CLASSES[0])
    guess_every_token(one, monkeypatch)
    batch = labeled_batch(pairs=True)
    with torch.no_grad():
        assert largest(one(**batch).loss, other(**batch).loss) > 1e-4


class Fixed(nn.Module):
    """In place of a head: answers that can be reckoned with."""

    def __init__(self, answers: torch.Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.answers[: len(hidden_states)]


def test_the_loss_by_hand_with_padding() -> None:
    """Probabilities 1/2, 1/4 and 1/101 of three tokens that are to be guessed; 3/4 and 1/2 of two pairs."""
    model = BertForPreTraining(CONFIG).eval()
    answers = torch.zeros(3, 101)
    answers[0, 7] = math.log(100)  # the 100 others weigh 1 each: probability 1/2
    answers[1, 8] = math.log(100 / 3)
    model.cls.predictions = Fixed(answers)
    model.cls.seq_relationship = Fixed(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]))
    batch = PretrainingBatch(
        input_ids=torch.tensor([[2, 4, 4], [2, 4, 0]]),
        attention_mask=torch.tensor([[1, 1, 1], [1, 1, 0]]),
        token_type_ids=torch.tensor([[0, 0, 1], [0, 1, 0]]),
        labels=torch.tensor([[IGNORE, 7, 8], [IGNORE, 9, IGNORE]]),
        next_sentence_label=torch.tensor([0, 1]),
    )
    masked, pairs = math.log(2) + math.log(4) + math.log(101), math.log(4 / 3) + math.log(2)
    with torch.no_grad():
        loss = model(**batch._asdict()).loss
        scores = score_batch(model, batch)
    assert loss.item() == pytest.approx(masked / 3 + pairs / 2, rel=1e-5)
    assert scores["mlm"].loss.item() == pytest.approx(masked, rel=1e-5)
    assert scores["nsp"].loss.item() == pytest.approx(pairs, rel=1e-5)
    assert scores["mlm"].correct.item() == 2
    assert scores["nsp"].correct.item() == 1  # a tie is answered with 0
    assert count_targets(batch) == {"mlm": 3, "nsp": 2}


def test_without_pairs_only_tokens_are_scored() -> None:
    batch = PretrainingBatch(**labeled_batch(pairs=False))
    one, _ = twins(*CLASSES[1])
    with torch.no_grad():
        assert set(score_batch(one, batch)) == set(count_targets(batch)) == {"mlm"}


def test_hidden_states_and_attentions_come_when_asked_for() -> None:
    one, _ = twins(*CLASSES[0])
    batch = labeled_batch(pairs=True)
    output = one(**batch, output_attentions=True, output_hidden_states=True)
    assert (len(output.hidden_states), len(output.attentions)) == (3, 2)
    assert one(**batch).hidden_states is one(**batch).attentions is None


# Files.


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_what_we_save_transformers_reads_and_back(
    ours: type[nn.Module], theirs: type[nn.Module], tmp_path: Path
) -> None:
    one, other = twins(ours, theirs)
    one.save_pretrained(tmp_path / "ours")
    other.save_pretrained(tmp_path / "theirs")
    read, report = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert parity(one, read.eval()) < 1e-5
    again = ours.from_pretrained(tmp_path / "theirs")
    assert not again.training
    assert parity(again, other) < 1e-5
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    assert again.cls.predictions.decoder.bias is again.cls.predictions.bias
    names = load_file(tmp_path / "ours" / "model.safetensors").keys()
    assert names == load_file(tmp_path / "theirs" / "model.safetensors").keys()
    assert "cls.predictions.decoder.weight" not in names  # tied: there once, as the word embeddings
    assert type(transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "ours")).__name__ in (
        "BertForPreTraining",
        "BertForMaskedLM",
    )


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_the_encoder_is_read_out_of_a_model_with_heads(
    ours: type[nn.Module], theirs: type[nn.Module], tmp_path: Path
) -> None:
    one, _ = twins(ours, theirs)
    one.save_pretrained(tmp_path)
    encoder = BertModel.from_pretrained(tmp_path)
    batch = random_batch(CONFIG)
    with torch.no_grad():
        found, expected = encoder(**batch), one.bert(**batch)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert (encoder.pooler is None) == (ours is BertForMaskedLM)


def test_the_masked_model_is_read_out_of_the_one_with_pairs(tmp_path: Path) -> None:
    one, _ = twins(*CLASSES[0])
    one.save_pretrained(tmp_path)
    read, batch = BertForMaskedLM.from_pretrained(tmp_path), random_batch(CONFIG)
    with torch.no_grad():
        assert torch.equal(read(**batch).prediction_logits, one(**batch).prediction_logits)


def test_the_model_with_pairs_is_not_read_out_of_the_masked_one(tmp_path: Path) -> None:
    one, _ = twins(*CLASSES[1])
    one.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing: cls\.seq_relationship\.weight \(2, 32\)"):
        BertForPreTraining.from_pretrained(tmp_path)


@pytest.mark.parametrize("ours", [BertForPreTraining, BertForMaskedLM])
def test_an_encoder_alone_is_refused_with_the_name_of_what_is_missing(
    ours: type[nn.Module], tmp_path: Path
) -> None:
    BertModel(CONFIG).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=rf"holds a BertModel, without the head that {ours.__name__} needs \(cls\.…\)"
    ):
        ours.from_pretrained(tmp_path)


# Masking.


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    """A vocabulary in which about every third piece continues a word."""
    pieces = [f"##p{i}" if i % 3 == 0 else f"w{i}" for i in range(295)]
    return WordPieceTokenizer([*SPECIAL_TOKENS, *pieces])


def masking_text(tokenizer: WordPieceTokenizer, rows: int, seed: int) -> torch.Tensor:
    """[CLS] pieces [SEP] pieces [SEP], an [UNK] here and there, and padding of different lengths."""
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(5, tokenizer.vocab_size, (rows, 128), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.02] = tokenizer.unk_token_id
    ids[:, 0], ids[:, 60], ids[:, 127] = (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.sep_token_id,
    )
    lengths = torch.randint(70, 129, (rows, 1), generator=generator)
    return torch.where(torch.arange(128) < lengths, ids, tokenizer.pad_token_id)


def check_share(hits: int, draws: int, share: float) -> None:
    """Five standard deviations: a right one fails once in two million."""
    z = (hits - draws * share) / math.sqrt(draws * share * (1 - share))
    assert abs(z) < 5, f"{hits} of {draws} is {z:.1f} standard deviations from {share}"


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_shares_of_masking(tokenizer: WordPieceTokenizer, seed: int, whole_words: bool) -> None:
    ids = masking_text(tokenizer, 1500, seed)
    generator = torch.Generator().manual_seed(seed)
    masked, labels = mask_tokens(ids, tokenizer, generator, 0.15, whole_words)
    chosen, special = labels != IGNORE, ids < 5
    ordinary = int((~special).sum())
    assert ordinary > 100_000
    assert not (chosen & special).any()
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(masked[~chosen], ids[~chosen])
    became_mask = masked[chosen] == tokenizer.mask_token_id
    kept = masked[chosen] == ids[chosen]
    count = int(chosen.sum())
    if not whole_words:  # pieces of one word are chosen together: their count spreads wider
        check_share(count, ordinary, 0.15)
    check_share(int(became_mask.sum()), count, 0.8)
    check_share(int(kept.sum()), count, 0.1 + 0.1 / 295)  # a random piece may be the same by chance
    replaced = masked[chosen][~became_mask & ~kept]
    check_share(len(replaced), count, 0.1 - 0.1 / 295)
    assert replaced.min() >= 5
    assert len(replaced.unique()) > 290  # all pieces, not a few


@pytest.mark.parametrize("seed", range(4))
def test_words_are_chosen_whole_or_not_at_all(tokenizer: WordPieceTokenizer, seed: int) -> None:
    ids = masking_text(tokenizer, 1500, seed)
    generator = torch.Generator().manual_seed(seed)
    _, labels = mask_tokens(ids, tokenizer, generator, 0.15, whole_words=True)
    chosen = labels != IGNORE
    continues = torch.tensor([token.startswith("##") for token in tokenizer.ids_to_tokens])[ids]
    inside = continues[:, 1:] & (ids[:, :-1] >= 5)  # a piece after another piece of its word
    assert torch.equal(chosen[:, 1:][inside], chosen[:, :-1][inside])
    starts = (ids >= 5) & ~torch.nn.functional.pad(inside, (1, 0))
    check_share(int((chosen & starts).sum()), int(starts.sum()), 0.15)
    apart = mask_tokens(ids, tokenizer, torch.Generator().manual_seed(seed), 0.15)[1] != IGNORE
    assert not torch.equal(apart[:, 1:][inside], apart[:, :-1][inside])


def test_a_sequence_that_begins_within_a_word(tokenizer: WordPieceTokenizer) -> None:
    """`##p0 ##p3 w1` at the very front, and after [CLS]: the rest of a word counts as one word."""
    front, other = tokenizer.vocab["##p0"], tokenizer.vocab["##p3"]
    word, cls = tokenizer.vocab["w1"], tokenizer.cls_token_id
    ids = torch.tensor([[front, other, word, word], [cls, front, other, word]]).repeat(4000, 1)
    _, labels = mask_tokens(ids, tokenizer, torch.Generator().manual_seed(0), 0.3, whole_words=True)
    chosen = labels != IGNORE
    assert torch.equal(chosen[0::2, 0], chosen[0::2, 1])
    assert torch.equal(chosen[1::2, 1], chosen[1::2, 2])
    assert not chosen[1::2, 0].any()
    for column in (chosen[0::2, 0], chosen[1::2, 1], chosen[0::2, 2]):
        check_share(int(column.sum()), 4000, 0.3)


def test_the_same_state_gives_the_same_masks(tokenizer: WordPieceTokenizer) -> None:
    ids = masking_text(tokenizer, 4, 0)
    before = ids.clone()
    first, second, third = (
        mask_tokens(ids, tokenizer, torch.Generator().manual_seed(seed), 0.15) for seed in (3, 3, 4)
    )
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[1], third[1])
    assert torch.equal(ids, before)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, 15.0, math.nan])
def test_a_share_that_is_none_is_refused(tokenizer: WordPieceTokenizer, probability: float) -> None:
    ids = masking_text(tokenizer, 1, 0)
    with pytest.raises(ValueError, match=r"must lie between 0 and 1, as 0\.15 does"):
        mask_tokens(ids, tokenizer, torch.Generator(), probability)


# fill_mask.


@pytest.fixture
def guesser() -> tuple[BertForMaskedLM, WordPieceTokenizer]:
    torch.manual_seed(0)
    model = BertForMaskedLM(CONFIG)
    perturb(model, scale=0.3)
    return model, WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{i}" for i in range(96))])


def test_fill_mask_gives_the_likeliest_first(guesser: tuple[BertForMaskedLM, WordPieceTokenizer]) -> None:
    model, tokenizer = guesser
    first, second = fill_mask(model, tokenizer, "w1 [MASK] w3 [MASK] w5", k=4)
    every, _ = fill_mask(model, tokenizer, "w1 [MASK] w3 [MASK] w5", k=101)
    assert every[:4] == first != second
    assert len(second) == 4
    probabilities = [guess.probability for guess in every]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, rel=1e-5)
    encoded = torch.tensor([tokenizer.encode("w1 [MASK] w3 [MASK] w5").input_ids])
    with torch.no_grad():
        logits = model.eval()(encoded).prediction_logits[0]
    assert [guess.token for guess in first] == [
        tokenizer.ids_to_tokens[i] for i in logits[2].topk(4).indices.tolist()
    ]
    assert [guess.token for guess in second] == [
        tokenizer.ids_to_tokens[i] for i in logits[4].topk(4).indices.tolist()
    ]


@pytest.mark.parametrize("training", [True, False])
def test_fill_mask_leaves_the_mode_and_has_no_dropout(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], training: bool
) -> None:
    model, tokenizer = guesser
    model.train(training)
    one, other = (fill_mask(model, tokenizer, "w1 [MASK]") for _ in range(2))
    assert one == other
    assert model.training == training


@pytest.mark.parametrize("text", ["w1 w2", "w1 " * 40 + "[MASK]"])
def test_fill_mask_without_mask_is_refused(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], text: str
) -> None:
    with pytest.raises(ValueError, match=r"no \[MASK\] to fill in the first \d+ tokens of"):
        fill_mask(*guesser, text)


@pytest.mark.parametrize("k", [0, 102, -1])
def test_fill_mask_with_an_impossible_k_is_refused(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], k: int
) -> None:
    with pytest.raises(ValueError, match=f"k={k} guesses cannot be made; use 1 to 101"):
        fill_mask(*guesser, "w1 [MASK]", k)
