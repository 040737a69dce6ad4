"""What the texts and weights of other languages contain."""

from __future__ import annotations

import numpy as np
import pytest

from bertlearn.data import (
    SOURCES,
    DataError,
    cache_folder,
    load_entities,
    load_novel,
    load_packed_multilingual,
    load_shop_reviews,
    split_shop_reviews,
)

SPLIT_SIZES = [13_885, 1_737, 1_698]


def letters_of(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def test_the_packed_model_has_the_sizes_and_tensors_of_a_bert() -> None:
    packed = load_packed_multilingual()
    assert packed.sizes["vocab_size"] == 250_037 and packed.sizes["layer_norm_eps"] == 1e-12
    assert len(packed.pieces) == 250_002
    assert [piece for piece, _ in packed.pieces[:4]] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert packed.pieces[-1] == ("<mask>", 0.0)
    assert len(packed.tensors) == 5 + 16 * 12
    assert packed.tensors["emb.word"].shape == (250_037 * 384 // 32, 18)
    assert packed.tensors["l11.oln.w"].dtype == np.float32


def test_the_reviews_have_repeats_inside_and_across_the_labels() -> None:
    reviews = load_shop_reviews()
    texts = [{review.text for review in reviews if review.label == label} for label in (0, 1)]
    assert len(reviews) == 35_123
    assert len(texts[0] | texts[1]) == 17_410 and len(texts[0] & texts[1]) == 47


def test_no_review_is_in_two_parts_or_has_two_labels() -> None:
    parts, everything = split_shop_reviews(), load_shop_reviews()
    letters = [[letters_of(text) for text in part.texts] for part in parts]
    assert [len(part) for part in letters] == SPLIT_SIZES and sum(SPLIT_SIZES) == 17_320
    assert len({text for part in letters for text in part}) > 17_300, "up to Unicode's equivalents"
    labels = {text: set() for text in set().union(*(part.texts for part in parts))}
    for review in everything:
        if review.text in labels:
            labels[review.text].add(review.label)
    assert all(len(found) == 1 for found in labels.values())
    for part in parts:
        assert all(everything[number] == (text, label) for number, text, label in zip(*part, strict=True))
        assert 0.42 < np.mean(part.labels) < 0.54


def test_hardly_any_test_review_repeats_20_letters_of_the_training_reviews() -> None:
    train, _, test = ([letters_of(text) for text in part.texts] for part in split_shop_reviews())
    seen = {text[at : at + 20] for text in train for at in range(len(text) - 19)}
    shared = [text for text in test if any(text[at : at + 20] in seen for at in range(len(text) - 19))]
    assert len(shared) <= 20, "of 1,698: quotations, advertisements"


def test_the_novel_has_120_chapters_and_its_names() -> None:
    chapters, entities = load_novel(), load_entities()
    assert len(chapters) == 120 and chapters[0].title.startswith("第一回")
    assert all(chapter.title.startswith("第") and len(chapter.paragraphs) >= 5 for chapter in chapters)
    assert len(entities) == 4386 and {entity.kind for entity in entities} == {"人名", "势力", "州名"}
    (cao,) = (entity for entity in entities if entity.name == "曹操")
    assert {"曹操", "孟德"} <= set(cao.mentions)


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("multilingual/e5-small-q4.bin", load_packed_multilingual),
        ("shop_reviews/negative.txt", load_shop_reviews),
        ("novel/chapters.json", load_novel),
        ("novel/entities.json", load_entities),
    ],
)
def test_a_changed_file_is_refused(tmp_path, monkeypatch, name, load) -> None:
    source = cache_folder() / name.split("/")[0]
    for member in SOURCES[source.name].members:
        target = tmp_path / source.name / member.name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(source / member.name)
    changed = tmp_path / name
    content = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=changed.name):
        load()
