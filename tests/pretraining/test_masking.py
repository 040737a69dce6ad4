"""The statistics of masking."""

from __future__ import annotations

import math

import pytest
import torch

from bertlearn.model.heads import IGNORE
from bertlearn.pretraining.masking import Masking, choose_spans, mask_tokens
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    """Return a tokenizer in whose vocabulary about every third token continues a word."""
    tokens = [f"##p{i}" if i % 3 == 0 else f"w{i}" for i in range(295)]
    return WordPieceTokenizer([*SPECIAL_TOKENS, *tokens])


def masking_text(tokenizer: WordPieceTokenizer, rows: int, seed: int) -> torch.Tensor:
    """Return rows [CLS] tokens [SEP] tokens [SEP] with some [UNK], and padding of different lengths."""
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(5, tokenizer.vocab_size, (rows, 128), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.02] = tokenizer.unk_token_id
    ids[:, 0], ids[:, 60], ids[:, 127] = (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.sep_token_id,
    )
    lengths = torch.randint(70, 129, (rows, 1), generator=generator)
    return torch.where(torch.arange(128) < lengths, ids, tokenizer.pad_token_id)


def check_share(count: int, draws: int, share: float) -> None:
    """Allow five standard deviations: a correct implementation fails once in two million."""
    z = (count - draws * share) / math.sqrt(draws * share * (1 - share))
    assert abs(z) < 5, f"{count} of {draws} is {z:.1f} standard deviations from {share}"


@pytest.mark.parametrize("masking", ["tokens", "words", "spans"])
@pytest.mark.parametrize("seed", range(4))
def test_the_shares_of_masking(tokenizer: WordPieceTokenizer, seed: int, masking: Masking) -> None:
    ids = masking_text(tokenizer, 1500, seed)
    generator = torch.Generator().manual_seed(seed)
    masked, labels = mask_tokens(ids, tokenizer, generator, 0.15, masking)
    chosen, special = labels != IGNORE, ids < 5
    ordinary = int((~special).sum())
    assert ordinary > 100_000
    assert not (chosen & special).any()
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(masked[~chosen], ids[~chosen])
    became_mask = masked[chosen] == tokenizer.mask_token_id
    kept = masked[chosen] == ids[chosen]
    count = int(chosen.sum())
    if masking == "tokens":  # what is chosen together makes the count vary more
        check_share(count, ordinary, 0.15)
    check_share(int(became_mask.sum()), count, 0.8)
    check_share(int(kept.sum()), count, 0.1 + 0.1 / 295)  # a random token may be the same
    replaced = masked[chosen][~became_mask & ~kept]
    check_share(len(replaced), count, 0.1 - 0.1 / 295)
    assert replaced.min() >= 5
    assert len(replaced.unique()) > 290  # all tokens, not a few


@pytest.mark.parametrize("seed", range(4))
def test_words_are_chosen_with_all_tokens_or_not_at_all(tokenizer: WordPieceTokenizer, seed: int) -> None:
    ids = masking_text(tokenizer, 1500, seed)
    generator = torch.Generator().manual_seed(seed)
    _, labels = mask_tokens(ids, tokenizer, generator, 0.15, masking="words")
    chosen = labels != IGNORE
    continues = torch.tensor([token.startswith("##") for token in tokenizer.ids_to_tokens])[ids]
    inside = continues[:, 1:] & (ids[:, :-1] >= 5)  # a token after another token of its word
    assert torch.equal(chosen[:, 1:][inside], chosen[:, :-1][inside])
    starts = (ids >= 5) & ~torch.nn.functional.pad(inside, (1, 0))
    check_share(int((chosen & starts).sum()), int(starts.sum()), 0.15)
    single = mask_tokens(ids, tokenizer, torch.Generator().manual_seed(seed), 0.15)[1] != IGNORE
    assert not torch.equal(single[:, 1:][inside], single[:, :-1][inside])


