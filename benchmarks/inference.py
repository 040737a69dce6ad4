"""How many sentences a second go through MiniLM, beside sentence-transformers, transformers, ONNX Runtime?

    python -m benchmarks.inference [--quick] [--device cuda]

All 12,751 review sentences become vectors (mean of the token vectors), from text to float32 on the CPU.
Ours is `sentence_vectors` within `prepacked_weights`. ONNX Runtime gets the model exported by torch, and the
best of the others around it: the Rust tokenizer and batches by length. The pipeline is transformers'
"feature-extraction", its mean taken as in ours, once in batches and once as it comes (a sentence at a time).
Weights and products are in fp32, and in bf16 where a peer has it. Then one sentence alone: the latency.
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
BATCHES = {"cpu": 32, "cuda": 256}  # sentences at a time, the same for all
LONGEST = 256  # pieces; no review has as many
PARTS = 16  # in which the reviews go through the peers in turns
AGAIN = 10  # times that one sentence goes through in a turn
Encode = Callable[[list[str]], Tensor]  # N texts to float32 (N, H) on the CPU


def ours(device: torch.device, dtype: torch.dtype, prepared: ExitStack) -> Encode:
    """Return `bertlearn.sentence_vectors` of a model that stays packed until `prepared` ends."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    model = BertModel.from_pretrained(minilm_path()).to(device, dtype).eval()
    prepared.enter_context(prepacked_weights(model))
    return lambda texts: sentence_vectors(model, tokenizer, texts, BATCHES[device.type], LONGEST)


def sentence_transformers(device: torch.device, dtype: torch.dtype) -> Encode:
    """Return `SentenceTransformer.encode` with the same batches."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(str(minilm_path()), max_seq_length=LONGEST)
    model = SentenceTransformer(modules=[body, Pooling(384, "mean")], device=str(device)).to(dtype)
    size = BATCHES[device.type]
    return lambda texts: model.encode(texts, batch_size=size, convert_to_tensor=True).float().cpu()


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
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that nobody needs here
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
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


def peers(device: torch.device, prepared: ExitStack) -> dict[str, Encode]:
    """Return all peers; ONNX Runtime only on a CPU, where its package as it comes runs."""
    fp32, bf16 = torch.float32, torch.bfloat16
    found = {
        "ours": ours(device, fp32, prepared),
        "sentence-transformers": sentence_transformers(device, fp32),
        "pipeline": pipeline(device, BATCHES[device.type]),
        "pipeline as it comes": pipeline(device, 1),
    }
    if device.type == "cpu":
        found["ONNX Runtime"] = onnx_runtime(device)
    return found | {
        "ours, bf16": ours(device, bf16, prepared),
        "sentence-transformers, bf16": sentence_transformers(device, bf16),
    }


def precision(name: str) -> str:
    """Return in what a peer computes."""
    return "bf16" if name.endswith("bf16") else "fp32"


def compare(works: dict[str, Encode], texts: list[str]) -> None:
    """Check that all give the same vectors."""
    first = works["ours"](texts)
    for name, work in works.items():
        check_same(name, first, work(texts), {"fp32": 1e-3, "bf16": 0.05}[precision(name)])


def operations(tokens: int) -> float:
    """Return the multiplications and additions of MiniLM's matrix products with weights."""
    return 2 * tokens * 6 * (4 * 384**2 + 2 * 384 * 1536)


def again(work: Encode, texts: list[str]) -> None:
    """Encode the same some times in a row, as a server does that has work."""
    for _ in range(AGAIN):
        work(texts)


def measure(works: dict[str, Encode], texts: list[str], setting: Setting) -> dict[str, Any]:
    """Send the texts through all peers, a part in turns, then one text alone."""
    parts = [texts[first::PARTS] for first in range(PARTS)]
    turns: dict[str, list[float]] = {name: [] for name in works}
    with peaks(setting.device, *DTYPES) as fastest:
        for part in parts:
            found = in_turns(
                {name: partial(work, part) for name, work in works.items()}, setting.device, 1, 0
            )
            for name, times in found.items():
                turns[name].append(times.median)
    singles = {name: partial(again, work, texts[:1]) for name, work in works.items()}
    alone = in_turns(singles, setting.device, 3 if setting.quick else 30)
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path()).fast()
    tokens = sum(len(one.ids) for one in tokenizer.encode_batch_fast(texts))
    return {
        "sentences": len(texts),
        "tokens": tokens,
        "seconds_a_part": turns,
        "peak": fastest,
        "latency": {name: [value / AGAIN for value in times] for name, times in alone.items()},
    }


def row(name: str, found: dict[str, Any]) -> list[str]:
    """Return a line of the table: a median part stands for all, and beside ours each part by itself."""
    turns = found["seconds_a_part"]
    total, mine = PARTS * median(turns[name]), turns["ours" if precision(name) == "fp32" else "ours, bf16"]
    return [
        name,
        f"{found['sentences'] / total:,.0f}",
        times_as_long(turns[name], mine),
        f"{operations(found['tokens']) / found['peak'][precision(name)] / total:.0%}",
        milliseconds(Times(*found["latency"][name])),
    ]


def main() -> None:
    setting = read_setting("inference", __doc__, packages=PACKAGES)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    texts = load_reviews().sentences[: 256 if setting.quick else None]
    with ExitStack() as prepared:
        works = peers(setting.device, prepared)
        compare(works, texts[:100])
        found = measure(works, texts, setting)
    columns = [
        "",
        "sentences a second",
        "time, ours of this precision = 1 (middle half)",
        "share of the peak",
        "one sentence, ms (middle half)",
    ]
    caption = f"{len(texts):,} review sentences through MiniLM, in batches of {BATCHES[setting.device.type]}"
    table = Table(caption, columns, [row(name, found) for name in works])
    keep(setting, [table], found)


if __name__ == "__main__":
    main()
