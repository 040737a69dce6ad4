"""A model card: what a saved classifier is for, how well it does, and where it fails (chapter 6).

Source: Mitchell et al. 2019. The card is the `README.md` of the model's folder in the hub's format, written
through `huggingface_hub`; nothing is uploaded. Leaves out: pictures, carbon, other tasks than classification.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from bertlearn.analysis.behavior import Outcome
from bertlearn.files import CONFIG, read_json, write_whole
from bertlearn.model.config import BertConfig

FAILURES = 2  # shown of each behavioral test


@dataclass(frozen=True)
class CardMetadata:
    """What a reader of the card should know; all texts are plain, no Markdown."""

    name: str
    """Of the model, such as "MiniLM for film reviews"."""
    description: str
    """What it does, from what texts to what labels, and what it was made from."""
    intended_use: str
    """What for, by whom, and what it should not be used for."""
    limits: Sequence[str]
    """What is known to go wrong, and what was not tried: a sentence each."""
    data: str
    """Name of the data set."""
    split: str
    """The part that was measured, such as "test"."""
    metrics: Mapping[str, float]
    """Measured numbers by the names the hub knows, such as "accuracy" and "f1"."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """How it came about: versions, date, seed, options, size of the data."""
    outcomes: Sequence[Outcome] = ()
    """Of behavioral tests."""
    base_model: str | None = None
    """Hub name of the model it was fine-tuned from."""
    language: str = "en"
    """Of the texts, by its two letters."""
    license: str | None = None
    """Of the weights, by the hub's name, such as "apache-2.0"."""


def write_model_card(folder: str | Path, facts: CardMetadata) -> ModelCard:
    """Write `README.md` into the folder of a saved classifier.

    Args:
        folder: what `save_pretrained` wrote; labels and pooling are read from its config.json.
        facts: what to say.

    Returns:
        The card as it reads back from the file.

    Raises:
        FileNotFoundError: no model in the folder.
        ValueError: no measured number, or something that is none.
        OSError: disk full or not writable; an earlier card still stands.
    """
    if not facts.metrics:
        raise ValueError('metrics is empty; a card needs measured numbers, such as {"accuracy": 0.81}')
    config = BertConfig.from_dict(read_json(Path(folder) / CONFIG))
    content = f"---\n{_metadata(facts, config).to_yaml()}\n---\n\n{_body(facts, config)}"
    path = Path(folder) / "README.md"
    write_whole(path, lambda temporary: temporary.write_text(content, encoding="utf-8", newline="\n"))
    return ModelCard.load(path)


def _metadata(facts: CardMetadata, config: BertConfig) -> ModelCardData:
    """Return what the hub's search and leaderboards read."""
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_name=_line(facts.data),
            dataset_type=re.sub(r"\W+", "-", facts.data.lower()).strip("-"),
            dataset_split=_line(facts.split),
            metric_type=name,
            metric_value=_number(name, value),
        )
        for name, value in facts.metrics.items()
    ]
    return ModelCardData(
        base_model=facts.base_model,
        eval_results=results,
        language=facts.language,
        library_name="transformers" if config.classifier_pooling == "cls" else "bertlearn",
        license=facts.license,
        metrics=list(facts.metrics),
        model_name=_line(facts.name),
        pipeline_tag="text-classification",
    )


def _body(facts: CardMetadata, config: BertConfig) -> str:
    """Return the card's text in Markdown."""
    labels = ", ".join(config.id2label.values())
    parts = {
        f"# {_plain(facts.name)}": f"{_plain(facts.description)}\n\nLabels: {_plain(labels)}.",
        "## Intended use": _plain(facts.intended_use),
        "## How to use it": _usage(config),
        "## Results": f"On {_plain(facts.data)}, {_plain(facts.split)}:\n\n" + _results(facts.metrics),
        "## Behavioral tests": _behavior(facts.outcomes),
        "## Limits": "\n".join(f"- {_plain(limit)}" for limit in facts.limits),
        "## Provenance": _table(("what", "value"), facts.provenance.items()) if facts.provenance else "",
    }
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts.items() if text) + "\n"


def _usage(config: BertConfig) -> str:
    """Return the code that uses the model; transformers has no mean pooling."""
    if config.classifier_pooling == "cls":
        lines = [
            "from transformers import pipeline",
            "",
            'classify = pipeline("text-classification", model="path/to/this/folder", truncation=True)',
            'classify("a text")',
        ]
    else:
        lines = [
            "from bertlearn import BertForSequenceClassification, WordPieceTokenizer, predict",
            "",
            'model = BertForSequenceClassification.from_pretrained("path/to/this/folder")',
            'tokenizer = WordPieceTokenizer.from_pretrained("path/to/this/folder")',
            'predict(model, tokenizer, ["a text"])  # transformers would load it, but give other scores',
        ]
    return "\n".join(["```python", *lines, "```"])


def _results(metrics: Mapping[str, float]) -> str:
    rows = [(name, f"{round(_number(name, value), 4):,}") for name, value in metrics.items()]
    return _table(("metric", "value"), rows)


def _behavior(outcomes: Sequence[Outcome]) -> str:
    """Return what was passed, and some of what failed."""
    if not outcomes:
        return ""
    rows = [
        (one.name, one.kind, f"{one.passed} of {one.cases}", f"{one.low:.0%} to {one.high:.0%}")
        for one in outcomes
    ]
    failures = [_plain(f"{one.name}: {told}") for one in outcomes for told in _failures(one)]
    table = _table(("test", "kind", "passed", "95 % interval"), rows)
    if not failures:
        return table
    return f"{table}\n\nWhere it fails worst, with the probability it gives:\n\n" + "\n".join(
        f"- {failure}" for failure in failures
    )


def _failures(outcome: Outcome) -> list[str]:
    return [
        f"{one.text} ({one.before:.2f})"
        + ("" if one.after is None else f" – {one.changed} ({one.after:.2f})")
        for one in outcome.failures[:FAILURES]
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_plain(str(cell)) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


_MARKDOWN = re.compile(r"[\\`*_\[\]|~$@]|:(?=//)|(?<=www)\.|^[#+=-]")
_NUMBER = re.compile(r"^(\d+)(?=[.)](?:\s|$))")  # would begin a list


def _plain(text: str) -> str:
    """Return a text on one line in which nothing is Markdown or HTML: no link, no image, no tag."""
    return _NUMBER.sub(r"\1\\", _MARKDOWN.sub(r"\\\g<0>", escape(_line(text), quote=False)))


def _line(text: str) -> str:
    return " ".join(text.split())


def _number(name: str, value: float) -> float:
    """Return a plain float; NumPy's own YAML cannot write."""
    if not math.isfinite(value):
        raise ValueError(f"metrics[{name!r}] is {value}; leave out what was not measured")
    return float(value)
