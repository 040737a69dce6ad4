"""What chapter 3's cells call: signals through random layers, lengths, activations, texts in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertlearn.data.corpora import Reviews
from bertlearn.model.bert import BertEncoder, BertLayer, BertModel, BertModelOutput, additive_mask
from bertlearn.model.config import BertConfig
from bertlearn.tokenizer.encoding import Batch
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

Step = Callable[[Tensor], Tensor]  # attention, a feed-forward network, or a norm: (1, S, H) → (1, S, H)
Order = Callable[[Tensor, Step, Step], Tensor]  # how input, sublayer and norm are put together
WIDTH, TOKENS, CLASSES = 96, 32, 200  # of the random networks


def random_encoder(seed: int, layers: int = 12) -> BertEncoder:
    """Return untrained layers of 96 features with Xavier weights, as in Xiong et al. 2020."""
    torch.manual_seed(seed)
    config = BertConfig(
        hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=6, intermediate_size=4 * WIDTH
    )
    encoder = BertEncoder(config).eval()
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return encoder.double()  # without a norm, rounding errors explode as well: keep 16 digits


def sublayers(layer: BertLayer) -> list[tuple[Step, Step]]:
    """Return the two pairs of a layer: a function, attention or feed-forward, and its LayerNorm."""
    attention, output = layer.attention, layer.output
    return [
        (lambda x: attention.output.dense(attention.self(x).context), attention.output.LayerNorm),
        (lambda x: output.dense(layer.intermediate(x)), output.LayerNorm),
    ]


def run_random(encoder: BertEncoder, order: Order, pre_norm: bool) -> tuple[list[Tensor], Tensor]:
    """Send 32 random tokens through the layers; a random linear layer then predicts a class for each.

    Args:
        encoder: random layers.
        order: how input, sublayer and norm are put together.
        pre_norm: whether nothing has normalized the last sum yet, so that it is done at the end.

    Returns:
        The states before, between and after the layers, floats (1, 32, 96), and the loss in nats.
    """
    states = [F.layer_norm(torch.randn(1, TOKENS, WIDTH).double(), (WIDTH,)).requires_grad_()]
    for layer in encoder.layer:
        x = states[-1]
        for function, norm in sublayers(cast(BertLayer, layer)):
            x = order(x, function, norm)
        states.append(x)
    if pre_norm:
        x = F.layer_norm(x, (WIDTH,))
    logits = nn.Linear(WIDTH, CLASSES).double()(x)[0]
    return states, F.cross_entropy(logits, torch.randint(CLASSES, (TOKENS,)))


def signal(order: Order, seed: int, pre_norm: bool = False) -> dict[str, Tensor]:
    """Measure what gets through 12 random layers and back, after 0 to 12 of them: floats (13,).

    Returns:
        size: root mean square of the state; cosine: to the input; alike: mean cosine between the tokens;
        gradient: norm of the loss's gradient by the state.
    """
    states, loss = run_random(random_encoder(seed), order, pre_norm)
    gradients = torch.autograd.grad(loss, states)
    unit = [F.normalize(state.detach()[0], dim=1) for state in states]
    return {
        "size": torch.stack([s.detach().pow(2).mean().sqrt() for s in states]),
        "cosine": torch.stack([(u * unit[0]).sum(dim=1).mean() for u in unit]),
        "alike": torch.stack([(u @ u.T).mean() for u in unit]),
        "gradient": torch.stack([g.norm() for g in gradients]),
    }


def signals(orders: Mapping[str, Order], seeds: int = 4) -> dict[str, dict[str, Tensor]]:
    """Measure `signal` for several orders and seeds: by quantity and order, floats (seeds, 13)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with matrices this small, a second thread would only wait
    found = {
        name: [signal(order, seed, name.endswith("pre-LN")) for seed in range(seeds)]
        for name, order in orders.items()
    }
    torch.set_num_threads(threads)
    quantities = ("size", "cosine", "alike", "gradient")
    return {
        q: {name: torch.stack([run[q] for run in runs]) for name, runs in found.items()} for q in quantities
    }


def print_lengths(tokens: Sequence[str], columns: Mapping[str, Tensor]) -> None:
    """Print how long each token's vectors are, a line for each token.

    Args:
        tokens: S tokens.
        columns: by heading, the vectors of these tokens, floats (S, H).
    """
    first = max(map(len, tokens))
    print(" " * first + "".join(f"  {heading:>8}" for heading in columns))
    for i, token in enumerate(tokens):
        lengths = [f"  {vectors[i].norm():{max(8, len(h))}.2f}" for h, vectors in columns.items()]
        print(f"{token:{first}}" + "".join(lengths))


def update_shares(states: Tensor, updates: Tensor) -> Tensor:
    """Return the length of what each step adds as a share of what it is added to, floats (T, S).

    Args:
        states: every token's vector after each step, floats (T, S, H).
        updates: what the step added, floats (T, S, H).
    """
    before = torch.cat([states[:1], states[:-1]])  # nothing is added at the first step
    return updates.norm(dim=-1) / before.norm(dim=-1)


@torch.no_grad()
def activations(model: BertModel, states: Sequence[Tensor], attention_mask: Tensor, layer: int) -> Tensor:
    """Return GELU's output inside a layer for every token that is not padding, floats (tokens, I).

    Args:
        model: the model that gave the states.
        states: hidden states before and after each layer, (B, S, H).
        attention_mask: whole numbers (B, S), 1 = keep, 0 = padding.
        layer: number of the layer.
    """
    module = cast(BertLayer, model.encoder.layer[layer])
    attended = module.attention(states[layer], additive_mask(attention_mask)).context
    return module.intermediate(attended)[attention_mask.bool()]


def texts_by_film(reviews: Reviews, films: int, each: int) -> tuple[list[str], list[str]]:
    """Return the first `each` sentences about some randomly chosen films, and the film of each sentence.

    Only films with that many sentences are chosen from; the choice is the same every time.
    """
    by_film = defaultdict(list)
    for film, sentence in zip(reviews.films, reviews.sentences, strict=True):
        by_film[film].append(sentence)
    candidates = sorted(film for film, sentences in by_film.items() if len(sentences) >= each)
    shuffled = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(0))
    chosen = [candidates[i] for i in shuffled[:films].tolist()]
    texts = [sentence for film in chosen for sentence in by_film[film][:each]]
    return texts, [film for film in chosen for _ in range(each)]


def in_batches(
    model: BertModel,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    size: int = 32,
    max_length: int = 64,
) -> Iterator[tuple[list[int], Batch, BertModelOutput]]:
    """Yield (indices, batch, output); texts of similar length go together, which saves padding."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), size):
        chosen = order[start : start + size]
        batch = tokenizer.encode_batch([texts[i] for i in chosen], max_length=max_length)
        with torch.no_grad():
            output = model(**batch._asdict())
        yield chosen, batch, output


def max_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return each feature's largest value over the kept tokens: floats (B, S, H) → (B, H)."""
    return hidden_states.masked_fill(attention_mask[..., None] == 0, -torch.inf).amax(dim=1)
