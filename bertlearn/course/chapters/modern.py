"""What chapter 8's cells call: the gradients of a deep stack, operations of attention, the knock-out figures.

The figures are here because their titles and alternative texts say what they show, which a learner should
predict first. Leaves out: everything that the chapter teaches, which stays in its cells or is in
`bertlearn.model.modern` and `bertlearn.course.knockout`.

Shape letters: B batch, S sequence, H hidden, L layers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bertlearn.course import knockout
from bertlearn.course.chapters.pretraining import neighbor_weights, ready
from bertlearn.course.corpus import course_shards
from bertlearn.course.figures import INK, PALETTE, QUIET, Picture, new_figure, plot_curves
from bertlearn.course.results import Row
from bertlearn.model.bert import BertModel
from bertlearn.model.config import ModernConfig
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.corpus import Examples, Shards
from bertlearn.pretraining.masking import PretrainingBatch, masked_batch
from bertlearn.tokenizer.encoding import Batch
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.optim import learning_rate_at, make_optimizer
from bertlearn.training.options import TrainingOptions

__all__ = ["neighbor_weights", "ready"]  # also for this chapter

# 1. Positions


def held_out_ids(count: int, length: int = knockout.LENGTH) -> Tensor:
    """Return sequences of the held-out text, int64 (count, length)."""
    shards = Shards.open(course_shards("validation"))
    rows = Examples(shards, length, pairs=False, seed=0).rows(0, count)
    return torch.from_numpy(rows.input_ids)


def allow_length(model: ModernForMaskedLM, length: int) -> ModernForMaskedLM:
    """Return a model with the same weights that takes texts of another length; only rotary positions can.

    Raises:
        ValueError: the model has learned positions.
    """
    if not model.config.rope:
        raise ValueError("rope=False: learned positions end with their table; take a model with rope=True")
    longer = ModernForMaskedLM(replace(model.config, max_position_embeddings=length))
    longer.load_state_dict(model.state_dict())
    return longer.eval()


def held_out_batch(count: int, length: int = knockout.LENGTH) -> PretrainingBatch:
    """Return sequences of the held-out text with 15 % of the tokens masked, always the same ones."""
    shards = Shards.open(course_shards("validation"))
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    rows = Examples(shards, length, pairs=False, seed=0).rows(0, count)
    return masked_batch(rows, tokenizer, torch.Generator().manual_seed(0))


def loss_at_length(model: ModernForMaskedLM, length: int, tokens: int = 32_768) -> float:
    """Return the masked-word loss (nats) on held-out text in sequences of this length."""
    batch = held_out_batch(tokens // length, length)
    with torch.no_grad():
        return model(batch.input_ids, labels=batch.labels).loss.item()


# 2. Norms


def gradient_norms(pre_norm: bool, std: float, layers: int = 24, seed: int = 0) -> list[float]:
    """Return the gradient's norm in each layer's last matrix, for a deep stack with its first weights.

    Args:
        pre_norm: pre-norm or post-norm.
        std: the standard deviation of the first weights. 0.05 is to the 128 features here what BERT's 0.02 is
            to 768.
        layers: L.
        seed: of the weights and of the random words that are masked.
    """
    config = ModernConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=32,
        initializer_range=std,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pre_norm=pre_norm,
    )
    model, generator = knockout.new_model(config, seed), torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 1000, (16, 32), generator=generator)
    asked = torch.rand(ids.shape, generator=generator) < 0.15
    model(ids, labels=ids.masked_fill(~asked, -100)).loss.backward()
    weights = dict(model.named_parameters())
    gradients = (weights[f"model.layers.{number}.down.weight"].grad for number in range(layers))
    return [gradient.norm().item() for gradient in gradients if gradient is not None]


def learn_by_heart(pre_norm: bool, seed: int, layers: int = 8, steps: int = 50) -> list[float]:
    """Train chapter 4's model, but this deep, on one batch at a high learning rate without warm-up.

    Returns:
        The loss (nats) of each step. Chapter 4, section 7, does the same with 2 and 8 layers of post-norm.
    """
    switches = {"pre_norm"} if pre_norm else set[str]()
    batch = held_out_batch(16, 16)
    vocabulary = len(Shards.open(course_shards("validation")).vocab)
    config = replace(knockout.recipe(switches, vocabulary).config, num_hidden_layers=layers)
    model = knockout.new_model(config, seed)
    options = TrainingOptions(steps=steps, learning_rate=4e-3, warmup=0.0)
    optimizer, losses = make_optimizer(model, options), []
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, options)
        loss = model(batch.input_ids, labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def mean_shares(model: BertModel, input_ids: Tensor, attention_mask: Tensor) -> list[float]:
    """Return how much of the mean square of what each layer's last LayerNorm reads is its squared mean, (L,).

    Args:
        model: an encoder in evaluation mode.
        input_ids: int64 (B, S).
        attention_mask: (B, S), 1 = keep.
    """
    keep, read = attention_mask.bool(), list[Tensor]()
    norms = [
        model.get_submodule(f"encoder.layer.{n}.output.LayerNorm") for n in range(len(model.encoder.layer))
    ]
    hooks = [norm.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0])) for norm in norms]
    with torch.no_grad():
        model(input_ids, attention_mask)
    for hook in hooks:
        hook.remove()
    return [(x[keep].mean(-1).pow(2).mean() / x[keep].pow(2).mean()).item() for x in read]


# 3. Costs


def attention_operations(config: ModernConfig, length: int) -> float:
    """Return multiplications and additions of all layers' scores and weighted values, for one text.

    A local layer computes only the pairs of its window, as kernels made for it do.
    """
    pairs = 0
    for layer in range(config.num_hidden_layers):
        width = min(length, config.local_attention + 1) if config.is_local(layer) else length
        pairs += length * width
    return 2 * 2 * pairs * config.hidden_size


def matrix_operations(config: ModernConfig, length: int) -> float:
    """Return multiplications and additions of all layers' matrices, for one text."""
    hidden, matrices = config.hidden_size, 3 if config.gated else 2
    weights = 4 * hidden * hidden + matrices * hidden * config.intermediate_size
    return 2 * length * weights * config.num_hidden_layers


