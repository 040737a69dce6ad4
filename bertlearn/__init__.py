"""A small BERT implementation, to be read in an evening and to be used; the package of the course.

The main names can be imported from here. Each is loaded on first use, so that `bertlearn doctor` starts
quickly and still reports when torch is missing or broken.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertlearn.course.snapshots import load_snapshot as load_snapshot
    from bertlearn.course.swap import compare_layers as compare_layers
    from bertlearn.course.swap import use as use
    from bertlearn.data import load_articles as load_articles
    from bertlearn.data import load_bible as load_bible
    from bertlearn.data import load_hub as load_hub
    from bertlearn.data import load_plots as load_plots
    from bertlearn.data import load_reviews as load_reviews
    from bertlearn.data import minilm_path as minilm_path
    from bertlearn.model.bert import BertModel as BertModel
    from bertlearn.model.bert import mean_pooling as mean_pooling
    from bertlearn.model.bert import scaled_dot_product_attention as scaled_dot_product_attention
    from bertlearn.model.config import BertConfig as BertConfig
    from bertlearn.model.heads import BertForMaskedLM as BertForMaskedLM
    from bertlearn.model.heads import BertForPreTraining as BertForPreTraining
    from bertlearn.model.heads import BertForQuestionAnswering as BertForQuestionAnswering
    from bertlearn.model.heads import BertForSequenceClassification as BertForSequenceClassification
    from bertlearn.model.heads import BertForTokenClassification as BertForTokenClassification
    from bertlearn.model.inference import fill_mask as fill_mask
    from bertlearn.model.inference import predict as predict
    from bertlearn.model.inference import sentence_vectors as sentence_vectors
    from bertlearn.model.prepacking import prepacked_weights as prepacked_weights
    from bertlearn.tokenizer.learn import train_wordpiece as train_wordpiece
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer as WordPieceTokenizer

__version__ = "0.2.0"

_MODULE_OF = {
    "BertConfig": "model.config",
    "BertForMaskedLM": "model.heads",
    "BertForPreTraining": "model.heads",
    "BertForQuestionAnswering": "model.heads",
    "BertForSequenceClassification": "model.heads",
    "BertForTokenClassification": "model.heads",
    "BertModel": "model.bert",
    "WordPieceTokenizer": "tokenizer.wordpiece",
    "compare_layers": "course.swap",
    "fill_mask": "model.inference",
    "load_articles": "data",
    "load_bible": "data",
    "load_hub": "data",
    "load_plots": "data",
    "load_reviews": "data",
    "load_snapshot": "course.snapshots",
    "mean_pooling": "model.bert",
    "minilm_path": "data",
    "predict": "model.inference",
    "prepacked_weights": "model.prepacking",
    "scaled_dot_product_attention": "model.bert",
    "sentence_vectors": "model.inference",
    "train_wordpiece": "tokenizer.learn",
    "use": "course.swap",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Load a main name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bertlearn' has no attribute {name!r}")
    return getattr(import_module(f"bertlearn.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """List the main names, for completion."""
    return [*__all__, "__version__"]
