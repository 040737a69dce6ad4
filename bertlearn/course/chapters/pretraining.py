"""What the cells of chapter 4 call: tables of its recorded runs, probes of its models, and its figures.

The figures are here because their titles and alternative texts say what they show, which a learner should
predict first. Leaves out: masking, loss and training, which the chapter shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bertlearn.course import snapshots
from bertlearn.course.figures import Picture, plot_bars, plot_curves
from bertlearn.course.solutions.pretraining import weight_at_offset
from bertlearn.course.swap import use
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.model.inference import fill_mask
from bertlearn.pretraining.corpus import Examples, Shards
from bertlearn.pretraining.masking import PretrainingBatch, chunk, masked_batch, special_ids
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.metrics import Record
from bertlearn.training.optim import learning_rate_at
from bertlearn.training.options import TrainingOptions

Attention = Callable[..., tuple[Tensor, Tensor]]

# ---------------------------------------------------------------------------------------------------------
# 1. The text
# ---------------------------------------------------------------------------------------------------------


def best_guesses(model: BertForMaskedLM, tokenizer: WordPieceTokenizer, text: str, k: int = 5) -> str:
    """Return the k most probable tokens for a text's first [MASK], with their probabilities, as one line."""
    return "  ".join(
        f"{guess.token} {guess.probability:.2f}" for guess in fill_mask(model, tokenizer, text, k)[0]
    )


def guesses_by_step(
    models: Mapping[int, BertForMaskedLM], tokenizer: WordPieceTokenizer, text: str, k: int = 8
) -> dict[int, list[str]]:
    """Return each model's k most probable tokens for a text's first [MASK], the best first, by its step."""
    return {
        step: [guess.token for guess in fill_mask(model, tokenizer, text, k)[0]]
        for step, model in models.items()
    }


def count_tokens(shards: Shards, tokenizer: WordPieceTokenizer) -> Tensor:
    """Return how often each source has each token, int64 (sources, V); special tokens count as 0."""
    size, special = tokenizer.vocab_size, special_ids(tokenizer)
    counts = [
        torch.from_numpy(shard.tokens.astype("int64")).bincount(minlength=size) for shard in shards.shards
    ]
    return torch.stack(counts).index_fill(1, special, 0)


