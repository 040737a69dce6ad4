"""Tokenizer folders: read as transformers and the tokenizers library read them, or refused by name; saved."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import tokenizers
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzABPRSTé今日はい電影ı"
VOCAB = [
    *SPECIAL_TOKENS,
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *"!._<>[]#",
    *("paris", "Paris", "##case", "e1", "sn", "##ake", "tom"),
]
TEXTS = [
    "Paris PARIS !! snake_case",
    "É é e\u0301 Ée\u0301 caf\u00e9",
    "[MASK] [mask] [E1] tom tom[E1] [ MASK ] [CLS]a[SEP]b [PAD][UNK]",
    " [MASK] , a[MASK]b [MASK]",
    "a\x00b\u200bc\u2028d\x85e\x1cf \ufffd g\u00adh",
    "電影 今日はいい 電a影",
    "x" * 100 + " " + "x" * 101 + " " + "ab" * 26,
    "<mask> <s> <x> ##s # #s",
    "İ ı ß Σας ﬁ \u1e9b\u0323",
    "a",
    "zebra fox. jumps. over. lazy. dogs. " * 30,
]

JSON = dict[str, Any]


def lines(vocab: list[str], end: str = "\n") -> bytes:
    return "".join(f"{token}{end}" for token in vocab).encode()


def tokenizer_json(**settings: bool | None) -> JSON:
    return json.loads(WordPieceTokenizer(VOCAB, **settings).fast().to_str())


def edited(*path: str | int, to: Any, **settings: bool | None) -> JSON:
    """Return a tokenizer.json in which one value is another one."""
    content = place = tokenizer_json(**settings)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return content


def with_component(**components: Any) -> JSON:
    """Return a tokenizer.json with other components."""
    tokenizer = WordPieceTokenizer(VOCAB).fast()
    for name, component in components.items():
        setattr(tokenizer, name, component)
    return json.loads(tokenizer.to_str())


def added_token(content: str, **options: bool | int) -> JSON:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": content, **plain, **options}


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write files: bytes as they are, anything else as JSON; and a config.json, if it is not among them."""
    folder.mkdir(exist_ok=True)
    for name, content in {"config.json": {"model_type": "bert"}, **files}.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name).write_bytes(data)
    return folder


