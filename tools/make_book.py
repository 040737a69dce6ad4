"""Build the course as a website, from the stored outputs; the pages need no network.

python tools/make_book.py                                              into build/book/
python tools/make_book.py --repository https://github.com/OWNER/NAME   with buttons that open the notebooks

A copy of the sources is assembled first, with the folders of the repository, so that links between its files
stay as they are. Sphinx's configuration, the style sheet and the script are in `docs/book/`.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import nbformat
from myst_parser.slugs import github_slugify
from nbformat import NotebookNode
from notebook_page import title
from sphinx.cmd.build import build_main

import bertlearn
import notebooks as tool
from bertlearn.course.links import relink, targets

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "docs" / "book"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PAGES = [
    "docs/glossary.md",
    "docs/pretraining.md",
    "docs/relatives.md",
    "docs/fields.md",
    "docs/labeled_sets.md",
    "benchmarks/README.md",
]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROW = re.compile(r"^\| (.+?) \| .+\|\n", re.MULTILINE)  # of a table; the group is its first cell
PARTS = {  # of the package, in the order in which to read them
    "model": "BERT itself",
    "tokenizer": "from text to tokens",
    "training": "the training loop",
    "pretraining": "masks, runs and corpora",
    "finetuning": "models for tasks",
    "search": "texts on disk, found by meaning",
    "analysis": "what a model does, and why",
    "data": "texts and weights",
    "files": "files and folders",
    "arguments": "checks of arguments",
}


# --- chapters ------------------------------------------------------------------------------------------


def chapter(path: Path, terms: dict[str, str]) -> NotebookNode:
    """Return a notebook as the book shows it: results folded, new terms linked to the glossary."""
    notebook = tool.read(path)
    for cell in prose(notebook):
        cell.source = with_terms(cell.source, terms)
    for cell in tool.code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if not needs_a_kernel(output)]
        cell.metadata["tags"] = [*tool.tags(cell), *folds(cell)]
        cell.metadata["alts"] = [alt for output in cell.outputs for alt in alts(output)]
    return notebook


def needs_a_kernel(output: NotebookNode) -> bool:
    """Return whether an output is empty, or a live widget: the course's widgets have a still besides."""
    return "data" in output and (not output.data or tool.WIDGET in output.data)


def alts(output: NotebookNode) -> list[str]:
    """Return the alt text of a picture, which is in the metadata of the output."""
    return [output.metadata["image/png"]["alt"]] if "image/png" in output.get("data", {}) else []


def folds(cell: NotebookNode) -> list[str]:
    """Return myst-nb's tags for what JupyterLab folds."""
    folded = cell.metadata.get("jupyter", {})
    tags = {"source_hidden": "hide-input", "outputs_hidden": "hide-output"}
    return [tag for name, tag in tags.items() if folded.get(name)]


# --- the glossary --------------------------------------------------------------------------------------


def anchors(glossary: str) -> dict[str, str]:
    """Return the id of each term in the glossary's table: term-cls for [CLS]."""
    terms = [term for term in ROW.findall(glossary)[1:] if term.strip("-")]
    return {
        term: "term-" + (re.sub(r"\W+", "-", term.lower()).strip("-") or "continuation") for term in terms
    }


def with_anchors(glossary: str) -> str:
    """Return the glossary with an anchor at each term."""
    for term, anchor in anchors(glossary).items():
        glossary = glossary.replace(f"\n| {term} |", f"\n| [{term}]{{#{anchor}}} |", 1)
    return glossary


def with_terms(text: str, terms: dict[str, str]) -> str:
    """Return a chapter's Markdown in which each bold term, or its plural, links to the glossary."""

    def linked(bold: re.Match[str]) -> str:
        name = bold[1].lower()
        anchor = terms.get(name) or terms.get(name.removesuffix("s"))
        return f"[{bold[0]}](../docs/glossary.md#{anchor})" if anchor else bold[0]

    return re.sub(r"(?<!\[)\*\*([^*\n]+)\*\*(?!\])", linked, text)


# --- the exercises -------------------------------------------------------------------------------------


