"""A tokenizer's folder in transformers' layout: read exactly or refused by name, and written.

Up to six files say how a text becomes ids. vocab.txt or tokenizer.json has the vocabulary,
tokenizer_config.json the settings, special_tokens_map.json and added_tokens.json further tokens; config.json
may name the class. transformers and the tokenizers library do not believe the same file first. Therefore all
files that exist must agree and describe the tokenizer of BERT's published code: then both libraries give the
same ids, and so does `WordPieceTokenizer`.
The padding and truncation stored in a tokenizer.json are not applied. transformers does not apply them either
unless it is asked to pad or truncate.
Leaves out: other normalizers and splitters, added tokens, special tokens with other names, padding or
truncation on the left.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import models, normalizers

from bertlearn.files import CONFIG, VOCAB, read_json, write_whole
from bertlearn.tokenizer.vocab_files import (
    SPECIAL_TOKENS,
    check_vocab,
    read_vocab,
    vocab_text,
    without_white_space,
)

TOKENIZER_CONFIG, TOKENIZER_JSON = "tokenizer_config.json", "tokenizer.json"
SPECIAL_TOKENS_MAP, ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"

SPECIAL_NAMES = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True)
)

# transformers' classes, without "Fast" at the end, that are BERT's tokenizer; they take their settings from
# tokenizer_config.json. The generic ones take everything from tokenizer.json.
_BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
_GENERIC_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")
_BERT_MODELS = ("bert", "distilbert", "electra", "mobilebert")  # their class, if no file names one

# The settings in tokenizer_config.json, their names in tokenizer.json, and transformers' defaults
_NORMALIZER_NAMES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_DEFAULTS = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}

# Options of a special token that change how it is matched in a text
_MATCHING_OPTIONS = ("single_word", "lstrip", "rstrip", "normalized")

# The JSON types of what is read below, by file; null counts as absent
_TOKEN_LISTS: dict[str, tuple[type, ...]] = {
    "additional_special_tokens": (list, dict),
    "extra_special_tokens": (list, dict),
}
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    TOKENIZER_CONFIG: {
        "auto_map": (dict,),
        "added_tokens_decoder": (dict,),
        "model_input_names": (list,),
        **_TOKEN_LISTS,
    },
    SPECIAL_TOKENS_MAP: _TOKEN_LISTS,
    TOKENIZER_JSON: {"model": (dict,), "added_tokens": (list,), "truncation": (dict,), "padding": (dict,)},
}

REMEDY = "use transformers.AutoTokenizer"
_USE_UNIGRAM = "use UnigramTokenizer"
_NO_OTHER_TOKENS = f"a vocabulary with other special or added tokens needs another library; {REMEDY}"

_INCOMPLETE = "{}\n"  # a tokenizer.json that no library loads


class TokenizerFiles(NamedTuple):
    """What the files of a folder say about its tokenizer."""

    vocab: dict[str, int]
    settings: dict[str, Any]  # do_lower_case, strip_accents, tokenize_chinese_chars
    components: tokenizers.Tokenizer | None  # tokenizer.json without its vocabulary; None if there is none
    path: Path  # of tokenizer.json

    def check_components(self, expected: tokenizers.Tokenizer) -> None:
        """Check that tokenizer.json describes the tokenizer `expected`, apart from the vocabulary.

        Raises:
            ValueError: it does not; the message names the first part that differs.
        """
        if self.components is not None:
            parts = ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder")
            check_components(self.components, expected, parts, self.path, _bert_processing(self.vocab))


class _Folder(NamedTuple):
    """A folder and the content of its JSON files, {} for a file that does not exist."""

    path: Path
    model_config: dict[str, Any]  # config.json
    config: dict[str, Any]  # tokenizer_config.json
    special_tokens_map: dict[str, Any]
    added_tokens: dict[str, Any]
    tokenizer_json: dict[str, Any]


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read the files of a tokenizer.

    Raises:
        FileNotFoundError: there is no vocabulary.
        ValueError: a damaged file, files that contradict each other, or a tokenizer that is not BERT's.
    """
    names = (CONFIG, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS, TOKENIZER_JSON)
    files = _Folder(folder, *(_read_optional(folder / name) for name in names))
    _check_types(files)
    generic = _is_generic(files)
    _check_options(files)
    components = _read_components(files) if (folder / TOKENIZER_JSON).is_file() else None
    vocab = _vocabulary(files)
    _check_special_tokens(files, vocab, generic)
    settings = _settings(files, components, generic)
    return TokenizerFiles(
        check_vocab(vocab, f"the vocabulary in {folder}"), settings, components, folder / TOKENIZER_JSON
    )


