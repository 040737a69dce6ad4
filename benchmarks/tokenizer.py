"""How fast is text tokenized, and how fast is a vocabulary learned?

    python -m benchmarks.tokenizer [--quick]

Encoding: the review sentences one by one, and the Wikipedia articles paragraph by paragraph, with BERT's
vocabulary. The peers are ours in pure Python (single-threaded, including offsets), ours with `fast()`, and
the two of transformers: `BertTokenizerLegacy` in Python and `BertTokenizer` in Rust. `fast()` and
`BertTokenizer` use the same Rust library, with all cores.
Learning: ours, the textbook loop, which counts all pairs again for every merge, and the Rust trainer of
`tokenizers` learn from the words of the reviews. All choose merges by frequency; ours is also timed with its
default criterion, likelihood.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import transformers
from tokenizers.trainers import WordPieceTrainer
from tqdm.auto import tqdm

from benchmarks.common import Table, Times, in_turns, keep, read_setting, seconds
from bertlearn import WordPieceTokenizer, load_reviews, minilm_path
from bertlearn.data import load_articles
from bertlearn.tokenizer.learn import learn_wordpieces
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.words import BasicTokenizer

CPU = torch.device("cpu")


def encoders() -> dict[str, Any]:
    """Return the peers: each takes texts and returns their ids.

    Ours caches the words that it has split, so every call uses a new tokenizer, which was made beforehand.
    """
    new = [WordPieceTokenizer.from_pretrained(minilm_path()) for _ in range(20)]
    fast = new[0].fast()

    def pure_python(texts: list[str]) -> list[list[int]]:
        tokenizer = new.pop()
        return [tokenizer.encode(text).input_ids for text in texts]

    legacy = transformers.models.bert.tokenization_bert_legacy.BertTokenizerLegacy(
        str(minilm_path() / "vocab.txt"), model_max_length=10**9
    )
    rust = transformers.BertTokenizer.from_pretrained(minilm_path(), model_max_length=10**9)
    return {
        "ours, pure Python": pure_python,
        "transformers, Python": lambda texts: legacy(texts)["input_ids"],
        "ours, .fast()": lambda texts: [encoding.ids for encoding in fast.encode_batch(texts)],
        "transformers, Rust": lambda texts: rust(texts)["input_ids"],
    }


def compare(works: dict[str, Any], texts: list[str]) -> None:
    """Check that all peers return the same ids."""
    expected = works["ours, pure Python"](texts)
    for name, work in works.items():
        if work(texts) != expected:
            raise SystemExit(
                f"{name} and ours return different ids; a comparison of speed would be meaningless"
            )


def textbook(counts: dict[str, int], vocab_size: int) -> list[str]:
    """Learn a vocabulary as textbooks show it: count all pairs, merge the most frequent one, repeat.

    Ties are broken as in ours: the alphabetically smaller pair comes first.
    """
    words = {word: [word[0], *("##" + letter for letter in word[1:])] for word in counts}
    vocab = [*SPECIAL_TOKENS, *sorted({piece for pieces in words.values() for piece in pieces})]
    while len(vocab) < vocab_size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merged = best[0] + best[1].removeprefix("##")
        if merged not in vocab:
            vocab.append(merged)
        for pieces in words.values():
            index = 0
            while index < len(pieces) - 1:
                if (pieces[index], pieces[index + 1]) == best:
                    pieces[index : index + 2] = [merged]
                index += 1
    return vocab


def rust_trainer(texts: list[str], vocab_size: int) -> list[str]:
    """Learn a vocabulary with the trainer of `tokenizers`, which takes texts, not word counts."""
    tokenizer = WordPieceTokenizer(list(SPECIAL_TOKENS)).fast()
    trainer = WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=1, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return sorted(tokenizer.get_vocab())


def count_words(texts: list[str]) -> Counter[str]:
    """Count the words of texts."""
    basic = BasicTokenizer()
    return Counter(word for text in texts for word in basic.tokenize(text))


def learning(texts: list[str], vocab_size: int) -> dict[str, float]:
    """Return the seconds that each implementation takes to learn a vocabulary from texts."""
    counts = count_words(texts)
    vocabs: dict[str, list[str]] = {}

    def ours(criterion: str) -> None:
        vocabs[f"ours, {criterion}"] = learn_wordpieces(
            counts, vocab_size, criterion, 1, progress=False
        ).vocab

    def loop() -> None:
        vocabs["textbook"] = textbook(counts, vocab_size)

    works = {
        "counting the words, needed by ours and the textbook loop": partial(count_words, texts),
        "ours, by frequency": partial(ours, "frequency"),
        "ours, by likelihood": partial(ours, "likelihood"),
        "textbook loop, by frequency": loop,
        "tokenizers (Rust), by frequency, counting included": partial(rust_trainer, texts, vocab_size),
    }
    bar = tqdm(works.items(), "learning", leave=False, disable=None)
    times = {name: seconds(work, CPU) for name, work in bar}
    shared = len(set(vocabs["ours, frequency"]) & set(vocabs["textbook"])) / vocab_size
    if shared < 0.99:
        raise SystemExit(f"only {shared:.1%} of our vocabulary is also in that of the textbook loop")
    return times


def main() -> None:
    setting = read_setting("tokenizer", __doc__, ["cpu"])
    transformers.utils.logging.set_verbosity_error()
    works, reviews = encoders(), load_reviews().sentences
    texts = {
        "reviews": reviews,
        "Wikipedia": [paragraph for article in load_articles() for paragraph in article.paragraphs],
    }
    if setting.quick:
        texts = {name: lines[:200] for name, lines in texts.items()}
    raw: dict[str, Any] = {"encoding": {}}
    columns, rows = ["", *(f"{name}, MB/s" for name in texts)], {name: [name] for name in works}
    for name, lines in texts.items():
        compare(works, lines)
        times: dict[str, Times] = in_turns(
            {peer: partial(work, lines) for peer, work in works.items()}, CPU, 1 if setting.quick else 5, 1
        )
        size = sum(len(text.encode()) for text in lines) / 1e6
        raw["encoding"][name] = {
            "mb": size,
            "seconds": {peer: value._asdict() for peer, value in times.items()},
        }
        for peer, value in times.items():
            rows[peer].append(f"{size / value.median:.2f}")
    tables = [Table("Encoding", columns, list(rows.values()))]
    vocab_size = 500 if setting.quick else 4096
    durations = learning(texts["reviews"], vocab_size)
    raw["learning"] = durations
    tables.append(
        Table(
            f"Learning a vocabulary of {vocab_size:,} wordpieces from the words of the reviews",
            ["", "seconds", "relative to ours, by frequency"],
            [
                [name, f"{duration:.2f}", f"{duration / durations['ours, by frequency']:.1f}×"]
                for name, duration in durations.items()
            ],
        )
    )
    keep(setting, tables, raw)


if __name__ == "__main__":
    main()
