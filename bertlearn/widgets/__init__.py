"""The course's own widgets: each one .py and one .js file, offline, by mouse and by keyboard."""

from bertlearn.widgets.attention_explorer import AttentionExplorer
from bertlearn.widgets.base import Widget
from bertlearn.widgets.encoder_walk import EncoderWalk
from bertlearn.widgets.head_surgery import HeadSurgery
from bertlearn.widgets.inside_head import InsideHead
from bertlearn.widgets.soft_lookup import SoftLookup
from bertlearn.widgets.time_machine import TimeMachine
from bertlearn.widgets.tokenizer_explorer import TokenizerExplorer
from bertlearn.widgets.training_monitor import TrainingMonitor

__all__ = [
    "AttentionExplorer",
    "EncoderWalk",
    "HeadSurgery",
    "InsideHead",
    "SoftLookup",
    "TimeMachine",
    "TokenizerExplorer",
    "TrainingMonitor",
    "Widget",
]
