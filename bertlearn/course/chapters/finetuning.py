"""What the cells of chapter 5 call: dropout switched on, how far weights moved, names in texts, figures.

Leaves out: heads, labels and scores, which the chapter builds in its own cells.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from nervaluate.evaluator import Evaluator  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn

from bertlearn.course.figures import Picture, plot_bars, plot_curves, plot_matrix
from bertlearn.course.names import NamedText
from bertlearn.course.results import Results
from bertlearn.course.tasks import Cloze, find_phrases
from bertlearn.finetuning.features import FinetuningBatch
from bertlearn.finetuning.run import height
from bertlearn.finetuning.spans import Span, bio_labels, split_words, token_labels
from bertlearn.pretraining.masking import mask_tokens
from bertlearn.tokenizer.wordpiece import Batch, Encoding, WordPieceTokenizer
from bertlearn.training.metrics import Record

# 1. What fine-tuning does to a model


def loss_curve(history: Sequence[Record], width: int = 5) -> tuple[list[float], list[float]]:
    """Return the steps and training losses of a run, each a mean over `width` records one after another."""
    records = [record for record in history if "label_loss" in record]
    groups = [records[start : start + width] for start in range(0, len(records), width)]
    steps = [sum(record["step"] for record in group) / len(group) for group in groups]
    return steps, [sum(record["label_loss"] for record in group) / len(group) for group in groups]


def with_dropout(model: nn.Module, p: float) -> nn.Module:
    """Return a copy of a model in training mode whose dropouts have the probability p."""
    noisy = copy.deepcopy(model)
    for module in noisy.modules():
        if isinstance(module, nn.Dropout):
            module.p = p
    return noisy.train()


def ask_twice(model: nn.Module, batch: FinetuningBatch) -> list[Tensor]:
    """Return the likeliest labels of a batch, int64 (B,), from two calls of a model as it is."""
    torch.manual_seed(0)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.no_grad():
        return [model(**inputs).logits.argmax(-1) for _ in range(2)]


def movement(before: nn.Module, after: nn.Module, layers: int) -> dict[str, float]:
    """Return how far each part of an encoder moved, as a share of the length of its weights."""
    old, moved = torch.zeros(layers + 1), torch.zeros(layers + 1)
    start, end = before.state_dict(), after.state_dict()
    for name in end:
        part = height(f"bert.{name}", layers)
        old[part] += start[name].square().sum()
        moved[part] += (end[name] - start[name]).square().sum()
    parts = ["embeddings", *(f"layer {number}" for number in range(layers))]
    return dict(zip(parts, (moved / old).sqrt().tolist(), strict=True))


def hide_words(tokenizer: WordPieceTokenizer, texts: Sequence[str]) -> tuple[Batch, Tensor]:
    """Return texts with masked words, the same ones in every call, and the labels, int64 (B, S)."""
    batch = tokenizer.encode_batch(texts, max_length=64)
    ids, labels = mask_tokens(batch.input_ids, tokenizer, torch.Generator().manual_seed(0))
    return batch._replace(input_ids=ids), labels


# 2. Names of persons


def marked(text: str, spans: Sequence[Span]) -> str:
    """Return a text with its spans in square brackets."""
    for start, end, _ in reversed(spans):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def numbered(spans: Sequence[Sequence[Span]]) -> set[tuple[int, Span]]:
    """Return the spans of all texts as one set, each with the number of its text."""
    return {(number, span) for number, found in enumerate(spans) for span in found}


def show_corrections(ruled: Sequence[NamedText], corrected: Sequence[NamedText], count: int) -> None:
    """Print the first texts in which the rule's names and those corrected by hand differ."""
    different = [(x, y) for x, y in zip(ruled, corrected, strict=True) if x.spans != y.spans]
    for x, y in different[:count]:
        print(f"\nrule: {marked(x.text, x.spans)}\nhand: {marked(y.text, y.spans)}")


def find_runs(text: str, is_name: Callable[[re.Match[str]], bool]) -> list[Span]:
    """Return the runs of words that `is_name` calls names; it receives each word as a match in the text."""
    spans: list[Span] = []
    for word in re.finditer(r"\w+", text):
        if is_name(word):
            near = spans and text[spans[-1].end : word.start()] == " "
            start = spans.pop().start if near else word.start()
            spans.append(Span(start, word.end(), "PER"))
    return spans


def is_capitalized(word: re.Match[str]) -> bool:
    """Return whether a word has a capital and does not begin its sentence."""
    return word[0][0].isupper() and word.start() > 1


def score_names(
    rows: Sequence[NamedText], found: Sequence[Sequence[Span]], tokenizer: WordPieceTokenizer
) -> tuple[float, float]:
    """Return strict and partial F1 of the names found in each text, against the text's own spans."""
    truth = [_word_labels(x.text, x.spans, tokenizer) for x in rows]
    guessed = [_word_labels(x.text, spans, tokenizer) for x, spans in zip(rows, found, strict=True)]
    scores = Evaluator(truth, guessed, tags=["PER"], loader="list").evaluate()["overall"]
    return scores["strict"].f1, scores["partial"].f1