class Exercise(NamedTuple):
    """An exercise of a chapter, as its heading and its function describe it."""

    heading: str  # such as "Exercise 1 · `gelu` · ★★ · 10 minutes"
    asks: str

    def row(self, page: str) -> str:
        """Return a row of the index: a link, the stars and the minutes, and what is asked."""
        link = f"{page}#{github_slugify(self.heading.replace('`', ''))}"
        name = re.sub(r"[ ·]*★.*", "", self.heading)
        stars, minutes = "★" * self.heading.count("★"), re.search(r"(\d+) minutes", self.heading)
        return f"| [{name}]({link}) | {stars}{f' {minutes[1]} min' if minutes else ''} | {self.asks} |"


def exercises(notebook: NotebookNode) -> Iterator[Exercise]:
    """Yield a notebook's exercises in their order."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)][-1]
        elif "exercise" in tool.tags(cell):
            functions = [node for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]
            asks = "; ".join((ast.get_docstring(node) or "").partition("\n")[0] for node in functions)
            yield Exercise(heading, asks.replace("|", r"\|"))


def exercise_page() -> str:
    """Return the index of exercises: a table for each chapter that has any."""
    parts = ["# Exercises\n\nAll exercises of the course, with their difficulty and the minutes they take.\n"]
    for path in NOTEBOOKS:
        notebook = tool.read(path)
        if rows := [exercise.row(f"notebooks/{path.name}") for exercise in exercises(notebook)]:
            head = "| exercise | difficulty, time | what it asks |\n|---|---|---|"
            parts += [f"## {title(notebook)}\n", head, *rows, ""]
    return "\n".join(parts)


# --- the package ---------------------------------------------------------------------------------------


def modules(part: str) -> list[str]:
    """Return the modules of a part of the package: "model.bert" and so on."""
    folder = ROOT / "bertlearn"
    files = sorted((folder / part).rglob("*.py")) or [folder / f"{part}.py"]
    names = (file.relative_to(folder).with_suffix("") for file in files)
    return [".".join(name.parts) for name in names if name.name != "__init__"]


def part_page(part: str) -> str:
    """Return the reference of a part of the package, with an anchor at each module."""
    parts = [f"# bertlearn.{part}\n"]
    for module in modules(part):
        parts.append(
            f"(api-{module})=\n## {module}\n\n{rst(f'automodule:: bertlearn.{module}', ':members:')}\n"
        )
    return "\n".join(parts)


def package_page() -> str:
    """Return the first page of the reference: the main names, and those of them that the course defines."""
    text = (CONFIGURATION / "api.md").read_text(encoding="utf-8")
    objects = {name: getattr(bertlearn, name) for name in bertlearn.__all__}
    places = {name: f"{found.__module__}.{name}" for name, found in objects.items()}
    rows = [
        f"| {{py:obj}}`{name} <{place}>` | {(inspect.getdoc(objects[name]) or '').partition(chr(10))[0]} |"
        for name, place in places.items()
    ]
    course = [place for place in places.values() if place.startswith("bertlearn.course.")]
    documented = "\n\n".join(rst(f"autofunction:: {place}") for place in course)
    listed = "\n".join(f"- [{part}]({part}.md): {about}" for part, about in PARTS.items())
    return text.format(names="\n".join(rows), course=documented, parts=listed)


def rst(directive: str, *lines: str) -> str:
    """Return a directive of reStructuredText, which Sphinx's autodoc needs, inside Markdown."""
    body = "\n".join(["   " + line if line else "" for line in lines])
    return f"```{{eval-rst}}\n.. {directive}\n{body}\n```"


# --- buttons that open a notebook elsewhere ------------------------------------------------------------


def launchers(repository: str, hub: str = "") -> dict[str, object]:
    """Return the theme's options for buttons that open a chapter on Binder, Colab (from GitHub) and a hub.

    Args:
        repository: address of the course's repository, such as https://github.com/OWNER/NAME, perhaps with
            /tree/BRANCH; "" for no buttons.
        hub: address of a JupyterHub with nbgitpuller, if there is one.

    Raises:
        ValueError: an address is not complete.
    """
    if not repository:
        return {}
    found = re.fullmatch(r"(https://[\w.-]+/[\w.-]+/[\w.-]+?)(?:\.git)?/?(?:/tree/([\w./-]+))?", repository)
    if found is None:
        raise ValueError(f"repository={repository!r}; expected https://HOST/OWNER/NAME or …/tree/BRANCH")
    if hub and not hub.startswith("https://"):
        raise ValueError(f"hub={hub!r}; expected an address such as https://hub.example.org")
    on_github = found[1].startswith("https://github.com/")
    services = {"binderhub_url": "https://mybinder.org", "jupyterhub_url": hub}
    if on_github:
        services["colab_url"] = "https://colab.research.google.com"
    return {
        "repository_url": found[1],
        "repository_branch": found[2] or "main",
        "repository_provider": "github" if on_github else "gitlab",  # the theme knows no other servers
        "launch_buttons": services | {"notebook_interface": "jupyterlab"},
    }


