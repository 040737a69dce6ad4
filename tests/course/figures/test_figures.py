"""Figures: drawn, labeled, with alt text; hostile tokens stay text; bad input is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from bertlearn import BertConfig
from bertlearn.course import figures as v

PNG = b"\x89PNG\r\n\x1a\n"


def labels(picture: v.Picture) -> list[str]:
    return [text.get_text() for text in picture.figure.findobj(match=lambda x: hasattr(x, "get_text"))]


PICTURES: dict[str, Callable[[], v.Picture]] = {
    "matrix": lambda: v.plot_matrix(torch.eye(3), "abc", "xyz", "Title", "across", "down", numbers=True),
    "attention": lambda: v.plot_attention(torch.eye(3), ["[CLS]", "film", "[SEP]"]),
    "heads": lambda: v.plot_heads(torch.rand(2, 3, 4, 4), marked=[(1, 2)]),
    "heads of a model": lambda: v.plot_heads((torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))),
    "curves": lambda: v.plot_curves(
        [1, 2], {"one": [1, 2], "runs": torch.rand(3, 2)}, "T", "x (steps)", "y", log="xy"
    ),
    "bars": lambda: v.plot_bars({"a": 1, "b": 2}, "Title", "count (films)"),
    "bars with errors": lambda: v.plot_bars(
        {"a": 1, "b": 2}, "Title", "count (films)", spread={"a": 1, "b": 2}
    ),
    "layers": lambda: v.plot_layers(BertConfig.preset("tiny")),
    "points": lambda: v.plot_points(torch.rand(3, 2), ["a", "b", "a"], "T", texts=["p", "q", "r"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_png_with_alt_text(name: str) -> None:
    picture = PICTURES[name]()
    data, metadata = picture._repr_mimebundle_()
    assert data["image/png"].startswith(PNG)
    assert len(picture.alt) >= 20
    assert data["text/plain"] == f"[figure] {picture.alt}"
    assert metadata["image/png"]["alt"] == picture.alt


def test_labels_and_numbers_are_drawn() -> None:
    drawn = labels(PICTURES["matrix"]())
    assert {"Title", "across", "down", "a", "z", "1.00", "0.00"} <= set(drawn)
    assert {"x (steps)", "y", "one", "runs"} <= set(labels(PICTURES["curves"]()))


def test_hostile_tokens_stay_text() -> None:
    tokens = ["<script>alert(1)</script>", "$x^", "a\nb", "\\frac{1}{0}", "$\\bad$"]
    picture = v.plot_attention(torch.eye(5), tokens)
    assert picture.png().startswith(PNG)
    assert "a⏎b" in labels(picture)


def overlaps(boxes: list[Bbox]) -> float:
    """Return the largest area, in pixels, that two of the boxes share."""
    shared = [Bbox.intersection(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    return max(part.width * part.height if part else 0.0 for part in shared)


def test_sixty_tokens_fit_a_page_and_no_label_covers_another() -> None:
    picture = v.plot_attention(torch.full((60, 60), 1 / 60), [f"telecommunication{i}" for i in range(60)])
    picture.figure.draw_without_rendering()
    axes = picture.figure.axes[0]
    assert max(picture.figure.get_size_inches()) < 11
    for written in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert min(label.get_fontsize() for label in written) >= 7
        assert overlaps([label.get_window_extent() for label in written]) == 0


def test_cells_are_alike_in_small_and_large_maps_and_their_labels_are_readable() -> None:
    for count, inches in ((3, 0.3), (12, 0.3), (30, 6.2 / 30)):
        figure = v.plot_attention(
            torch.full((count, count), 1 / count), [f"t{i}" for i in range(count)]
        ).figure
        axes = figure.axes[0]
        figure.draw_without_rendering()
        assert axes.get_window_extent().width / figure.dpi == pytest.approx(count * inches)
        assert min(label.get_fontsize() for label in axes.get_xticklabels()) * v.figures.DPI / 72 > 13


def test_titles_begin_on_the_left_and_are_drawn_once() -> None:
    axes = PICTURES["curves"]().figure.axes[0]
    assert (axes.get_title(loc="left"), axes.get_title()) == ("T", "")


def test_forty_texts_stand_beside_their_points_without_covering_each_other() -> None:
    where = np.random.default_rng(0).normal(size=(40, 2))
    picture = v.plot_points(where, ["a", "b"] * 20, "T", texts=[f"film {i}" for i in range(40)])
    axes = picture.figure.axes[0]
    notes = [text for text in axes.texts if isinstance(text, Annotation)]
    boxes = [note.get_window_extent() for note in notes]
    assert len(boxes) == 40
    assert overlaps(boxes) < 30, "a letter is about 60 square pixels"
    for box, point in zip(boxes, axes.transData.transform(where), strict=True):
        gap = np.maximum(0, np.maximum(box.min - point, point - box.max))
        assert np.hypot(*gap) < 20


def test_error_bars_end_before_the_values() -> None:
    picture = v.plot_bars({"a": 2.0, "b": 1.0}, "T", "x", spread={"a": 0.5, "b": 1.5})
    assert "a 2 ± 0.5, b 1 ± 1.5" in picture.alt
    picture.png()
    axes = picture.figure.axes[0]
    for text, end in zip(axes.texts, (2.5, 2.5), strict=True):
        assert text.get_window_extent().x0 > axes.transData.transform((end, 0))[0] + 3


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ((0.695, 0.67, 0.7021), ["0.695", "0.670", "0.702"]),
        ((3.2, 3.0, 0.9), ["3.2", "3.0", "0.9"]),
        ((52.46, 0.651, 31.2), ["52.5", "0.7", "31.2"]),
        ((11, 9, 3), ["11", "9", "3"]),
        ((-0.838, 0.00102), ["-0.838", "0.001"]),
        ((12_345.6, 0.2), ["12,346", "0"]),
        ((0.0, 0.0), ["0", "0"]),
    ],
)
def test_the_numbers_at_bars_have_equally_many_decimals(values: tuple, written: list[str]) -> None:
    picture = v.plot_bars(dict(zip("abc", values, strict=False)), "T", "x")
    assert [text.get_text() for text in picture.figure.axes[0].texts] == written


def test_a_diagram_has_the_numbers_of_its_model() -> None:
    config = BertConfig(hidden_size=96, num_hidden_layers=5, num_attention_heads=3, intermediate_size=1024)
    drawn = " ".join(labels(v.plot_layers(config, "Mine")))
    assert {"Mine", "5 × this layer"} <= set(labels(v.plot_layers(config, "Mine")))
    for text in ("(B, S, 96)", "(B, 3, S, 32)", "(B, S, 1,024)", "√32", "96 → 1,024", "30,522 tokens"):
        assert text in drawn
    assert "repeated for 5 layers" in v.plot_layers(config).alt


def test_a_diagram_covers_none_of_its_words() -> None:
    figure = v.plot_layers(BertConfig.preset("large")).figure
    figure.draw_without_rendering()
    written = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert overlaps(written) == 0
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches[1:]]
    assert len(boxes) == 10
    for box in boxes:
        assert any(box.x0 < text.x0 and text.x1 < box.x1 and box.y0 < text.y0 < box.y1 for text in written)


def test_marked_heads_are_framed() -> None:
    patches = v.plot_heads(torch.rand(2, 3, 4, 4), marked=[(1, 2)]).figure.axes[0].patches
    thick = [patch for patch in patches if patch.get_linewidth() > 2]
    assert [patch.get_xy() for patch in thick] == [(1.55, 0.55)]


def test_few_points_on_a_logarithmic_axis_are_its_ticks() -> None:
    axes = v.plot_curves([250, 1000, 16000], {"c": [1, 2, 3]}, "T", "x", "y", log="x").figure.axes[0]
    axes.figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["250", "1,000", "16,000"]
    axes = v.plot_curves([250, 1000, 1250, 1500, 20000], {"c": range(5)}, "T", "x", "y", log="x").figure.axes[
        0
    ]
    assert axes.get_xticks().tolist() == [250, 1000, 1500, 20000]  # 1,250 would touch its neighbors


def test_many_names_stand_beside_the_curves() -> None:
    for count in (3, 4):
        figure = v.plot_curves([1, 2], {f"c{i}": [i, i] for i in range(count)}, "T", "x", "y").figure
        assert (figure.axes[0].get_legend() is None) == (len(figure.legends) == 1) == (count > 3)


def test_opposite_signs_get_a_palette_around_zero() -> None:
    image = v.plot_matrix([[-1.0, 3.0]], ["r"], ["a", "b"]).figure.axes[0].images[0]
    assert image.norm.vmin == -3.0
    assert image.norm.vmax == 3.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: v.plot_attention(torch.eye(3), ["a", "b"]),
            r"\(3, 3\) does not fit 2 row and 2 column labels",
        ),
        (lambda: v.plot_attention(torch.rand(1, 2, 3, 3), "abc"), r"shape \(1, 2, 3, 3\), expected 2 axes"),
        (lambda: v.plot_heads(torch.rand(3, 3)), "expected 4 axes"),
        (
            lambda: v.plot_attention(torch.zeros(0, 0), []),
            "is empty; a model returns attentions only with output_attentions",
        ),
        (lambda: v.plot_curves([1, 2, 3], {"c": [1, 2]}, "T", "x", "y"), "curve 'c' has 2 points, x has 3"),
        (lambda: v.plot_points(torch.rand(3, 2), ["a"], "T"), "1 groups do not fit"),
        (
            lambda: v.plot_points(torch.rand(3, 2), list("aba"), "T", texts=["p"]),
            "1 texts for 3 points; give one for each",
        ),
        (
            lambda: v.plot_bars({"a": 1, "b": 2}, "T", "x", spread={"a": 1}),
            r"spread is of \['a'\], expected one for each bar: \['a', 'b'\]",
        ),
        (lambda: v.Picture(v.new_figure()[0], "  "), "needs alt text"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_empty_tuple_of_attentions_is_explained() -> None:
    with pytest.raises(ValueError, match="attentions"):
        v.plot_heads(())


def test_figures_leave_no_state_behind() -> None:
    import matplotlib
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    for draw in PICTURES.values():
        draw()
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_panels_share_their_labels_and_name_the_largest_entry() -> None:
    one = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    picture = v.plot_maps({"left": one, "right": one.T}, ["a$", "b"], numbers=True)
    assert "left: diagonal 0.80 on average, largest other entry 0.30, b to a$." in picture.alt
    assert "right: diagonal 0.80 on average, largest other entry 0.30, a$ to b." in picture.alt
    assert picture.png().startswith(b"\x89PNG")
    assert [axes.get_title(loc="left") for axes in picture.figure.axes[:2]] == ["left", "right"]
    assert len(picture.figure.axes) == 3  # with a color bar
    assert len(v.plot_maps({"no and yes": one.round()}, ["a", "b"]).figure.axes) == 1  # without
    assert v.plot_maps({"one": one}, ["a", "b"], alt="One map.").alt == "One map."
    with pytest.raises(ValueError, match="3 "):
        v.plot_maps({"left": one}, ["a", "b", "c"])
