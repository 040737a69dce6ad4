"""The course's own widgets: each one .py and one .js file, offline, by mouse and by keyboard."""

from bertlearn.course.widgets.attention_explorer import AttentionExplorer
from bertlearn.course.widgets.base import Widget
from bertlearn.course.widgets.encoder_walk import EncoderWalk
from bertlearn.course.widgets.head_surgery import HeadSurgery
from bertlearn.course.widgets.inside_head import InsideHead
from bertlearn.course.widgets.knockout_lab import KnockoutLab
from bertlearn.course.widgets.search_comparison import SearchComparison
from bertlearn.course.widgets.soft_lookup import SoftLookup
from bertlearn.course.widgets.time_machine import TimeMachine
from bertlearn.course.widgets.tokenizer_explorer import TokenizerExplorer
from bertlearn.course.widgets.training_monitor import TrainingMonitor

__all__ = [
    "AttentionExplorer",
    "EncoderWalk",
    "HeadSurgery",
    "InsideHead",
    "KnockoutLab",
    "SearchComparison",
    "SoftLookup",
    "TimeMachine",
    "TokenizerExplorer",
    "TrainingMonitor",
    "Widget",
]
