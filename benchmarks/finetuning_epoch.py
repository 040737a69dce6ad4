"""How long is an epoch of fine-tuning on the reviews beside transformers' Trainer with dynamic padding?

    python -m benchmarks.finetuning_epoch [--quick] [--device cuda]

MiniLM with a new head on the 10,172 training sentences, in batches of 32, AdamW, dropout 0.1. Ours is
`bertlearn.finetune` as it comes: batches of sentences of about the same length. Theirs is Trainer with
`DataCollatorWithPadding`, as its guide has it, and once more with its own batches by length
(`train_sampling_strategy="group_by_length"`). All begin with the same weights and go through the epoch step
by step, in turns; afterwards they are measured on the validation films.
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

LONGEST = 128
NAMES = ["rotten", "fresh"]


def new_model() -> BertForSequenceClassification:
    """Return MiniLM with a new head, always the same one."""
    encoder = BertModel.from_pretrained(minilm_path())
    return BertForSequenceClassification.from_encoder(
        encoder, NAMES, torch.Generator().manual_seed(0), "cls", 0.1
    )


def their_model() -> nn.Module:
    """Return transformers' model with the same weights."""
    own = new_model()
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**own.config.to_dict()))
    model.load_state_dict(own.state_dict())
    return model.eval()


def trainer(
    model: nn.Module, features: Features, options: FinetuneOptions, device: torch.device, sampling: str
) -> Loop:
    """Return transformers' Trainer, a step at a call, padding as its guide has it."""
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
    """Check that both models give the same scores."""
    batch = features.batch(range(32))
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.inference_mode():
        check_same("scores", new_model()(**inputs).logits, their_model()(**inputs).logits, 1e-4)


def accuracy(model: nn.Module, tokenizer: WordPieceTokenizer, part: ReviewSet) -> float:
    """Return the share of a part's sentences that a model gives the right label, theirs through our own."""
    own = new_model()
    own.load_state_dict(model.state_dict())
    guesses = predict(own, tokenizer, part.sentences, max_length=LONGEST).argmax(-1)
    return (guesses == torch.tensor(part.labels)).float().mean().item()


def measure(precision: str, setting: Setting, parts: tuple[ReviewSet, ReviewSet]) -> dict[str, Any]:
    """Run an epoch of every peer, a step in turns."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    options = FinetuneOptions(epochs=1, precision=precision)
    learn, look = parts
    encoded: list[Features] = []
    encoding = seconds(
        lambda: encoded.append(text_features(tokenizer, learn.sentences, learn.labels, LONGEST)),
        torch.device("cpu"),
    )
    features = encoded[0]
    compare(features)
    models = {"ours": new_model(), "Trainer": their_model(), "Trainer, by length": their_model()}
    loops = {
        "ours": our_loop(
            models["ours"],
            finetuning_task(models["ours"], features, options),
            options.training(len(features)),
            setting.device,
        ),
        "Trainer": trainer(models["Trainer"], features, options, setting.device, "random"),
        "Trainer, by length": trainer(
            models["Trainer, by length"], features, options, setting.device, "group_by_length"
        ),
    }
    steps = options.training(len(features)).steps - 1  # in the last one, loops also end
    totals = dict.fromkeys(loops, 0.0)
    for loop in loops.values():
        loop()  # the first step makes the optimizer's averages
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
        "accuracy": {name: accuracy(model.cpu(), tokenizer, look) for name, model in models.items()},
    }


def main() -> None:
    setting = read_setting("finetuning_epoch", __doc__, packages=["accelerate"])
    transformers.utils.logging.set_verbosity_error()
    reviews = load_reviews()
    learn, look = reviews.train, reviews.validation
    if setting.quick:
        learn, look = (ReviewSet(part.sentences[:160], part.labels[:160], []) for part in (learn, look))
    found = [
        measure(precision, setting, (learn, look)) for precision in (["fp32"] if setting.quick else DTYPES)
    ]
    rows = [
        [
            f"{name}, {one['precision']}",
            f"{total:,.1f}",
            f"{total / one['seconds']['ours']:.2f}×",
            f"{one['accuracy'][name]:.3f}",
        ]
        for one in found
        for name, total in one["seconds"].items()
    ]
    columns = ["", "seconds", "ours = 1", "accuracy on the validation films"]
    caption = (
        f"An epoch on {found[0]['sentences']:,} sentences, {found[0]['steps']} steps (all but the first and "
        "the last); cutting them into pieces, once for all epochs, took "
        f"{found[0]['seconds_to_encode']:.1f} s more in pure Python"
    )
    keep(setting, [Table(caption, columns, rows)], found)


if __name__ == "__main__":
    main()