def _word_labels(text: str, spans: Sequence[Span], tokenizer: WordPieceTokenizer) -> list[str]:
    labels = bio_labels(["PER"])
    encoding = tokenizer.encode(text, max_length=96)
    numbers = token_labels(encoding, spans, {label: number for number, label in enumerate(labels)})
    return [labels[numbers[word.first]] for word in split_words(encoding)]


# 3. Answers, topics, search


def first_phrase(question: Cloze) -> str:
    """Return the first name, date or number of the context that the question does not contain, or ""."""
    phrases = (p.text for p in find_phrases(question.context) if p.kind != "term")
    return next((phrase for phrase in phrases if phrase not in question.question), "")


def word_counts(parts: Mapping[str, Sequence[str]], known: Mapping[str, str]) -> dict[str, Tensor]:
    """Return TF-IDF vectors, floats (texts, words), of several parts; `known` names the part to count in."""
    vectors = {}
    for name, texts in parts.items():
        counter = TfidfVectorizer(sublinear_tf=True).fit(parts[known.get(name, name)])
        vectors[name] = torch.tensor(counter.transform(texts).toarray()).float()
    return vectors


def excerpt(text: str, question: str, width: int = 70) -> str:
    """Return a part of a text, around a word that begins like a long word of the question if there is one."""
    related = "|".join(rf"\b{re.escape(word[:4])}" for word in question.split() if len(word) > 4)
    found = re.search(related, text) if related else None
    start = max(0, found.start() - 30) if found else 0
    return f"…{text[start : start + width]}…"


# 4. Figures; their titles and alt text would give a prediction away if they stood in the cell


def plot_first_runs(accuracies: Mapping[str, float]) -> Picture:
    """Draw the accuracies of two baselines and the four runs of section 2."""
    alt = (
        "Bars of accuracy: always fresh 0.58; head alone and top layer near 0.64; not pretrained 0.67; "
        "word counts and everything 0.70."
    )
    title = "With 1,600 sentences, training everything only reaches word counts"
    return plot_bars(accuracies, title, "accuracy on 1,265 sentences of other films", alt=alt)


def plot_rates(results: Results) -> Picture:
    """Draw the validation accuracy over the learning rate, as mean and range of the seeds."""
    rows = results.where(setting="learning_rate")
    rates = list(dict.fromkeys(row["value"] for row in rows))
    scores = torch.tensor([[row["score"] for row in rows if row["value"] == rate] for rate in rates])
    title = "A learning rate of 0.001 is best: mean and range of three seeds"
    alt = (
        "Validation accuracy over the learning rate, three seeds: 0.675 at 0.0001, 0.729 at 0.0003, "
        "0.760 at 0.001, 0.719 at 0.003."
    )
    curves = {"three seeds": scores.T}
    return plot_curves(rates, curves, title, "learning rate", "validation accuracy", log="x", alt=alt)


def plot_names(scored: Mapping[str, tuple[float, float]]) -> Picture:
    """Draw the strict F1 of each finder of names."""
    alt = "Bars of strict F1: capitals 0.60, names seen in training 0.21, the rule 0.84, MiniLM about 0.8."
    strict = {name: f1 for name, (f1, _) in scored.items()}
    return plot_bars(
        strict, "MiniLM is about as good as its teacher", "strict F1, corrected test set", alt=alt
    )


def plot_movement(moved: Mapping[str, float]) -> Picture:
    """Draw how far each part of MiniLM moved, as shares."""
    percent = {part: round(100 * share, 1) for part, share in moved.items()}
    title, label = "Learning names moved MiniLM's top layer most", "change, % of the weights' length"
    alt = "Bars: embeddings near 1 %, layers 0 to 3 near 3 %, layer 5 near 4 %."
    return plot_bars(percent, title, label, alt=alt)


def plot_pairs(accuracies: Mapping[str, float]) -> Picture:
    """Draw the accuracies of the five ways to tell whether two texts are about the same film."""
    alt = (
        "Bars of accuracy: chance 0.50, word counts 0.73, small BERT by cosine 0.54, MiniLM by cosine 0.78, "
        "small BERT as cross-encoder 0.51."
    )
    title = "The same film? Only MiniLM's vectors beat word counts"
    return plot_bars(accuracies, title, "accuracy on 788 pairs of test films", alt=alt)


def plot_spans(encoding: Encoding, scores: Tensor) -> Picture:
    """Draw the scores of all answers, floats (S, S), where −∞ stands for an answer that is not allowed."""
    title = "Allowed answers are a band in the context, and [CLS]"
    alt = (
        "Heat map of first against last token: a band of three along the diagonal of the context's tokens, "
        "and the one cell of [CLS]."
    )
    allowed = scores.masked_fill(scores.isinf(), torch.nan)
    limits = (0.0, allowed.nan_to_num().max().item())
    tokens = encoding.tokens
    return plot_matrix(allowed, tokens, tokens, title, "last token", "first token", limits=limits, alt=alt)


def plot_topics(accuracies: Mapping[str, float]) -> Picture:
    """Draw how often each kind of vector tells a verse's book."""
    alt = "Bars of accuracy: always Psalms 0.32, word counts 0.63, our small BERT 0.67, MiniLM 0.60."
    title = "Which book is the verse from? Our small BERT is ahead of MiniLM"
    return plot_bars(accuracies, title, "accuracy on 300 verses of other chapters", alt=alt)
