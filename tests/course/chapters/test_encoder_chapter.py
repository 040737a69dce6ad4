"""What chapter 3's cells call."""

from __future__ import annotations

import pytest
import torch

from bertlearn import BertModel, WordPieceTokenizer, load_reviews, minilm_path
from bertlearn.course.chapters import encoder as chapter
from bertlearn.model.config import BertConfig

ORDERS = {
    "f(x)": lambda x, f, n: f(x),
    "n(x + f(x)), post-LN": lambda x, f, n: n(x + f(x)),
    "x + f(n(x)), pre-LN": lambda x, f, n: x + f(n(x)),
}


def test_post_ln_through_the_sublayers_is_the_encoder_itself() -> None:
    encoder = chapter.random_encoder(seed=1, layers=2)
    states, _ = chapter.run_random(encoder, ORDERS["n(x + f(x)), post-LN"], pre_norm=False)
    for mine, state in zip(states, encoder(states[0])[0], strict=True):
        torch.testing.assert_close(mine, state)


def test_signals_have_a_shape_for_each_quantity_and_repeat() -> None:
    threads = torch.get_num_threads()
    found = chapter.signals(ORDERS, seeds=2)
    assert torch.get_num_threads() == threads
    assert set(found) == {"size", "cosine", "alike", "gradient"}
    for by_order in found.values():
        assert {name: tuple(values.shape) for name, values in by_order.items()} == dict.fromkeys(
            ORDERS, (2, 13)
        )
    assert found["cosine"]["f(x)"][:, 0] == pytest.approx(1.0)
    assert found["size"]["n(x + f(x)), post-LN"][:, 1:] == pytest.approx(1.0, abs=1e-3)
    again = chapter.signals({"f(x)": ORDERS["f(x)"]}, seeds=2)
    assert torch.equal(again["gradient"]["f(x)"], found["gradient"]["f(x)"])
    assert not torch.equal(found["size"]["f(x)"][0], found["size"]["f(x)"][1])  # another seed


def test_gradients_are_those_of_the_loss() -> None:
    encoder = chapter.random_encoder(seed=0, layers=12)
    states, loss = chapter.run_random(encoder, ORDERS["f(x)"], pre_norm=False)
    [last] = torch.autograd.grad(loss, states[-1])
    assert chapter.signal(ORDERS["f(x)"], seed=0)["gradient"][-1] == pytest.approx(last.norm())


def test_lengths_are_printed_a_line_for_each_token(capsys: pytest.CaptureFixture[str]) -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    chapter.print_lengths(["[CLS]", "a"], {"word": vectors, "ten times": 10 * vectors})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["word", "ten", "times"], ["[CLS]", "5.00", "50.00"], ["a", "1.00", "10.00"]]


def test_an_update_is_measured_by_what_it_is_added_to() -> None:
    states = torch.tensor([[[3.0, 4.0]], [[3.0, 5.0]], [[0.0, 1.0]]])  # three steps of one token
    updates = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]])
    assert chapter.update_shares(states, updates).flatten() == pytest.approx([0.0, 1 / 5, 0.0])


def test_films_are_chosen_by_chance_but_always_the_same() -> None:
    reviews = load_reviews()
    texts, about = chapter.texts_by_film(reviews, films=3, each=2)
    film_of = dict(zip(reviews.sentences, reviews.films, strict=True))
    assert len(texts) == 6 and [film_of[text] for text in texts] == about
    assert about[::2] == about[1::2] and len(set(about)) == 3
    assert about[::2] != sorted(set(reviews.films))[:3]
    assert (texts, about) == chapter.texts_by_film(reviews, films=3, each=2)


def test_activations_lead_to_the_next_state() -> None:
    torch.manual_seed(0)
    model = BertModel(BertConfig.preset("tiny", vocab_size=50)).eval()
    ids, mask = torch.randint(50, (2, 5)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    states = model(ids, mask, output_hidden_states=True).hidden_states
    inner = chapter.activations(model, states, mask, 1)
    assert inner.shape == (8, model.config.intermediate_size)
    layer = model.encoder.layer[1]
    attended = layer.attention(states[1], (1 - mask)[:, None, None, :] * -1e9).context[mask.bool()]
    torch.testing.assert_close(layer.output(inner, attended), states[2][mask.bool()], atol=1e-5, rtol=1e-5)


def test_batches_hold_every_text_once_and_give_what_one_at_a_time_gives() -> None:
    model = BertModel.from_pretrained(minilm_path())
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    texts = ["a film", "an even longer film about films", "no", "a second one"]
    seen = []
    for chosen, batch, output in chapter.in_batches(model, tokenizer, texts, size=2):
        seen += chosen
        for row, index in enumerate(chosen):
            alone = model(**tokenizer.encode_batch([texts[index]])._asdict()).last_hidden_state[0]
            kept = output.last_hidden_state[row][batch.attention_mask[row].bool()]
            torch.testing.assert_close(kept, alone, atol=1e-5, rtol=1e-5)
    assert sorted(seen) == [0, 1, 2, 3] and seen[0] == 2


def test_max_pooling_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0, -5.0], [2.0, -7.0], [9.0, 9.0]]])
    assert chapter.max_pooling(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, -5.0]]
