"""The course's own widgets: each one .py and one .js file, offline, by mouse and by keyboard."""

from bertlearn.widgets.attention_explorer import AttentionExplorer
from bertlearn.widgets.base import Widget
from bertlearn.widgets.time_machine import TimeMachine

__all__ = ["AttentionExplorer", "TimeMachine", "Widget"]