def shared_rare_tokens(shards: Shards, shares: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return for the first `count` pairs how many rare tokens A and B share, rarer ones counting more.

    Args:
        shards: the text.
        shares: floats (V,), the share of each token in the training text; those under 1 in 1,000 are rare.
        count: the number of pairs.

    Returns:
        The scores, floats (count,), and the labels, int64 (count,): 0 if B follows A, else 1.
    """
    rows = Examples(shards, 64, pairs=True, seed=0).rows(0, count)
    assert rows.attention_mask is not None and rows.next_sentence_label is not None
    ids, types, mask = map(torch.from_numpy, (rows.input_ids, rows.token_type_ids, rows.attention_mask))
    first, second = (
        torch.zeros(count, len(shares)).scatter_(
            1, torch.where((types == segment) & (mask == 1), ids, 0), 1.0
        )
        for segment in (0, 1)
    )
    rare = torch.where((shares > 0) & (shares < 1e-3), -shares.clamp(min=1e-9).log(), 0.0).float()
    return (first * second) @ rare, torch.from_numpy(rows.next_sentence_label)


# ---------------------------------------------------------------------------------------------------------
# 2. A training step
# ---------------------------------------------------------------------------------------------------------


def ready(checks: Any, *attempts: Callable[..., Any]) -> SimpleNamespace:
    """Return the learner's functions by name; for one that does not pass its check, the course's own.

    Prints which is which. `checks` is the module with an exercise of the name of each attempt.
    """
    functions = SimpleNamespace()
    for attempt in attempts:
        name = attempt.__name__
        exercise = getattr(checks, name)
        yours = exercise(attempt).ok
        setattr(functions, name, attempt if yours else exercise.solution)
        print(f"{name:18} {'yours' if yours else 'the course’s'}")
    return functions


def plot_schedule(options: TrainingOptions) -> Picture:
    """Draw the learning rate of every step."""
    steps = range(1, options.steps + 1)
    rates = [learning_rate_at(step, options) for step in steps]
    alt = f"A straight line up to {max(rates):g} at step {rates.index(max(rates)) + 1}, "
    alt += f"then a straight line down to nearly 0 at step {options.steps}."
    return plot_curves(steps, {"": rates}, "Up, then down", "step", "learning rate", alt=alt)


def plot_warmup(runs: Mapping[tuple[int, float], Tensor]) -> Picture:
    """Draw the losses of runs, floats (seeds, steps) for each pair of layers and warm-up.

    Deep runs without a warm-up differ too much for a mean: each seed has a line of its own.
    """
    names = {case: f"{case[0]} layers, {'warm-up' if case[1] else 'no warm-up'}" for case in runs}
    curves = {names[case]: run for case, run in runs.items() if case != (8, 0.0)}
    curves |= {f"{names[8, 0.0]}, seed {seed}": run for seed, run in enumerate(runs[8, 0.0])}
    alt = (
        "Loss over 50 steps: three settings fall to 0; with 8 layers and no warm-up, runs get stuck above it."
    )
    steps = range(1, runs[8, 0.0].shape[1] + 1)
    return plot_curves(
        steps, curves, "Only 8 layers without warm-up get stuck", "step", "loss (nats)", alt=alt
    )


# ---------------------------------------------------------------------------------------------------------
# 3. Recorded runs
# ---------------------------------------------------------------------------------------------------------


def held_out_curve(history: Sequence[Record]) -> tuple[list[int], list[float]]:
    """Return the steps at which a run was evaluated, and the losses on held-out text there, in nats."""
    evaluations = [record for record in history if "valid_mlm_loss" in record]
    return [int(record["step"]) for record in evaluations], [
        record["valid_mlm_loss"] for record in evaluations
    ]


def ablation_curves(quantity: str, *variants: str) -> tuple[list[int], dict[str, list[list[float]]]]:
    """Return the steps and, for each variant of the recipe, a quantity by seed and step."""
    rows = [row for row in snapshots.ablation() if row[quantity]]
    found: dict[str, list[list[float]]] = {}
    for variant in variants:
        runs: dict[str, list[float]] = {}
        for row in rows:
            if row["variant"] == variant:
                runs.setdefault(row["seed"], []).append(float(row[quantity]))
        found[variant] = list(runs.values())
    return sorted({int(row["step"]) for row in rows if row["variant"] == "the recipe"}), found


def ablation_end(quantity: str, variant: str) -> float:
    """Return a quantity after a variant's last step, the mean over its seeds."""
    runs = ablation_curves(quantity, variant)[1][variant]
    return sum(run[-1] for run in runs) / len(runs)


def steps_to_leave(variant: str, accuracy: float = 0.15) -> float:
    """Return the step, the mean over seeds, at which a variant's held-out accuracy reaches `accuracy`.

    A run that only knows frequencies and copies tokens does not reach 0.15; it counts with its last step.
    """
    steps, runs = ablation_curves("accuracy", variant)
    first = [
        next((s for s, a in zip(steps, run, strict=True) if a >= accuracy), steps[-1])
        for run in runs[variant]
    ]
    return sum(first) / len(first)


def plot_ablation(*variants: str) -> Picture:
    """Draw the held-out loss of the recipe and of variants of it."""
    alt = (
        "Held-out loss over 1,500 steps: the recipe falls to 4.8; sines begin to fall later; the other three "
    )
    alt += "stay near 5.8."
    curves = ablation_curves("loss", "the recipe", *variants)
    return plot_curves(
        *curves, "Only the recipe leaves the plateau early", "step", "held-out loss (nats)", alt=alt
    )


def print_scores(at_mask: Mapping[int, tuple[float, float]]) -> None:
    """Print loss and accuracy of snapshots on held-out text.

    Args:
        at_mask: by step, the pair for the tokens at [MASK]; that for all chosen tokens was recorded.
    """
    recorded = {score["step"]: score for score in snapshots.provenance()["snapshots"]}
    print("        all chosen tokens   [MASK] alone")
    print("  step  loss  accuracy      loss  accuracy")
    for step, (loss, accuracy) in at_mask.items():
        score = recorded[step]
        of_all = f"{score['all_loss']:6.2f} {score['all_accuracy']:9.3f}"
        print(f"{step:6}{of_all} {loss:9.2f} {accuracy:9.3f}")


def start_at_750(folder: str) -> PretrainOptions:
    """Write step 750 of the long run as a checkpoint, from which `pretrain` resumes in this folder.

    Returns:
        The options of the long run, with an evaluation every 100 steps.
    """
    training = replace(snapshots.OPTIONS.training, evaluate_every=100)
    options = replace(snapshots.OPTIONS, training=training)
    snapshots.load_snapshot(snapshots.BEFORE).write_checkpoint(folder, options)
    return options


def operations_per_token(config: BertConfig, length: int, masked: float = 0.15) -> float:
    """Return the multiplications and additions of a training step, for each token.

    The forward pass counts once and the backward pass twice, the vocabulary only for the `masked` share.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = 4 * hidden * hidden + 2 * hidden * inner + 2 * length * hidden
    head = masked * (hidden * hidden + hidden * config.vocab_size)
    return 3 * 2 * (config.num_hidden_layers * layer + head)


# ---------------------------------------------------------------------------------------------------------
# 4. Inside a model
# ---------------------------------------------------------------------------------------------------------


def loss_by_fate(
    model: BertForMaskedLM, masked: Tensor, labels: Tensor, fates: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Return loss (nats) and accuracy of the chosen tokens of each fate.

    Args:
        model: a model in evaluation mode.
        masked: int64 (B, S).
        labels: int64 (B, S), −100 where nothing is asked.
        fates: by name, bool (B, S).
    """
    with torch.no_grad():
        logits = model(masked, labels=labels).prediction_logits  # (chosen, V)
    asked = labels[labels != -100]
    losses, correct = cross_entropy(logits, asked, reduction="none"), logits.argmax(-1) == asked
    own = {name: fate[labels != -100] for name, fate in fates.items()}
    return {
        name: (losses[fate].mean().item(), correct[fate].float().mean().item()) for name, fate in own.items()
    }


def plot_fates(frequencies: float, found: Mapping[str, tuple[float, float]]) -> Picture:
    """Draw loss and accuracy by fate, from `loss_by_fate`, beside the loss of the frequencies alone."""
    bars = {"frequencies alone": frequencies}
    bars |= {f"{name}: {accuracy:.0%} right": loss for name, (loss, accuracy) in found.items()}
    alt = "Bars of the loss: compared with the frequencies alone, the model's is about the same at [MASK], "
    alt += "larger at a random token, and far smaller where the token is unchanged."
    return plot_bars(bars, "Your model, by what became of the token", "loss (nats)", alt=alt)


def neighbor_weights(model: BertForMaskedLM, ids: Tensor, length: int = 64) -> Tensor:
    """Return each head's mean weight on the previous and on the next token, floats (L, 2, A).

    Args:
        model: a model in evaluation mode.
        ids: int64 (B, S).
        length: the sequences are cut into chunks of this many tokens, which keep their positions.
    """
    positions = torch.arange(ids.shape[1]).expand_as(ids).reshape(-1, length)
    with torch.no_grad():
        output = model(ids.reshape(-1, length), position_ids=positions, output_attentions=True)
    layers = [[weight_at_offset(probs, offset) for offset in (-1, 1)] for probs in output.attentions]
    return torch.stack([torch.stack(layer) for layer in layers])


def plot_neighbor_weights(steps: Sequence[int], weights: Tensor) -> Picture:
    """Draw the weights (snapshots, 2) of the best head on the previous and on the next token."""
    alt = "Weight on the neighbor by snapshot: 0.02 at steps 250 and 500, 0.1 at 750, 0.5 at 1,000, over 0.9 "
    alt += "from 3,000 on."
    curves = {"previous token": weights[:, 0], "next token": weights[:, 1]}
    labels = ("Heads of layer 0 turn to their neighbors", "step", "weight on the neighbor")
    return plot_curves(steps, curves, *labels, log="x", alt=alt)


def plot_before_after(before: Tensor, after: Tensor) -> Picture:
    """Draw the best head's weights (2,) on the previous and on the next token before and after a run."""
    heights = {"previous, before": before[0], "previous, after": after[0]}
    heights |= {"next, before": before[1], "next, after": after[1]}
    alt = "Bars: the best head's weight on the previous and on the next token, small before the run and more "
    alt += "than half after it."
    title, label = "650 steps later: the best head of layer 0", "mean weight on the neighbor"
    return plot_bars({name: float(height) for name, height in heights.items()}, title, label, alt=alt)


def plot_suspects(histories: Mapping[str, Sequence[Record]], quantity: str) -> Picture:
    """Draw a loss of the runs of the bug hunt: "mlm_loss" or "nsp_loss"."""
    title, alt = {
        "mlm_loss": (
            "Masked words",
            "healthy and B stay together; A and D fall far below them; C starts and stays far above.",
        ),
        "nsp_loss": ("Next sentence", "healthy, A, C and D hardly move; B falls to nearly 0."),
    }[quantity]
    steps = [record["step"] for record in next(iter(histories.values()))]
    curves = {name: [record[quantity] for record in history] for name, history in histories.items()}
    alt = f"{title}: loss over {steps[-1]:g} steps: {alt}"
    return plot_curves(steps, curves, title, "step", "training loss (nats)", alt=alt)


# ---------------------------------------------------------------------------------------------------------
# 5. The dial: how much a model would gain if its heads looked at a neighbor
# ---------------------------------------------------------------------------------------------------------


def dial(beta: Tensor | float, offset: int) -> Attention:
    """Return attention in which each token's score for the one `offset` further on is raised by beta."""

    def attend(
        query: Tensor, key: Tensor, value: Tensor, attention_mask: Any = None
    ) -> tuple[Tensor, Tensor]:
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        line = torch.ones(scores.shape[-1] - abs(offset))
        probs = (scores + beta * torch.diag_embed(line, offset)).softmax(dim=-1)
        return probs @ value, probs

    return attend


def loss_at(model: BertForMaskedLM, batch: PretrainingBatch, beta: Tensor | float, offset: int) -> Tensor:
    """Return the loss of a batch with the dial at beta, in all heads of all layers."""
    with use(scaled_dot_product_attention=dial(beta, offset)):
        return model(batch.input_ids, position_ids=batch.position_ids, labels=batch.labels).loss


def pull(
    model: BertForMaskedLM, examples: Examples, tokenizer: WordPieceTokenizer, length: int, offset: int
) -> float:
    """Return how fast the loss falls when the dial is turned up from 0: in thousandths of a nat per β.

    Args:
        model: a model in evaluation mode.
        examples: rows of text, of which 768 are used.
        tokenizer: its tokenizer.
        length: the rows are cut into chunks of this many tokens.
        offset: −1 for the previous token, 1 for the next.
    """
    generator, slopes = torch.Generator().manual_seed(0), []
    share = snapshots.OPTIONS.mask_probability
    for first in range(0, 768, 64):
        batch = chunk(masked_batch(examples.rows(first, 64), tokenizer, generator, share), length)
        beta = torch.zeros((), requires_grad=True)
        slopes.append(-torch.autograd.grad(loss_at(model, batch, beta, offset), beta)[0])
    return 1000 * torch.stack(slopes).mean().item()


def losses_at(
    model: BertForMaskedLM, batch: PretrainingBatch, betas: Sequence[float], offset: int
) -> list[float]:
    """Return the loss of a batch for each position of the dial."""
    with torch.no_grad():
        return [loss_at(model, batch, beta, offset).item() for beta in betas]


def plot_pulls(pulls: Mapping[tuple[int, int], float]) -> Picture:
    """Draw pulls by length and offset as bars."""
    names = {-1: "the token before", 1: "the token after", -3: "three places before"}
    bars = {
        f"among {length}: {names[offset]}": round(strength, 1) for (length, offset), strength in pulls.items()
    }
    alt = "Bars: both neighbors pull, among 8 tokens several times as strongly as among 64; the token three "
    alt += "places before hardly pulls at all."
    label = "fall of the loss per unit of β (thousandths of a nat)"
    return plot_bars(bars, "Neighbors pull, and most among 8 tokens", label, alt=alt)


def plot_dial(betas: Sequence[float], losses: Mapping[int, Sequence[float]]) -> Picture:
    """Draw by how much the loss of each snapshot, by its step, changes as the dial is turned."""
    changes = {f"step {step:,}": [loss - own[0] for loss in own] for step, own in losses.items()}
    alt = (
        "Change of the loss by the dial: hardly any for step 250, down by 0.05 at β = 3 for step 500, up for "
    )
    alt += "step 3,000."
    labels = (
        "Only step 500 gains from looking at the previous token",
        "β, added to its scores",
        "change of the loss (nats)",
    )
    return plot_curves(betas, changes, *labels, alt=alt)