def test_a_sequence_that_begins_within_a_word(tokenizer: WordPieceTokenizer) -> None:
    """`##p0 ##p3 w1` at the very front, and after [CLS]: the rest of a word counts as one word."""
    front, other = tokenizer.vocab["##p0"], tokenizer.vocab["##p3"]
    word, cls = tokenizer.vocab["w1"], tokenizer.cls_token_id
    ids = torch.tensor([[front, other, word, word], [cls, front, other, word]]).repeat(4000, 1)
    _, labels = mask_tokens(ids, tokenizer, torch.Generator().manual_seed(0), 0.3, masking="words")
    chosen = labels != IGNORE
    assert torch.equal(chosen[0::2, 0], chosen[0::2, 1])
    assert torch.equal(chosen[1::2, 1], chosen[1::2, 2])
    assert not chosen[1::2, 0].any()
    for column in (chosen[0::2, 0], chosen[1::2, 1], chosen[0::2, 2]):
        check_share(int(column.sum()), 4000, 0.3)


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_spans_cover_their_share_of_all_positions(tokenizer: WordPieceTokenizer, probability: float) -> None:
    ids = torch.randint(5, tokenizer.vocab_size, (6000, 40), generator=torch.Generator().manual_seed(0))
    chosen = choose_spans(ids, tokenizer, torch.Generator().manual_seed(1), probability)
    assert chosen.float().mean() == pytest.approx(probability, rel=0.02)
    assert chosen[:, 0].float().mean() == pytest.approx(probability, rel=0.08)  # spans begin before the text


def test_spans_have_whole_words_and_geometric_lengths(tokenizer: WordPieceTokenizer) -> None:
    """At a low probability spans hardly ever meet, so that their lengths can be read off."""
    ids = torch.randint(5, tokenizer.vocab_size, (40000, 40), generator=torch.Generator().manual_seed(0))
    starts = ids % 3 != tokenizer.vocab["##p0"] % 3  # every third token continues a word
    starts[:, 0] = True
    chosen = choose_spans(ids, tokenizer, torch.Generator().manual_seed(1), 0.01)
    assert torch.equal(chosen[:, 1:][~starts[:, 1:]], chosen[:, :-1][~starts[:, 1:]])
    lengths = []
    for row_starts, row in zip(starts, chosen, strict=True):
        words = "".join("x" if word else " " for word in row[row_starts].tolist())
        lengths += [len(span) for span in words[1:-1].split() if not words.strip(" ").startswith("x" * 11)]
    whole = [words for words in lengths if words <= 10]
    assert len(whole) > 2000 and len(whole) / len(lengths) > 0.97
    assert sum(words == 1 for words in whole) / len(whole) == pytest.approx(0.2 / (1 - 0.8**10), abs=0.05)


def test_the_same_state_gives_the_same_masks(tokenizer: WordPieceTokenizer) -> None:
    ids = masking_text(tokenizer, 4, 0)
    before = ids.clone()
    first, second, third = (
        mask_tokens(ids, tokenizer, torch.Generator().manual_seed(seed), 0.15) for seed in (3, 3, 4)
    )
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[1], third[1])
    assert torch.equal(ids, before)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, 15.0, math.nan])
def test_an_invalid_probability_is_rejected(tokenizer: WordPieceTokenizer, probability: float) -> None:
    ids = masking_text(tokenizer, 1, 0)
    with pytest.raises(ValueError, match=r"must lie between 0 and 1, for example 0\.15"):
        mask_tokens(ids, tokenizer, torch.Generator(), probability)


def test_an_unknown_masking_is_named(tokenizer: WordPieceTokenizer) -> None:
    with pytest.raises(ValueError, match="masking='sentences' is unknown; use tokens, words or spans"):
        mask_tokens(masking_text(tokenizer, 1, 0), tokenizer, torch.Generator(), 0.15, "sentences")  # type: ignore[arg-type]
