"""Encoder walk: a token's vector through the model, step by step, alone or next to another (chapter 3)."""

from __future__ import annotations

from functools import lru_cache
from textwrap import shorten
from typing import Any

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from bertlearn.course.figures import INK, PALETTE, Picture, new_figure
from bertlearn.course.widgets.base import AskedWidget, check_choice
from bertlearn.course.widgets.stream import Stream, find_encoder, read_stream, step_names
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

NEAREST = 6  # words shown at each step
COSINE = 32767  # a cosine is sent as an integer of two bytes


class EncoderWalk(AskedWidget):
    """Follow a token's vector through the model: word, position, segment, then both halves of every layer.

    `text` and `other` are the texts, `other` is "" if there is only one; `token` and `other_token` are the
    positions of the tokens to follow; `step` is the current step. All can be read and set.
    """

    files = "encoder_walk"
    height = 1200

    text = traitlets.Unicode().tag(sync=True)
    other = traitlets.Unicode().tag(sync=True)
    token = traitlets.Int().tag(sync=True)
    other_token = traitlets.Int().tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    steps: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    walks: Any = traitlets.List().tag(sync=True)  # the result of `_walk` for each text
    between = traitlets.Bytes().tag(sync=True)  # cosines (T, S, S of the other text)
    chance = traitlets.Float().tag(sync=True)  # mean cosine of a random direction to the nearest word

    def __init__(
        self,
        model: nn.Module,
        tokenizer: WordPieceTokenizer,
        text: str,
        other: str = "",
        word: str = "",
        step: int = 0,
    ) -> None:
        """Read one text, or two to compare.

        Args:
            model: one of this package, with any head or none; its current weights are used.
            tokenizer: the model's own.
            text: at most 64 tokens, including [CLS] and [SEP].
            other: a second text, "" for none.
            word: the token to follow, in both texts if the other has it; by default the first after [CLS].
            step: the step shown at first, counted from 0.

        Raises:
            ValueError: `read_stream` refuses a text, the word is not a token of the text, or there is no such
                step.
        """
        encoder = find_encoder(model)
        table = encoder.embeddings.word_embeddings.weight.detach().float().cpu()
        table = normalize(table[: tokenizer.vocab_size], dim=1)
        self._stream = lru_cache(2)(lambda text: read_stream(model, tokenizer, text))
        self._walk = lru_cache(2)(lambda text: _walk(self._stream(text), table, tokenizer))
        tokens = self._stream(text).tokens
        if word and word not in tokens:
            raise ValueError(f"word={word!r} is not a token of the text; expected one of {' '.join(tokens)}")
        token = _find(word, tokens, 1)
        self._word = tokens[token]  # the last chosen word, also while the text in the field lacks it
        super().__init__(
            text=text,
            other=other,
            token=token,
            other_token=_find(self._word, self._stream(other).tokens, 1) if other else 0,
            step=step,
            steps=step_names(encoder.config.num_hidden_layers),
            chance=_chance(table),
        )

    @property
    def streams(self) -> list[Stream]:
        """The vectors of the text and, if there is one, of the other."""
        return [self._stream(self.text), *([self._stream(self.other)] if self.other else [])]

    def picture(self) -> Picture:
        """Return the walk of the chosen token, or of both, as curves: the charts that are open at first."""
        chosen = list(zip(self.streams, (self.token, self.other_token), strict=False))
        states = [stream.states[:, position] for stream, position in chosen]
        panels = {"cosine to start": [cosine_similarity(each, each[:1], dim=-1) for each in states]}
        if self.other:
            panels["cosine of both"] = [cosine_similarity(states[0], states[1], dim=-1)]
        names = [f"“{stream.tokens[position]}” ({position})" for stream, position in chosen]
        ends = [
            f"{title} {' and '.join(f'{each[0]:.2f} to {each[-1]:.2f}' for each in panel)}"
            for title, panel in panels.items()
        ]
        alt = f"Walk of {' and '.join(names)} through {len(self.steps)} steps: {'; '.join(ends)}."
        return Picture(_draw(panels, self.steps, names, self.step), alt)

    @traitlets.validate("text", "other")
    def _readable(self, proposal: Any) -> str:
        if proposal["value"]:
            self._stream(proposal["value"])
        elif proposal["trait"].name == "text":
            raise ValueError("the text is empty; give a sentence")
        return proposal["value"]

    @traitlets.validate("token", "other_token", "step")
    def _within(self, proposal: Any) -> int:
        name = proposal["trait"].name
        first, *second = (len(stream.tokens) for stream in self.streams)
        limits = {"token": first, "other_token": second[0] if second else 1, "step": len(self.steps)}
        return check_choice(name, proposal["value"], limits[name])

    @traitlets.observe("text", "other")
    def _show(self, change: Any) -> None:
        """Walk through the new text, with the last chosen word if the text has it."""
        texts = [self.text, *([self.other] if self.other else [])]
        names = " and ".join(f"“{shorten(text, 60, placeholder='…')}”" for text in texts)
        with self.hold_sync():
            if self.walks:
                name, word = "token" if change["name"] == "text" else "other_token", self._word
                tokens = self._stream(change["new"]).tokens if change["new"] else [""]
                setattr(self, name, _find(word, tokens, 1))
                self._word = word
            self.walks = [self._walk(text) for text in texts]
            self._clear_problem(change["name"])
            self.between = _between(*self.streams) if self.other else b""
            self.description = f"Encoder walk: {len(self.steps) // 4 - 1} layers; {names}"

    @traitlets.observe("token")
    def _choose(self, change: Any) -> None:
        self._word = self.streams[0].tokens[change["new"]]


