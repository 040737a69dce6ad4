"""How far does a search index of your own texts go, and when do approximate neighbors pay off?

    python -m benchmarks.search [--quick]

1. `SearchIndex` with MiniLM: texts of 15 words, cut every 5 words from the course's own documents, are
   written to a file and read from it one by one. An index of 50,000 and one of 200,000 texts are built, each
   in a process of its own: time, growth of the memory, size on disk, time to open the index and to answer a
   query. The numbers are extrapolated to a million texts. The smaller index is built once more by a process
   that is killed part way; the same call continues, and the files must be identical.
2. Exact and approximate neighbors of the stored vectors: our scan, which reads half precision from disk, and
   faiss, which holds single precision in memory: its exact scan, a graph (HNSW) and inverted lists (IVF).
   All threads build, one thread searches. Recall is measured against our exact scan.

The queries are texts of held-out documents. Needs 2 GB of memory, and 0.3 GB in the folder for temporary
files (`TMPDIR`).
"""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import (
    Setting,
    Table,
    check_same,
    in_turns,
    keep,
    milliseconds,
    read_setting,
    seconds,
    spread,
    times_as_long,
)
from bertlearn.course.corpus import Split, course_documents
from bertlearn.course.encoders import load_encoder
from bertlearn.search import index as index_module
from bertlearn.search.index import SearchIndex
from bertlearn.search.record import ENDS, FILES, RECORD, TEXTS, VECTORS

WORDS, STEP = 15, 5  # words of a text, and words between the starts of two texts of a document
MAX_LENGTH = 64  # tokens
SIZES, QUICK_SIZES = (50_000, 200_000), (320, 800)  # texts; the smaller index is also interrupted
QUICK_BLOCK = 64  # texts between two records, so that a quick build has something to continue
EXTRAPOLATED = 1_000_000  # texts
QUERIES, QUERIES_A_TURN = 200, 10
OPENINGS, TIMED_QUERIES = 5, 20
K = 10  # neighbors
LINKS, BEAMS = 32, (16, 64, 256)  # of HNSW: M, the links of a vector; efSearch, the candidates kept
PROBES = (1, 8, 32)  # of IVF: nprobe, the lists that are searched
SAMPLING_INTERVAL = 0.05  # seconds between two measurements of the memory
CPU = torch.device("cpu")
SPAWN = multiprocessing.get_context("spawn")


class Case(NamedTuple):
    """An index to build; everything is picklable."""

    folder: Path
    source: Path  # a file with one text per line
    texts: int  # how many of its lines
    block: int  # texts between two records


class Peer(NamedTuple):
    """A way to find neighbors."""

    nearest: Callable[[Tensor], tuple[Tensor, Tensor]]  # (Q, H) to scores and rows, both (Q, K)
    megabytes: float
    build_seconds: float | None = None  # beyond the vectors; None: nothing to build


# The texts


def windows(split: Split) -> Iterator[str]:
    """Yield distinct texts of WORDS words, cut from the course's documents, which are in a mixed order."""
    documents = course_documents(split)
    random.Random(0).shuffle(documents)
    seen: set[str] = set()
    for document in documents:
        words = document.text.split()
        for start in range(0, max(1, len(words) - WORDS + 1), STEP):
            text = " ".join(words[start : start + WORDS])
            if text not in seen:
                seen.add(text)
                yield text


def write_texts(path: Path, count: int) -> list[str]:
    """Write texts for an index, one per line; return queries from other documents."""
    texts = list(islice(windows("train"), count))
    if len(texts) < count:
        raise SystemExit(f"the course's documents give only {len(texts):,} texts, {count:,} are needed")
    path.write_text("\n".join([*texts, ""]), encoding="utf-8", newline="\n")
    return random.Random(0).sample(sorted(set(windows("validation")) - set(texts)), QUERIES)


def lines(case: Case) -> Iterator[str]:
    """Yield the texts of an index one by one, without holding them in memory."""
    with case.source.open(encoding="utf-8", newline="\n") as file:
        for line in islice(file, case.texts):
            yield line.removesuffix("\n")


# 1. An index