def their_ids(folder: Path) -> list[list[int]]:
    """Return the ids that transformers gives to the texts, alone and in pairs."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return [
        *(tokenizer(text)["input_ids"] for text in TEXTS),
        *(tokenizer(text, TEXTS[0])["input_ids"] for text in TEXTS),
    ]


def our_ids(tokenizer: WordPieceTokenizer) -> list[list[int]]:
    return [
        *(tokenizer.encode(text).input_ids for text in TEXTS),
        *(tokenizer.encode(text, TEXTS[0]).input_ids for text in TEXTS),
    ]


def library_ids(tokenizer: Tokenizer) -> list[list[int]]:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [
        *(tokenizer.encode(text).ids for text in TEXTS),
        *(tokenizer.encode(text, TEXTS[0]).ids for text in TEXTS),
    ]


CASED = {"do_lower_case": False}
NAMED = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
GENERIC = {**NAMED, "tokenizer_class": "PreTrainedTokenizerFast"}
TXT = {"vocab.txt": lines(VOCAB)}
PADDING = {
    "strategy": {"Fixed": 128},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "[PAD]",
}
TRUNCATION = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}

ACCEPTED: dict[str, dict[str, Any]] = {
    "vocab.txt alone": TXT,
    "cased": {**TXT, "tokenizer_config.json": CASED},
    "accents kept": {**TXT, "tokenizer_config.json": {"strip_accents": False}},
    "cased, accents removed": {**TXT, "tokenizer_config.json": {**CASED, "strip_accents": True}},
    "Chinese words": {**TXT, "tokenizer_config.json": {"tokenize_chinese_chars": False}},
    "no line end at the end": {"vocab.txt": lines(VOCAB)[:-1]},
    "Windows line ends": {"vocab.txt": lines(VOCAB, "\r\n")},
    "white space at line ends": {"vocab.txt": lines(VOCAB, " \t\u3000\x85\n")},
    "a blank line at the end": {"vocab.txt": lines(VOCAB) + b"\n"},
    "blank lines at the end": {"vocab.txt": lines(VOCAB, "\r\n") + b"\r\n \r\n\n"},
    "a blank line at the end, and in tokenizer.json": {
        "vocab.txt": lines(VOCAB) + b"\n",
        "tokenizer.json": edited("model", "vocab", "", to=len(VOCAB)),
    },
    "other separators": {
        "vocab.txt": lines([*SPECIAL_TOKENS, "a\x1c", "##\u2028", "a\u2029b", "##\x0b\x0cc", *VOCAB[5:]])
    },
    "tokenizer.json alone": {"tokenizer.json": tokenizer_json()},
    "tokenizer.json, cased": {
        "tokenizer.json": tokenizer_json(do_lower_case=False),
        "tokenizer_config.json": CASED,
    },
    "tokenizer.json, generic class": {
        "tokenizer.json": tokenizer_json(do_lower_case=False, tokenize_chinese_chars=False),
        "tokenizer_config.json": GENERIC,
    },
    "generic class, accents kept": {
        "tokenizer.json": tokenizer_json(strip_accents=False),
        "tokenizer_config.json": {**GENERIC, "tokenizer_class": "TokenizersBackend"},
    },
    "generic class, tokens added but not named": {
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    },
    "generic class, tokens named but not added": {
        "tokenizer.json": edited("added_tokens", to=[]),
        "tokenizer_config.json": GENERIC,
    },
    "both vocabularies": {**TXT, "tokenizer.json": tokenizer_json()},
    "both vocabularies, one with spaces": {
        "vocab.txt": lines(VOCAB, " \n"),
        "tokenizer.json": tokenizer_json(),
    },
    "a separator that only tokenizer.json keeps": {
        "vocab.txt": lines([*VOCAB, "new\u2028"]),
        "tokenizer.json": edited("model", "vocab", "new\u2028", to=len(VOCAB)),
    },
    "padding and truncation are stored": {
        "tokenizer.json": {**tokenizer_json(), "padding": PADDING, "truncation": TRUNCATION},
    },
    "an accent setting that says the same": {
        "tokenizer.json": tokenizer_json(strip_accents=True),
        "tokenizer_config.json": {"do_lower_case": True, "strip_accents": None},
    },
    "the older post-processor": {
        "tokenizer.json": with_component(
            post_processor=processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        ),
    },
    "a model without a type": {
        "tokenizer.json": {
            **tokenizer_json(),
            "model": {key: value for key, value in tokenizer_json()["model"].items() if key != "type"},
        },
    },
    "an older class": {**TXT, "tokenizer_config.json": {"tokenizer_class": "BertTokenizerFast"}},
    "DistilBERT": {**TXT, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}},
    "ELECTRA": {**TXT, "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizerFast"}},
    "MobileBERT": {**TXT, "tokenizer_config.json": {"tokenizer_class": "MobileBertTokenizer"}},
    "an ELECTRA model": {**TXT, "config.json": {"model_type": "electra"}},
    "a RoBERTa with BERT's tokenizer": {
        **TXT,
        "config.json": {"model_type": "roberta"},
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
    },
    "special tokens named everywhere": {
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {
            **NAMED,
            "additional_special_tokens": [],
            "added_tokens_decoder": {
                str(number): added_token(token) for number, token in enumerate(SPECIAL_TOKENS)
            },
        },
        "special_tokens_map.json": {**NAMED, "mask_token": added_token("[MASK]")},
        "added_tokens.json": {token: number for number, token in enumerate(SPECIAL_TOKENS)},
    },
    "added_tokens.json with the special tokens": {
        **TXT,
        "tokenizer_config.json": NAMED,
        "added_tokens.json": {token: number for number, token in enumerate(SPECIAL_TOKENS)},
    },
    "a special token as an additional one": {
        **TXT,
        "special_tokens_map.json": {"additional_special_tokens": ["[MASK]"], "eos_token": "[SEP]"},
    },
    "model_max_length": {**TXT, "tokenizer_config.json": {"model_max_length": 5}},
    "sides named": {**TXT, "tokenizer_config.json": {"truncation_side": "right", "padding_side": "right"}},
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_folders_give_the_ids_of_transformers_and_of_the_library(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path, copy.deepcopy(ACCEPTED[name]))
    tokenizer = WordPieceTokenizer.from_pretrained(folder)
    ours = our_ids(tokenizer)
    assert ours == their_ids(folder)
    assert ours == library_ids(tokenizer.fast())
    if (folder / "tokenizer.json").is_file() and name != "generic class, tokens named but not added":
        assert ours == library_ids(Tokenizer.from_file(str(folder / "tokenizer.json")))


RENAMED = [*VOCAB[:4], "<mask>", *VOCAB[5:]]
SPLITTER = r"pre_tokenizer in .* is 'Whitespace', which is not supported, only 'BertPreTokenizer'; use transf"
ADDED = tokenizer_json()["added_tokens"]

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    # components of tokenizer.json
    "another normalizer": (
        {
            "tokenizer.json": with_component(
                normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
            )
        },
        r"normalizer in .*tokenizer\.json is 'Sequence', which is not supported, only 'BertNormalizer'",
    ),
    "no normalizer": ({"tokenizer.json": edited("normalizer", to=None)}, "normalizer in .* is None, which"),
    "control characters kept": (
        {"tokenizer.json": edited("normalizer", "clean_text", to=False)},
        r"normalizer\.clean_text in .* is False, which is not supported, only True",
    ),
    "another splitter": (
        {"tokenizer.json": with_component(pre_tokenizer=pre_tokenizers.Whitespace())},
        SPLITTER,
    ),
    "another splitter, generic class": (
        {
            "tokenizer.json": with_component(pre_tokenizer=pre_tokenizers.Whitespace()),
            "tokenizer_config.json": GENERIC,
        },
        SPLITTER,
    ),
    "another prefix": (
        {"tokenizer.json": edited("model", "continuing_subword_prefix", to="@@")},
        r"model\.continuing_subword_prefix in .* is '@@', which is not supported, only '##'",
    ),
    "shorter words": (
        {"tokenizer.json": edited("model", "max_input_chars_per_word", to=50)},
        r"model\.max_input_chars_per_word in .* is 50, which is not supported, only 100",
    ),
    "another unknown token": (
        {"tokenizer.json": edited("model", "unk_token", to="[PAD]")},
        r"model\.unk_token in .* is '\[PAD\]', which is not supported, only '\[UNK\]'",
    ),
    "another model": (
        {
            "tokenizer.json": json.loads(
                Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).to_str()
            )
        },
        r"model\.type in .* is 'BPE', which is not supported, only 'WordPiece'",
    ),
    "no post-processor": (
        {"tokenizer.json": edited("post_processor", to=None)},
        "post_processor in .* is None, which is not supported, only 'TemplateProcessing'",
    ),
    "another post-processor": (
        {
            "tokenizer.json": with_component(
                post_processor=processors.BertProcessing(("[CLS]", 2), ("[SEP]", 3))
            )
        },
        "post_processor in .* is 'BertProcessing', which",
    ),
    "another template": (
        {"tokenizer.json": edited("post_processor", "single", 0, "SpecialToken", "type_id", to=1)},
        r"post_processor\.single in .* is .*'type_id': 1",
    ),
    "another decoder": ({"tokenizer.json": edited("decoder", to=None)}, "decoder in .* is None"),
    "a library's error": (
        {"tokenizer.json": edited("pre_tokenizer", to={"type": "New"})},
        "tokenizer.json cannot be read",
    ),
    "interrupted": (
        {**TXT, "tokenizer.json": {}},
        r"tokenizer\.json has no vocabulary: it is damaged, or sav",
    ),
    "not an object": (
        {**TXT, "special_tokens_map.json": []},
        r"special_tokens_map\.json holds a list, exp",
    ),
    # the two files' settings
    "cased in one file": (
        {"tokenizer.json": tokenizer_json(do_lower_case=False)},
        r"do_lower_case is True in the first \(the default\) and False in the second; write the right value",
    ),
    "cased in the other": (
        {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": CASED},
        r"_config\.json and tokenizer\.json in .* disagree: do_lower_case is False in the first \(given\)",
    ),
    "cased in the other, generic class": (
        {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": {**GENERIC, **CASED}},
        "do_lower_case is False in the first",
    ),
    "accents kept in one file": (
        {"tokenizer.json": tokenizer_json(strip_accents=False)},
        r"strip_accents is True in the first \(the default\) and False in the second",
    ),
    "Chinese words in one file": (
        {"tokenizer.json": tokenizer_json(tokenize_chinese_chars=False)},
        "tokenize_chinese_chars is True in the first",
    ),
    "a setting that is not one": (
        {**TXT, "tokenizer_config.json": {"do_lower_case": "false"}},
        r"do_lower_case='false' in .* is not true or false",
    ),
    # added tokens, in six places
    "added in tokenizer.json": (
        {"tokenizer.json": edited("added_tokens", to=[*ADDED, added_token("e1", id=VOCAB.index("e1"))])},
        r"an added token in .*tokenizer\.json is 'e1', which is not supported, only \[PAD\] \[UNK\]",
    ),
    "added_tokens_decoder": (
        {**TXT, "tokenizer_config.json": {"added_tokens_decoder": {"99": added_token("<x>")}}},
        "a token of added_tokens_decoder in .* is '<x>'",
    ),
    "special_tokens_map.json": (
        {**TXT, "special_tokens_map.json": {"additional_special_tokens": ["[E1]"]}},
        r"additional_special_tokens in .*special_tokens_map\.json is '\[E1\]', which is not supported",
    ),
    "additional_special_tokens": (
        {**TXT, "tokenizer_config.json": {"additional_special_tokens": ["[MASK]", "[E1]"]}},
        r"additional_special_tokens in .*tokenizer_config\.json is '\[E1\]'",
    ),
    "extra_special_tokens": (
        {**TXT, "tokenizer_config.json": {"extra_special_tokens": ["[E1]"]}},
        r"extra_special_tokens in .*tokenizer_config\.json is '\[E1\]'",
    ),
    "extra_special_tokens with names": (
        {**TXT, "tokenizer_config.json": {"extra_special_tokens": {"entity_token": "[E1]"}}},
        r"extra_special_tokens in .*tokenizer_config\.json is '\[E1\]'",
    ),
    "a token with another name": (
        {**TXT, "tokenizer_config.json": {"entity_token": "[E1]"}},
        r"entity_token in .* is '\[E1\]'",
    ),
    "added_tokens.json": (
        {**TXT, "added_tokens.json": {"tom": 77}},
        r"a token in .*added_tokens\.json is 'tom'",
    ),
    "added_tokens.json without names": (
        {**TXT, "added_tokens.json": {"[MASK]": 4}},
        r"a token in .*added_tokens\.json, '\[MASK\]', has the option normalized",
    ),
    # special tokens
    "renamed": (
        {"vocab.txt": lines(RENAMED), "tokenizer_config.json": {"mask_token": "<mask>"}},
        r"mask_token in .*tokenizer_config\.json is '<mask>', which is not supported, only \[MASK\]",
    ),
    "renamed, with the old name in the vocabulary": (
        {**TXT, "tokenizer_config.json": {"mask_token": "<mask>"}},
        r"mask_token in .*tokenizer_config\.json is '<mask>', which is not supported, only \[MASK\]",
    ),
    "renamed in the map": (
        {**TXT, "special_tokens_map.json": {"mask_token": "<mask>"}},
        r"mask_token in .*special_tokens_map\.json is '<mask>'",
    ),
    "exchanged": ({**TXT, "tokenizer_config.json": {"sep_token": "[CLS]"}}, r"sep_token in .* is '\[CLS\]'"),
    "absent": ({**TXT, "tokenizer_config.json": {"mask_token": None}}, "mask_token in .* is None"),
    "a first token of sentences": (
        {**TXT, "special_tokens_map.json": {"bos_token": "<s>"}},
        "bos_token .* '<s>'",
    ),
    "a mask that takes the space before it": (
        {**TXT, "special_tokens_map.json": {"mask_token": added_token("[MASK]", lstrip=True)}},
        r"mask_token in .*, '\[MASK\]', has the option lstrip, which is not supported",
    ),
    "a mask that is lowercased": (
        {
            "tokenizer.json": edited(
                "added_tokens", to=[*ADDED[:4], added_token("[MASK]", id=4, normalized=True)]
            )
        },
        r"an added token in .*, '\[MASK\]', has the option normalized",
    ),
    "another id": (
        {"tokenizer.json": edited("added_tokens", 4, "id", to=7)},
        r"an added token in .*, '\[MASK\]', has the id 7, but 4 in the vocabulary",
    ),
    "generic class without special tokens": (
        {
            "tokenizer.json": edited("added_tokens", to=ADDED[:4]),
            "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        },
        r"no file of .* says that \[MASK\] is a special token",
    ),
    "special tokens are split": (
        {**TXT, "tokenizer_config.json": {"split_special_tokens": True}},
        "split_special",
    ),
    # vocabularies
    "a byte order mark": ({"vocab.txt": b"\xef\xbb\xbf" + lines(VOCAB)}, "begins with a byte order mark"),
    "two blank lines inside": (
        {"vocab.txt": lines([*VOCAB, "", "", "new"])},
        f"contains '' more than once, on the lines {len(VOCAB) + 1} and {len(VOCAB) + 2}",
    ),
    "two that differ in white space": (
        {"vocab.txt": lines([*VOCAB, "a "])},
        f"'a' more than once, on the lines 6 and {len(VOCAB) + 1}",
    ),
    "two that differ": (
        {
            "vocab.txt": lines([*VOCAB[:7], VOCAB[8], VOCAB[7], *VOCAB[9:]]),
            "tokenizer.json": tokenizer_json(),
        },
        r"vocab\.txt and tokenizer\.json in .* disagree: the id 7 is 'd' in the first and 'c' in the second",
    ),
    "one that is shorter": (
        {"vocab.txt": lines(VOCAB[:-1]), "tokenizer.json": tokenizer_json()},
        f"the id {len(VOCAB) - 1} is None in the first and 'tom' in the second",
    ),
    "one that is longer": (
        {"vocab.txt": lines([*VOCAB, "new"]), "tokenizer.json": tokenizer_json()},
        f"the id {len(VOCAB)} is 'new' in the first and None in the second",
    ),
    # classes and options
    "a Japanese class": (
        {**TXT, "tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}},
        r"tokenizer_class='BertJapaneseTokenizer' in .*_config\.json is not BERT's tokenizer, expected",
    ),
    "a Japanese class of the model": (
        {**TXT, "config.json": {"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}},
        r"tokenizer_class='BertJapaneseTokenizer' in .*/config\.json",
    ),
    "MPNet": ({**TXT, "tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer"}}, "MPNetTokenizer"),
    "Funnel": (
        {**TXT, "tokenizer_config.json": {"tokenizer_class": "FunnelTokenizerFast"}},
        "FunnelTokenizer",
    ),
    "another model's": (
        {**TXT, "config.json": {"model_type": "mpnet"}},
        "model_type='mpnet' in .* has a tokenizer other than BERT's",
    ),
    "code of its own": (
        {**TXT, "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["a.B", None]}}},
        "asks for code of its own",
    ),
    "generic class without its file": ({**TXT, "tokenizer_config.json": GENERIC}, "needs a tokenizer.json"),
    "truncated on the left": (
        {**TXT, "tokenizer_config.json": {"truncation_side": "left"}},
        "truncation_side='left' of .* is not supported, only 'right'",
    ),
    "truncated on the left by tokenizer.json": (
        {"tokenizer.json": {**tokenizer_json(), "truncation": {**TRUNCATION, "direction": "Left"}}},
        "truncation_side='left' of .* is not supported, only 'right'",
    ),
    "padded on the left": (
        {**TXT, "tokenizer_config.json": {"padding_side": "left"}},
        "padding_side='left' of .* is not supported, only 'right'",
    ),
    "no token types": (
        {**TXT, "tokenizer_config.json": {"model_input_names": ["input_ids", "attention_mask"]}},
        "model_input_names=.* has no token_type_ids",
    ),
    # JSON with other parts than the libraries write
    "a list of added tokens": (
        {**TXT, "tokenizer_config.json": {"added_tokens_decoder": ["[PAD]"]}},
        r"added_tokens_decoder in .*_config\.json is \['\[PAD\]'\], expected dict; download the file again",
    ),
    "a name for an id": (
        {**TXT, "tokenizer_config.json": {"added_tokens_decoder": {"first": {"content": "[PAD]"}}}},
        "added_tokens_decoder in .* has 'first', expected the number of an id",
    ),
    "a number of tokens": (
        {**TXT, "special_tokens_map.json": {"additional_special_tokens": 3}},
        r"additional_special_tokens in .*_map\.json is 3, expected list or dict",
    ),
    "a token without its options": (
        {"tokenizer.json": {**tokenizer_json(), "added_tokens": ["[PAD]"]}},
        r"a token in .*tokenizer\.json is '\[PAD\]', expected dict",
    ),
    "null for a token": (
        {"tokenizer.json": {**tokenizer_json(), "added_tokens": [None]}},
        r"a token in .*tokenizer\.json is 'null', expected dict",
    ),
    "a list for the vocabulary": (
        {"tokenizer.json": edited("model", "vocab", to=[])},
        r"model\.vocab in .* is \[\], expected dict",
    ),
    "a list for a token": (
        {**TXT, "tokenizer_config.json": {"cls_token": []}},
        r"cls_token in .*_config\.json is \[\], which is not supported, only \[CLS\]",
    ),
    "a list for the content of a token": (
        {**TXT, "tokenizer_config.json": {"cls_token": {"content": []}}},
        r"cls_token in .*_config\.json is \[\], which is not supported, only \[CLS\]",
    ),
    "a text for a direction": (
        {"tokenizer.json": {**tokenizer_json(), "truncation": "Right"}},
        r"truncation in .*tokenizer\.json is 'Right', expected dict",
    ),
    "a model's name": ({**TXT, "tokenizer.json": {"model": "WordPiece"}}, "model in .* is 'WordPiece', exp"),
    "a text for the vocabulary": (
        {"tokenizer.json": edited("model", "vocab", to="[PAD]")},
        r"model\.vocab in .* is '\[PAD\]', expected dict or list",
    ),
    "a text for an id": (
        {"tokenizer.json": edited("model", "vocab", "a", to="5")},
        r"an id in .*tokenizer\.json is '5', expected int; download the file again",
    ),
    "a name for the code": ({**TXT, "tokenizer_config.json": {"auto_map": "a.B"}}, "auto_map in .* is 'a.B'"),
    "a name for the inputs": (
        {**TXT, "tokenizer_config.json": {"model_input_names": 2}},
        "model_input_names in .* is 2, expected list",
    ),
}


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, FileNotFoundError, r"neither a vocab\.txt nor a tokenizer\.json"),
        ({"vocab.txt": b"a\nb\n"}, ValueError, r"\[PAD\]"),
        ({"vocab.txt": b""}, ValueError, r"\[PAD\]"),
        ({"vocab.txt": b"\xff\xfe"}, ValueError, r"vocab\.txt is not UTF-8"),
        ({"tokenizer.json": edited("model", "vocab", "a", to=300)}, ValueError, "without gaps"),
    ],
)
def test_folders_without_a_vocabulary_are_refused(
    files: dict, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        WordPieceTokenizer.from_pretrained(write(tmp_path, files))


@pytest.mark.parametrize("name", REFUSED)
def test_folders_with_another_tokenizer_are_refused_by_name(name: str, tmp_path: Path) -> None:
    files, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_pretrained(write(tmp_path, files))


def test_a_tokenizer_trained_with_the_library_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.WordPieceTrainer(special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator(["Paris and Berlin are big. PARIS!! snake_case"], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **NAMED).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"normalizer in .* is 'Sequence'"):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_all_files_are_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a model of the hub is refused for the same reasons as a folder."""
    source = write(
        tmp_path / "hub", {**TXT, "special_tokens_map.json": {"additional_special_tokens": ["[E1]"]}}
    )
    files = [*source.iterdir(), source / "added_tokens.json", source / "tokenizer_config.json"]

    def download(name: str, allow_patterns: list[str]) -> str:
        assert all(any(fnmatch(path.name, pattern) for pattern in allow_patterns) for path in files)
        return str(source)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ValueError, match="additional_special_tokens"):
        WordPieceTokenizer.from_pretrained("owner/model")


