"""How many sentences per second does MiniLM embed, with ours and with three other libraries?

    python -m benchmarks.inference [--quick] [--device cuda]

The others are sentence-transformers, transformers and ONNX Runtime. All 12,751 review sentences are turned
from text into vectors, the mean of their token vectors, float32 on the CPU. Ours is `sentence_vectors` within
`prepacked_weights`. ONNX Runtime runs the model exported by torch, with the fast parts of the other libraries
around it: the Rust tokenizer and batches of similar length. The pipeline is transformers'
"feature-extraction" with mean pooling as in ours, once in batches and once with its default, one sentence at
a time. Weights and matrix products are in fp32, and also in bf16 where a peer supports it. Finally, the
latency of a single sentence is measured.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from benchmarks.common import (
    DTYPES,
    Setting,
    Table,
    Times,
    check_same,
    in_turns,
    keep,
    milliseconds,
    peaks,
    read_setting,
    times_as_long,
)
from bertlearn import (
    BertModel,
    WordPieceTokenizer,
    load_reviews,
    minilm_path,
    prepacked_weights,
    sentence_vectors,
)

PACKAGES = ("sentence-transformers", "onnxruntime", "onnx", "onnxscript")
BATCHES = {"cpu": 32, "cuda": 256}  # sentences per batch, the same for all peers
MAX_LENGTH = 256  # tokens; every review is shorter
PARTS = 16  # the reviews are split into this many parts; the peers take turns on each
REPEATS = 10  # encodings of the single sentence in each turn
Encode = Callable[[list[str]], Tensor]  # N texts to float32 (N, H) on the CPU


def ours(device: torch.device, dtype: torch.dtype, stack: ExitStack) -> Encode:
    """Return `bertlearn.sentence_vectors` with weights that stay prepacked until `stack` is closed."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    model = BertModel.from_pretrained(minilm_path()).to(device, dtype).eval()
    stack.enter_context(prepacked_weights(model))
    return lambda texts: sentence_vectors(model, tokenizer, texts, BATCHES[device.type], MAX_LENGTH)


def sentence_transformers(device: torch.device, dtype: torch.dtype) -> Encode:
    """Return `SentenceTransformer.encode` with the same batch size."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(str(minilm_path()), max_seq_length=MAX_LENGTH)
    model = SentenceTransformer(modules=[body, Pooling(384, "mean")], device=str(device)).to(dtype)
    size = BATCHES[device.type]
    return lambda texts: model.encode(texts, batch_size=size, convert_to_tensor=True).float().cpu()


def pipeline(device: torch.device, batch_size: int) -> Encode:
    """Return transformers' pipeline, which gives token vectors, with mean pooling."""
    run = transformers.pipeline(
        "feature-extraction", model=str(minilm_path()), device=device, batch_size=batch_size
    )

    def encode(texts: list[str]) -> Tensor:
        outputs = run(texts, return_tensors=True)
        masks = [run.tokenizer(text)["attention_mask"] for text in texts] if batch_size > 1 else None
        rows = [
            output[0][: len(masks[index])] if masks else output[0] for index, output in enumerate(outputs)
        ]
        return torch.stack([row.float().mean(0) for row in rows])

    return encode


def onnx_runtime(device: torch.device) -> Encode:
    """Return ONNX Runtime on the exported model, with the Rust tokenizer and batches of similar length."""
    import onnxruntime

    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path()).fast()
    tokenizer.enable_truncation(MAX_LENGTH)
    session = onnxruntime.InferenceSession(_export(), providers=["CPUExecutionProvider"])

    def encode(texts: list[str]) -> Tensor:
        encodings = tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda row: len(encodings[row].ids), reverse=True)
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        size = BATCHES[device.type]
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            ids, mask = _padded([encodings[row].ids for row in rows])
            hidden = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            vectors[rows] = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return torch.from_numpy(vectors)

    return encode


