"""How guesses and their results are shown: as text everywhere, and as HTML where a notebook shows it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from bertlearn.course.figures import PALETTE, Picture, new_figure
from bertlearn.course.guess_kinds import PHRASES, Curve, Number, Question, Verdict, ended, number_text

# Blue for a hit and orange for a miss, as in the figures; both can be told apart from either background.
_HIT, _MISS = PALETTE[5], PALETTE[1]
_BOX = (
    "border:1px solid rgba(127,127,127,.4);border-left:4px solid {color};border-radius:6px;"
    "padding:10px 14px;margin:4px 2px;max-width:660px;box-sizing:border-box"
)


class Shown:
    """Text, with HTML where it says it better, as a notebook shows it."""

    def __init__(self, text: str, html: str = "") -> None:
        self.text, self.html = text, html

    def __repr__(self) -> str:
        """Return the text."""
        return self.text

    def _repr_html_(self) -> str | None:
        return self.html or None


def compared(question: Question, guess: Any, truth: Any, verdict: Verdict) -> Shown:
    """Return a guess and the result side by side, with a picture of a number's range or of both curves."""
    said, found = said_and_found(question, guess, truth)
    said_by, found_by = PHRASES[question.kind]
    columns = ((_sentence(said_by), said), (_sentence(found_by), found))
    cells = "".join(
        f'<div><div style="font-size:85%">{name}</div><div style="font-size:125%">{escape(text)}</div></div>'
        for name, text in columns
    )
    row = '<div style="display:flex;flex-wrap:wrap;gap:6px 36px;align-items:end;margin:6px 0">'
    html = (
        f'<div style="{_BOX.format(color=_HIT if verdict.hit else _MISS)}">'
        f'<div style="font-weight:600">{escape(question.question)}</div>{row}{cells}'
        f"<div>{escape(_marked(verdict.hit, verdict.text))}</div></div>"
        f"{_drawn(question, guess, truth)}</div>"
    )
    return Shown(f"{_sentence(said_by)} {said}, {found_by} {found}: {verdict.text}", html)


def said_and_found(question: Question, guess: Any, truth: Any) -> tuple[str, str]:
    """Return a guess and a result as texts, with more digits where they would look the same but differ."""
    said, found = question.text(guess), question.text(truth)
    if said == found and isinstance(question, Number) and guess != truth:
        return question.text(guess, 5), question.text(truth, 5)
    return said, found


def card(entries: Mapping[str, Mapping[str, Any]]) -> Shown:
    """Return all guesses of a chapter as a table; a result that was not shown yet is left open."""
    hits = sum(entry.get("hit") is True for entry in entries.values())
    judged = sum("hit" in entry for entry in entries.values())
    title = f"Your guesses in this chapter: {hits} of {judged} {'was a hit' if hits == 1 else 'were hits'}"
    rows = [_card_row(entry) for entry in entries.values()]
    lines = [_card_line(entry) for entry in entries.values()]
    return Shown("\n  ".join([title, *lines]), table(title, ("Question", "You said", "It is", ""), rows))


_OPEN = "the result was not shown yet"


def _card_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = _marked(entry.get("hit", False), entry.get("verdict", _OPEN))
    return entry["question"], entry["said"], entry.get("found", ""), verdict


def _card_line(entry: Mapping[str, Any]) -> str:
    said_by, found_by = PHRASES[entry["kind"]]
    found = f", {found_by} {entry['found']}" if "found" in entry else ""
    verdict = entry.get("verdict", _OPEN)
    return f"{ended(entry['question'], ':')} {said_by} {entry['said']}{found}: {verdict}"


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as HTML, its texts escaped."""
    style = 'style="text-align:left;padding:4px 14px 4px 0;vertical-align:top"'
    head = "".join(f'<th scope="col" {style}>{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td {style}>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return (
        f'<div style="{_BOX.format(color=_HIT)};overflow-x:auto;max-width:900px"><table style="margin:0">'
        '<caption style="text-align:left;white-space:nowrap;font-weight:600;color:inherit;padding:0 0 4px">'
        f"{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _marked(hit: bool, verdict: str) -> str:
    return f"✓ {_sentence(verdict)}" if hit else _sentence(verdict)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _drawn(question: Question, guess: Any, truth: Any) -> str:
    if isinstance(question, Curve):
        picture = two_curves(question, guess, truth)
        data = b64encode(picture.png()).decode()
        return f'<img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}" style="max-width:100%">'
    if isinstance(question, Number) and question.low is not None and question.high is not None:
        return _number_line(question.low, question.high, guess, truth)
    return ""


def _number_line(low: float, high: float, guess: float, truth: float) -> str:
    """Return the range as a bar, with a ring at the guess and a dot at the result; text says the same."""
    at = [100 * (min(max(value, low), high) - low) / (high - low) for value in (guess, truth)]
    dot = "position:absolute;width:12px;height:12px;margin:-3px 0 0 -6px;border-radius:6px"
    dot += ";box-sizing:border-box"
    return (
        '<div aria-hidden="true" style="margin:10px 6px 4px;max-width:420px">'
        '<div style="position:relative;height:6px;border-radius:3px;background:rgba(127,127,127,.3)">'
        f'<div style="position:absolute;height:6px;left:{min(at):.2f}%;width:{abs(at[0] - at[1]):.2f}%;'
        f'background:{_MISS};opacity:.6"></div>'
        f'<div style="{dot};left:{at[1]:.2f}%;background:{_HIT}"></div>'
        f'<div style="{dot};left:{at[0]:.2f}%;border:2px solid {_MISS}"></div></div>'
        '<div style="display:flex;justify-content:space-between;font-size:85%;margin-top:4px">'
        f"<span>{number_text(low)}</span><span>○ you · ● result</span><span>{number_text(high)}</span>"
        "</div></div>"
    )


def two_curves(question: Curve, guess: Sequence[float], truth: tuple[np.ndarray, np.ndarray]) -> Picture:
    """Return a small figure of the drawn curve and the true one."""
    figure, axes = new_figure(5.4, 2.7)
    axes.plot(*truth, color=PALETTE[0], label="result")
    axes.plot(question.places, guess, "o--", color=PALETTE[1], markersize=4, label="your guess")
    axes.set(xlabel=_plain(question.xlabel), ylabel=_plain(question.ylabel), xlim=question.x, ylim=question.y)
    axes.locator_params(nbins=5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    axes.legend(frameon=False)
    said, found = said_and_found(question, guess, truth)
    return Picture(
        figure,
        f"Two curves of {question.ylabel} over {question.xlabel}. "
        f"Your guess goes {said}, the result {found}.",
    )


def _plain(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")
