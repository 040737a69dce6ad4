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
from bertlearn.course.knockout import SWITCHES, knock_outs
from bertlearn.course.results import Row
from bertlearn.course.searching import VectorSearch, WeightSearch, WordSearch
from bertlearn.course.snapshots import Snapshot
from bertlearn.course.widgets import (
    AttentionExplorer,
    EncoderWalk,
    HeadSurgery,
    InsideHead,
    KnockoutLab,
    SearchComparison,
    SoftLookup,
    TimeMachine,
    TokenizerExplorer,
    TrainingMonitor,
    Widget,
)
from bertlearn.model.inference import sentence_vectors
from bertlearn.search import sparse_vectors

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
        KnockoutLab(knockout_rows()),
        _comparison(text, model, BertForMaskedLM(config).eval(), tokenizer),
    ]
    return {type(widget).__name__: widget for widget in made}


def knockout_rows() -> list[Row]:
    """Return rows like the stored ones of the knock-out lab: random effects of the switches, three seeds."""
    random = np.random.default_rng(0)
    effects = dict(zip(SWITCHES, random.normal(0.01, 0.02, len(SWITCHES)), strict=True))
    return [
        {
            "on": " ".join(name for name in SWITCHES if name in on),
            "seed": seed,
            "step": step,
            "loss": round(6.0 - step / 1000 - 8 * sum(effects[name] for name in on) + 0.03 * seed, 4),
            "accuracy": round(0.12 + step / 3e4 + sum(effects[name] for name in on) + noise, 4),
            "core_seconds": 120.0,
            "relative_time": round(1 + len(on) / 50, 3),
        }
        for on in knock_outs()
        for seed, noise in enumerate(random.normal(0, 0.002, 3))
        for step in (500, 1000, 1500)
    ]


def _comparison(
    text: str, encoder: BertModel, model: BertForMaskedLM, tokenizer: WordPieceTokenizer
) -> SearchComparison:
    texts = [text, "one two", f"two {text} {text}"]
    vectors = torch.nn.functional.normalize(sentence_vectors(encoder, tokenizer, texts, max_length=64), dim=1)
    weights = sparse_vectors(model, tokenizer, texts, max_length=64)
    systems = {
        text: WordSearch(texts),
        "vectors": VectorSearch(texts, encoder, tokenizer, vectors, max_length=64),
        "weights": WeightSearch(texts, model, tokenizer, weights, max_length=64),
    }
    return SearchComparison(systems, texts, titles=[text, "second", text], queries=[text, "one"], k=2)


def _maps(text: str) -> AttentionMaps:
    tokens = ["[CLS]", *text.split(" "), "[SEP]"]
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(len(tokens)), size=(2, 2, len(tokens))).astype(np.float32)
    vectors = random.normal(size=(3, 2, 2, len(tokens), 8)).astype(np.float32)
    return AttentionMaps(tokens, probs, None, *vectors)