def check_components(
    found: tokenizers.Tokenizer,
    expected: tokenizers.Tokenizer,
    parts: Sequence[str],
    path: Path,
    older: dict[str, Any] | None = None,
) -> None:
    """Check that the parts of the tokenizer in the file `path` are those of `expected`.

    Args:
        found, expected: the two tokenizers.
        parts: the names of the attributes to compare.
        path: for error messages.
        older: another description of the post-processor, which says the same.

    Raises:
        ValueError: they are not; the message names the first part that differs.
    """
    for name in parts:
        wanted, description = _description(getattr(expected, name)), _description(getattr(found, name))
        if name == "post_processor" and older is not None and description == older:
            continue
        if difference := _first_difference(description, wanted, name):
            part, one, other = difference
            raise ValueError(
                f"{part} in {path} is {_short(one)}, which is not supported, only {_short(other)}; {REMEDY}"
            )


def write_tokenizer(folder: Path, vocab: list[str], config: dict[str, Any]) -> None:
    """Write vocab.txt and tokenizer_config.json, and remove an older tokenizer's other files.

    While the files are replaced, a tokenizer.json that no library loads lies beside them. So a folder in
    which that was interrupted is refused, and never read as a mixture of two tokenizers.

    Raises:
        ValueError: vocab.txt cannot hold a token.
        OSError: the disk is full or not writable; earlier files in the folder stay as they were.
    """
    texts = {VOCAB: vocab_text(vocab), TOKENIZER_CONFIG: json.dumps(config, indent=2) + "\n"}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as written:
        for name, text in texts.items():
            _write_text(Path(written, name), text)
        _write_text(folder / TOKENIZER_JSON, _INCOMPLETE)
        for name in texts:
            os.replace(Path(written, name), folder / name)
    for name in (SPECIAL_TOKENS_MAP, ADDED_TOKENS, TOKENIZER_JSON):
        (folder / name).unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8 and with the same line endings on every system."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _check_types(files: _Folder) -> None:
    """Refuse JSON whose parts do not have the types that the libraries write."""
    contents = (files.config, files.special_tokens_map, files.tokenizer_json)
    for (name, types), content in zip(_TYPES.items(), contents, strict=True):
        for part, kinds in types.items():
            _check_type(f"{part} in {files.path / name}", content.get(part), kinds)
    place = f"a token in {files.path / TOKENIZER_JSON}"
    for token in files.tokenizer_json.get("added_tokens") or ():
        _check_type(place, token if token is not None else "null", (dict,))
    vocab = (files.tokenizer_json.get("model") or {}).get("vocab")
    _check_type(f"model.vocab in {files.path / TOKENIZER_JSON}", vocab, (dict, list))
    ids = vocab.values() if isinstance(vocab, dict) else ()
    odd = next((number for number in ids if not isinstance(number, int)), None)
    _check_type(f"an id in {files.path / TOKENIZER_JSON}", odd, (int,))
    for number in files.config.get("added_tokens_decoder") or ():
        if not number.isdecimal():
            raise ValueError(
                f"added_tokens_decoder in {files.path / TOKENIZER_CONFIG} has {number[:60]!r}, expected the "
                "number of an id; download the file again"
            )


def _check_type(place: str, value: Any, kinds: tuple[type, ...]) -> None:
    if value is not None and not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{place} is {repr(value)[:60]}, expected {expected}; download the file again")


# Class and options


def _is_generic(files: _Folder) -> bool:
    """Return whether transformers would take everything from tokenizer.json.

    Raises:
        ValueError: transformers would use a class that is not BERT's tokenizer.
    """
    if "AutoTokenizer" in (files.config.get("auto_map") or {}):
        raise ValueError(f"{files.path / TOKENIZER_CONFIG} asks for code of its own (auto_map); {REMEDY}")
    for name, content in ((TOKENIZER_CONFIG, files.config), (CONFIG, files.model_config)):
        if (found := content.get("tokenizer_class")) is not None:
            kind = str(found).removesuffix("Fast")
            if kind not in _BERT_CLASSES + _GENERIC_CLASSES:
                remedy = _USE_UNIGRAM if kind == "XLMRobertaTokenizer" else REMEDY
                raise ValueError(
                    f"tokenizer_class={found!r} in {files.path / name} is not BERT's tokenizer, expected "
                    f"{' or '.join(_BERT_CLASSES)}; {remedy}"
                )
            generic = kind in _GENERIC_CLASSES
            if generic and not files.tokenizer_json:
                raise ValueError(f"tokenizer_class={found!r} in {files.path / name} needs a {TOKENIZER_JSON}")
            return generic
    model_type = files.model_config.get("model_type", "bert")
    if model_type not in _BERT_MODELS:
        raise ValueError(
            f"model_type={model_type!r} in {files.path / CONFIG} has a tokenizer other than BERT's; "
            f'{REMEDY}, or write "tokenizer_class": "BertTokenizer" into {TOKENIZER_CONFIG} if it is BERT\'s'
        )
    return False


