"""How long does an epoch of fine-tuning on the reviews take, compared with transformers' Trainer?

    python -m benchmarks.finetuning_epoch [--quick] [--device cuda]

MiniLM with a new head is trained on the 10,172 training sentences in batches of 32, with AdamW and dropout
0.1. Ours is `bertlearn.finetune` with its defaults: batches of sentences of similar length. Theirs is Trainer
with dynamic padding (`DataCollatorWithPadding`), as recommended in its guide, and again with its own grouping
by length (`train_sampling_strategy="group_by_length"`). All start from the same weights and take turns, one
step each, until the epoch ends; then their accuracy is measured on the validation films.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.common import DTYPES, Setting, Table, check_same, in_turns, keep, read_setting, seconds
from benchmarks.loops import Loop, our_loop, their_loop
from bertlearn import (
    BertForSequenceClassification,
    BertModel,
    WordPieceTokenizer,
    load_reviews,
    minilm_path,
)
from bertlearn.data import ReviewSet
from bertlearn.finetuning.features import Features, text_features
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import finetuning_task
from bertlearn.model.inference import predict

MAX_LENGTH = 128
LABELS = ["rotten", "fresh"]


def new_model() -> BertForSequenceClassification:
    """Return MiniLM with a new head, the same one at every call."""
    encoder = BertModel.from_pretrained(minilm_path())
    return BertForSequenceClassification.from_encoder(
        encoder, LABELS, torch.Generator().manual_seed(0), "cls", 0.1
    )


def their_model() -> nn.Module:
    """Return transformers' model with the same weights."""
    ours = new_model()
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**ours.config.to_dict()))
    model.load_state_dict(ours.state_dict())
    return model.eval()


def trainer(
    model: nn.Module, features: Features, options: FinetuneOptions, device: torch.device, sampling: str
) -> Loop:
    """Return transformers' Trainer with dynamic padding; each call of the loop takes one step."""
    columns = ("input_ids", "token_type_ids", "attention_mask")
    rows = [
        {name: getattr(encoding, name) for name in columns} | {"labels": label}
        for encoding, label in zip(features.encodings, features.targets["labels"], strict=True)
    ]
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_path())
    return their_loop(
        model,
        rows,
        device,
        transformers.DataCollatorWithPadding(tokenizer),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        warmup_steps=options.warmup,
        train_sampling_strategy=sampling,
        bf16=options.precision == "bf16",
    )


def compare(features: Features) -> None:
    """Check that both models return the same logits."""
    batch = features.batch(range(32))
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.inference_mode():
        check_same("logits", new_model()(**inputs).logits, their_model()(**inputs).logits, 1e-4)


def accuracy(model: nn.Module, tokenizer: WordPieceTokenizer, subset: ReviewSet) -> float:
    """Return a model's accuracy on some reviews; transformers' weights are first loaded into our model."""
    ours = new_model()
    ours.load_state_dict(model.state_dict())
    predictions = predict(ours, tokenizer, subset.sentences, max_length=MAX_LENGTH).argmax(-1)
    return (predictions == torch.tensor(subset.labels)).float().mean().item()


def measure(precision: str, setting: Setting, data: tuple[ReviewSet, ReviewSet]) -> dict[str, Any]:
    """Run an epoch of every peer; they take turns, one step each."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    options = FinetuneOptions(epochs=1, precision=precision)
    train, validation = data
    encoded: list[Features] = []
    encoding = seconds(
        lambda: encoded.append(text_features(tokenizer, train.sentences, train.labels, MAX_LENGTH)),
        torch.device("cpu"),
    )
    features = encoded[0]
    compare(features)
    models = {"ours": new_model(), "Trainer": their_model(), "Trainer, grouped by length": their_model()}
    loops = {
        "ours": our_loop(
            models["ours"],
            finetuning_task(models["ours"], features, options),
            options.training(len(features)),
            setting.device,
        ),
        "Trainer": trainer(models["Trainer"], features, options, setting.device, "random"),
        "Trainer, grouped by length": trainer(
            models["Trainer, grouped by length"], features, options, setting.device, "group_by_length"
        ),
    }
    steps = options.training(len(features)).steps - 1  # without the last, in which the loops also end
    totals = dict.fromkeys(loops, 0.0)
    for loop in loops.values():
        loop()  # the first step also allocates the optimizer's state
    for _ in range(steps - 1):
        for name, times in in_turns(loops, setting.device, 1, 0).items():
            totals[name] += times.median
    for loop in loops.values():
        loop.end()
    return {
        "precision": precision,
        "sentences": len(features),
        "steps": steps - 1,
        "seconds": totals,
        "seconds_to_encode": encoding,
        "accuracy": {name: accuracy(model.cpu(), tokenizer, validation) for name, model in models.items()},
    }


def main() -> None:
    setting = read_setting("finetuning_epoch", __doc__, packages=["accelerate"])
    transformers.utils.logging.set_verbosity_error()
    reviews = load_reviews()
    data = reviews.train, reviews.validation
    if setting.quick:
        data = tuple(ReviewSet(subset.sentences[:160], subset.labels[:160], []) for subset in data)
    results = [measure(precision, setting, data) for precision in (["fp32"] if setting.quick else DTYPES)]
    rows = [
        [
            f"{name}, {result['precision']}",
            f"{total:,.1f}",
            f"{total / result['seconds']['ours']:.2f}×",
            f"{result['accuracy'][name]:.3f}",
        ]
        for result in results
        for name, total in result["seconds"].items()
    ]
    columns = ["", "seconds", "relative to ours", "accuracy on the validation films"]
    first = results[0]
    caption = (
        f"An epoch on {first['sentences']:,} sentences, {first['steps']} steps (all but the first and the "
        "last); tokenizing them in pure Python, once for all epochs, took another "
        f"{first['seconds_to_encode']:.1f} s"
    )
    keep(setting, [Table(caption, columns, rows)], results)


if __name__ == "__main__":
    main()