def _padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def _export() -> bytes:
    """Return transformers' model as ONNX, exported by torch with dynamic batch and length."""

    class LastHiddenState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.AutoModel.from_pretrained(minilm_path())

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # no warnings about unneeded packages
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "minilm.onnx"
        torch.onnx.export(
            LastHiddenState().eval(),
            (ids, ids.clone()),  # the exporter would merge one tensor passed twice into one input
            path,
            input_names=["input_ids", "attention_mask"],
            dynamic_shapes=(axes, axes),
            external_data=False,
            verbose=False,
        )
        return path.read_bytes()


def peers(device: torch.device, stack: ExitStack) -> dict[str, Encode]:
    """Return all peers; ONNX Runtime only on a CPU, since its default package has no GPU support."""
    fp32, bf16 = torch.float32, torch.bfloat16
    encoders = {
        "ours": ours(device, fp32, stack),
        "sentence-transformers": sentence_transformers(device, fp32),
        "pipeline": pipeline(device, BATCHES[device.type]),
        "pipeline, unbatched": pipeline(device, 1),
    }
    if device.type == "cpu":
        encoders["ONNX Runtime"] = onnx_runtime(device)
    return encoders | {
        "ours, bf16": ours(device, bf16, stack),
        "sentence-transformers, bf16": sentence_transformers(device, bf16),
    }


def precision(name: str) -> str:
    """Return the precision in which a peer computes."""
    return "bf16" if name.endswith("bf16") else "fp32"


def compare(works: dict[str, Encode], texts: list[str]) -> None:
    """Check that all peers give the same vectors."""
    expected = works["ours"](texts)
    for name, work in works.items():
        check_same(name, expected, work(texts), {"fp32": 1e-3, "bf16": 0.05}[precision(name)])


def operations(tokens: int) -> float:
    """Return the multiplications and additions in MiniLM's matrix products with weights."""
    return 2 * tokens * 6 * (4 * 384**2 + 2 * 384 * 1536)


def repeat(work: Encode, texts: list[str]) -> None:
    """Encode the same texts several times in a row, like a busy server."""
    for _ in range(REPEATS):
        work(texts)


def measure(works: dict[str, Encode], texts: list[str], setting: Setting) -> dict[str, Any]:
    """Time all peers on the texts, taking turns part by part, and then on a single text."""
    parts = [texts[first::PARTS] for first in range(PARTS)]
    turns: dict[str, list[float]] = {name: [] for name in works}
    with peaks(setting.device, *DTYPES) as fastest:
        for part in parts:
            timed = in_turns(
                {name: partial(work, part) for name, work in works.items()}, setting.device, 1, 0
            )
            for name, times in timed.items():
                turns[name].append(times.median)
    singles = {name: partial(repeat, work, texts[:1]) for name, work in works.items()}
    latency = in_turns(singles, setting.device, 3 if setting.quick else 30)
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path()).fast()
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts))
    return {
        "sentences": len(texts),
        "tokens": tokens,
        "seconds_a_part": turns,
        "peak": fastest,
        "latency": {name: [value / REPEATS for value in times] for name, times in latency.items()},
    }


def row(name: str, result: dict[str, Any]) -> list[str]:
    """Return a row of the table. Speeds come from the median part; ratios to ours are taken part by part."""
    turns = result["seconds_a_part"]
    total, own = PARTS * median(turns[name]), turns["ours" if precision(name) == "fp32" else "ours, bf16"]
    return [
        name,
        f"{result['sentences'] / total:,.0f}",
        times_as_long(turns[name], own),
        f"{operations(result['tokens']) / result['peak'][precision(name)] / total:.0%}",
        milliseconds(Times(*result["latency"][name])),
    ]


def main() -> None:
    setting = read_setting("inference", __doc__, packages=PACKAGES)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    texts = load_reviews().sentences[: 256 if setting.quick else None]
    with ExitStack() as stack:
        works = peers(setting.device, stack)
        compare(works, texts[:100])
        result = measure(works, texts, setting)
    columns = [
        "",
        "sentences per second",
        "time relative to ours in the same precision (interquartile range)",
        "share of the peak",
        "one sentence, ms (interquartile range)",
    ]
    caption = f"{len(texts):,} review sentences through MiniLM, in batches of {BATCHES[setting.device.type]}"
    table = Table(caption, columns, [row(name, result) for name in works])
    keep(setting, [table], result)


if __name__ == "__main__":
    main()
