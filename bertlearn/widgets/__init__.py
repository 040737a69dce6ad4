"""The course's own widgets: each one .py and one .js file, offline, by mouse and by keyboard."""

from bertlearn.widgets.attention_explorer import AttentionExplorer
from bertlearn.widgets.base import Widget
from bertlearn.widgets.tokenizer_explorer import TokenizerExplorer

__all__ = ["AttentionExplorer", "TokenizerExplorer", "Widget"]
