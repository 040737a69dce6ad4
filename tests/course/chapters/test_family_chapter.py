"""Chapter 7's helpers: the sentences, models of letters under any mask, gaps to write into."""

from __future__ import annotations

import re

import torch

from bertlearn import WordPieceTokenizer, minilm_path
from bertlearn.course.chapters import family as chapter
from bertlearn.course.solutions.family import prefix_mask

TEXT = torch.arange(1, 17)[None]  # a space and the letters a to o


def test_sixty_sentences_with_their_word_once() -> None:
    uses = chapter.uses()
    assert len(uses) == 60 == len({use.sentence for use in uses})
    for use in uses:
        assert re.findall("[a-z]+", use.sentence.lower()).count(use.word) == 1, use
    for word, senses in chapter.SENSES.items():
        assert [len(sentences) for sentences in senses.values()] == [5, 5], word


def test_every_word_is_one_token_of_minilm() -> None:
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    for use in chapter.uses():
        assert tokenizer.tokenize(use.sentence).count(use.word) == 1, use


def test_the_nearest_sense_is_sought_among_the_same_word_only() -> None:
    senses = (("bank", "money"), ("bank", "river"), ("bank", "money"), ("bat", "animal"), ("bat", "animal"))
    uses = [chapter.Use(word, sense, "") for word, sense in senses]
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert chapter.nearest_senses(vectors, uses) == [False, False, False, True, True]
    vectors[2] = torch.tensor([5.0, 0.1])
    assert chapter.nearest_senses(vectors, uses) == [True, False, True, True, True]


def test_letters_of_the_texts() -> None:
    letters = chapter.letters_of("validation")
    assert letters.min() == 1 and letters.max() == chapter.MASK - 1
    assert re.fullmatch("[a-z ]+", chapter.spell(letters[:1000])) and len(letters) > 100_000
    pieces = chapter.sequences(letters, 3, torch.Generator().manual_seed(0))
    assert pieces.shape == (3, chapter.LENGTH) and "  " not in chapter.spell(pieces[0])


def test_what_is_hidden_changes_nothing() -> None:
    model = chapter.letter_model(0).eval()
    other = TEXT.clone()
    other[0, 10] = 20
    with torch.no_grad():
        causal, same = (chapter.scores(model, ids, prefix_mask(16, 0)) for ids in (TEXT, other))
        full, changed = (chapter.scores(model, ids, prefix_mask(16, 16)) for ids in (TEXT, other))
    torch.testing.assert_close(causal[:, :10], same[:, :10])
    assert (causal[:, 10:] - same[:, 10:]).abs().amax(dim=-1).min() > 1e-6
    assert (full - changed).abs().amax(dim=-1).min() > 1e-6


def test_trying_all_letters_gives_the_probability_of_the_text() -> None:
    model, causal = chapter.letter_model(0).eval(), prefix_mask(16, 0)
    likely = chapter.try_all_letters(model, TEXT, causal, 8)
    with torch.no_grad():
        log_probs = chapter.scores(model, TEXT, causal).log_softmax(dim=-1)[0]
    expected = sum(log_probs[i - 1, TEXT[0, i]] for i in range(8, 16))
    torch.testing.assert_close(likely[0, TEXT[0, 8]], expected)
    assert likely.isneginf().nonzero()[:, 1].tolist() == [0, chapter.MASK]
    torch.testing.assert_close(
        chapter.try_all_letters(model, TEXT.index_fill(1, torch.tensor(8), 5), causal, 8), likely
    )


def test_training_learns_and_can_be_repeated() -> None:
    def loss_of(
        model: chapter.BertForMaskedLM, ids: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        logits = chapter.scores(model, ids, prefix_mask(16, 0))
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    letters = torch.arange(1, 28).repeat(40)  # the alphabet again and again
    one, other = (chapter.train(loss_of, letters, steps=60, batch_size=8) for _ in range(2))
    assert one.losses == other.losses and one.losses[-1] < 0.5 * one.losses[0]
    assert not one.model.training


def test_gaps_are_written_and_read() -> None:
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    ids = chapter.with_gaps(tokenizer, "the film", 3)
    assert ids.tolist().count(tokenizer.mask_token_id) == 3 and len(ids) == 8
    assert chapter.read(tokenizer, ids) == "the film _ _ _."
