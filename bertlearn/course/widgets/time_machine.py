"""Time machine: one masked text at the snapshots of a pretraining run (chapter 4).

It shows the predictions, the attention and the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import traitlets
from torch import Tensor

from bertlearn.course.figures import Picture, plot_matrix
from bertlearn.course.widgets.base import AskedWidget, check_choice
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

if TYPE_CHECKING:
    from bertlearn.course.snapshots import Snapshot
    from bertlearn.training.metrics import Record

GUESSES = 8  # for each [MASK]
MAX_TOKENS = 64
SCALE = 65535  # a weight travels as a whole number of two bytes


class SnapshotOutput(NamedTuple):
    """The output of one snapshot for a text of S tokens, M of them [MASK]."""

    probs: Tensor  # floats (M, V)
    weights: Tensor  # floats (L, A, S, S)


class TimeMachine(AskedWidget):
    """Move through a pretraining run: each snapshot's predictions for a text's [MASK]s, and its attention.

    `step` chooses a snapshot, `place` one of the [MASK]s, `layer` and `head` a head; `text` and `answers` can
    also be set. All snapshots run on a text once; after that, moving between them needs no kernel.
    """

    files = "time_machine"
    height = 1260

    steps = traitlets.List(traitlets.Int()).tag(sync=True)  # the snapshots
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # layers, heads, size of the vocabulary
    curve: traitlets.List[Any] = traitlets.List().tag(sync=True)  # pairs of step and held-out loss
    step = traitlets.Int().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    place = traitlets.Int().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    answers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # tokens, positions of [MASK], weights; guesses by snapshot and [MASK]
    seen = traitlets.Dict().tag(sync=True)
    # by snapshot and [MASK]: rank and probability of the answer
    ranks: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        text: str,
        answers: Sequence[str] = (),
        snapshots: Iterable[Snapshot] | None = None,
        history: Iterable[Record] = (),
        *,
        step: int | None = None,
        layer: int = 0,
        head: int = 0,
        place: int = 0,
    ) -> None:
        """Run all snapshots on a text.

        Args:
            text: a text with at least one [MASK] and at most 64 tokens.
            answers: the right word for each [MASK], a single token of the vocabulary; "" where there is none.
            snapshots: states of one model, in evaluation mode; the course's snapshots by default.
            history: the records of its run; those with a "valid_mlm_loss" make the curve.
            step: the step of the snapshot shown at first; the last one by default.
            layer, head, place: what is chosen at first, counted from 0.

        Raises:
            ValueError: the text, an answer or a choice is not valid, or there are no snapshots.
        """
        if snapshots is None:
            snapshots, history = _course_snapshots()
        self.snapshots = sorted(snapshots, key=lambda snapshot: snapshot.step)
        if not self.snapshots:
            raise ValueError(
                "no snapshots were given; give at least one, or leave the argument out for the course's own"
            )
        config = self.snapshots[0].model.config
        steps = [snapshot.step for snapshot in self.snapshots]
        super().__init__(
            steps=steps,
            shape=[config.num_hidden_layers, config.num_attention_heads, config.vocab_size],
            curve=[[int(r["step"]), r["valid_mlm_loss"]] for r in history if "valid_mlm_loss" in r],
            step=steps[-1] if step is None else step,
            layer=layer,
            head=head,
            text=text,
        )
        self.answers = list(answers)
        self.place = place

    def picture(self) -> Picture:
        """Return a figure of how likely the current guesses are at every step."""
        now = self.steps.index(self.step)
        ids = self._outputs[now].probs[self.place].topk(GUESSES).indices
        probs = torch.stack([output.probs[self.place, ids] for output in self._outputs], dim=1)  # (k, R)
        tokens, guesses = self.seen["tokens"][1:-1], self.seen["guesses"][now][self.place]
        text = _short(" ".join(tokens)).replace("$", r"\$")  # matplotlib would read $x$ as mathematics
        title = f"Guesses at step {self.step:,}, and how likely they are at all steps"
        steps = [f"{step:,}" for step in self.steps]
        alt = f"{title}. {' '.join(tokens)}: {', '.join(f'{token} {p:.2f}' for token, p in guesses)}."
        return plot_matrix(
            probs,
            [token for token, _ in guesses],
            steps,
            f"{text}\n{title}",
            "step",
            numbers=True,
            limits=(0, 1),
            gamma=0.5,
            alt=alt,
        )

    @property
    def _tokenizer(self) -> WordPieceTokenizer:
        return self.snapshots[0].tokenizer

    @traitlets.validate("step")
    def _has_snapshot(self, proposal: Any) -> int:
        if proposal["value"] not in self.steps:
            known = ", ".join(map(str, self.steps))
            raise ValueError(f"step={proposal['value']} has no snapshot; choose among {known}")
        return proposal["value"]

    @traitlets.validate("layer", "head", "place")
    def _exists(self, proposal: Any) -> int:
        name = proposal["trait"].name
        counts = {"layer": self.shape[0], "head": self.shape[1], "place": len(self.seen.get("masks", [0]))}
        return check_choice(name, proposal["value"], counts[name])

    @traitlets.validate("text")
    def _is_readable(self, proposal: Any) -> str:
        room = min(MAX_TOKENS, self.snapshots[0].model.config.max_position_embeddings)
        _check_text(proposal["value"], self._tokenizer, room)
        return proposal["value"]

    @traitlets.validate("answers")
    def _are_tokens(self, proposal: Any) -> list[str]:
        answers, masks = proposal["value"], self.seen["masks"]
        if answers and len(answers) != len(masks):
            raise ValueError(
                f"{len(answers)} right words were given for {len(masks)} [MASK]; "
                "give one for each (in the page, separated by spaces)"
            )
        for answer in filter(None, answers):
            _token_id(answer, self._tokenizer)
        return answers

    @traitlets.observe("text")
    def _run_snapshots(self, change: Any) -> None:
        """Run all snapshots on the new text."""
        encoding = self._tokenizer.encode(self.text)
        ids = torch.tensor([encoding.input_ids])
        masks = ids[0] == self._tokenizer.mask_token_id
        self._outputs = [run_snapshot(snapshot, ids, masks) for snapshot in self.snapshots]
        weights = torch.stack([output.weights for output in self._outputs])  # (R, L, A, S, S)
        with self.hold_sync():
            self.seen = {
                "tokens": encoding.tokens,
                "masks": masks.nonzero()[:, 0].tolist(),
                "guesses": [self._guesses(output.probs) for output in self._outputs],
                "weights": (weights.clamp(0, 1) * SCALE).round().numpy().astype("<u2").tobytes(),
            }
            self._clear_problem("text")
            self.answers, self.place = [], 0  # the old ones belong to the previous text
            self.description = f"Time machine: {len(self.snapshots)} snapshots; {_short(self.text)}"

    def _guesses(self, probs: Tensor) -> list[list[tuple[str, float]]]:
        """Return the likeliest tokens with their probabilities, for each [MASK]."""
        best = probs.topk(GUESSES)
        return [
            [(self._tokenizer.ids_to_tokens[i], round(p, 5)) for i, p in zip(ids, values, strict=True)]
            for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @traitlets.observe("answers")
    def _rank(self, change: Any) -> None:
        ids = [_token_id(answer, self._tokenizer) if answer else None for answer in self.answers]
        self.ranks = [
            [_rank_of(p, i) for p, i in zip(output.probs, ids, strict=False)] for output in self._outputs
        ]


@torch.no_grad()
def run_snapshot(snapshot: Snapshot, ids: Tensor, masks: Tensor) -> SnapshotOutput:
    """Run a snapshot on a text.

    Args:
        snapshot: the model to run.
        ids: int64 (1, S).
        masks: bool (S,), True at each [MASK].

    Raises:
        ValueError: the model gives NaN or infinity.
    """
    output = snapshot.model(ids.to(next(snapshot.model.parameters()).device), output_attentions=True)
    probs = output.prediction_logits[0, masks].float().softmax(-1).cpu()
    weights = torch.cat(output.attentions).float().cpu()
    if not (probs.isfinite().all() and weights.isfinite().all()):
        raise ValueError(f"the model of step {snapshot.step} gives NaN or infinity; leave this snapshot out")
    return SnapshotOutput(probs, weights)


@cache
def _course_snapshots() -> tuple[list[Snapshot], list[Record]]:
    """Load the course's snapshots once; the import is here, as other widgets need no pretraining code."""
    from bertlearn.course import snapshots

    return [snapshots.load_snapshot(step) for step in snapshots.STEPS], snapshots.history()


def _check_text(text: str, tokenizer: WordPieceTokenizer, room: int) -> None:
    tokens = tokenizer.tokenize(text)
    if "[MASK]" not in tokens:
        raise ValueError(f"no [MASK] in {_short(text)!r}; write [MASK] where a word is to be predicted")
    if len(tokens) + 2 > room:
        raise ValueError(
            f"{len(tokens) + 2} tokens with [CLS] and [SEP] are too many; shorten the text to {room}"
        )


def _token_id(word: str, tokenizer: WordPieceTokenizer) -> int:
    """Return the id of a word that is a single token of the vocabulary."""
    tokens = [word] if word in tokenizer.vocab else tokenizer.tokenize(word)
    if len(tokens) != 1 or tokens == ["[UNK]"]:
        raise ValueError(
            f"{_short(word)!r} is not a single token of the vocabulary, but "
            f"{' '.join(tokens[:9]) or 'no token'}"
        )
    return tokenizer.vocab[tokens[0]]


def _rank_of(probs: Tensor, answer: int | None) -> tuple[int, float] | None:
    """Return a token's rank among all tokens, counted from 1, and its probability."""
    return (
        None if answer is None else (int((probs > probs[answer]).sum()) + 1, round(float(probs[answer]), 5))
    )


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