# --- the book ------------------------------------------------------------------------------------------


def index_page() -> str:
    """Return the first page: the beginning and the table of chapters from the README, and how to read."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    intro = readme.partition("\n\n")[2].partition("\n\n")[0]
    chapters = readme.partition("## What you will have built\n\n")[2].partition("\n\n")[0]
    parts = "\n".join(f"api/{part}" for part in PARTS)
    text = (CONFIGURATION / "index.md").read_text(encoding="utf-8")
    return text.format(intro=intro, chapters=chapters, parts=parts)


def assemble(source: Path) -> None:
    """Write the sources of the book into an empty folder."""
    pages = {ROOT / name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
    terms = {term.lower(): anchor for term, anchor in anchors(pages[GLOSSARY]).items()}
    pages[GLOSSARY] = with_anchors(pages[GLOSSARY])
    chapters = {path: chapter(path, terms) for path in NOTEBOOKS}
    texts = [*pages.items(), *((path, cell.source) for path in chapters for cell in prose(chapters[path]))]
    places = {file: place(file) for path, text in texts for file in [path, *targets(text, path)]}
    for path, text in pages.items():
        write(source / places[path], relink(text, path, places))
    for path, notebook in chapters.items():
        for cell in prose(notebook):
            cell.source = relink(cell.source, path, places)
        write(source / places[path], nbformat.writes(notebook))
    for file in places.keys() - pages.keys() - chapters.keys():
        if "#" not in places[file].name:
            write(source / places[file], file.read_bytes())
    for name, text in generated().items():
        write(source / name, text)


def place(file: Path) -> PurePosixPath:
    """Return where a file is in the book: in its own folder, but a module of the library in the reference."""
    name = PurePosixPath(file.relative_to(ROOT).as_posix())
    part, *_ = names = name.with_suffix("").parts[1:] or ("",)
    is_library = name.suffix == ".py" and part in PARTS
    return PurePosixPath(f"api/{part}.md#api-{'.'.join(names)}") if is_library else name


def generated() -> dict[str, str]:
    """Return the pages that are no file of the repository."""
    reference = {f"api/{part}.md": part_page(part) for part in PARTS}
    return {
        "index.md": index_page(),
        "exercises.md": exercise_page(),
        "api/index.md": package_page(),
    } | reference


def prose(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def build(book: Path, repository: str = "", hub: str = "") -> None:
    """Build the book; an existing one is replaced only once the new one is finished.

    Args:
        book: the folder for the pages; the work is done in another beside it.
        repository: see `launchers`.
        hub: see `launchers`.

    Raises:
        ValueError: one of the addresses is not complete.
        RuntimeError: Sphinx reported warnings or errors, which it has printed.
    """
    launchers(repository, hub)
    work = book.with_name(book.name + "-work")
    source, pages = work / "source", work / "pages"
    shutil.rmtree(work, ignore_errors=True)
    source.mkdir(parents=True)
    assemble(source)
    os.environ |= {"BERTLEARN_REPOSITORY": repository, "BERTLEARN_HUB": hub}  # read by conf.py
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", str(CONFIGURATION)]
    if build_main([*options, "--doctree-dir", str(work / "doctrees"), str(source), str(pages)]):
        raise RuntimeError("the book was not built; Sphinx's messages are above")
    for path in NOTEBOOKS:  # what the button downloads: the notebook itself
        shutil.copy2(path, pages / "_sources" / "notebooks" / path.name)
    shutil.rmtree(book, ignore_errors=True)
    pages.rename(book)
    shutil.rmtree(work)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "book", help="the folder for the pages")
    for name in ("repository", "hub"):
        parser.add_argument(f"--{name}", default=os.environ.get(f"BERTLEARN_{name.upper()}", ""))
    args = parser.parse_args()
    try:
        build(args.to.resolve(), args.repository, args.hub)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.to} is ready; python -m http.server --bind 127.0.0.1 -d {args.to} shows it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