def seconds_in_turns(models: Mapping[str, nn.Module], batch: Batch, rounds: int = 5) -> dict[str, float]:
    """Return each model's median time for a batch; the models take turns, and the first round is left out."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 1):
        for name, model in models.items():
            started = time.perf_counter()
            with torch.no_grad():
                model(batch.input_ids, batch.attention_mask)
            taken[name].append(time.perf_counter() - started)
    return {name: median(times[1:]) for name, times in taken.items()}


# 4. The knock-out lab


class Score(NamedTuple):
    """What the stored runs of one combination reached at their last step."""

    accuracies: list[float]  # by seed, of masked words of held-out text
    loss: float  # mean over the seeds, in nats
    time: float  # of a step, divided by BERT's
    label: str = "nothing changed"  # or "+ rope", a switch turned on, or "− rope", turned off

    @property
    def mean(self) -> float:
        """Return the mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def half(self) -> float:
        """Return half the length of the 95 % interval of the mean accuracy, by Student's t."""
        count = len(self.accuracies)
        if count < 2:
            return 0.0
        return _T[count] * float(np.std(self.accuracies, ddof=1)) / math.sqrt(count)


_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # by number of seeds: 97.5 % of the t values lie below


def score(rows: Sequence[Row], on: Collection[str]) -> Score:
    """Return what the runs with these switches reached, from the rows of the results file "knockout".

    Raises:
        ValueError: there is no such run.
    """
    found = [row for row in rows if set(row["on"].split()) == set(on)]
    if not found:
        raise ValueError(f"no stored run has the switches {sorted(on)}; start one with knockout.run")
    last = [row for row in found if row["step"] == max(row["step"] for row in found)]
    return Score(
        [row["accuracy"] for row in last],
        float(np.mean([row["loss"] for row in last])),
        last[0]["relative_time"],
    )


def changed(rows: Sequence[Row], base: frozenset[str]) -> dict[str, Score]:
    """Return the score of each switch changed from `knockout.BERT` or `knockout.MODERN`, the best first."""
    start = knockout.knock_outs().index(base) + 1
    combinations = knockout.knock_outs()[start : start + len(knockout.SWITCHES)]
    scores = {
        name: score(rows, on)._replace(label=f"{'−' if name in base else '+'} {name}")
        for name, on in zip(knockout.SWITCHES, combinations, strict=True)
    }
    return dict(sorted(scores.items(), key=lambda item: -item[1].mean))


def plot_knockouts(panels: Mapping[str, tuple[Score, Mapping[str, Score]]]) -> Picture:
    """Draw each switch's accuracies as dots, one for each seed, with the mean's interval.

    Args:
        panels: by title, the score of the base and those of the switches.
    """
    height = 1.2 + 0.3 * max(len(scores) for _, scores in panels.values())
    figure, all_axes = new_figure(10.2, height, columns=len(panels), share="x")
    for axes, (title, (base, scores)) in zip(np.atleast_1d(all_axes), panels.items(), strict=True):
        axes.axvline(base.mean, color=QUIET, linewidth=1.2, linestyle="--")
        for row, one in enumerate(scores.values()):
            ends = [one.mean - one.half, one.mean + one.half]
            axes.plot(ends, [row, row], color=PALETTE[5], linewidth=5, solid_capstyle="butt")
            axes.plot(one.accuracies, [row] * len(one.accuracies), "o", color=PALETTE[0], markersize=4)
        axes.set_yticks(range(len(scores)), [one.label for one in scores.values()])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.set(title=title, xlabel="accuracy of masked words (dashed: nothing changed)")
    best = {title: next(iter(scores)) for title, (_, scores) in panels.items()}
    listed = "; ".join(f"{title}: {name} on top" for title, name in best.items())
    return Picture(figure, f"Dots and intervals of the accuracy by switch, sorted. {listed}.")


# 5. Figures


def plot_distances(curves: Mapping[str, Tensor]) -> Picture:
    """Draw scores of two equal vectors over their distance in tokens, by which pairs of features count."""
    distances = range(len(next(iter(curves.values()))))
    alt = "Curves over the distance: the fastest pair swings up and down every six tokens, slower ones fall "
    alt += "slowly, and the mean of all pairs falls fast at first."
    title = "A query meets an equal key, some tokens away"
    return plot_curves(distances, curves, title, "distance (tokens)", "score, 1 at distance 0", alt=alt)


def plot_gradients(norms: Mapping[str, Sequence[float]]) -> Picture:
    """Draw the gradient's norm by layer."""
    layers = range(1, 1 + len(next(iter(norms.values()))))
    ends = "; ".join(f"{name} from {own[0]:.2g} to {own[-1]:.2g}" for name, own in norms.items())
    labels = ("Before the first step", "layer", "norm of the gradient")
    return plot_curves(layers, norms, *labels, alt=f"Gradient norm by layer: {ends}.")
