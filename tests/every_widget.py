"""All widgets at once, small, with hostile text in every place that takes one: for what all must do."""

from __future__ import annotations

import numpy as np
import torch

from bertlearn import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    WordPieceTokenizer,
)
from bertlearn.course.figures import AttentionMaps
from bertlearn.course.snapshots import Snapshot
from bertlearn.course.widgets import (
    AttentionExplorer,
    EncoderWalk,
    HeadSurgery,
    InsideHead,
    SoftLookup,
    TimeMachine,
    TokenizerExplorer,
    TrainingMonitor,
    Widget,
)

HOSTILE = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> שלום 🎬 a\nb"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def every_widget(text: str = HOSTILE) -> dict[str, Widget]:
    """Return one widget of each kind, by its class's name."""
    torch.manual_seed(0)
    words = sorted(
        set(WordPieceTokenizer(SPECIAL).basic_tokenizer.tokenize(text)) | {"one", "two", "o", "##ne"}
    )
    tokenizer = WordPieceTokenizer([*SPECIAL, *words])
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    model = BertModel(config).eval()
    labels = [text, "fresh"]
    classifier = BertForSequenceClassification.from_encoder(model, labels, torch.Generator().manual_seed(0))
    snapshots = [Snapshot(step, BertForMaskedLM(config).eval(), tokenizer) for step in (0, 100)]
    history = [
        {"step": step, "seconds": step / 10, "tokens": 64.0 * step, "mlm_loss": 5 - step / 100}
        for step in (10, 20)
    ]
    made: list[Widget] = [
        AttentionExplorer(_maps(text), titles=[text]),
        SoftLookup({text: 1.0, "two": 2.0}, {text: 1.0, "two": -1.0}),
        InsideHead(_maps(text)),
        TokenizerExplorer(tokenizer, text=text),
        EncoderWalk(model, tokenizer, text),
        TimeMachine(f"{text} [MASK]", snapshots=snapshots),
        TrainingMonitor.of_history(history, title=text),
        HeadSurgery(classifier, tokenizer, text),
    ]
    return {type(widget).__name__: widget for widget in made}


def _maps(text: str) -> AttentionMaps:
    tokens = ["[CLS]", *text.split(" "), "[SEP]"]
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(len(tokens)), size=(2, 2, len(tokens))).astype(np.float32)
    vectors = random.normal(size=(3, 2, 2, len(tokens), 8)).astype(np.float32)
    return AttentionMaps(tokens, probs, None, *vectors)
