"""A model card: what a saved classifier is for, how well it does, and where it fails (chapter 6).

Source: Mitchell et al. 2019. The card is the `README.md` of the model's folder, in the format of the Hugging
Face hub, written with `huggingface_hub`; nothing is uploaded. Leaves out: pictures, carbon emissions, tasks
other than classification.
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
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.pretrained import check_task, read_config

FAILURES = 2  # maximum number shown per behavioral test


@dataclass(frozen=True)
class CardMetadata:
    """The content of a model card; all texts are plain, without Markdown."""

    name: str
    """Name of the model, such as "MiniLM for film reviews"."""
    description: str
    """What the model does, which texts it takes, which labels it gives, and what it was made from."""
    intended_use: str
    """What the model is for, who should use it, and what it should not be used for."""
    limits: Sequence[str]
    """What is known to go wrong, and what was not tried: one sentence each."""
    data: str
    """Name of the data set."""
    split: str
    """The split that the metrics were measured on, such as "test"."""
    metrics: Mapping[str, float]
    """Measured values, under the names that the hub knows, such as "accuracy" and "f1"."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """How the model was made: versions, date, seed, options, size of the data."""
    outcomes: Sequence[Outcome] = ()
    """Outcomes of behavioral tests."""
    base_model: str | None = None
    """Hub name of the model it was fine-tuned from."""
    language: str = "en"
    """Language of the texts, as a two-letter code."""
    license: str | None = None
    """License of the weights, under the hub's name for it, such as "apache-2.0"."""

    def __post_init__(self) -> None:
        """Refuse values that the card would not show as intended."""
        for name in ("name", "description", "intended_use", "data", "split"):
            if not isinstance(value := getattr(self, name), str):
                raise ValueError(f"{name} is {type(value).__name__}, expected a text")
        if isinstance(self.limits, str) or not isinstance(self.limits, Sequence):
            raise ValueError(f"limits={repr(self.limits)[:60]} is not a list of sentences; use [sentence]")


def write_model_card(folder: str | Path, metadata: CardMetadata) -> ModelCard:
    """Write `README.md` into the folder of a saved classifier.

    Args:
        folder: written by `save_pretrained`; labels and pooling are read from its config.json.
        metadata: the content of the card.

    Returns:
        The card, read back from the file.

    Raises:
        FileNotFoundError: there is no model in the folder.
        ValueError: the model is not a `BertForSequenceClassification`; there are no metrics, or one is not
            finite.
        OSError: the disk is full or not writable; an earlier card is kept.
    """
    if not metadata.metrics:
        raise ValueError('metrics is empty; a card needs measured values, such as {"accuracy": 0.81}')
    folder = Path(folder).expanduser()
    values = read_json(folder / CONFIG)
    check_task(values, BertForSequenceClassification, folder)
    config = read_config(values, "classifier", folder)
    content = f"---\n{_hub_metadata(metadata, config).to_yaml()}\n---\n\n{_body(metadata, config)}"
    path = folder / "README.md"
    write_whole(path, lambda temporary: temporary.write_text(content, encoding="utf-8", newline="\n"))
    return ModelCard.load(path)


def _hub_metadata(metadata: CardMetadata, config: BertConfig) -> ModelCardData:
    """Return the metadata that the hub's search and leaderboards read."""
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_name=_line(metadata.data),
            dataset_type=re.sub(r"\W+", "-", metadata.data.lower()).strip("-"),
            dataset_split=_line(metadata.split),
            metric_type=name,
            metric_value=_number(name, value),
        )
        for name, value in metadata.metrics.items()
    ]
    return ModelCardData(
        base_model=metadata.base_model,
        eval_results=results,
        language=metadata.language,
        library_name="transformers" if config.classifier_pooling == "cls" else "bertlearn",
        license=metadata.license,
        metrics=list(metadata.metrics),
        model_name=_line(metadata.name),
        pipeline_tag="text-classification",
    )


def _body(metadata: CardMetadata, config: BertConfig) -> str:
    """Return the card's text in Markdown."""
    labels = ", ".join(config.id2label.values())
    measured_on = f"{_plain(metadata.data)}, {_plain(metadata.split)}"
    provenance = _table(("what", "value"), metadata.provenance.items()) if metadata.provenance else ""
    parts = {
        f"# {_plain(metadata.name)}": f"{_plain(metadata.description)}\n\nLabels: {_plain(labels)}.",
        "## Intended use": _plain(metadata.intended_use),
        "## How to use it": _usage(config),
        "## Results": f"On {measured_on}:\n\n{_results(metadata.metrics)}",
        "## Behavioral tests": _behavior(metadata.outcomes),
        "## Limits": "\n".join(f"- {_plain(limit)}" for limit in metadata.limits),
        "## Provenance": provenance,
    }
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts.items() if text) + "\n"


def _usage(config: BertConfig) -> str:
    """Return code that uses the model; mean pooling needs this package, because transformers lacks it."""
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
            'predict(model, tokenizer, ["a text"])  # transformers would load it, but give different scores',
        ]
    return "\n".join(["```python", *lines, "```"])


def _results(metrics: Mapping[str, float]) -> str:
    rows = [(name, f"{round(_number(name, value), 4):,}") for name, value in metrics.items()]
    return _table(("metric", "value"), rows)


def _behavior(outcomes: Sequence[Outcome]) -> str:
    """Return a table of the outcomes, and a few of the failures."""
    if not outcomes:
        return ""
    rows = [
        (one.name, one.kind, f"{one.passed} of {one.cases}", f"{one.low:.0%} to {one.high:.0%}")
        for one in outcomes
    ]
    failures = [_plain(f"{one.name}: {failure}") for one in outcomes for failure in _failures(one)]
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
_NUMBER = re.compile(r"^(\d+)(?=[.)](?:\s|$))")  # would start a list


def _plain(text: str) -> str:
    """Return a text on one line, escaped so that nothing in it acts as Markdown or HTML, not even a link."""
    return _NUMBER.sub(r"\1\\", _MARKDOWN.sub(r"\\\g<0>", escape(_line(text), quote=False)))


def _line(text: str) -> str:
    return " ".join(text.split())


def _number(name: str, value: float) -> float:
    """Return the value as a Python float, because YAML cannot write NumPy's; refuse infinity and NaN."""
    try:
        finite = math.isfinite(value)
    except TypeError:
        finite = False
    if not finite:
        raise ValueError(
            f"metrics[{name!r}] is {value!r}, expected a finite number; leave out metrics that were not "
            "measured"
        )
    return float(value)