def _check_options(files: _Folder) -> None:
    """Check the options that change what an encoding contains."""
    config = files.config
    for side, stored in (("truncation_side", "truncation"), ("padding_side", "padding")):
        direction = (files.tokenizer_json.get(stored) or {}).get("direction", "right")
        if (found := config.get(side, str(direction).lower())) != "right":
            raise ValueError(f"{side}={found!r} of {files.path} is not supported, only 'right'; {REMEDY}")
    if config.get("split_special_tokens"):
        raise ValueError(f"split_special_tokens of {files.path} is not supported; {REMEDY}")
    inputs = config.get("model_input_names")
    if inputs is not None and "token_type_ids" not in inputs:
        raise ValueError(
            f"model_input_names={inputs!r} of {files.path} has no token_type_ids, which BERT needs; {REMEDY}"
        )


# Vocabulary


def _vocabulary(files: _Folder) -> dict[str, int]:
    """Return the vocabulary of tokenizer.json or, if that file is missing, of vocab.txt: ids by token.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: both exist and differ.
    """
    path, found = files.path / VOCAB, (files.tokenizer_json.get("model") or {}).get("vocab")
    if not path.is_file():
        if found is None:
            raise FileNotFoundError(
                f"{files.path} has neither a {VOCAB} nor a {TOKENIZER_JSON} with a vocabulary; a tokenizer "
                "needs one"
            )
        return found
    vocab = read_vocab(path)
    if found is None:
        return {token: number for number, token in enumerate(vocab)}
    listed = dict(enumerate(vocab))
    saved = {number: without_white_space(token) for token, number in found.items()}
    for number in range(max(len(listed), len(saved))):
        one, other = listed.get(number), saved.get(number)
        if one != other and (one or other):  # blank lines at the end of vocab.txt may be in tokenizer.json
            raise ValueError(
                f"{VOCAB} and {TOKENIZER_JSON} in {files.path} disagree: the id {number} is {one!r} in the "
                f"first and {other!r} in the second; delete the file that is not the model's"
            )
    return found


# Special tokens


def _check_special_tokens(files: _Folder, vocab: dict[str, int], generic: bool) -> None:
    """Check that BERT's five special tokens, and no others, are kept whole in a text.

    Raises:
        ValueError: another token, a token under another name or id, an option that changes how it is matched,
            or one of the five that is missing where transformers needs it.
    """
    named = list(_named_tokens(files))
    names = {content for mention in named if isinstance(content := _content(mention.token), str)}
    found = set()
    for mention in [*named, *_added_tokens(files, names)]:
        content = _content(mention.token)
        if content not in mention.allowed:
            raise ValueError(
                f"{mention.place} is {content!r}, which is not supported, only {' '.join(mention.allowed)}: "
                f"{_NO_OTHER_TOKENS}"
            )
        if options := _matching_options(mention.token):
            raise ValueError(
                f"{mention.place}, {content!r}, has the option {options[0]}, which is not supported; {REMEDY}"
            )
        if mention.id is not None and mention.id != vocab.get(content):
            raise ValueError(
                f"{mention.place}, {content!r}, has the id {mention.id}, but {vocab.get(content)} in the "
                "vocabulary; download the files again"
            )
        found.add(content)
    if generic and (missing := [token for token in SPECIAL_TOKENS if token not in found]):
        raise ValueError(
            f"no file of {files.path} says that {missing[0]} is a special token, and its tokenizer_class, "
            f"unlike BertTokenizer, does not know that; {REMEDY}"
        )


class _Mention(NamedTuple):
    """A token that a file treats as special: a string, or a dict with its options."""

    place: str
    token: Any
    allowed: Sequence[str] = SPECIAL_TOKENS
    id: int | None = None


def _named_tokens(files: _Folder) -> Iterator[_Mention]:
    """Yield the tokens that have a name, such as mask_token, and those in lists of further ones."""
    for file, content in ((TOKENIZER_CONFIG, files.config), (SPECIAL_TOKENS_MAP, files.special_tokens_map)):
        for name, value in content.items():
            place = f"{name} in {files.path / file}"
            if name in SPECIAL_NAMES:
                yield _Mention(place, value, (SPECIAL_NAMES[name],))
            elif name.endswith("_token") and isinstance(value, str | dict):
                yield _Mention(place, value)
            elif name in ("additional_special_tokens", "extra_special_tokens"):
                tokens = value.values() if isinstance(value, dict) else value or ()
                yield from (_Mention(place, token) for token in tokens)


