"""A BERT with ALBERT's two changes equals transformers' ALBERT, on perturbed weights."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import AlbertConfig
from transformers import AlbertForPreTraining as Reference

from bertlearn import BertConfig, BertForPreTraining
from bertlearn.model.albert import factorize, share_layers

V, E = 50, 8
CONFIG = BertConfig(
    vocab_size=V,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
NAMES = {  # ours: transformers'
    r"^bert\.embeddings\.narrow\.": "albert.embeddings.",
    r"^bert\.embeddings\.mapping\.": "albert.encoder.embedding_hidden_mapping_in.",
    r"^bert\.encoder\.layer\.0\.": "albert.encoder.albert_layer_groups.0.albert_layers.0.",
    r"attention\.self\.": "attention.",
    r"attention\.output\.": "attention.",
    r"intermediate\.dense\.": "ffn.",
    r"(?<=\.0\.)output\.dense\.": "ffn_output.",
    r"(?<=\.0\.)output\.LayerNorm\.": "full_layer_layer_norm.",
    r"^bert\.pooler\.dense\.": "albert.pooler.",
    r"^cls\.predictions\.transform\.": "predictions.",
    r"^cls\.predictions\.": "predictions.",
    r"^cls\.seq_relationship\.": "sop_classifier.classifier.",
}


def albert() -> BertForPreTraining:
    torch.manual_seed(0)
    model = BertForPreTraining(CONFIG)
    share_layers(model.bert)
    factorize(model, E)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def reference(model: BertForPreTraining) -> Reference:
    state = {}
    for name, tensor in model.state_dict().items():
        if re.match(r"bert\.encoder\.layer\.[12]\.", name):
            continue  # the first layer again
        for ours, theirs in NAMES.items():
            name = re.sub(ours, theirs, name)
        state[name] = tensor
    sizes = {name: getattr(CONFIG, name) for name in vars(CONFIG) if name != "id2label"}
    theirs = Reference(AlbertConfig(**{**sizes, "embedding_size": E, "classifier_dropout_prob": 0.0}))
    theirs.load_state_dict(state, strict=True)
    return theirs


def test_outputs_losses_and_gradients_are_those_of_transformers() -> None:
    mine = albert()
    theirs = reference(mine)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, V, (4, 10), generator=generator)
    mask = (torch.arange(10) < torch.tensor([[10], [7], [10], [3]])).long()
    segments = (torch.arange(10) > 4).long().expand(4, 10).contiguous()
    labels = torch.where((torch.rand(4, 10, generator=generator) < 0.3) & mask.bool(), ids, -100)
    order = torch.tensor([0, 1, 1, 0])
    found = mine(ids, mask, segments, labels=labels, next_sentence_label=order)
    right = theirs(ids, mask, segments, labels=labels, sentence_order_label=order)
    expected = right.prediction_logits[labels != -100]
    torch.testing.assert_close(found.prediction_logits, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.seq_relationship_logits, right.sop_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.loss, right.loss, rtol=0, atol=1e-5)
    found.loss.backward()
    right.loss.backward()
    group = theirs.albert.encoder.albert_layer_groups[0].albert_layers[0]
    pairs = (
        (mine.bert.encoder.layer[0].attention.self.query, group.attention.query),
        (mine.bert.embeddings.mapping, theirs.albert.encoder.embedding_hidden_mapping_in),
        (mine.bert.embeddings.word_embeddings, theirs.albert.embeddings.word_embeddings),
    )
    for ours, other in pairs:
        assert ours.weight.grad.abs().max() > 1e-3
        torch.testing.assert_close(ours.weight.grad, other.weight.grad, rtol=0, atol=1e-4)


def test_the_weights_are_as_many_as_the_paper_counts() -> None:
    hidden, inner, layers, positions = 24, 40, 3, CONFIG.max_position_embeddings
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden

    def count(model: BertForPreTraining) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    saved_layers = (layers - 1) * layer
    narrow = (V + positions + 2 + 2) * (hidden - E)  # three embeddings and a norm
    head = (hidden + 1 + 2) * (hidden - E)  # its dense layer and its norm
    saved = saved_layers + narrow + head - (E + 1) * hidden
    assert count(BertForPreTraining(CONFIG)) - count(albert()) == saved


@pytest.mark.parametrize("size", [0, 25])
def test_a_size_that_saves_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"embedding_size={size} must lie between 1 and hidden_size=24"):
        factorize(BertForPreTraining(CONFIG), size)
