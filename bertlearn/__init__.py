"""The BERT of the course: one small implementation, to be read in an evening and used.

The main names can be imported from here; they are loaded when first used, so that `bertlearn doctor` starts
at once and still speaks when torch is missing or broken.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertlearn.attention import scaled_dot_product_attention as scaled_dot_product_attention
    from bertlearn.checks.swap import compare_layers as compare_layers
    from bertlearn.checks.swap import use as use
    from bertlearn.config import BertConfig as BertConfig
    from bertlearn.data import load_articles as load_articles
    from bertlearn.data import load_bible as load_bible
    from bertlearn.data import load_hub as load_hub
    from bertlearn.data import load_plots as load_plots
    from bertlearn.data import load_reviews as load_reviews
    from bertlearn.data import minilm_path as minilm_path
    from bertlearn.encoder import BertModel as BertModel
    from bertlearn.encoder import mean_pooling as mean_pooling
    from bertlearn.finetuning import BertForQuestionAnswering as BertForQuestionAnswering
    from bertlearn.finetuning import BertForSequenceClassification as BertForSequenceClassification
    from bertlearn.finetuning import BertForTokenClassification as BertForTokenClassification
    from bertlearn.finetuning import predict as predict
    from bertlearn.finetuning import sentence_vectors as sentence_vectors
    from bertlearn.ladder import load_rung as load_rung
    from bertlearn.packing import packed_weights as packed_weights
    from bertlearn.pretraining import BertForMaskedLM as BertForMaskedLM
    from bertlearn.pretraining import BertForPreTraining as BertForPreTraining
    from bertlearn.pretraining import fill_mask as fill_mask
    from bertlearn.tokenization import WordPieceTokenizer as WordPieceTokenizer
    from bertlearn.tokenization import train_wordpiece as train_wordpiece

__version__ = "0.1.0"

_HOME = {
    "BertConfig": "config",
    "BertForMaskedLM": "pretraining",
    "BertForPreTraining": "pretraining",
    "BertForQuestionAnswering": "finetuning",
    "BertForSequenceClassification": "finetuning",
    "BertForTokenClassification": "finetuning",
    "BertModel": "encoder",
    "WordPieceTokenizer": "tokenization",
    "compare_layers": "checks.swap",
    "fill_mask": "pretraining",
    "load_articles": "data",
    "load_bible": "data",
    "load_hub": "data",
    "load_plots": "data",
    "load_reviews": "data",
    "load_rung": "ladder",
    "mean_pooling": "encoder",
    "minilm_path": "data",
    "packed_weights": "packing",
    "predict": "finetuning",
    "scaled_dot_product_attention": "attention",
    "sentence_vectors": "finetuning",
    "train_wordpiece": "tokenization",
    "use": "checks.swap",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a main name from its module at first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'bertlearn' has no attribute {name!r}")
    return getattr(import_module(f"bertlearn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the main names, for completion."""
    return [*__all__, "__version__"]
