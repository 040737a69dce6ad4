"""How many sentences a second go through MiniLM, beside sentence-transformers, transformers, ONNX Runtime?

    python -m benchmarks.inference [--quick] [--device cuda]

All 12,751 review sentences become vectors (mean of the token vectors), from text to float32 on the CPU,
weights in fp32. ONNX Runtime gets the model exported by torch, and the best of the others around it: the Rust
tokenizer and batches by length. The pipeline is transformers' "feature-extraction", its mean taken as in
ours, once as it comes (a sentence at a time) and once in batches of 64. Then one sentence alone: the latency.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from benchmarks.common import (
    Table,
    check_same,
    in_turns,
    keep,
    milliseconds,
    peak,
    read_setting,
    spread,
)
from bertlearn import BertModel, WordPieceTokenizer, load_reviews, minilm_path, sentence_vectors

BATCH = 64
LONGEST = 256  # pieces; no review has as many
CHUNKS = 8  # in which the reviews go through the peers in turns
Encode = Callable[[list[str]], Tensor]  # N texts to float32 (N, H) on the CPU


def ours(device: torch.device) -> Encode:
    """Return `bertlearn.sentence_vectors`."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    model = BertModel.from_pretrained(minilm_path()).to(device).eval()
    return lambda texts: sentence_vectors(model, tokenizer, texts, BATCH, LONGEST)


def sentence_transformers(device: torch.device) -> Encode:
    """Return `SentenceTransformer.encode` with the same batches."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    body = Transformer(str(minilm_path()), max_seq_length=LONGEST)
    model = SentenceTransformer(modules=[body, Pooling(384, "mean")], device=str(device))
    return lambda texts: model.encode(texts, batch_size=BATCH, convert_to_tensor=True).float().cpu()


def pipeline(device: torch.device, batch_size: int) -> Encode:
    """Return transformers' pipeline; it gives token vectors, of which the mean is taken."""
    run = transformers.pipeline(
        "feature-extraction", model=str(minilm_path()), device=device, batch_size=batch_size
    )

    def encode(texts: list[str]) -> Tensor:
        outputs = run(texts, return_tensors=True)
        masks = [run.tokenizer(text)["attention_mask"] for text in texts] if batch_size > 1 else None
        rows = [
            output[0][: len(masks[place])] if masks else output[0] for place, output in enumerate(outputs)
        ]
        return torch.stack([row.float().mean(0) for row in rows])

    return encode


def onnx_runtime(device: torch.device) -> Encode:
    """Return ONNX Runtime on the exported model, with the Rust tokenizer and batches by length."""
    import onnxruntime

    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path()).fast()
    tokenizer.enable_truncation(LONGEST)
    session = onnxruntime.InferenceSession(_export(), providers=["CPUExecutionProvider"])

    def encode(texts: list[str]) -> Tensor:
        encodings = tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda row: len(encodings[row].ids), reverse=True)
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for rows in _groups(order):
            ids, mask = _padded([encodings[row].ids for row in rows])
            hidden = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            vectors[rows] = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return torch.from_numpy(vectors)

    return encode


def _groups(order: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(order), BATCH):
        yield order[first : first + BATCH]


def _padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask


def _export() -> bytes:
    """Return transformers' model as ONNX, exported by torch with both axes free."""

    class LastHiddenState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.AutoModel.from_pretrained(minilm_path())

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "minilm.onnx"
        torch.onnx.export(
            LastHiddenState().eval(),
            (ids, ids.clone()),  # of one tensor given twice the exporter makes one input
            path,
            input_names=["input_ids", "attention_mask"],
            dynamic_shapes=(axes, axes),
            external_data=False,
            verbose=False,
        )
        return path.read_bytes()


def peers(device: torch.device) -> dict[str, Encode]:
    """Return all peers; ONNX Runtime only on a CPU, where its package as it comes runs."""
    found = {
        "ours": ours(device),
        "sentence-transformers": sentence_transformers(device),
        "pipeline, batches of 64": pipeline(device, BATCH),
        "pipeline as it comes": pipeline(device, 1),
    }
    return found | ({"ONNX Runtime": onnx_runtime(device)} if device.type == "cpu" else {})


def compare(works: dict[str, Encode], texts: list[str]) -> None:
    """Check that all give the same vectors."""
    first = works["ours"](texts)
    for name, work in works.items():
        check_same(name, first, work(texts), 1e-3)


def operations(tokens: int) -> float:
    """Return the multiplications and additions of MiniLM's matrix products with weights."""
    return 2 * tokens * 6 * (4 * 384**2 + 2 * 384 * 1536)


def main() -> None:
    setting = read_setting("inference", __doc__)
    transformers.utils.logging.set_verbosity_error()
    texts = load_reviews().sentences[: 256 if setting.quick else None]
    works = peers(setting.device)
    compare(works, texts[:100])
    chunks = [texts[first::CHUNKS] for first in range(CHUNKS)]
    turns: dict[str, list[float]] = {name: [] for name in works}
    for chunk in chunks:  # a chunk is a round
        found = in_turns({name: partial(work, chunk) for name, work in works.items()}, setting.device, 1, 0)
        for name, times in found.items():
            turns[name].append(times.median)
    totals = {name: sum(values) for name, values in turns.items()}
    alone = in_turns(
        {name: partial(work, texts[:1]) for name, work in works.items()},
        setting.device,
        5 if setting.quick else 50,
    )
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path()).fast()
    tokens = sum(len(one.ids) for one in tokenizer.encode_batch_fast(texts))
    floor = operations(tokens) / peak(setting.device, torch.float32)
    rows = [
        [
            name,
            f"{len(texts) / total:,.0f}",
            f"{total / totals['ours']:.2f}×",
            f"{floor / total:.0%}",
            milliseconds(alone[name]),
        ]
        for name, total in totals.items()
    ]
    columns = [
        "",
        "sentences a second",
        "time, ours = 1",
        "share of the peak",
        "one sentence, ms (middle half)",
    ]
    raw: dict[str, Any] = {
        "sentences": len(texts),
        "tokens": tokens,
        "seconds": totals,
        "seconds_a_chunk": {name: spread(values)._asdict() for name, values in turns.items()},
        "latency": {name: times._asdict() for name, times in alone.items()},
    }
    caption = f"{len(texts):,} review sentences through MiniLM, fp32"
    keep(
        "inference",
        setting,
        [Table(caption, columns, rows)],
        raw,
        ["sentence-transformers", "onnxruntime", "onnx", "onnxscript"],
    )


if __name__ == "__main__":
    main()
