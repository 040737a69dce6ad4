"""Clean Wikipedia articles: running prose without lists, tables and headings (chapters 2 and 4).

BERT was pretrained on "only the text passages", ignoring "lists, tables, and headers" (Devlin et al. 2019,
§3.1), and these articles are cleaned the same way. mwparserfromhell parses the markup; this module decides
which nodes of the parsed tree to keep. A paragraph that would lose a word with its markup, for example a
formula, is removed as a whole.
"""

from __future__ import annotations

import bz2
import html
import json
import os
import re
from contextlib import suppress
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree

import mwparserfromhell
from mwparserfromhell.nodes import ExternalLink, Heading, HTMLEntity, Node, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode
from tqdm.auto import tqdm

from bertlearn.data.cache import TEMPORARY, cache_folder
from bertlearn.data.download import read_member
from bertlearn.data.sources import SOURCES

_GAP = "\ufffc"  # Unicode's "object replacement character": marks where a needed part was removed
_MIN_WORDS = 8  # in a paragraph
_MIN_PARAGRAPHS = 2  # in an article; pages with fewer paragraphs only link to other pages

_DROPPED_LINKS = ("file", "image", "category")
_DROPPED_TAGS = ("ref", "references", "gallery", "timeline", "imagemap")
_KEPT_TAGS = ("b", "i", "small", "big", "span", "sub", "s", "code", "nowiki")

# Templates are like functions: without Wikipedia's own definitions, their output is unknown. The following
# templates show one of their arguments (listed with its index), a fixed text, or something that the sentence
# needs. All others (references, notes, navigation, pronunciation) are removed without a trace.
_SHOWN_ARGUMENT = {
    "angbr": 0,
    "as of": 0,
    "big": 0,
    "flag": 0,
    "lang": 1,
    "nihongo": 0,
    "nowrap": 0,
    "rtl-lang": 1,
    "sc": 0,
    "script": 1,
    "small": 0,
    "smaller": 0,
    "transl": -1,
    "vanchor": 0,
    "vr": 0,
}
_SHOWN_TEXT = {"'": "'", "'s": "'s", "mdashb": "—", "nbsp": " ", "snd": " – ", "spaces": " ", "thinsp": " "}
_NEEDED = {
    "carbon",
    "chem",
    "coord",
    "e",
    "epc article",
    "epc rule",
    "format price",
    "frac",
    "hms",
    "inflation",
    "ipa",
    "math",
    "music",
    "nuclide2",
    "oldstyledate",
    "pct rule",
    "pop density",
    "railgauge",
    "sfrac",
    "us patent",
    "us$",
    "uss",
    "val",
}
_SUPERSCRIPTS = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
_RANGES = ("by", "to", "and", "or", "-", "–", "x", "×")  # {{convert|2|to|3|km}}

# Checksum of the articles as the pinned version of the parser cleans them. No other copy is cached or loaded.
_CLEAN_SHA256 = "b0e6e719a7d9f0846376b695e69c1e4874d0c96ab23c4153e01021d83e9fe525"

_MARKUP = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|[<>|]|''|==|__")
_SENTENCE_END = re.compile(r"""[.!?]["”’')\]]*$""")


class Article(NamedTuple):
    """One Wikipedia article: its title and its paragraphs of prose, in order."""

    title: str
    paragraphs: list[str]


def load_articles() -> list[Article]:
    """Return the Wikipedia articles, cleaned of markup.

    The first call takes some seconds and shows a progress bar; later calls read a cleaned copy in the cache.

    Returns:
        About 100 articles with 2.4 million characters in total.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    path = cache_folder() / "wikipedia" / "articles.json"
    content = path.read_bytes() if path.is_file() else b""
    if sha256(content).hexdigest() != _CLEAN_SHA256:
        content = _clean(read_member(SOURCES["wikipedia"], "articles.xml.bz2"))
        if sha256(content).hexdigest() == _CLEAN_SHA256:
            _keep(path, content)
    return [Article(title, paragraphs) for title, paragraphs in json.loads(content)]


def clean_markup(markup: str) -> list[str]:
    """Return the paragraphs of prose in a page's wiki markup."""
    lines = _text(mwparserfromhell.parse(markup)).split("\n")
    blocks = groupby(lines, key=lambda line: bool(line.strip()) and not line.startswith(_GAP))
    paragraphs = [_tidy(" ".join(block)) for is_text, block in blocks if is_text]
    return [paragraph for paragraph in paragraphs if _is_prose(paragraph)]


