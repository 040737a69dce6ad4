"""The description of a BERT: its sizes and a few constants.

Used by every chapter. Field names are transformers', so a `config.json` can be exchanged in both directions.
Source of the sizes: Devlin et al. 2019, §3 (base, large); Turc et al. 2019, table 1 (tiny to medium).
Leaves out: decoder and cross-attention fields, activations other than GELU.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeGuard

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

    Lengths are in tokens, sizes in features, dropout is a probability. Only heads read the last four
    fields; they are written to config.json where they differ from the defaults.
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
    pad_token_id: int | None = 0
    classifier_dropout: float | None = field(default=None, repr=False)  # None: hidden_dropout_prob
    id2label: dict[int, str] = field(default_factory=TWO_LABELS.copy, repr=False, hash=False)
    classifier_pooling: str = field(default="cls", repr=False)  # or "mean", which transformers' BERT lacks
    tie_word_embeddings: bool = field(default=True, repr=False)  # False: the decoder has its own matrix

    def __post_init__(self) -> None:
        """Validate the sizes; each error names a remedy."""
        for name in _POSITIVE:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
        _check_heads(self.hidden_size, self.num_attention_heads)
        _check_probability("hidden_dropout_prob", self.hidden_dropout_prob)
        _check_probability("attention_probs_dropout_prob", self.attention_probs_dropout_prob)
        if self.classifier_dropout is not None:
            _check_probability("classifier_dropout", self.classifier_dropout)
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if not (_is_real(value) and 0 <= value <= sys.float_info.max):
                raise ValueError(f"{name}={value!r} must be a number of at least 0")
            object.__setattr__(self, name, float(value))  # transformers reads no integers here
        _check_pad_token(self.pad_token_id, self.vocab_size)
        if not isinstance(self.tie_word_embeddings, bool):
            raise ValueError(f"tie_word_embeddings={self.tie_word_embeddings!r} must be True or False")
        if self.classifier_pooling not in ("cls", "mean"):
            raise ValueError(f"classifier_pooling={self.classifier_pooling!r} is neither 'cls' nor 'mean'")
        object.__setattr__(self, "id2label", _check_labels(self.id2label))
        if self.hidden_act not in _GELU:
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
        With `num_labels` alone, the labels are LABEL_0, LABEL_1, …; labels that are numbers become texts.
        Raises `ValueError` for a field that asks for another architecture, naming it.
        """
        _check_supported(values)
        values = {**values, "id2label": _read_labels(values.get("id2label"), values.get("num_labels"))}
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


@dataclass(frozen=True)
class ModernConfig(BertConfig):
    """`BertConfig` and the switches that lead to ModernBERT; their defaults are BERT (chapter 8).

    Names are transformers' where it has them. Raises `ValueError` when fields contradict each other.
    """

    pre_norm: bool = False  # normalize what a sublayer reads, not the sum that it leaves
    bias: bool = True  # in layers, norms and the head's dense layer; the decoder always has one
    norm: str = "layer"  # or "rms"
    gated: bool = False  # GeGLU in the feed-forward network, with a matrix more
    rope: bool = False  # rotary positions in place of learned ones
    global_rope_theta: float = 10_000.0
    local_rope_theta: float = 10_000.0
    token_types: bool = True  # an embedding tells the two texts of a pair apart
    local_attention: int = 0  # tokens in the window of a local layer; 0: every layer is global
    global_attn_every_n_layers: int = 3  # the others are local
    unpadding: bool = False  # compute nothing for padding, except inside attention

    def __post_init__(self) -> None:
        """Validate the fields; each error names a remedy."""
        super().__post_init__()
        if self.norm not in ("layer", "rms"):
            raise ValueError(f"norm={self.norm!r} is neither 'layer' nor 'rms'")
        if self.rope and self.head_size % 2:
            raise ValueError(
                f"rope=True turns pairs of features, but a head has {self.head_size}; use an even size"
            )
        window, every = self.local_attention, self.global_attn_every_n_layers
        if not isinstance(window, int) or window < 0 or window % 2:
            raise ValueError(f"local_attention={window!r} must be an even number of tokens, or 0 for none")
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"global_attn_every_n_layers={every!r} must be a whole number of at least 1")

    @classmethod
    def modernbert(cls, **changes: Any) -> ModernConfig:
        """Return ModernBERT-base, with `changes`. Source: Warner et al. 2024, table 4 and appendix D."""
        values = {
            "vocab_size": 50368,
            "num_hidden_layers": 22,
            "intermediate_size": 1152,
            "max_position_embeddings": 8192,
            "pad_token_id": 50283,
            "layer_norm_eps": 1e-5,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "pre_norm": True,
            "bias": False,
            "gated": True,
            "rope": True,
            "global_rope_theta": 160_000.0,
            "token_types": False,
            "local_attention": 128,
            "unpadding": True,
        }
        return cls(**{**values, **changes})

    @staticmethod
    def gated_size(intermediate_size: int) -> int:
        """Return the features of a gated network with as many weights: three matrices in place of two."""
        return 2 * intermediate_size // 3 // 8 * 8

    def is_local(self, layer: int) -> bool:
        """Tell whether a layer, counted from 0, sees only a window around each token."""
        return self.local_attention > 0 and layer % self.global_attn_every_n_layers != 0


_POSITIVE = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)

_MOST_UNNAMED = 1_000_000  # labels without names; a larger number in a file would only fill the memory

_GELU = ("gelu", "gelu_python")  # two names in transformers, one function

_HEADS = {
    "classifier_dropout": None,
    "id2label": TWO_LABELS,
    "classifier_pooling": "cls",
    "tie_word_embeddings": True,
}

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


def _is_real(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_probability(name: str, value: float) -> None:
    if not (_is_real(value) and 0 <= value < 1):
        raise ValueError(f"{name}={value!r} is not a probability; use a value in [0, 1)")


def _check_pad_token(pad_token_id: Any, vocab_size: int) -> None:
    is_id = _is_real(pad_token_id) and isinstance(pad_token_id, int) and 0 <= pad_token_id < vocab_size
    if pad_token_id is not None and not is_id:
        raise ValueError(
            f"pad_token_id={pad_token_id!r} is not the id of a token; use 0 to {vocab_size - 1}, or None"
        )


def _read_labels(id2label: Any, num_labels: Any) -> Any:
    """Return the labels that a file names, or LABEL_0, … if it only counts them; None if it does neither."""
    if isinstance(id2label, dict):
        if num_labels not in (None, len(id2label)):
            raise ValueError(
                f"num_labels={num_labels!r}, but id2label has {len(id2label)} labels; correct one of them"
            )
        return {number: str(name) if _is_real(name) else name for number, name in id2label.items()}
    if id2label is not None or num_labels is None:
        return id2label
    if not (_is_real(num_labels) and isinstance(num_labels, int) and 1 <= num_labels <= _MOST_UNNAMED):
        raise ValueError(
            f"num_labels={num_labels!r} must be a whole number from 1 to {_MOST_UNNAMED}; name more labels "
            "in id2label"
        )
    return {number: f"LABEL_{number}" for number in range(num_labels)}


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
