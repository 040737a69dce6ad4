"""The course's figures, and views of attention that work offline."""

from bertlearn.course.figures.bertviz_views import head_view, model_view, neuron_view
from bertlearn.course.figures.diagrams import plot_layers
from bertlearn.course.figures.figures import (
    INK,
    PALETTE,
    QUIET,
    Picture,
    new_figure,
    plot_attention,
    plot_bars,
    plot_curves,
    plot_heads,
    plot_maps,
    plot_matrix,
    plot_points,
)
from bertlearn.course.figures.maps import AttentionMaps, attention_maps, read_attention
from bertlearn.course.figures.view import View

__all__ = [
    "INK",
    "PALETTE",
    "QUIET",
    "AttentionMaps",
    "Picture",
    "View",
    "attention_maps",
    "head_view",
    "model_view",
    "neuron_view",
    "new_figure",
    "plot_attention",
    "plot_bars",
    "plot_curves",
    "plot_heads",
    "plot_layers",
    "plot_maps",
    "plot_matrix",
    "plot_points",
    "read_attention",
]