# Saving


OTHER = WordPieceTokenizer([*SPECIAL_TOKENS, *VOCAB[:4:-1]], do_lower_case=False)


def old_folder(folder: Path, kind: str) -> Path:
    """Write a folder with another tokenizer, in one of the layouts that transformers has had."""
    if kind == "ours":
        OTHER.save_pretrained(folder)
        return write(folder, {})
    files = {
        "tokenizer.json": json.loads(OTHER.fast().to_str()),
        "tokenizer_config.json": {**NAMED, **CASED, "tokenizer_class": "BertTokenizer"},
    }
    if kind != "tokenizer.json":
        files["vocab.txt"] = lines(OTHER.ids_to_tokens)
        files["special_tokens_map.json"] = NAMED
        files["added_tokens.json"] = {token: OTHER.vocab[token] for token in SPECIAL_TOKENS}
    if kind == "with an added token":  # which we refuse, but transformers reads
        files["special_tokens_map.json"] = {**NAMED, "additional_special_tokens": ["[E1]"]}
        files["added_tokens.json"] = {"[E1]": len(VOCAB)}
    return write(folder, files)


def our_ids_or_none(folder: Path) -> list[list[int]] | None:
    try:
        return our_ids(WordPieceTokenizer.from_pretrained(folder))
    except (ValueError, FileNotFoundError):
        return None