def build(case: Case) -> dict[str, float]:
    """Build or continue an index; return the seconds, and the peak growth of this process in MB."""
    tqdm.set_lock(threading.RLock())  # by default one that a killed process would leave to the others
    index_module.BLOCK = case.block
    index = SearchIndex(case.folder, *load_encoder("minilm"), MAX_LENGTH)
    with memory_growth() as growth:
        duration = seconds(lambda: index.build(lines(case)), CPU)
    return {"seconds": duration, "memory_mb": growth[0] / 1e6}


@contextmanager
def memory_growth() -> Iterator[list[int]]:
    """Yield a list that afterwards holds the peak growth of this process during the block, in bytes."""
    process, done, growth = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(SAMPLING_INTERVAL):
            growth[0] = max(growth[0], process.memory_info().rss - before)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch)
        try:
            yield growth
        finally:
            done.set()


def build_apart(case: Case) -> dict[str, float]:
    """Build or continue an index in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(build, case).result()


def use(index: SearchIndex, queries: list[str]) -> dict[str, float]:
    """Return the median seconds to open an index, which verifies its files, and to answer a query."""
    parts = (index.folder, index.encoder, index.tokenizer)
    opening = [seconds(lambda: SearchIndex(*parts), CPU) for _ in range(OPENINGS)]
    answering = [seconds(partial(index.search, query, K), CPU) for query in queries[:TIMED_QUERIES]]
    return {"open": median(opening), "query": median(answering)}


def measure_index(case: Case, queries: list[str]) -> dict[str, Any]:
    """Build an index and use it."""
    built = build_apart(case)
    index = SearchIndex(case.folder, *load_encoder("minilm"))
    if len(index) != case.texts:
        raise SystemExit(f"{case.folder} holds {len(index):,} texts, expected {case.texts:,}")
    return {"texts": case.texts, **built, "bytes": index.record.sizes, **use(index, queries)}


def interrupted(case: Case) -> dict[str, Any]:
    """Kill a build once half of the texts are complete, and continue it with the same call."""
    process = SPAWN.Process(target=build, args=(case,))
    process.start()
    while process.is_alive() and complete(case.folder) < case.texts / 2:
        time.sleep(SAMPLING_INTERVAL)
    process.kill()  # SIGKILL: the process cannot tidy up
    process.join()
    kept = complete(case.folder)
    if not 0 < kept < case.texts:
        raise SystemExit(f"{kept:,} of {case.texts:,} texts are complete: the build was not killed part way")
    return {"texts": case.texts, "kept": kept, "seconds": build_apart(case)["seconds"]}


def complete(folder: Path) -> int:
    """Return the number of texts that an index counts as complete."""
    record = folder / RECORD
    return json.loads(record.read_text(encoding="utf-8"))["texts"] if record.exists() else 0


def check_identical(one: Path, other: Path) -> None:
    """End the benchmark if two indexes differ in any byte."""
    for name in (*FILES, RECORD):
        if (one / name).read_bytes() != (other / name).read_bytes():
            raise SystemExit(
                f"{name} differs between a build in one go and one that was killed and continued"
            )


def extrapolate(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return what EXTRAPOLATED texts would take: bytes, and seconds to build, to open and per query.

    Building and size are in proportion to the texts of the larger index. Opening and a query also have a
    fixed part, so they follow the line through both indexes; it does not fall.
    """
    small, large = runs
    factor = EXTRAPOLATED / large["texts"]
    beyond = (EXTRAPOLATED - large["texts"]) / (large["texts"] - small["texts"])
    lined = {what: large[what] + beyond * max(0.0, large[what] - small[what]) for what in ("open", "query")}
    return {"seconds": factor * large["seconds"], "bytes": factor * sum(large["bytes"].values()), **lined}


# 2. Neighbors


def load_faiss() -> Any:
    """Return the module faiss, without types: its stubs lack the parameters of a search."""
    import faiss  # here, because processes that only build an index do without it

    return faiss