def _clean(dump: bytes) -> bytes:
    """Return the cleaned articles of a compressed dump as JSON: pairs of title and paragraphs."""
    pages = _read_pages(bz2.decompress(dump))
    cleaned = [(title, clean_markup(markup)) for title, markup in tqdm(pages, desc="cleaning Wikipedia")]
    articles = [(title, paragraphs) for title, paragraphs in cleaned if len(paragraphs) >= _MIN_PARAGRAPHS]
    return json.dumps(articles, ensure_ascii=False).encode("utf-8")


def _read_pages(xml: bytes) -> list[tuple[str, str]]:
    """Return the title and markup of every article; redirects, talk pages and help pages are skipped."""
    return [
        (page.findtext("{*}title", ""), page.findtext("{*}revision/{*}text", ""))
        for page in ElementTree.fromstring(xml).iterfind("{*}page")
        if page.findtext("{*}ns") == "0" and page.find("{*}redirect") is None
    ]


def _keep(path: Path, content: bytes) -> None:
    """Cache the cleaned articles atomically. Errors are ignored: the next call then cleans again."""
    with suppress(OSError), TemporaryDirectory(dir=cache_folder(), prefix=TEMPORARY) as folder:
        temporary = Path(folder, path.name)
        temporary.write_bytes(content)
        os.replace(temporary, path)


def _text(code: Wikicode) -> str:
    return "".join(_node_text(node) for node in code.nodes)


def _node_text(node: Node) -> str:
    """Return the prose that a reader of the page sees for one node of the parsed markup."""
    match node:
        case Text():
            return str(node.value)
        case HTMLEntity():
            return str(node.normalize())
        case Wikilink():
            return _link_text(node)
        case ExternalLink():
            return _text(node.title) if node.title else ""
        case Tag():
            return _tag_text(node)
        case Template():
            return _template_text(node)
        case Heading():
            return f"\n{_GAP}\n"
    return ""  # comments, and parameters that only templates have


def _link_text(link: Wikilink) -> str:
    title = str(link.title).strip()
    if title.partition(":")[0].strip().lower() in _DROPPED_LINKS:
        return ""
    return title.lstrip(":") if link.text is None else _text(link.text)


def _tag_text(tag: Tag) -> str:
    """Return the text of a tag; lists, tables, quotations and formulas become a gap."""
    name = str(tag.tag).lower()
    if name in _DROPPED_TAGS:
        return ""
    if name in _KEPT_TAGS:
        return _text(tag.contents)
    if name == "sup":
        return _text(tag.contents).translate(_SUPERSCRIPTS)
    return " " if name == "br" else _GAP


def _template_text(template: Template) -> str:
    """Return what a template shows: one of its arguments, a fixed text, a gap, or nothing."""
    name = str(template.name).strip().lower()
    arguments = [_text(parameter.value) for parameter in template.params if not parameter.showkey]
    if name in _SHOWN_TEXT:
        return _SHOWN_TEXT[name]
    if name in _NEEDED:
        return _GAP
    if name == "convert":  # a number and its unit, or two numbers
        words = [argument.removesuffix("(-)") for argument in arguments]
        return " ".join(words[: 4 if words[1:2] and words[1] in _RANGES else 2])
    index = _SHOWN_ARGUMENT.get(name, len(arguments))
    return arguments[index] if index < len(arguments) else ""


def _tidy(text: str) -> str:
    """Remove the spaces and brackets left by removed notes: "A ( ; ) , ; b" becomes "A; b"."""
    text = " ".join(html.unescape(text).split())
    text = re.sub(r"[,;:]\s*([,;])", r"\1", text)
    text = re.sub(r"\([\s;,:]+", "(", text)
    text = re.sub(r"[\s;,:]+\)", ")", text)
    text = re.sub(r"\s*\(\)", "", text)
    return re.sub(r"\s+([,.;:])(?=\s|$)", r"\1", text)


def _is_prose(paragraph: str) -> bool:
    """Return whether a paragraph is complete, free of markup, and begins and ends like a sentence."""
    return (
        _GAP not in paragraph
        and not _MARKUP.search(paragraph)
        and not paragraph[0].islower()
        and _SENTENCE_END.search(paragraph) is not None
        and len(paragraph.split()) >= _MIN_WORDS
    )
