"""The description of a BERT: its sizes and a few constants.

Used by every chapter. Field names are transformers', so a `config.json` can be exchanged in both directions.
Source of the sizes: Devlin et al. 2019, §3 (base, large); Turc et al. 2019, table 1 (tiny to medium).
Leaves out: decoder and cross-attention fields, relative positions, other activations than GELU.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

PRESETS: dict[str, tuple[int, int]] = {  # name: (num_hidden_layers, hidden_size); heads = hidden_size / 64
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
TWO_LABELS = {0: "LABEL_0", 1: "LABEL_1"}  # transformers' default


@dataclass(frozen=True)
class BertConfig:
    """Sizes and constants of a BERT; the defaults are BERT-base, uncased.

    Lengths are in tokens, sizes in features, dropout is a probability. Only the heads of
    chapter 5 read the last three fields; they are written to config.json where they differ from the defaults.
    Raises `ValueError` when the fields contradict each other; a misspelled field is a `TypeError`.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    classifier_dropout: float | None = field(default=None, repr=False)  # None: hidden_dropout_prob
    id2label: dict[int, str] = field(default_factory=TWO_LABELS.copy, repr=False, hash=False)
    classifier_pooling: str = field(default="cls", repr=False)  # or "mean", which transformers' BERT lacks

    def __post_init__(self) -> None:
        """Validate the sizes; each error names a remedy."""
        for name in _POSITIVE:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
        _check_heads(self.hidden_size, self.num_attention_heads)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name}={value!r} is not a probability; use a value in [0, 1)")
        if self.classifier_pooling not in ("cls", "mean"):
            raise ValueError(f"classifier_pooling={self.classifier_pooling!r} is neither 'cls' nor 'mean'")
        object.__setattr__(self, "id2label", _check_labels(self.id2label))
        if self.hidden_act != "gelu":
            raise ValueError(
                f"hidden_act={self.hidden_act!r} is not supported; BERT uses 'gelu' (the exact, erf form)"
            )

    @property
    def head_size(self) -> int:
        """D, the number of features of each head: hidden_size / num_attention_heads."""
        return self.hidden_size // self.num_attention_heads

    @property
    def num_labels(self) -> int:
        """C, the number of classes."""
        return len(self.id2label)

    @property
    def label2id(self) -> dict[str, int]:
        """The id of each label, by its name."""
        return {label: number for number, label in self.id2label.items()}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> BertConfig:
        """Return one of the published sizes (tiny, mini, small, medium, base, large), with `changes`."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
        layers, hidden = PRESETS[name]
        sizes = {
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": hidden // 64,
            "intermediate_size": 4 * hidden,
        }
        return cls(**{**sizes, **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """Read the contents of a transformers `config.json`.

        Fields that do not change an encoder (`model_type`, `torch_dtype`, …) are ignored.
        Raises `ValueError` for a field that asks for another architecture, naming it.
        """
        _check_supported(values)
        known = {field.name for field in fields(cls)}
        known -= {name for name in _HEADS if values.get(name) is None}
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of `config.json`: the fields, and two more that transformers needs."""
        unused = {name for name, default in _HEADS.items() if getattr(self, name) == default}
        values = {name: value for name, value in asdict(self).items() if name not in unused}
        if "id2label" in values:
            values["label2id"] = self.label2id
        return {"architectures": ["BertModel"], "model_type": "bert", **values}


_POSITIVE = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)

_HEADS = {"classifier_dropout": None, "id2label": TWO_LABELS, "classifier_pooling": "cls"}

_ONLY: dict[str, tuple[Any, str]] = {  # field: (the only supported value, why)
    "model_type": ("bert", "only BERT's own architecture is implemented"),
    "position_embedding_type": ("absolute", "relative positions are not in the BERT paper"),
    "is_decoder": (False, "BERT is an encoder: every token sees every other"),
    "add_cross_attention": (False, "there is no decoder to attend from"),
}


def _check_heads(hidden_size: int, heads: int) -> None:
    if hidden_size % heads:
        below, above = hidden_size // heads * heads, (hidden_size // heads + 1) * heads
        fix = f"{below} or {above}" if below else str(above)
        raise ValueError(
            f"hidden_size={hidden_size} is not divisible by num_attention_heads={heads}; use {fix}"
        )


def _check_labels(id2label: dict[Any, Any]) -> dict[int, str]:
    """Return the labels in the order of their ids, which JSON has turned into text."""
    if not isinstance(id2label, dict):
        raise ValueError(
            f"id2label is {type(id2label).__name__}, expected a dictionary; use dict(enumerate(labels))"
        )
    numbered = {int(number): label for number, label in id2label.items() if str(number).isdecimal()}
    if not id2label or sorted(numbered) != list(range(len(id2label))):
        raise ValueError(f"id2label numbers the labels {list(id2label)}, expected 0, 1, 2, … without gaps")
    labels = list(numbered.values())
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise ValueError(f"id2label names the labels {labels}, expected distinct texts; rename them")
    return dict(sorted(numbered.items()))


def _check_supported(values: dict[str, Any]) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"a config is a dictionary of fields, got {type(values).__name__}")
    for name, (only, why) in _ONLY.items():
        if values.get(name, only) not in (only, None):
            raise ValueError(f"{name}={values[name]!r} is not supported, only {only!r}: {why}")