def peers(index: SearchIndex) -> dict[str, Peer]:
    """Return all ways to find neighbors; those of faiss are built with as many threads as torch uses."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    vectors = np.fromfile(index.folder / VECTORS, "<f2").reshape(len(index), -1).astype(np.float32)
    size, inner = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    lists = round(4 * math.sqrt(len(vectors)))
    coarse = faiss.IndexFlatIP(size)  # kept in a variable: faiss does not own it
    inverted = faiss.IndexIVFFlat(coarse, size, lists, inner)
    inverted.cp.min_points_per_centroid = 1  # no warning about a quick run's few vectors
    beams = {f"HNSW, efSearch {beam}": faiss.SearchParametersHNSW(efSearch=beam) for beam in BEAMS}
    probes = {
        f"IVF of {lists:,} lists, nprobe {count}": faiss.SearchParametersIVF(nprobe=count) for count in PROBES
    }
    return {
        "ours, exact": Peer(lambda queries: index.nearest(queries, K), index.record.sizes[VECTORS] / 1e6),
        **faiss_peers(faiss.IndexFlatIP(size), vectors, {"exact": None}),
        **faiss_peers(faiss.IndexHNSWFlat(size, LINKS, inner), vectors, beams),
        **faiss_peers(inverted, vectors, probes),
    }


def faiss_peers(index: Any, vectors: np.ndarray, options: dict[str, Any]) -> dict[str, Peer]:
    """Build an index of faiss from vectors (N, H); return a peer for each of its search parameters."""
    faiss = load_faiss()

    def fill() -> None:
        index.train(vectors)  # only inverted lists learn something
        index.add(vectors)

    def nearest(params: Any, queries: Tensor) -> tuple[Tensor, Tensor]:
        scores, rows = index.search(queries.numpy(), K, params=params)
        return torch.from_numpy(scores), torch.from_numpy(rows)

    duration = seconds(fill, CPU)
    megabytes = faiss.serialize_index(index).nbytes / 1e6
    return {
        f"faiss, {name}": Peer(partial(nearest, params), megabytes, duration)
        for name, params in options.items()
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and faiss use one thread inside the block."""
    faiss = load_faiss()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)


def measure_neighbors(index: SearchIndex, queries: list[str], setting: Setting) -> dict[str, Any]:
    """Compare what all peers find, then let them take turns at groups of queries, one query at a time."""
    works = peers(index)
    with one_thread():
        encoding = [seconds(partial(index.vectors, [query]), CPU) for query in queries[:TIMED_QUERIES]]
        vectors = index.vectors(queries)  # (Q, H)
        found = {name: peer.nearest(vectors) for name, peer in works.items()}
        check_same("faiss, exact", found["ours, exact"][0], found["faiss, exact"][0], 1e-4)
        groups = vectors.split(QUERIES_A_TURN)[: 2 if setting.quick else None]
        turns: dict[str, list[float]] = {name: [] for name in works}
        for group in groups:
            timed = {name: partial(one_by_one, peer, group) for name, peer in works.items()}
            for name, times in in_turns(timed, CPU, 1, 0).items():
                turns[name].append(times.median / len(group))
    expected = found["ours, exact"][1]
    return {
        "texts": len(index),
        "encode": median(encoding),
        "query": turns,
        "recall": {name: recall(rows, expected) for name, (_, rows) in found.items()},
        "megabytes": {name: peer.megabytes for name, peer in works.items()},
        "build": {name: peer.build_seconds for name, peer in works.items()},
    }


def one_by_one(peer: Peer, vectors: Tensor) -> None:
    """Find the neighbors of each vector (Q, H) with a call of its own."""
    for number in range(len(vectors)):
        peer.nearest(vectors[number : number + 1])


def recall(found: Tensor, expected: Tensor) -> float:
    """Return the share of the expected rows (Q, K) that were found, in any order."""
    return (expected[:, :, None] == found[:, None, :]).any(2).float().mean().item()


# The report


