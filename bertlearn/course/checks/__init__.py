"""The checks of exercises: a module for each chapter, its known mistakes as edits of the solution.

`from bertlearn.course.checks import attention as check`, then `check.softmax(softmax)`.

To add a known mistake to an exercise, add an entry to its `wrong`: a name, the question for the learner, and
what changes in the solution (in `bertlearn.course.solutions`), as (before, after):

    "sigmoid of each score": Wrong(
        "What do the weights of a row sum to?",
        ("powers / powers.sum(dim=-1, keepdim=True)", "x.sigmoid()"),
    ),

Each `before` must occur exactly once there. On at least one case the result must differ from the solution's
and from that of every other mistake. `tests/course/test_exercise.py` finds and checks a new entry by itself.
"""

CHAPTERS = {
    0: "welcome",
    1: "attention",
    2: "tokenization",
    3: "encoder",
    4: "pretraining",
    5: "finetuning",
    6: "sentiment",
    7: "family",
    8: "modern",
    9: "at_work",
}
