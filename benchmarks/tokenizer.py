"""How fast is text cut into pieces, and how fast is a vocabulary learned?

    python -m benchmarks.tokenizer [--quick]

Encoding: the review sentences one by one, and the articles of Wikipedia paragraph by paragraph, with BERT's
vocabulary. Ours in pure Python (ids, offsets and all, by one thread), ours as `fast()`, and transformers'
two: `BertTokenizerLegacy` in Python and `BertTokenizer` in Rust; the Rust ones with all cores. `fast()` and
`BertTokenizer` are the same library below. Learning: from the words of the reviews, ours beside the loop of
textbooks, which counts all pairs anew for every merge, and `tokenizers`' trainer in Rust, which chooses by
frequency, as ours does here too.
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

    Ours remembers the words that it has cut, so there is a new one at every call, made beforehand.
    """
    new = [WordPieceTokenizer.from_pretrained(minilm_path()) for _ in range(20)]
    fast = new[0].fast()

    def own(texts: list[str]) -> list[list[int]]:
        tokenizer = new.pop()
        return [tokenizer.encode(text).input_ids for text in texts]

    legacy = transformers.models.bert.tokenization_bert_legacy.BertTokenizerLegacy(
        str(minilm_path() / "vocab.txt"), model_max_length=10**9
    )
    rust = transformers.BertTokenizer.from_pretrained(minilm_path(), model_max_length=10**9)
    return {
        "ours, pure Python": own,
        "transformers, Python": lambda texts: legacy(texts)["input_ids"],
        "ours, .fast()": lambda texts: [one.ids for one in fast.encode_batch(texts)],
        "transformers, Rust": lambda texts: rust(texts)["input_ids"],
    }


def compare(works: dict[str, Any], texts: list[str]) -> None:
    """Check that all give the same ids."""
    expected = works["ours, pure Python"](texts)
    for name, work in works.items():
        if work(texts) != expected:
            raise SystemExit(f"{name} gives other ids than ours; a comparison of speed would mean nothing")


def textbook(counts: dict[str, int], vocab_size: int) -> list[str]:
    """Learn a vocabulary by frequency as textbooks show it: count all pairs, merge the best, begin again.

    Ties as in ours: the alphabetically smaller pair first.
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
            place = 0
            while place < len(pieces) - 1:
                if (pieces[place], pieces[place + 1]) == best:
                    pieces[place : place + 2] = [merged]
                place += 1
    return vocab


def rust_trainer(texts: list[str], vocab_size: int) -> list[str]:
    """Learn a vocabulary with `tokenizers`, from texts, as it wants it."""
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
    """Return the seconds that each way takes to learn from texts."""
    counts = count_words(texts)
    found: dict[str, list[str]] = {}

    def own(criterion: str) -> None:
        found[f"ours, {criterion}"] = learn_wordpieces(counts, vocab_size, criterion, 1, progress=False).vocab

    def loop() -> None:
        found["textbook"] = textbook(counts, vocab_size)

    works = {
        "counting the words, before ours and the textbook's": partial(count_words, texts),
        "ours, by frequency": partial(own, "frequency"),
        "ours, by likelihood": partial(own, "likelihood"),
        "textbook loop, by frequency": loop,
        "tokenizers (Rust), by frequency, counting included": partial(rust_trainer, texts, vocab_size),
    }
    bar = tqdm(works.items(), "learning", leave=False, disable=None)
    times = {name: seconds(work, CPU) for name, work in bar}
    same = len(set(found["ours, frequency"]) & set(found["textbook"])) / vocab_size
    if same < 0.99:
        raise SystemExit(f"ours and the textbook's vocabulary share only {same:.1%}; they do not do the same")
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
        texts = {name: own[:200] for name, own in texts.items()}
    raw: dict[str, Any] = {"encoding": {}}
    columns, lines = ["", *(f"{name}, MB/s" for name in texts)], {name: [name] for name in works}
    for name, own in texts.items():
        compare(works, own)
        times: dict[str, Times] = in_turns(
            {peer: partial(work, own) for peer, work in works.items()}, CPU, 1 if setting.quick else 5, 1
        )
        size = sum(len(text.encode()) for text in own) / 1e6
        raw["encoding"][name] = {
            "mb": size,
            "seconds": {peer: found._asdict() for peer, found in times.items()},
        }
        for peer, found in times.items():
            lines[peer].append(f"{size / found.median:.2f}")
    tables = [Table("Encoding", columns, list(lines.values()))]
    vocab_size = 500 if setting.quick else 4096
    learned = learning(texts["reviews"], vocab_size)
    raw["learning"] = learned
    tables.append(
        Table(
            f"Learning {vocab_size:,} pieces from the reviews' words",
            ["", "seconds", "ours by frequency = 1"],
            [
                [name, f"{taken:.2f}", f"{taken / learned['ours, by frequency']:.1f}×"]
                for name, taken in learned.items()
            ],
        )
    )
    keep(setting, tables, raw)


if __name__ == "__main__":
    main()