def index_table(runs: list[dict[str, Any]]) -> Table:
    columns = ["texts", "build, s", "texts per second", "memory growth, MB", "relative to the smaller index"]
    columns += [f"{name}, MB" for name in (VECTORS, TEXTS, ENDS)]
    columns += ["open and verify, ms", "a query, ms"]
    rows = [
        [
            f"{run['texts']:,}",
            f"{run['seconds']:,.1f}",
            f"{run['texts'] / run['seconds']:,.0f}",
            f"{run['memory_mb']:,.0f}",
            f"{run['memory_mb'] / runs[0]['memory_mb']:.2f}×",
            *(f"{run['bytes'][name] / 1e6:,.1f}" for name in (VECTORS, TEXTS, ENDS)),
            f"{1e3 * run['open']:,.0f}",
            f"{1e3 * run['query']:,.1f}",
        ]
        for run in runs
    ]
    return Table(f"An index of texts of {WORDS} words, with MiniLM", columns, rows)


def extrapolated_table(guess: dict[str, float]) -> Table:
    row = [
        f"{EXTRAPOLATED:,}",
        f"{guess['seconds'] / 3600:.1f}",
        f"{guess['bytes'] / 1e9:.2f}",
        f"{1e3 * guess['open']:,.0f}",
        f"{1e3 * guess['query']:,.0f}",
    ]
    columns = ["texts", "build, hours", "on disk, GB", "open and verify, ms", "a query, ms"]
    return Table("Extrapolated linearly from the table above, not measured", columns, [row])


def interrupted_table(run: dict[str, Any], whole: float) -> Table:
    columns = ["texts", "complete when killed", "built in one go, s", "the rest after the kill, s", "files"]
    row = [f"{run['texts']:,}", f"{run['kept']:,}", f"{whole:,.1f}", f"{run['seconds']:,.1f}", "identical"]
    return Table("A build that was killed, and continued by the same call", columns, [row])


def neighbors_table(result: dict[str, Any]) -> Table:
    turns, exact = result["query"], result["query"]["ours, exact"]
    rows = [
        [
            name,
            "–" if (built := result["build"][name]) is None else f"{built:,.1f}",
            f"{result['megabytes'][name]:,.1f}",
            fine_milliseconds(turns[name]),
            times_as_long(exact, turns[name]),
            f"{result['recall'][name]:.3f}",
        ]
        for name in turns
    ]
    columns = ["", "build, s", "MB", "a query, ms (interquartile range)"]
    columns += ["speedup over our scan (interquartile range)", f"recall@{K}"]
    caption = (
        f"The {K} nearest of {result['texts']:,} vectors, one query at a time with one thread, without the "
        f"{1e3 * result['encode']:.0f} ms that MiniLM takes for the query's vector"
    )
    return Table(caption, columns, rows)


def fine_milliseconds(values: list[float]) -> str:
    """Format seconds and their interquartile range in ms, with two digits where they are below 10 ms."""
    times = spread(values)
    if times.median >= 0.01:
        return milliseconds(times)
    return f"{1e3 * times.median:.2f} ({1e3 * times.low:.2f}–{1e3 * times.high:.2f})"


def main() -> None:
    setting = read_setting("search", __doc__, ["cpu"], ["faiss-cpu"])
    sizes, block = (QUICK_SIZES, QUICK_BLOCK) if setting.quick else (SIZES, index_module.BLOCK)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        source = home / "texts.txt"
        queries = write_texts(source, max(sizes))[: 2 * QUERIES_A_TURN if setting.quick else None]
        cases = [Case(home / f"{size}", source, size, block) for size in sizes]
        runs = []
        for case in cases:
            runs.append(measure_index(case, queries))
            print(f"{case.texts:,} texts: {runs[-1]['seconds']:,.0f} s", flush=True)
        killed = cases[0]._replace(folder=home / "killed")
        continued = interrupted(killed)
        check_identical(cases[0].folder, killed.folder)
        largest = SearchIndex(cases[-1].folder, *load_encoder("minilm"))
        neighbors = measure_neighbors(largest, queries, setting)
    guess = extrapolate(runs)
    tables = [
        index_table(runs),
        extrapolated_table(guess),
        interrupted_table(continued, runs[0]["seconds"]),
        neighbors_table(neighbors),
    ]
    raw = {"index": runs, "extrapolated": guess, "interrupted": continued, "neighbors": neighbors}
    keep(setting, tables, raw)


if __name__ == "__main__":
    main()
