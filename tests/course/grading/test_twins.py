"""Twins: copies are found, and honest answers that are alike because the exercise is short are not."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest

from bertlearn.course.grading.grades import Row, read_rows, with_twins, write_rows

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_class import Chapter, differences, expected_rows, make_class, renamed, write_class

SOFTMAX = [
    "def softmax(x):\n    e = torch.exp(x - x.max(dim=-1, keepdim=True).values)\n"
    "    return e / e.sum(dim=-1, keepdim=True)",
    "def softmax(x):\n    # subtract the max for stability\n    z = x - x.max(-1, keepdim=True)[0]\n"
    "    exps = z.exp()\n    return exps / exps.sum(-1, keepdim=True)",
    "def softmax(x):\n    # subtract the max for stability\n    shifted = x - x.amax(dim=-1, keepdim=True)\n"
    "    exps = torch.exp(shifted)\n    return exps / exps.sum(dim=-1, keepdim=True)",
    "def softmax(x):\n    m, _ = torch.max(x, dim=-1, keepdim=True)\n    e = torch.exp(x - m)\n"
    "    s = e.sum(dim=-1, keepdim=True)\n    return e / s",
    "def softmax(s):\n    m, _ = torch.max(s, dim=-1, keepdim=True)\n    ex = torch.exp(s - m)\n"
    "    total = ex.sum(dim=-1, keepdim=True)\n    return ex / total",
]
SPLIT = [
    "def split_heads(x, num_attention_heads):\n    B, S, H = x.shape\n    D = H // num_attention_heads\n"
    "    return x.view(B, S, num_attention_heads, D).transpose(1, 2)",
    "def split_heads(x, num_attention_heads):\n    b, s, h = x.shape\n    d = h // num_attention_heads\n"
    "    return x.view(b, s, num_attention_heads, d).transpose(1, 2)",
    "def split_heads(x, n):\n    B, S, H = x.size()\n    x = x.reshape(B, S, n, H // n)\n"
    "    return x.permute(0, 2, 1, 3)",
]
BACKWARD = [  # the table before the exercise gives the steps, their order and their names
    "def attention_backward(query, key, value, probs, grad_context):\n"
    "    grad_value = probs.transpose(-1, -2) @ grad_context\n"
    "    grad_probs = grad_context @ value.transpose(-1, -2)\n"
    "    grad_scores = softmax_backward(probs, grad_probs)\n"
    "    grad_products = grad_scores / math.sqrt(query.shape[-1])\n"
    "    grad_query = grad_products @ key\n"
    "    grad_key = grad_products.transpose(-1, -2) @ query\n"
    "    return grad_query, grad_key, grad_value",
    "def attention_backward(query, key, value, probs, grad_context):\n"
    "    D = query.shape[-1]\n"
    "    grad_probs = grad_context @ value.transpose(-1, -2)\n"
    "    grad_value = probs.transpose(-1, -2) @ grad_context\n"
    "    grad_scores = softmax_backward(probs, grad_probs)\n"
    "    grad_products = grad_scores / D**0.5\n"
    "    grad_query = grad_products @ key\n"
    "    grad_key = grad_products.transpose(-1, -2) @ query\n"
    "    return grad_query, grad_key, grad_value",
]
MATCH = [  # fifteen statements, and nearly the published ones
    "def longest_match(word, vocab, unk_token='[UNK]', max_input_chars_per_word=100):\n"
    "    if len(word) > max_input_chars_per_word:\n        return [unk_token]\n"
    "    tokens = []\n    start = 0\n"
    "    while start < len(word):\n"
    "        end = len(word)\n        found = None\n"
    "        while start < end:\n"
    "            piece = word[start:end]\n"
    "            if start > 0:\n                piece = '##' + piece\n"
    "            if piece in vocab:\n                found = piece\n                break\n"
    "            end -= 1\n"
    "        if found is None:\n            return [unk_token]\n"
    "        tokens.append(found)\n        start = end\n"
    "    return tokens",
    "def longest_match(word, vocab, unk_token='[UNK]', max_input_chars_per_word=100):\n"
    "    if len(word) > max_input_chars_per_word:\n        return [unk_token]\n"
    "    pieces = []\n    i = 0\n    n = len(word)\n"
    "    while i < n:\n"
    "        prefix = '##' if i > 0 else ''\n"
    "        for j in range(n, i, -1):\n"
    "            cand = prefix + word[i:j]\n"
    "            if cand in vocab:\n                pieces.append(cand)\n"
    "                i = j\n                break\n"
    "        else:\n            return [unk_token]\n"
    "    return pieces",
]
# Honest students, each with one of these answers: what they share, the exercise suggests.
HONEST = {
    "softmax": [SOFTMAX[i] for i in (0, 0, 1, 1, 2, 2, 3, 3, 4, 0)],
    "split_heads": [SPLIT[i] for i in (0, 0, 1, 1, 2, 2, 0, 0, 1, 2)],
    "attention_backward": [BACKWARD[i] for i in (0, 0, 0, 1, 1, 0, 1, 0, 1, 0)],
    "longest_match": [MATCH[i] for i in (0, 0, 0, 0, 1, 1, 1, 0, 0, 1)],
}


def twins(folder: Path, exercise: str, answers: Sequence[str], wrong: Sequence[int] = ()) -> dict[str, str]:
    """Return the twins of students 0, 1, 2, … with these answers, by student."""
    rows = []
    for number, answer in enumerate(answers):
        path = folder / str(number) / "n.ipynb"
        path.parent.mkdir(parents=True)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(answer)])
        path.write_text(nbformat.writes(notebook), encoding="utf-8")
        score = int(number not in wrong)
        rows.append(Row(str(number), f"{number}/n.ipynb", 1, exercise, 1, score, True, "", "", "", "", "0"))
    return {row.student: row.twins for row in with_twins(rows, folder) if row.twins}


@pytest.mark.parametrize("exercise", HONEST)
def test_honest_answers_that_are_alike_have_no_twins(tmp_path: Path, exercise: str) -> None:
    assert twins(tmp_path, exercise, HONEST[exercise]) == {}


LONG = """def softmax(x):
    rows = x.reshape(-1, x.shape[-1])
    out = torch.zeros_like(rows)
    for i in range(rows.shape[0]):
        row = rows[i]
        biggest = row[0]
        for value in row:
            if value > biggest:
                biggest = value
        total = 0
        for j in range(len(row)):
            out[i, j] = math.exp(row[j] - biggest)
            total = total + out[i, j]
        out[i] = out[i] / total
    return out.reshape(x.shape)"""
OWN = "    # ask Mia why the row has to be shifted before the exponential"


def others(count: int) -> list[str]:
    """Return different long answers."""
    return [LONG.replace("total = 0", f"total = 0\n        spare{i} = {i}") for i in range(count)]


def test_a_long_answer_with_other_names_and_comments_is_a_twin(tmp_path: Path) -> None:
    copied = renamed(LONG, random.Random(0)).replace("):", "):\n    '''Mine.'''\n    # all mine", 1)
    assert copied != LONG
    found = twins(tmp_path, "softmax", [LONG, copied, *others(8)])
    assert found == {"0": "1 (alike)", "1": "0 (alike)"}


def of_statements(count: int) -> str:
    """Return an answer that nobody else writes, with so many statements."""
    steps = [f"    step{i} = {f'step{i - 1}' if i else 'x'} + {i}" for i in range(count - 1)]
    return "\n".join(["def softmax(x):", *steps, f"    return step{count - 2}"])


@pytest.mark.parametrize(
    ("count", "renames", "reason"),
    [(8, False, ""), (9, False, "identical"), (12, True, ""), (13, True, "alike")],
)
def test_how_long_an_answer_has_to_be(tmp_path: Path, count: int, renames: bool, reason: str) -> None:
    text = of_statements(count)
    other = renamed(text, random.Random(0)) if renames else text
    found = twins(tmp_path, "softmax", [text, other, *SOFTMAX])
    assert found == ({"0": f"1 ({reason})", "1": f"0 ({reason})"} if reason else {})


def test_what_more_than_a_tenth_of_the_class_wrote_is_no_twin(tmp_path: Path) -> None:
    assert twins(tmp_path, "softmax", [LONG, LONG, LONG, *others(7)]) == {}


def test_a_long_answer_near_a_usual_one_is_no_twin(tmp_path: Path) -> None:
    near = LONG.replace("total = 0", "total = 0.0")
    assert twins(tmp_path / "near", "softmax", [near, near, LONG, LONG, LONG, *others(5)]) == {}
    assert twins(tmp_path / "far", "softmax", [near, near, *SOFTMAX]).keys() == {"0", "1"}


def test_an_answer_copied_with_its_comment_is_a_twin_however_short(tmp_path: Path) -> None:
    text = SOFTMAX[0].replace("\n    return", f"\n{OWN}\n    return")
    found = twins(tmp_path, "softmax", [text, text + "  ", *SOFTMAX])
    assert found == {"0": "1 (identical)", "1": "0 (identical)"}
    assert twins(tmp_path / "other", "softmax", [text, text.replace("ask Mia", "ask Tom"), *SOFTMAX]) == {}


def test_the_published_answer_with_its_comments_is_no_twin(tmp_path: Path) -> None:
    chapter = Chapter(2)
    for name, answer in chapter.answers.items():
        assert twins(tmp_path / name, name, [answer, answer]) == {}, name


WRONG = """def softmax(x):
    n = x.shape[-1]
    low = x.min()
    ranks = x.argsort(dim=-1) + low
    ranks = ranks * 2
    return ranks / n"""


def test_a_wrong_answer_that_only_two_share_makes_them_twins(tmp_path: Path) -> None:
    copied, right = renamed(WRONG, random.Random(1)), [*SOFTMAX, *SOFTMAX]
    found = twins(tmp_path / "two", "softmax", [WRONG, copied, *right], wrong=[0, 1])
    assert found == {"0": "1 (the same rare mistake)", "1": "0 (the same rare mistake)"}
    assert twins(tmp_path / "right", "softmax", [WRONG, copied, *right]) == {}
    long = [LONG, renamed(LONG, random.Random(1))]
    for wrong, reason in ([0, 1], "the same rare mistake"), ([], "alike"):
        found = twins(tmp_path / reason, "softmax", [*long, *right], wrong)
        assert found == {"0": f"1 ({reason})", "1": f"0 ({reason})"}
    assert twins(tmp_path / "few", "softmax", [WRONG, copied, *SOFTMAX], wrong=[0, 1]) == {}
    four = [WRONG, copied, WRONG, copied, *right]
    assert twins(tmp_path / "four", "softmax", four, wrong=range(4)) == {}
    short = "def softmax(x):\n    x = x * 2\n    return x"
    assert twins(tmp_path / "short", "softmax", [short, short, *right], wrong=[0, 1]) == {}


def test_two_notebooks_of_one_student_are_no_twins_and_a_missing_one_has_none(tmp_path: Path) -> None:
    twins(tmp_path, "softmax", [LONG, LONG])
    row = Row("ann", "0/n.ipynb", 1, "softmax", 1, 1, True, "", "", "", "", "0")
    assert [each.twins for each in with_twins([row, row._replace(file="1/n.ipynb")], tmp_path)] == ["", ""]
    gone = row._replace(student="bob", file="gone/n.ipynb", twins="somebody (alike)")
    assert [each.twins for each in with_twins([row, gone], tmp_path)] == ["", ""]


def test_an_answer_nested_a_thousand_times_stops_nothing(tmp_path: Path) -> None:
    deep = f"def softmax(x):\n    return {'-' * 3000}x"
    assert twins(tmp_path, "softmax", [deep, deep, LONG, LONG]).keys() == {"2", "3"}


def test_the_copies_of_a_class_are_found_and_no_others(tmp_path: Path) -> None:
    chapter = Chapter(1)
    members = make_class(chapter, 60)
    write_class(tmp_path, members, chapter)
    rows = with_twins(expected_rows(members, chapter), tmp_path)
    assert differences(rows, members) == []
    assert sum(bool(row.twins) for row in rows) == 6


def test_twins_change_no_score_and_come_back_from_the_table(tmp_path: Path) -> None:
    row = Row("=1+1", "n.ipynb", 1, "softmax", 2, 2, True, "", "", "", "-dash (alike); 'x (alike)", "0")
    write_rows(tmp_path / "t.csv", [row, row._replace(student="'=1", twins="'+")])
    assert read_rows(tmp_path / "t.csv") == [row, row._replace(student="'=1", twins="'+")]
