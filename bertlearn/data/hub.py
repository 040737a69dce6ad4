"""Data sets of the Hugging Face hub, as an option (chapters 5 and 6).

The `datasets` library is an extra: `pip install 'bertlearn[hub]'`. It runs no code that a data set brings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bertlearn.data.cache import DataError

_CONFIGS = {
    "Salesforce/wikitext": "wikitext-2-raw-v1"
}  # which of a set's versions, where the hub has several
_TEXT_COLUMNS = ("text", "sentence")


class HubTexts(NamedTuple):
    """Texts and, at the same index, their labels; `labels` is None where the set has or shows none."""

    texts: list[str]
    labels: list[int] | None


def load_hub(name: str | Path, split: str, config: str | None = None) -> HubTexts:
    """Load a text data set of the hub, such as "stanfordnlp/imdb", "stanfordnlp/sst2", "Salesforce/wikitext".

    Args:
        name: the hub's name of the set, or a folder laid out like one.
        split: "train", "validation", "test", …, as the set calls it.
        config: which version of the set; needed only where it has several.

    Raises:
        DataError: the `datasets` library is missing, or the set could not be fetched.
        ValueError: the set has no such split, or no column of text.
    """
    table = _load_table(str(name), split, config or _CONFIGS.get(str(name)))
    columns = table.column_names
    text = next((column for column in _TEXT_COLUMNS if column in columns), None)
    if text is None:
        raise ValueError(f"{name} has the columns {columns}, none of them {' or '.join(_TEXT_COLUMNS)}")
    labels = list(table["label"]) if "label" in columns else None
    hidden = labels is None or all(label == -1 for label in labels)
    return HubTexts(list(table[text]), None if hidden else labels)


def _load_table(name: str, split: str, config: str | None) -> Any:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError("load_hub needs the datasets library: pip install 'bertlearn[hub]'") from error
    try:
        return load_dataset(name, config, split=split)
    except OSError as error:
        raise DataError(
            f"{name} could not be fetched from the hub ({type(error).__name__}: {error}); check the name and "
            "the network. A folder that holds the set can be given in place of its name"
        ) from error
