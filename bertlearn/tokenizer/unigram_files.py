"""The files of a unigram tokenizer in transformers' layout: tokenizer.json, read exactly or refused by name.

Leaves out: tokenizers with other special tokens than XLM-R's, other splitters, fallback to bytes.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import normalizers

from bertlearn.files import CONFIG, VOCAB, read_json
from bertlearn.tokenizer.encoding import SpecialTokens
from bertlearn.tokenizer.pretrained import (
    ADDED_TOKENS,
    REMEDY,
    SPECIAL_TOKENS_MAP,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    check_components,
)

SPACE = "▁"  # U+2581, which stands for the space before a word
SPECIAL_TOKENS = SpecialTokens("<pad>", "<unk>", "<s>", "</s>", "<mask>")

_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


class UnigramFiles(NamedTuple):
    """What the files of a folder say about its tokenizer."""

    pieces: list[tuple[str, float]]  # with their scores, in the order of the ids
    components: tokenizers.Tokenizer  # the tokenizer of tokenizer.json with a vocabulary of one piece
    strips_before_mask: bool
    path: Path  # of tokenizer.json

    @property
    def normalizer(self) -> normalizers.Normalizer | None:
        """What is done to a text before it is split."""
        found: normalizers.Normalizer | None = self.components.normalizer
        return found

    def check_components(self, expected: tokenizers.Tokenizer) -> None:
        """Check that tokenizer.json splits, adds special tokens and joins as `expected` does.

        Raises:
            ValueError: it does not; the message names the first part that differs.
        """
        check_components(self.components, expected, ("pre_tokenizer", "post_processor", "decoder"), self.path)


def check_pieces(pieces: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the score of each piece.

    Raises:
        ValueError: pieces without scores, a piece that occurs twice, a score that is not a finite number, a
            missing special token.
    """
    try:
        scores = {str(piece): float(score) for piece, score in pieces}
    except (TypeError, ValueError):
        raise ValueError(f"pieces is {str(pieces)[:60]}, expected a list of (piece, score)") from None
    if len(scores) < len(pieces):
        seen: set[str] = set()
        twice = next(piece for piece, _ in pieces if piece in seen or seen.add(piece))  # type: ignore[func-returns-value]
        raise ValueError(f"the piece {twice!r} occurs more than once; each piece has one id")
    odd = next((piece for piece, score in scores.items() if not math.isfinite(score)), None)
    if odd is not None:
        raise ValueError(f"the score of {odd!r} is {scores[odd]}, expected the logarithm of a probability")
    if "" in scores:
        raise ValueError("a piece is empty, expected at least one character")
    missing = [token for token in SPECIAL_TOKENS if token not in scores]
    if missing:
        raise ValueError(
            f"the pieces have no {' '.join(missing)}; the model needs {' '.join(SPECIAL_TOKENS)}"
        )
    return scores


def read_unigram(folder: Path) -> UnigramFiles:
    """Read the files of a tokenizer.

    Raises:
        FileNotFoundError: there is no tokenizer.json.
        ValueError: a damaged file, a tokenizer of another kind, or one of a model that is not a BERT.
    """
    path = folder / TOKENIZER_JSON
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {TOKENIZER_JSON}, which a unigram tokenizer needs")
    _check_model_type(folder / CONFIG)
    content = read_json(path)
    model = content.get("model")
    if not isinstance(model, dict) or "vocab" not in model:
        raise ValueError(f"{path} has no vocabulary: it is damaged; download it again")
    if (kind := model.get("type")) != "Unigram":
        remedy = "use WordPieceTokenizer" if kind in (None, "WordPiece") else REMEDY
        raise ValueError(f"model.type in {path} is {kind!r}, expected 'Unigram'; {remedy}")
    if model.get("byte_fallback"):
        raise ValueError(f"model.byte_fallback in {path} is not supported; {REMEDY}")
    pieces = _pieces(model["vocab"], path)
    _check_unknown(model.get("unk_id"), pieces, path)
    strips = _check_added(content.get("added_tokens") or [], pieces, path)
    return UnigramFiles(pieces, _read_components(content, path), strips, path)