def _added_tokens(files: _Folder, names: Container[str]) -> Iterator[_Mention]:
    """Yield the tokens that are added to the vocabulary, with their ids."""
    for number, token in (files.config.get("added_tokens_decoder") or {}).items():
        place = f"a token of added_tokens_decoder in {files.path / TOKENIZER_CONFIG}"
        yield _Mention(place, token, id=int(number))
    for token in files.tokenizer_json.get("added_tokens") or ():
        yield _Mention(f"an added token in {files.path / TOKENIZER_JSON}", token, id=token.get("id"))
    for content, number in files.added_tokens.items():
        token = {"content": content, "special": content in names}
        yield _Mention(f"a token in {files.path / ADDED_TOKENS}", token, id=number)


def _content(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token


def _matching_options(token: Any) -> list[str]:
    """Return the options of a special token that change how it is matched in a text."""
    if not isinstance(token, dict):
        return []
    options = {"normalized": not token.get("special", False), **token}
    return [name for name in _MATCHING_OPTIONS if options.get(name)]


# Settings and components


def _settings(files: _Folder, components: tokenizers.Tokenizer | None, generic: bool) -> dict[str, Any]:
    """Return the settings of the normalizer.

    Raises:
        ValueError: a setting of another type, or one that has different values in the two files.
    """
    stated = {name: files.config[name] for name in _DEFAULTS if name in files.config}
    for name, value in stated.items():
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise ValueError(f"{name}={value!r} in {files.path / TOKENIZER_CONFIG} is not true or false")
    if components is None or not isinstance(components.normalizer, normalizers.BertNormalizer):
        return {**_DEFAULTS, **stated}
    description = _description(components.normalizer)
    saved = {name: description[other] for name, other in _NORMALIZER_NAMES.items()}
    expected = {**(saved if generic else _DEFAULTS), **stated}
    for name in _DEFAULTS:
        one, other = _effective(expected)[name], _effective(saved)[name]
        if one != other:
            raise ValueError(
                f"{TOKENIZER_CONFIG} and {TOKENIZER_JSON} in {files.path} disagree: {name} is {one} in the "
                f"first ({'given' if name in stated else 'the default'}) and {other} in the second; write "
                "the right value into the first, and delete the second if it is wrong"
            )
    return saved


def _effective(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the value of strip_accents that None stands for."""
    strip = settings["strip_accents"]
    return {**settings, "strip_accents": settings["do_lower_case"] if strip is None else strip}


def _read_components(files: _Folder) -> tokenizers.Tokenizer:
    """Return the tokenizer of tokenizer.json without its vocabulary, which would take time."""
    path, model = files.path / TOKENIZER_JSON, files.tokenizer_json.get("model")
    if not isinstance(model, dict) or "vocab" not in model:
        raise ValueError(
            f"{path} has no vocabulary: it is damaged, or saving it was interrupted; save the tokenizer again"
        )
    if (kind := model.get("type", "WordPiece")) != "WordPiece":
        remedy = _USE_UNIGRAM if kind == "Unigram" else REMEDY
        raise ValueError(
            f"model.type in {path} is {kind!r}, which is not supported, only 'WordPiece'; {remedy}"
        )
    _check_type(f"model.vocab in {path}", model["vocab"], (dict,))
    content = {**files.tokenizer_json, "added_tokens": [], "model": {**model, "vocab": {}}}
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises no narrower class
        raise ValueError(f"{path} cannot be read ({error}); download it again") from error


def _description(component: Any) -> Any:
    """Return a component of a tokenizer as tokenizer.json describes it; a model without its vocabulary."""
    if isinstance(component, models.Model):
        names = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
        return {"type": type(component).__name__, **{name: getattr(component, name, None) for name in names}}
    return None if component is None else json.loads(component.__getstate__())


def _bert_processing(vocab: Mapping[str, int]) -> dict[str, Any]:
    """Return the description of the post-processor that older versions of the library used."""
    sep, cls = ([token, vocab[token]] for token in ("[SEP]", "[CLS]"))
    return {"type": "BertProcessing", "sep": sep, "cls": cls}


def _first_difference(found: Any, expected: Any, name: str) -> tuple[str, Any, Any] | None:
    """Return the name of the first part that differs, with both its values; None if all is equal."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.get("type") == expected.get("type"):
        parts = (
            _first_difference(found.get(key), expected.get(key), f"{name}.{key}")
            for key in {**expected, **found}
        )
        return next((part for part in parts if part), None)
    return None if found == expected else (name, found, expected)


def _short(value: Any) -> str:
    """Return a component's type, or another value as it is, for an error message."""
    text = repr(value.get("type", value) if isinstance(value, dict) else value)
    return text if len(text) <= 200 else f"{text[:200]}…"