def their_ids_or_none(folder: Path) -> list[list[int]] | None:
    try:
        return their_ids(folder)
    except Exception:  # whatever it may be
        return None


LAYOUTS = ["ours", "tokenizer.json", "with every file", "with an added token"]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_saving_over_an_older_tokenizer_leaves_none_of_its_files(kind: str, tmp_path: Path) -> None:
    folder, new = old_folder(tmp_path, kind), WordPieceTokenizer(VOCAB)
    assert our_ids(new) not in (our_ids_or_none(folder), their_ids(folder))
    assert (our_ids_or_none(folder) is None) == (kind == "with an added token")
    new.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert our_ids(WordPieceTokenizer.from_pretrained(folder)) == our_ids(new) == their_ids(folder)


class Crash(BaseException):
    """Stands for the end of the process."""


def crashed_copy(folder: Path, tokenizer: WordPieceTokenizer, step: int) -> Path | None:
    """Save into a folder, and copy it before the given renaming or removal; None if there are fewer steps."""
    copy, steps = folder.with_suffix(".crashed"), iter(range(step))

    def stopping(function: Callable[..., None]) -> Callable[..., None]:
        def stopped(*arguments: Any, **options: Any) -> None:
            if Path(arguments[-1]).parent == folder and next(steps, None) is None and not copy.exists():
                shutil.copytree(folder, copy)
                raise Crash
            function(*arguments, **options)

        return stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", stopping(os.replace))
        patch.setattr(Path, "unlink", stopping(Path.unlink))
        try:
            tokenizer.save_pretrained(folder)
        except Crash:
            return copy
    return None


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("read", [our_ids_or_none, their_ids_or_none])
def test_a_crash_while_saving_leaves_the_old_tokenizer_the_new_one_or_none(
    read: Callable[[Path], list[list[int]] | None], kind: str, tmp_path: Path
) -> None:
    new, refused = WordPieceTokenizer(VOCAB), 0
    allowed = [None, read(old_folder(tmp_path / "old", kind)), our_ids(new)]
    for step in range(20):
        folder = crashed_copy(old_folder(tmp_path / str(step), kind), new, step)
        if folder is None:
            break
        ids = read(folder)
        assert ids in allowed
        refused += ids is None
    assert step >= 5 and refused >= 3


def test_a_token_that_the_file_cannot_hold_is_not_saved(tmp_path: Path) -> None:
    for added, message in (
        (["x\ny"], "line break"),
        (["new", "new\u2028"], "'new' and 'new.u2028' differ only"),
    ):
        with pytest.raises(ValueError, match=message):
            WordPieceTokenizer([*VOCAB, *added]).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_older_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = old_folder(tmp_path, "with every file")

    def full(path: Path, text: str, **options: Any) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        WordPieceTokenizer(VOCAB).save_pretrained(folder)
    assert our_ids(WordPieceTokenizer.from_pretrained(folder)) == our_ids(OTHER)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    WordPieceTokenizer(VOCAB).save_pretrained("~/tokenizer")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]
    assert WordPieceTokenizer.from_pretrained("~/tokenizer").ids_to_tokens == VOCAB
