"""What the cells of chapter 5 call: dropout switched on, how far weights moved, names in texts, figures.

Leaves out: heads, labels and scores, which the chapter builds in its own cells.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Mapping, Sequence, Set
from textwrap import fill

import torch
from nervaluate.evaluator import Evaluator  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn

from bertlearn.course.corpus import course_documents
from bertlearn.course.figures import Picture, plot_bars, plot_curves, plot_matrix
from bertlearn.course.names import NamedText
from bertlearn.course.results import Results
from bertlearn.course.tasks import Cloze, FilmPair, find_phrases, split_sentences
from bertlearn.data.corpora import Verse, load_bible, load_plots
from bertlearn.finetuning.features import FinetuningBatch
from bertlearn.finetuning.run import height
from bertlearn.finetuning.spans import Span, bio_labels, split_words, token_labels
from bertlearn.pretraining.masking import mask_tokens
from bertlearn.tokenizer.encoding import Batch, Encoding
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.metrics import Record

# 1. What fine-tuning does to a model


def loss_curve(history: Sequence[Record], width: int = 5) -> tuple[list[float], list[float]]:
    """Return the steps and training losses of a run, each a mean over `width` records one after another."""
    records = [record for record in history if "label_loss" in record]
    groups = [records[start : start + width] for start in range(0, len(records), width)]
    steps = [sum(record["step"] for record in group) / len(group) for group in groups]
    return steps, [sum(record["label_loss"] for record in group) / len(group) for group in groups]


def losses_by_epoch(history: Sequence[Record], epochs: int) -> tuple[list[float], list[float]]:
    """Return the mean training loss of each epoch, and the held-out loss after each epoch, in nats.

    history: of a run of `epochs` epochs with as many steps each.
    """
    steps = max(record["step"] for record in history) / epochs
    training: list[list[float]] = [[] for _ in range(epochs)]
    for record in history:
        if "label_loss" in record:
            training[int((record["step"] - 1) // steps)].append(record["label_loss"])
    held_out = [record["valid_label_loss"] for record in history if "valid_label_loss" in record]
    return [sum(losses) / len(losses) for losses in training], held_out


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


def held_out_verses() -> list[str]:
    """Return the verses of the Bible that the course's corpus holds out for validation."""
    chapters = [document.text for document in course_documents("validation") if document.source == "bible"]
    return [verse for text in chapters for verse in text.split("\n")]


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
        print()
        for label, named in (("rule: ", x), ("hand: ", y)):
            print(fill(label + marked(named.text, named.spans), 88, subsequent_indent=6 * " "))


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


def is_known(words: Set[str]) -> Callable[[re.Match[str]], bool]:
    """Return a function for `find_runs` that says whether a word is one of `words`."""
    return lambda word: word[0] in words


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


# 3. Pairs, answers, topics, search


def pair_cosines(
    pairs: Sequence[FilmPair], vectors_of: Callable[[list[str]], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the cosine of the two texts of each pair, floats (P,), and the pairs' labels, int64 (P,).

    vectors_of: turns N texts into N vectors; it is called once, with each text once.
    """
    texts = sorted({text for pair in pairs for text in (pair.first, pair.second)})
    vectors = dict(zip(texts, vectors_of(texts), strict=True))
    first = torch.stack([vectors[pair.first] for pair in pairs])
    second = torch.stack([vectors[pair.second] for pair in pairs])
    return torch.cosine_similarity(first, second), torch.tensor([pair.label for pair in pairs])


def show_answers(questions: Sequence[Cloze], said: Sequence[str]) -> None:
    """Print each question with the right answer and the reader's; a dash means "no answer"."""
    for x, answer in zip(questions, said, strict=True):
        print(f"\n{fill(x.question, 88)}\n  right: {x.answer or '–':16} reader: {answer or '–'}")


def load_verses(books: Sequence[str], learn: int, test: int) -> tuple[list[Verse], list[Verse]]:
    """Return verses of these books in random order: some to learn from, some to test with.

    Those for the test are from every fourth chapter of a book, the others from the rest.
    """
    verses = [verse for verse in load_bible() if verse.book in books]
    random.Random(0).shuffle(verses)
    others = [verse for verse in verses if verse.chapter % 4]
    return others[:learn], [verse for verse in verses if verse.chapter % 4 == 0][:test]


def cut_plots(count: int) -> tuple[list[str], list[str], list[str]]:
    """Return films, their plots without the last sentence, and these last sentences.

    They are the first `count` plots that have at least three sentences.
    """
    plots = [(plot.film, split_sentences(plot.text)) for plot in load_plots()]
    plots = [(film, sentences) for film, sentences in plots if len(sentences) > 2][:count]
    bodies = [" ".join(sentences[:-1]) for _, sentences in plots]
    return [film for film, _ in plots], bodies, [sentences[-1] for _, sentences in plots]


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
        "Bars of accuracy: always fresh is lowest; then the head alone and the top layer with the head; then "
        "not pretrained; word counts and everything are highest."
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
    alt = (
        "Bars of strict F1: names seen in training are lowest, capitals higher; the rule and MiniLM are "
        "highest and close together."
    )
    strict = {name: f1 for name, (f1, _) in scored.items()}
    return plot_bars(
        strict, "MiniLM is about as good as its teacher", "strict F1, corrected test set", alt=alt
    )


def plot_movement(moved: Mapping[str, float]) -> Picture:
    """Draw how far each part of MiniLM moved, as shares."""
    percent = {part: round(100 * share, 1) for part, share in moved.items()}
    title, label = "Learning names moved MiniLM's top layer most", "change, % of the weights' length"
    alt = "Bars of change: the embeddings moved least, the lower layers more, the top layer most."
    return plot_bars(percent, title, label, alt=alt)


def plot_pairs(accuracies: Mapping[str, float]) -> Picture:
    """Draw the accuracies of the five ways to tell whether two texts are about the same film."""
    alt = (
        "Bars of accuracy: MiniLM by cosine is highest, then word counts; the small BERT is close to chance, "
        "by cosine and as cross-encoder."
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
    alt = (
        "Bars of accuracy: always Psalms is far below the others; our small BERT is highest, then word "
        "counts and MiniLM."
    )
    title = "Which book is the verse from? Our small BERT is ahead of MiniLM"
    return plot_bars(accuracies, title, "accuracy on 300 verses of other chapters", alt=alt)
