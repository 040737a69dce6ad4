"""What a cell reads and binds, as the tools need it that choose cells."""

from __future__ import annotations

import ast

import pytest

from bertlearn.course.cells import names_read


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("x = a\ny = x", {"a"}),
        ("for name, score in found.items():\n    print(name, score)", {"found", "print"}),
        ("for a in rows:\n    for b in a:\n        use(b)", {"rows", "use"}),
        ("for x in x.parts:\n    use(x)", {"x", "use"}),
        ("y = [x + z for x in rows]", {"rows", "z"}),
        ("def f(n):\n    return n + other", {"other"}),
    ],
)
def test_names_are_read_before_a_cell_binds_them(source: str, read: set[str]) -> None:
    assert names_read(ast.parse(source)) == read