def write_unigram(folder: Path, tokenizer: tokenizers.Tokenizer, model_max_length: int | None) -> None:
    """Write tokenizer.json and tokenizer_config.json, and remove an older tokenizer's other files.

    Raises:
        OSError: the disk is full or not writable; earlier files in the folder stay as they were.
    """
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **dict(zip(_NAMES, SPECIAL_TOKENS, strict=True)),
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    texts = {TOKENIZER_JSON: tokenizer.to_str(), TOKENIZER_CONFIG: json.dumps(config, indent=2) + "\n"}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as written:
        for name, text in texts.items():
            Path(written, name).write_text(text, encoding="utf-8", newline="\n")
        for name in texts:
            os.replace(Path(written, name), folder / name)
    for name in (SPECIAL_TOKENS_MAP, ADDED_TOKENS, VOCAB):
        (folder / name).unlink(missing_ok=True)


def _check_model_type(path: Path) -> None:
    """Refuse the tokenizer of a model that is not a BERT, such as XLM-R, whose positions start at 2."""
    kind = read_json(path).get("model_type", "bert") if path.is_file() else "bert"
    if kind != "bert":
        reason = " (its positions start at 2)" if kind == "xlm-roberta" else ""
        raise ValueError(f"model_type={kind!r} in {path} is not a BERT{reason}; {REMEDY}")


def _pieces(vocab: Any, path: Path) -> list[tuple[str, float]]:
    """Return the pieces with their scores, as tokenizer.json lists them."""
    try:
        return [(str(piece), float(score)) for piece, score in vocab]
    except (TypeError, ValueError):
        raise ValueError(
            f"model.vocab in {path} is not a list of pieces with scores; download it again"
        ) from None


def _check_unknown(number: Any, pieces: list[tuple[str, float]], path: Path) -> None:
    if (
        not isinstance(number, int)
        or not 0 <= number < len(pieces)
        or pieces[number][0] != SPECIAL_TOKENS.unk
    ):
        raise ValueError(f"model.unk_id={number!r} in {path} is not the id of {SPECIAL_TOKENS.unk}; {REMEDY}")


def _check_added(added: list[Any], pieces: list[tuple[str, float]], path: Path) -> bool:
    """Check that the five special tokens, and no others, are kept whole in a text.

    Returns:
        Whether spaces before <mask> belong to it.

    Raises:
        ValueError: another token, one that is missing, or one with another id or option.
    """
    try:
        tokens = {token["content"]: token for token in added}
        ids = {content: token["id"] for content, token in tokens.items()}
    except (TypeError, KeyError):
        raise ValueError(f"added_tokens in {path} is damaged; download it again") from None
    if set(tokens) != set(SPECIAL_TOKENS):
        raise ValueError(
            f"added_tokens in {path} are {' '.join(map(str, tokens))}, which is not supported, only "
            f"{' '.join(SPECIAL_TOKENS)}; {REMEDY}"
        )
    for content, number in ids.items():
        if not isinstance(number, int) or not 0 <= number < len(pieces) or pieces[number][0] != content:
            raise ValueError(f"{content} has the id {number} in {path}, where another piece is; {REMEDY}")
        allowed = ("lstrip",) if content == SPECIAL_TOKENS.mask else ()
        options = [
            name for name in ("single_word", "lstrip", "rstrip", "normalized") if tokens[content].get(name)
        ]
        if other := [name for name in options if name not in allowed]:
            raise ValueError(
                f"{content} in {path} has the option {other[0]}, which is not supported; {REMEDY}"
            )
    return bool(tokens[SPECIAL_TOKENS.mask].get("lstrip"))


def _read_components(content: dict[str, Any], path: Path) -> tokenizers.Tokenizer:
    """Return the tokenizer of tokenizer.json without its vocabulary, which would take time."""
    model = {"type": "Unigram", "vocab": [[SPECIAL_TOKENS.unk, 0.0]], "unk_id": 0}
    try:
        return tokenizers.Tokenizer.from_str(json.dumps({**content, "added_tokens": [], "model": model}))
    except Exception as error:  # the library raises no narrower class
        raise ValueError(f"{path} cannot be read ({error}); download it again") from error
