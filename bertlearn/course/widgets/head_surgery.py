"""Head surgery: cut heads and edges of a classifier on one sentence, and see its answer move (chapter 6).

The page sends a text, `off` and `cut`; the kernel runs the model, and answers with `reading` and `outcome`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from torch import Tensor

from bertlearn.course.figures import Picture, plot_matrix
from bertlearn.course.widgets.base import AskedWidget, check_choice
from bertlearn.finetuning.spans import text_tokens
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import check_fit, evaluation_mode
from bertlearn.tokenizer.encoding import Encoding
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

MAX_TOKENS = 64
STEPS = 65535  # an attention weight is sent as an integer of two bytes

Floats = NDArray[np.float64]


class HeadSurgery(AskedWidget):
    """Cut heads and edges of a classifier on one sentence, and see its answer move.

    `text`, `layer` and `head` can be read and set; so can `off`, a list of [layer, head], and `cut`, a list
    of [layer, head, query, key]. A head that is off adds nothing to its layer. An edge that is cut has weight
    0, and the rest of its row shares the weight, as in `without_edges`. A new text restores the edges.
    """

    files = "head_surgery"
    height = 1150

    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    label = traitlets.Int().tag(sync=True)  # the label whose log-odds are shown
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # layers, heads
    text = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    off = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    cut = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    reading = traitlets.Dict().tag(sync=True)  # of the whole model: text, tokens, logits, scores, effects
    outcome = traitlets.Dict().tag(sync=True)  # with heads off and edges cut: off, cut, logits, weights

    def __init__(
        self,
        model: BertForSequenceClassification,
        tokenizer: WordPieceTokenizer,
        text: str,
        label: int = 1,
        layer: int = 0,
        head: int = 0,
    ) -> None:
        """Run the model on a text, as it is and without each of its heads.

        Args:
            model: a classifier, on any device; it is run whenever something is cut, and never changed.
            tokenizer: the model's own.
            text: at most 64 tokens, including [CLS] and [SEP].
            label: the index of the label whose log-odds are shown.
            layer, head: what is chosen at first, counted from 0.

        Raises:
            ValueError: the model is of another kind or gives NaN, a choice does not exist, or the text has no
                words or is too long.
        """
        if not isinstance(model, BertForSequenceClassification):
            raise ValueError(f"model is {type(model).__name__}, expected BertForSequenceClassification")
        check_fit(model.config, tokenizer)
        self.model, self.tokenizer = model, tokenizer
        self._most = min(MAX_TOKENS, model.config.max_position_embeddings)
        super().__init__(
            labels=list(model.config.id2label.values()),
            label=check_choice("label", label, model.config.num_labels),
            shape=[model.config.num_hidden_layers, model.config.num_attention_heads],
            text=text,
            layer=layer,
            head=head,
        )

    @property
    def tokens(self) -> list[str]:
        """The tokens that the model reads."""
        return list(self.reading["tokens"])

    @property
    def logits(self) -> Floats:
        """The logits (C,) with heads off and edges cut."""
        return np.array(self.outcome["logits"])

    @property
    def base_logits(self) -> Floats:
        """The logits (C,) of the whole model."""
        return np.array(self.reading["logits"])

    @property
    def effects(self) -> Floats:
        """How the label's log-odds change, in nats, when one head alone is off: (L, A)."""
        return np.array(self.reading["effects"])

    def picture(self) -> Picture:
        """Return every head's effect as a heat map; the alt text also gives the answer."""
        name, effects = self.labels[self.label], self.effects
        odds = [_log_odds(torch.tensor(each), self.label).item() for each in (self.base_logits, self.logits)]
        limit = max(abs(effects).max(), 1e-3)
        layer, head = np.argwhere(abs(effects) == abs(effects).max())[0]
        title = f"Log-odds of {_short(name, 20)}: {odds[0]:.2f}.\nTheir change without one head (nats)"
        return plot_matrix(
            effects,
            rows=[str(number) for number in range(self.shape[0])],
            columns=[str(number) for number in range(self.shape[1])],
            title=title.replace("$", r"\$"),
            xlabel="head",
            ylabel="layer",
            limits=(-limit, limit),
            alt=f"The log-odds of {name} for “{self.text}” are {odds[0]:.2f}; heads off: {len(self.off)}, "
            f"edges cut: {len(self.cut)}, now {odds[1]:.2f}. Heat map of the change without one "
            f"head: the largest change is {effects[layer, head]:+.2f}, layer {layer}, head {head}.",
        )

    @traitlets.validate("layer", "head")
    def _within(self, proposal: Any) -> int:
        name = proposal["trait"].name
        return check_choice(name, proposal["value"], self.shape[name == "head"])

    @traitlets.validate("text")
    def _readable(self, proposal: Any) -> str:
        _encode(self.tokenizer, proposal["value"], self._most)
        return proposal["value"]

    @traitlets.validate("off", "cut")
    def _exist(self, proposal: Any) -> list[list[int]]:
        length = len(self.reading["tokens"])
        limits = [*self.shape, length, length]
        name, names = proposal["trait"].name, ("layer", "head", "query", "key")
        size = 2 if name == "off" else 4
        for item in proposal["value"]:
            if len(item) != size:
                raise ValueError(f"{name} holds {item}; expected [{', '.join(names[:size])}]")
            for each in zip(names, item, limits, strict=False):
                check_choice(*each)
        unique = list(dict.fromkeys(map(tuple, proposal["value"])))
        for (layer, head, query), count in Counter(edge[:3] for edge in unique if size == 4).items():
            if count == length:
                raise ValueError(f"token {query} in layer {layer}, head {head} has no edge left; leave one")
        return [list(item) for item in unique]

    @traitlets.observe("text")
    def _read(self, _: Any) -> None:
        with self.hold_sync():  # the page gets the tokens and their weights together
            layers, heads = self.shape
            self.description = f"Head surgery: {layers} layers, {heads} heads; {_short(self.text)}"
            self.reading = self._measure()
            self._clear_problem("text")
            self.cut = []
            self._operate(None)

    @traitlets.observe("off", "cut")
    def _operate(self, _: Any) -> None:
        logits, probs = self._run(self.off, self.cut)
        weights = np.rint(probs.numpy() * STEPS).astype("<u2").tobytes()
        answer = np.asarray(logits, dtype=float).round(5).tolist()
        self.outcome = {"off": self.off, "cut": self.cut, "logits": answer, "weights": weights}

    def _measure(self) -> dict[str, Any]:
        """Return the whole model's outputs for the text, and how they change without each head."""
        from bertlearn.analysis.ablation import logits_without_each_head
        from bertlearn.analysis.attribution import integrated_gradients

        encoding = _encode(self.tokenizer, self.text, self._most)
        self._ids = torch.tensor([encoding.input_ids], device=next(self.model.parameters()).device)
        logits, probs = self._run([], [])
        without = logits_without_each_head(self.model, self._ids).cpu()  # (L, A, C)
        effects = _log_odds(without, self.label) - _log_odds(logits, self.label)
        added = integrated_gradients(self.model, self.tokenizer, self.text, self.label).scores
        mean = probs.mean(1)  # (L, S, S), over the heads
        received = mean[:, 0] if self.model.config.classifier_pooling == "cls" else mean.mean(1)  # (L, S)
        numbers = {"logits": logits, "effects": effects, "added": added, "received": received}
        rounded = {name: np.asarray(value, dtype=float).round(5).tolist() for name, value in numbers.items()}
        return {"text": self.text, "tokens": encoding.tokens} | rounded

    @torch.no_grad()
    def _run(self, off: list[list[int]], cut: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the logits (C,) and every head's attention (L, A, S, S) with heads off and edges cut."""
        from bertlearn.analysis.ablation import without_edges, without_heads

        heads = [(layer, head) for layer, head in off]
        edges = [(layer, head, query, key) for layer, head, query, key in cut]
        with evaluation_mode(self.model), without_heads(self.model, heads), without_edges(self.model, edges):
            output = self.model(self._ids, output_attentions=True)
        if not output.logits.isfinite().all():
            raise ValueError("the model's logits contain NaN or infinity; load weights that are finite")
        return output.logits[0].float().cpu(), torch.cat(output.attentions).float().cpu()


def _encode(tokenizer: WordPieceTokenizer, text: str, most: int) -> Encoding:
    encoding = tokenizer.encode(text or " ")  # the error for "" is worded for lists of texts
    if not text_tokens(encoding):
        raise ValueError(
            f"text={_short(text)!r} has no tokens except [CLS] and [SEP]; give a text with words"
        )
    if len(encoding.tokens) > most:
        raise ValueError(f"the text has {len(encoding.tokens)} tokens; shorten it to at most {most}")
    return encoding


def _log_odds(logits: Tensor, label: int) -> Tensor:
    """Return log p / (1 − p) of the label, (...) from logits (..., C)."""
    others = [number for number in range(logits.shape[-1]) if number != label]
    return logits[..., label] - logits[..., others].logsumexp(-1)


def _short(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
