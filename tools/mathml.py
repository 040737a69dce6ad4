"""TeX formulas as MathML, which every browser shows and reads aloud without a script and without a network.

It knows what the chapters use and the usual neighbors of that; anything else raises a ValueError by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|.", re.DOTALL)
_LETTERS = (
    "alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ iota ι kappa κ "
    "lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ tau τ phi ϕ varphi φ chi χ psi ψ omega ω Gamma Γ "
    "Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω partial ∂ nabla ∇ infty ∞ ell ℓ "
    "emptyset ∅"
)
_OPERATORS = (
    "cdot ⋅ times × div ÷ pm ± mp ∓ circ ∘ odot ⊙ otimes ⊗ oplus ⊕ ast ∗ approx ≈ neq ≠ ne ≠ le ≤ "
    "leq ≤ ge ≥ geq ≥ ll ≪ gg ≫ equiv ≡ sim ∼ propto ∝ in ∈ notin ∉ subset ⊂ cup ∪ cap ∩ to → "
    "rightarrow → leftarrow ← Rightarrow ⇒ Leftarrow ⇐ mapsto ↦ mid ∣ parallel ∥ langle ⟨ rangle ⟩ "
    "lVert ‖ rVert ‖ lvert | rvert | forall ∀ exists ∃ neg ¬ land ∧ lor ∨ ldots … dots … cdots ⋯ "
    "vdots ⋮ ddots ⋱ lceil ⌈ rceil ⌉ lfloor ⌊ rfloor ⌋ lbrace { rbrace } colon :"
)


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


LETTERS = _pairs(_LETTERS)
OPERATORS = _pairs(_OPERATORS) | {c: c for c in "{}%$&#_"} | {"|": "‖"}
FUNCTIONS = ["log", "ln", "exp", "sin", "cos", "tan", "tanh", "sinh", "cosh", "det", "dim", "Pr", "arg"]
LIMITS = {"sum": "∑", "prod": "∏", "max": "max", "min": "min", "lim": "lim", "argmax": "arg max"}
SPACES = {",": 0.17, ":": 0.22, ";": 0.28, "!": -0.17, " ": 0.25, "quad": 1.0, "qquad": 2.0}
ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "vec": "→", "dot": "˙", "overline": "¯", "widehat": "^"}
BLACKBOARD = {"R": "ℝ", "E": "𝔼", "N": "ℕ", "Z": "ℤ", "P": "ℙ", "C": "ℂ", "1": "𝟙"}
FENCES = {"pmatrix": "()", "bmatrix": "[]", "vmatrix": "||", "cases": "{ "}
TABLES = {*FENCES, "matrix", "aligned", "align", "align*", "gathered", "split", "array"}
BIG = {"big": 1.2, "Big": 1.8, "bigg": 2.4, "Bigg": 3.0}


def to_mathml(tex: str, display: bool = False) -> str:
    """Return a formula as a <math> element; raises ValueError, which names what is not known."""
    parser = _Parser(tex)
    row = parser.row(end=None)
    kind = ' display="block"' if display else ""
    return f'<math{kind} alttext="{escape(" ".join(tex.split()))}">{row}</math>'


class _Parser:
    """Reads a formula from left to right; each method returns the MathML of what it has read."""

    def __init__(self, tex: str) -> None:
        self.tokens = _TOKEN.findall(tex)
        self.at = 0
        self.commands: dict[str, Callable[[], str]] = {
            "frac": lambda: f"<mfrac>{self.argument()}{self.argument()}</mfrac>",
            "dfrac": lambda: f"<mfrac>{self.argument()}{self.argument()}</mfrac>",
            "sqrt": self._root,
            "left": self._fenced,
            "begin": self._environment,
            "operatorname": lambda: f"<mi>{escape(self._text())}</mi>",
            "mathrm": lambda: f'<mi mathvariant="normal">{escape(self._text())}</mi>',
            "mathbf": lambda: f'<mi style="font-weight:bold">{escape(self._text())}</mi>',
            "mathbb": lambda: f"<mi>{''.join(BLACKBOARD.get(c, c) for c in self._text())}</mi>",
            "mathcal": lambda: f"<mi>{escape(self._text())}</mi>",
            "text": lambda: f"<mtext>{escape(self._text()).replace(' ', '&nbsp;')}</mtext>",
            "texttt": lambda: f'<mtext style="font-family:monospace">{escape(self._text())}</mtext>',
            "int": lambda: "<mo>∫</mo>",
        }

    def peek(self) -> str | None:
        """Return the next token, after spaces."""
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise ValueError("the formula ends too early")
        self.at += 1
        return token

    def row(self, end: str | None) -> str:
        """Read up to a token, which is read as well, or to the end of the formula."""
        parts = []
        while (token := self.peek()) != end:
            if token is None:
                raise ValueError(f"{end} is missing")
            parts.append(self.scripted())
        if end is not None:
            self.take()
        return f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self) -> str:
        """Read an atom with what is written above and below it."""
        name = (self.peek() or "").removeprefix("\\")
        base, sub, sup = self.atom(), "", ""
        while (token := self.peek()) in ("^", "_", "'"):
            self.take()
            if token == "'":
                sup += "<mo>′</mo>"
            elif token == "^":
                sup += self.argument()
            else:
                sub += self.argument()
        sup = f"<mrow>{sup}</mrow>" if sup else ""
        kind = ("munder", "mover", "munderover") if name in LIMITS else ("msub", "msup", "msubsup")
        tag = kind[2] if sub and sup else kind[0] if sub else kind[1] if sup else ""
        read = f"<{tag}>{base}{sub}{sup}</{tag}>" if tag else base
        gap = name in FUNCTIONS and self.peek() not in ("(", None, "}")
        return f'{read}<mspace width="0.17em"/>' if gap else read

    def argument(self) -> str:
        """Read a group, or a single token such as the 1 of \\frac12."""
        if (token := self.peek()) is not None and token.isdigit():
            return f"<mn>{self.take()}</mn>"
        return self.atom()

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            return self.row("}")
        if token.startswith("\\"):
            return self._command(token[1:])
        if token.isdigit():
            while self.at < len(self.tokens) and re.fullmatch(r"[\d.]", self.tokens[self.at]):
                token += self.take()
            return f"<mn>{token.rstrip('.')}</mn>" + ("<mo>.</mo>" if token.endswith(".") else "")
        if token.isalpha():
            return f"<mi>{token}</mi>"
        if token in "}^_&":
            raise ValueError(f"{token} at a place where nothing goes before it")
        return _operator({"-": "−", "*": "∗"}.get(token, token))

    def _command(self, name: str) -> str:
        if name in self.commands:
            return self.commands[name]()
        if name in LETTERS:
            return f"<mi>{LETTERS[name]}</mi>"
        if name in OPERATORS:
            return _operator(OPERATORS[name])
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        if name in LIMITS:
            return f'<mo movablelimits="true">{LIMITS[name]}</mo>'
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}em"/>'
        if name in ACCENTS:
            return f'<mover accent="true">{self.argument()}<mo>{ACCENTS[name]}</mo></mover>'
        if (size := BIG.get(re.sub("[lrm]$", "", name))) is not None:
            return f'<mo minsize="{size}em" maxsize="{size}em">{self._delimiter()}</mo>'
        raise ValueError(f"\\{name} is not known")

    def _root(self) -> str:
        if self.peek() == "[":
            self.take()
            index = self.row("]")
            return f"<mroot>{self.argument()}{index}</mroot>"
        return f"<msqrt>{self.argument()}</msqrt>"

    def _fenced(self) -> str:
        left = self._delimiter()
        inside = self.row("\\right")
        right = self._delimiter()
        return f'<mrow><mo stretchy="true">{left}</mo>{inside}<mo stretchy="true">{right}</mo></mrow>'

    def _delimiter(self) -> str:
        token = self.take()
        if token == ".":
            return ""
        name = token.removeprefix("\\")
        return escape(OPERATORS.get(name, name) if token.startswith("\\") else token)

    def _environment(self) -> str:
        name = self._text()
        if name not in TABLES:
            raise ValueError(f"\\begin{{{name}}} is not known")
        if name == "array":
            self._text()  # how the columns are aligned
        rows, cells, parts = list[str](), list[str](), list[str]()
        while True:
            token = self.peek()
            if token in ("&", "\\\\", "\\end"):
                self.take()
                cells.append(f"<mtd><mrow>{''.join(parts)}</mrow></mtd>")
                parts = []
                if token != "&":
                    rows.append(f"<mtr>{''.join(cells)}</mtr>")
                    cells = []
                if token == "\\end":
                    break
            else:
                parts.append(self.scripted())
        if self._text() != name:
            raise ValueError(f"\\begin{{{name}}} has another end")
        left, right = FENCES.get(name, "  ")
        table = f'<mtable class="{name.rstrip("*")}">{"".join(rows)}</mtable>'
        fences = [f'<mo stretchy="true">{fence}</mo>' if fence != " " else "" for fence in (left, right)]
        return f"<mrow>{fences[0]}{table}{fences[1]}</mrow>"

    def _text(self) -> str:
        """Read a group as it is written."""
        if self.take() != "{":
            raise ValueError("a { is missing")
        start, depth = self.at, 1
        while depth:
            if self.at == len(self.tokens):
                raise ValueError("a } is missing")
            depth += {"{": 1, "}": -1}.get(self.tokens[self.at], 0)
            self.at += 1
        return re.sub(r"\\(.)", r"\1", "".join(self.tokens[start : self.at - 1]))


def _operator(sign: str) -> str:
    close = ' lspace="0" rspace="0"' if sign in "|‖/" else ""  # a browser would set |x| with gaps
    return f'<mo stretchy="false"{close}>{escape(sign)}</mo>'
