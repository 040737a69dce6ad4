"""Chapter 9's commands: sets share what they should, misheard words stay in their slots, a model learns."""

from __future__ import annotations

import random

import pytest

from bertlearn.course import labeled, voice
from bertlearn.course.labeled import Command
from bertlearn.finetuning.spans import Span


def words_between(command: Command) -> str:
    """Return the command with its values replaced by the names of their slots."""
    text = command.text
    for start, end, label in sorted(command.slots, reverse=True):
        text = f"{text[:start]}{{{label}}}{text[end:]}"
    return text


def values(commands: list[Command]) -> set[tuple[str, str]]:
    return {(label, command.text[start:end]) for command in commands for start, end, label in command.slots}


def test_the_sets_share_templates_and_values_as_their_names_say() -> None:
    sets = voice.command_sets(0, count=200)
    train, same, new_values, new_templates = (
        sets[name] for name in ("train", "the same templates", "new values", "new templates")
    )
    assert len(same) == 200 and not {c.text for c in same} & {c.text for c in train}
    seen = {words_between(command) for command in train}
    assert {words_between(command) for command in same + new_values} <= seen
    assert not {words_between(command) for command in new_templates} & seen
    assert values(same) | values(new_templates) <= values(train)
    assert not values(new_values) & values(train)
    assert len(train) == voice.RECIPE["commands"]
    assert {command.intent for command in train} == set(labeled.load_templates())


def test_another_seed_holds_other_templates_out() -> None:
    one, other = ({words_between(c) for c in voice.command_sets(seed)["train"]} for seed in (0, 1))
    assert one != other


def test_people_have_no_out_of_scope_commands_and_are_misheard() -> None:
    sets = voice.command_sets(0)
    people, misheard = sets["people's words"], sets["people's words, misheard"]
    assert len(people) == len(misheard) == 100
    changed = sum(a.text != b.text for a, b in zip(people, misheard, strict=True))
    assert 20 < changed < 100
    for a, b in zip(people, misheard, strict=True):
        assert a.intent == b.intent and [s.label for s in a.slots] == [s.label for s in b.slots]


def test_slots_keep_what_became_of_their_words() -> None:
    command = Command("set_alarm", *labeled.marked("wake me at [time half past four] for work"))
    phrases = list(labeled.load_misheard())
    heard = voice.mishear(command, random.Random(0), phrases, chance=1.0)
    ((start, end, label),) = heard.slots
    assert label == "time" and heard.text != command.text
    assert heard.text[start:end].startswith("have past")
    assert voice.mishear(command, random.Random(0), phrases, chance=0.0) == command
    assert voice.mishear(command, random.Random(0), [], chance=1.0) == command


def test_listed_values_prefer_the_longer_one_and_do_not_overlap() -> None:
    known = voice.known_values([Command("x", *labeled.marked("[room room] [room living room] [time noon]"))])
    assert list(known) == ["living room", "room", "noon"]
    assert voice.listed_values("lights in the living room at noon", known) == [
        Span(14, 25, "room"),
        Span(29, 33, "time"),
    ]
    assert voice.listed_values("afternoon", known) == []
    assert len(voice.listed_values("living room and the room", known)) == 2


@pytest.mark.slow
def test_the_joint_model_learns_a_few_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(voice.RECIPE, "commands", 960)
    sets = voice.command_sets(0, count=60)
    made = voice.train_commands(sets["train"], seed=0)
    answers = voice.understand(made, sets["the same templates"])
    right = [a.intent == t.intent for a, t in zip(answers, sets["the same templates"], strict=True)]
    assert sum(right) > 0.9 * len(right)
    found = [a.slots for a in answers]
    assert labeled.agreement(found, [t.slots for t in sets["the same templates"]]) > 0.5
