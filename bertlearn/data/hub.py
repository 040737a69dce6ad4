"""Data sets from the Hugging Face hub; optional (chapters 5 and 6).

This needs the `datasets` library, which is an extra: `pip install 'bertlearn[hub]'`. The library does not run
code that comes with a data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bertlearn.data.cache import DataError

_CONFIGS = {"Salesforce/wikitext": "wikitext-2-raw-v1"}  # of data sets that have several, the default
_TEXT_COLUMNS = ("text", "sentence")


class HubTexts(NamedTuple):
    """Texts and, at the same index, their labels; `labels` is None if the set has none or hides them."""

    texts: list[str]
    labels: list[int] | None


def load_hub(name: str | Path, split: str, config: str | None = None) -> HubTexts:
    """Load a text data set from the hub, such as "stanfordnlp/imdb" or "stanfordnlp/sst2".

    Args:
        name: the name of the data set on the hub, or a folder with the same layout.
        split: the name of a split, such as "train", "validation" or "test".
        config: the version of the data set; needed only if there are several.

    Raises:
        DataError: the `datasets` library is missing, or the data set could not be downloaded.
        ValueError: the data set has no such split, or no text column.
    """
    table = _load_table(str(name), split, config or _CONFIGS.get(str(name)))
    columns = table.column_names
    text = next((column for column in _TEXT_COLUMNS if column in columns), None)
    if text is None:
        raise ValueError(
            f"{name} has the columns {columns}, but no text column named {' or '.join(_TEXT_COLUMNS)}"
        )
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
            f"{name} could not be downloaded from the hub ({type(error).__name__}: {error}); check the name "
            "and the network, or give a folder with the data set in place of its name"
        ) from error