def _find(word: str, tokens: list[str], default: int) -> int:
    """Return the position of the word, or the default (at most the last position) if it is not there."""
    return tokens.index(word) if word in tokens else min(default, len(tokens) - 1)


def _chance(table: Tensor) -> float:
    """Return the mean cosine of random directions to their nearest row, a baseline for "near"."""
    directions = torch.randn(256, table.shape[1], generator=torch.Generator().manual_seed(0))
    return float((normalize(directions, dim=1) @ table.T).amax(dim=1).mean())


def _walk(stream: Stream, table: Tensor, tokenizer: WordPieceTokenizer) -> dict[str, Any]:
    """Return the tokens and, for each step and token, what the page shows: bytes of arrays (T, S)."""
    states, updates = stream.states, stream.updates
    before = torch.cat([states[:1], states[:-1]])
    chunks = normalize(states, dim=-1).flatten(0, 1).split(256)  # all at once would take 200 MB
    nearest = [(chunk @ table.T).topk(min(NEAREST, len(table))) for chunk in chunks]
    ids, indices = torch.cat([each.indices for each in nearest]).unique(return_inverse=True)
    return {
        "tokens": stream.tokens,
        "length": _floats(states.norm(dim=-1)),
        "update": _floats(updates.norm(dim=-1)),
        "start": _cosines(cosine_similarity(states, states[:1], dim=-1)),
        "before": _cosines(cosine_similarity(states, before, dim=-1)),
        "along": _cosines(cosine_similarity(updates, before, dim=-1)),
        "words": [tokenizer.ids_to_tokens[i] for i in ids.tolist()],
        "near": indices.numpy().astype("<u2").tobytes(),  # (T, S, NEAREST), indices into `words`
        "nearness": _cosines(torch.cat([each.values for each in nearest])),  # (T, S, NEAREST)
    }


def _between(one: Stream, other: Stream) -> bytes:
    """Return the cosines (T, S, S of the other) of the two texts' vectors."""
    return _cosines(normalize(one.states, dim=-1) @ normalize(other.states, dim=-1).transpose(1, 2))


def _floats(values: Tensor) -> bytes:
    return values.numpy().astype("<f4").tobytes()


def _cosines(values: Tensor) -> bytes:
    return np.rint(values.clamp(-1, 1).numpy() * COSINE).astype("<i2").tobytes()


def _draw(panels: dict[str, list[Tensor]], steps: list[str], names: list[str], step: int) -> Figure:
    """Draw every panel's curves downward, with the steps on the left."""
    figure, axes = new_figure(2.8 * len(panels) + 1.8, 0.19 * len(steps) + 1.3, 1, len(panels), share="y")
    grid = np.atleast_1d(axes)
    for axes, (title, curves) in zip(grid, panels.items(), strict=True):
        for values, color, mark in zip(curves, PALETTE, "os", strict=False):
            axes.plot(values, range(len(steps)), f"{mark}-", color=color, markersize=3.5)
        axes.axhspan(step - 0.5, step + 0.5, color=PALETTE[4], alpha=0.3)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_title(title)
    grid[0].set_yticks(range(len(steps)), steps)
    grid[0].invert_yaxis()
    names = [name.replace("$", r"\$") for name in names]
    title = f"{' and '.join(names)} through the encoder"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11.5, color=INK)
    figure.legend(grid[0].lines, names, loc="outside upper right", ncols=2, frameon=False)
    return figure
