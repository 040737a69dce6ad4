"""The exercises of chapter 2, from accents to padded pairs and offsets, with the mistakes that people make.

`from bertlearn.course.checks import tokenization as check`, then `check.longest_match(longest_match)`.
`compare_tokenizations` puts the learner's functions into a tokenizer and counts the texts that change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertlearn.course.edits import Edit
from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import tokenization as solution
from bertlearn.course.swap import use
from bertlearn.course.verdict import as_html
from bertlearn.tokenizer.encoding import Encoding
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

strip_accents = Exercise(
    solution.strip_accents,
    cases={
        "no accents": ("a good film",),
        "an accent within its letter": ("Amélie à la carte",),
        "an accent after its letter": ("cafe\u0301",),
        "letters without accents": ("große œuvre",),
        "a ligature and a fraction": ("ﬁlm, ½ hour",),
        "Chinese": ("电影",),
        "Hindi": ("हिन्दी कुल",),
        "Korean": ("한국",),
    },
    wrong={
        "NFC instead of NFD": Wrong(
            "Print len() of an é after your normalization. Is there a mark left to drop?", ('"NFD"', '"NFC"')
        ),
        "nothing taken apart": Wrong(
            "An é can be one character, and then it has no mark to drop. Did you take the text apart first?",
            ('unicodedata.normalize("NFD", text)', "text"),
        ),
        "NFKD instead of NFD": Wrong(
            "The K stands for compatibility. What does it do to ½ and ﬁ? Are those accents?",
            ('"NFD"', '"NFKD"'),
        ),
        "everything but ASCII dropped": Wrong(
            "What is left of the é in Amélie: an e without its accent, or nothing?",
            ('"NFD"', '"NFC"'),
            ('unicodedata.category(character) != "Mn"', "character.isascii()"),
        ),
        "everything but ASCII dropped after NFD": Wrong(
            "The é is right now. What has become of ß, and of 电影?",
            ('unicodedata.category(character) != "Mn"', "character.isascii()"),
        ),
        "taken apart, the marks kept": Wrong(
            "Printed, the text looks the same. What does len() say before and after?",
            (' if unicodedata.category(character) != "Mn"', ""),
        ),
        "every kind of mark dropped": Wrong(
            "There are three kinds of mark: Mn, Mc and Me. Which does BERT drop? Which is the vowel sign ी?",
            ('unicodedata.category(character) != "Mn"', 'unicodedata.category(character)[0] != "M"'),
        ),
        "unicodedata.combining instead of the category": Wrong(
            "combining() is a class for sorting marks. Is it above 0 for every mark of category Mn? Try ु.",
            ('unicodedata.category(character) != "Mn"', "unicodedata.combining(character) == 0"),
        ),
        "lower case as well": Wrong(
            "What has become of the A in Amélie? Nothing but accents may change.",
            ('!= "Mn")', '!= "Mn").lower()'),
        ),
        "put together again at the end": Wrong(
            "Korean syllables come apart and stay apart. What does your last step do to them?",
            ('"".join(', 'unicodedata.normalize("NFC", "".join('),
            ('!= "Mn")', '!= "Mn"))'),
        ),
        "a list of characters": Wrong(
            "The result should be a string. Which method joins characters?", ('"".join(', "list(")
        ),
        "only letters kept": Wrong(
            "Where have the spaces gone, and the ½? Only marks should disappear.",
            ('unicodedata.category(character) != "Mn"', 'unicodedata.category(character)[0] == "L"'),
        ),
        "only the marks kept": Wrong(
            "Print your result. Which characters did your condition keep?", ('!= "Mn"', '== "Mn"')
        ),
        "only the marks from U+0300 to U+036F dropped": Wrong(
            "Those are the marks of Latin letters. Which marks are in हिन्दी, and what category do they have?",
            ('unicodedata.category(character) != "Mn"', "not '\\u0300' <= character <= '\\u036f'"),
        ),
        "NFKC instead of NFD": Wrong(
            "C puts characters together, and K rewrites ½. Which form takes apart and changes nothing else?",
            ('"NFD"', '"NFKC"'),
        ),
    },
    hints=(
        "Two steps: take each character apart into letter and marks, then leave the marks out.",
        "unicodedata.normalize(form, text) takes apart; the D in a form's name stands for decomposed.",
        "unicodedata.category(character) is 'Mn' for a nonspacing mark, one that takes no room of its own.",
    ),
    why=(
        "The uncased BERT reads café and cafe as one word, because this step comes before its vocabulary "
        "is asked."
    ),
)


def _going_back(word: str, vocab: Mapping[str, int], unk_token: str = "[UNK]", limit: int = 100) -> list[str]:
    def cut(start: int) -> list[str] | None:
        """Return pieces for the word from `start` on, by the first way that reaches its end."""
        if start == len(word):
            return []
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            rest = cut(end) if piece in vocab else None
            if rest is not None:
                return [piece, *rest]
        return None

    return (cut(0) if len(word) <= limit else None) or [unk_token]


_PIECES = """
[UNK] u un w wat watch watcha a view film ing ##w ##watch ##a ##ab ##able ##b ##l ##le ##e ##i
##in ##ing ##n ##g ##s ##f ##t ##c ##h
"""
_VOCAB = {piece: index for index, piece in enumerate(_PIECES.split())}

longest_match = Exercise(
    solution.longest_match,
    cases={
        "a whole word": ("film", _VOCAB),
        "a word and its ending": ("films", _VOCAB),
        "two ways to cut": ("unwatchable", _VOCAB),
        "an ending that is also a word": ("viewing", _VOCAB),
        "an unknown letter at the end": ("watché", _VOCAB),
        "an unknown letter inside": ("filméing", _VOCAB),
        "greedy runs into a dead end": ("watcharm", {**_VOCAB, "##arm": 90, "##r": 91, "watchar": 92}),
        "100 letters": ("a" + 99 * "b", {**_VOCAB, "a": 93, "##b": 94}),
        "101 letters": ("a" + 100 * "b", {**_VOCAB, "a": 93, "##b": 94}),
        "another unknown token and limit": ("films", _VOCAB, "<?>", 4),
    },
    wrong={
        "every word unknown": Wrong(
            "You return the unknown token for every word. When do you decide that the search is stuck? And "
            "is the whole rest of a word ever looked up, or do you begin one letter short?",
            ("range(len(word), start", "range(len(word) - 1, start"),
        ),
        "## forgotten": Wrong(
            "How does the vocabulary spell a wordpiece that does not begin its word?",
            ('"##" if start > 0 else ""', '""'),
        ),
        "the shortest match first": Wrong(
            "Which candidate do you try first: all that is left of the word, or one letter?",
            ("range(len(word), start, -1)", "range(start + 1, len(word) + 1)"),
        ),
        "only the rest becomes unknown": Wrong(
            "A part of the word is known. How many tokens does BERT give a word it cannot finish?",
            Edit("return [unk_token]", "return [*pieces, unk_token]", occurrence=2),
        ),
        "each unknown letter becomes unknown": Wrong(
            "You continue after the letter that fails. Does BERT, or does it give up on the whole word?",
            Edit("return [unk_token]", "piece, end = unk_token, start + 1", occurrence=2),
        ),
        "going back when it fails": Wrong(
            "You found a way around the dead end. Does a greedy match ever take a wordpiece back?",
            function=_going_back,
        ),
        "## dropped from the result": Wrong(
            "How would the table of embeddings tell “ing” as a word from “ing” inside a word?",
            ("pieces.append(piece)", "pieces.append(word[start:end])"),
        ),
        "no limit on the word's length": Wrong(
            "What is the last argument for? Try a word of 101 letters.",
            ("len(word) > max_input_chars_per_word", "False"),
        ),
        "each unknown letter becomes unknown, and no limit on the word's length": Wrong(
            "Two things: does BERT go on after a letter that it does not know? And what is the last "
            "argument for?",
            Edit("return [unk_token]", "piece, end = unk_token, start + 1", occurrence=2),
            ("len(word) > max_input_chars_per_word", "False"),
        ),
        "only the rest becomes unknown, and no limit on the word's length": Wrong(
            "Two things: how many tokens does BERT give a word that it cannot finish? And what is the last "
            "argument for?",
            Edit("return [unk_token]", "return [*pieces, unk_token]", occurrence=2),
            ("len(word) > max_input_chars_per_word", "False"),
        ),
        "100 letters are too many": Wrong(
            "A word of *more than* 100 letters is unknown. What does yours do with exactly 100?",
            ("> max_input", ">= max_input"),
        ),
        "a limit of 100 whatever the argument": Wrong(
            "Where does max_input_chars_per_word come in?",
            ("len(word) > max_input_chars_per_word", "len(word) > 100"),
        ),
        "[UNK] whatever the argument": Wrong(
            "Where does unk_token come in?",
            Edit("return [unk_token]", 'return ["[UNK]"]', occurrence=1),
            ("return [unk_token]", 'return ["[UNK]"]'),
        ),
        "## in front of the first wordpiece as well": Wrong(
            "How does the vocabulary spell a wordpiece that begins its word?",
            ('"##" if start > 0 else ""', '"##"'),
        ),
        "what matched before is kept": Wrong(
            "A letter is unknown, and you return what came before it. What does BERT return for the whole "
            "word?",
            Edit("return [unk_token]", "return pieces", occurrence=2),
        ),
        "an empty list for an unknown word": Wrong(
            "How many tokens does a word get that cannot be cut? It must not disappear.",
            Edit("return [unk_token]", "return []", occurrence=2),
        ),
        "[UNK] without a list": Wrong(
            "The result is a list of wordpieces, even if there is only one. What type is yours?",
            Edit("return [unk_token]", "return unk_token", occurrence=1),
            ("return [unk_token]", "return unk_token"),
        ),
        "single letters never tried": Wrong(
            "range stops before its end. Is a wordpiece of one letter, such as ##s, ever tried?",
            ("start, -1)", "start + 1, -1)"),
        ),
        "too long a word is cut": Wrong(
            "A word that is too long becomes unknown. What do you do with it?",
            Edit("return [unk_token]", "word = word[:max_input_chars_per_word]", occurrence=1),
        ),
    },
    hints=(
        "Keep a position. Try the longest wordpiece that begins there, then one letter less, and so on.",
        "A wordpiece that does not begin the word is looked up with ## in front, and returned with it.",
        "If no wordpiece fits at the position, the result is [unk_token], whatever was found before.",
    ),
    why="This is how BERT cuts every word that it reads.",
)

apply_merge = Exercise(
    solution.apply_merge,
    cases={
        "the pair is not there": (["f", "##i", "##l", "##m"], "##o", "##n"),
        "at the start": (["t", "##h", "##e"], "t", "##h"),
        "inside": (["f", "##i", "##l", "##m"], "##i", "##l"),
        "twice": (["b", "##a", "##n", "##a", "##n", "##a"], "##a", "##n"),
        "three in a row": (["h", "##m", "##m", "##m"], "##m", "##m"),
        "the same letter at the start": (["a", "##b", "##a", "##b"], "a", "##b"),
        "a longer wordpiece on the right": (["t", "##he", "##h"], "t", "##h"),
        "a longer wordpiece on the left": (["at", "##h"], "t", "##h"),
        "a # of the text itself": (["c", "###"], "c", "###"),
    },
    wrong={
        "## left in the middle": Wrong(
            "Which spelling do you want for t and ##h together?", ('.removeprefix("##")', "")
        ),
        "## lost": Wrong(
            "The new wordpiece ##il still stands inside its word. What must it begin with?",
            ('left + right.removeprefix("##")', '(left + right).replace("##", "")'),
        ),
        "every # taken away": Wrong(
            "In “C#” the # belongs to the text: its second wordpiece is ###. What does yours make of it?",
            ('right.removeprefix("##")', 'right.lstrip("#")'),
        ),
        "only the first pair merged": Wrong(
            "How often does ##a ##n occur in “banana”?",
            ("position += 2", "return merged + wordpieces[position + 2 :]"),
        ),
        # The pair is joined only if its right piece is still free once all that follows is merged.
        "from right to left": Wrong(
            "In “hmmm” the pair ##m ##m could be the first two or the last two. Which come first?",
            (
                "[left, right]:",
                "[left, right] and apply_merge(wordpieces[position + 1 :], left, right)[0] == right:",
            ),
        ),
        "overlapping pairs merged": Wrong(
            "Join your wordpieces of “hmmm” again. Has a letter been used twice?",
            ("+= 2", "+= 1 if wordpieces[position + 1 : position + 3] == pair else 2"),
        ),
        "## ignored when comparing": Wrong(
            "Are a at the start of a word and ##a inside it the same wordpiece?",
            ("pair == [left, right]", '[p.strip("#") for p in pair] == [left.strip("#"), right.strip("#")]'),
            ("left + right.removeprefix", "pair[0] + right.removeprefix"),
        ),
        # Both are what replacing in the joined text gives, with and without a space before the left piece.
        "a longer wordpiece on the right joined": Wrong(
            "The pair t ##h is also in the text “t ##he”. Is ##he the wordpiece ##h?",
            ("pair == [left, right]", "len(pair) == 2 and pair[0] == left and pair[1].startswith(right)"),
            ("left + right.removeprefix", "left + pair[1].removeprefix"),
        ),
        "longer wordpieces joined": Wrong(
            "The pair t ##h is also in the text “at ##he”. Are these the wordpieces t and ##h?",
            (
                "pair == [left, right]",
                "len(pair) == 2 and pair[0].endswith(left) and pair[1].startswith(right)",
            ),
            ("left + right.removeprefix", "pair[0] + pair[1].removeprefix"),
        ),
        "the last wordpiece lost": Wrong(
            "Where does your loop end? If the last wordpiece has no partner, who copies it?",
            ("position < len(", "position + 1 < len("),
        ),
        "## in front of every joined wordpiece": Wrong(
            "Only a wordpiece inside a word has ##. What do t and ##h become at the start of “the”?",
            ('left + right.removeprefix("##")', '"##" + (left + right).replace("##", "")'),
        ),
        "the right wordpiece kept as well": Wrong(
            "After a pair, by how much should the position move? Read your result aloud: is a letter there "
            "twice?",
            ("position += 2", "position += 1"),
        ),
        "the pair deleted": Wrong(
            "The pair is gone. What should stand in its place?",
            ('merged.append(left + right.removeprefix("##"))', "pass"),
        ),
    },
    hints=(
        "Walk from left to right with a position; look at two wordpieces at a time.",
        "After a pair the position moves on by two, otherwise by one.",
        "The new wordpiece is the left one, followed by the right one without its ##.",
    ),
    why="Repeat this step for the best pair again and again, and a vocabulary grows.",
)

_A = ["a", "warm", "and", "witty", "film", "about", "very", "little", "indeed", "!"]
_B = ["it", "is", "far", "too", "long", ",", "and", "it", "knows", "."]

truncate_pair = Exercise(
    solution.truncate_pair,
    cases={
        "both fit": (_A[:2], _B[:3], 12),
        "both fit exactly": (_A[:3], _B[:4], 10),
        "no room for [CLS] and [SEP]": (_A[:4], _B[:4], 9),
        "the second is long": (_A[:3], _B, 12),
        "the first is long": (_A, _B[:3], 12),
        "both are long": (_A, _B[:7], 13),
        "both are long, and an odd number fits": (_A, _B[:7], 12),
    },
    wrong={
        "special tokens forgotten": Wrong(
            "[CLS] a [SEP] b [SEP]: how long is the whole input after your cut?", (" - 3", "")
        ),
        "one [SEP] forgotten": Wrong("Count the special tokens in [CLS] a [SEP] b [SEP].", ("- 3", "- 2")),
        "only the second is cut": Wrong(
            "What do you return when the first alone is longer than max_length?",
            ("> room", "> room and b"),
            ("len(a) > len(b)", "False"),
        ),
        "cut at the front": Wrong(
            "Which words are gone: the first ones or the last?", ("a[:-1]", "a[1:]"), ("b[:-1]", "b[1:]")
        ),
        "each cut to half": Wrong(
            "A short sentence beside a long one: is there room left that nobody uses?",
            ("a[:-1]", "a[: room // 2]"),
            ("b[:-1]", "b[: room // 2]"),
        ),
        "cut in proportion": Wrong(
            "Does the shorter one lose a word while the other is still longer?",
            ("max_length - 3", "max_length - 3\n    share = room * len(a) // (len(a) + len(b))"),
            ("len(a) > len(b)", "len(a) > share"),
        ),
        "one token too many cut": Wrong(
            "Two lists that fit exactly: does yours still take a token away?", ("> room", ">= room")
        ),
        "the shorter side cut": Wrong(
            "Longest first: which of the two should lose a token?",
            ("len(a) > len(b)", "a and (len(a) < len(b) or not b)"),
        ),
        "only the first is cut": Wrong(
            "What do you return when the second alone is longer than max_length?",
            ("> room", "> room and a"),
            ("len(a) > len(b)", "True"),
        ),
        "special tokens put in": Wrong(
            "The special tokens are put around the lists later. Which tokens should yours return?",
            ("return a, b", 'return ["[CLS]", *a, "[SEP]"], [*b, "[SEP]"]'),
        ),
        "both in one list": Wrong(
            "The docstring asks for both lists. How many do you return?", ("return a, b", "return a + b")
        ),
        "the caller's lists changed": Wrong(
            "pop() and del change the list itself. Is the caller's list still whole after your call?",
            ("a = a[:-1]", "a.pop()"),
            ("b = b[:-1]", "b.pop()"),
        ),
        "each cut to the whole room": Wrong(
            "Each of yours fits alone. Do they fit together?",
            ("while len(a) + len(b) > room:", "a, b = a[:room], b[:room]\n    while False:"),
        ),
        "one token too many kept where an odd number fits": Wrong(
            "[CLS] a [SEP] b [SEP]: how long is the whole input after your cut?",
            (
                "while len(a) + len(b) > room:",
                "half = room // 2\n"
                "    a, b = a[: room - min(len(b), half)], b[: room - min(len(a), half)]\n"
                "    while False:",
            ),
        ),
        "the first cut where both are equally long": Wrong(
            "Two equally long lists: which of the two should lose a token?",
            ("len(a) > len(b)", "len(a) >= len(b)"),
        ),
        "tokens taken in turn": Wrong(
            "A short question beside a long passage: does the question lose tokens as well?",
            ("len(a) > len(b)", "(len(a) + len(b)) % 2"),
        ),
    },
    hints=(
        "First find out how many tokens a and b may have together. Three places are taken.",
        "Then, while there are too many, take one token away. From which of the two?",
        "A list without its last token is tokens[:-1]; that also leaves the caller's list as it is.",
    ),
    returns=("a", "b"),
    why=(
        "The shorter side stays whole for as long as possible, so that a question survives beside a long "
        "passage."
    ),
)

build_inputs = Exercise(
    solution.build_inputs,
    cases={
        "a pair with padding": ([2023, 2143], [2009, 2573, 1012], 11),
        "a pair that fills the length": ([2023], [2009, 2573], 6),
        "one sentence": ([2023, 2143, 2573], [], 8),
    },
    wrong={
        "the last [SEP] in segment 0": Wrong(
            "Which sentence does the last [SEP] close? Which segment is that sentence in?",
            ("[1] * len(second)", "[1] * len(b_ids) + [0] * (len(second) - len(b_ids))"),
        ),
        "the first [SEP] in segment 1": Wrong(
            "Which sentence does the first [SEP] close? Which segment is that sentence in?",
            ("[0] * len(first)", "[0] * (len(first) - 1) + [1]"),
        ),
        "the last [SEP] missing": Wrong(
            "How many [SEP] are there in an input of two sentences?",
            ("[*b_ids, 102] if b_ids else []", "b_ids"),
        ),
        "mask 1 on padding": Wrong(
            "May other tokens attend to padding? 1 means keep.",
            ("[1] * length + padding", "[1] * max_length"),
        ),
        "segment 1 on padding": Wrong(
            "Padding belongs to no sentence. Which segment does BERT give it?",
            ("[1] * len(second) + padding", "[1] * (max_length - len(first))"),
        ),
        "segments 1 and 2": Wrong(
            "How many rows has the table of segment embeddings? Which is the first index?",
            ("[0] * len(first) + [1] * len(second)", "[1] * len(first) + [2] * len(second)"),
        ),
        "mask before segments": Wrong(
            "In which order does the docstring name the three lists?",
            (
                "return input_ids, token_type_ids, attention_mask",
                "return input_ids, attention_mask, token_type_ids",
            ),
        ),
        "padding in front": Wrong(
            "At which position does BERT expect [CLS]?",
            (
                "return input_ids, token_type_ids, attention_mask",
                "rows = input_ids, token_type_ids, attention_mask\n"
                "    return [row[length:] + row[:length] for row in rows]",
            ),
        ),
        "[CLS] missing": Wrong(
            "What does every input of BERT begin with?", ("[101, *a_ids, 102]", "[*a_ids, 102]")
        ),
        "the first [SEP] missing": Wrong(
            "What closes the first sentence?", ("[101, *a_ids, 102]", "[101, *a_ids]")
        ),
        "a second [SEP] after a single sentence": Wrong(
            "How many [SEP] does an input of one sentence have? An empty b_ids means that there is no "
            "second.",
            ("[*b_ids, 102] if b_ids else []", "[*b_ids, 102]"),
        ),
        "no padding": Wrong(
            "How long should each of your three lists be?",
            ("padding = [0] * (max_length - length)", "padding = []"),
        ),
        "mask 0 on the special tokens": Wrong(
            "May other tokens attend to [CLS] and [SEP]? Only padding is hidden.",
            ("[1] * length + padding", "[int(number not in (0, 101, 102)) for number in input_ids]"),
        ),
        "a second [CLS] before the second sentence": Wrong(
            "How many [CLS] does an input of two sentences have?",
            ("[*b_ids, 102] if", "[101, *b_ids, 102] if"),
        ),
        "the mask inverted": Wrong(
            "1 = token, 0 = padding. Which is yours?",
            ("[1] * length + padding", "[0] * length + [1] * len(padding)"),
        ),
        "segment 0 everywhere": Wrong(
            "What tells BERT which of the two sentences a token is in?",
            ("[1] * len(second)", "[0] * len(second)"),
        ),
    },
    hints=(
        "Build the first part, [CLS] a [SEP], and the second, b [SEP], which is empty without b.",
        "Each part is of one segment, its [SEP] included.",
        "What is missing to max_length is padding: id 0, segment 0, mask 0.",
    ),
    returns=("input_ids", "token_type_ids", "attention_mask"),
    why="These three lists are all that a BERT ever sees of a text.",
)

pair_scores = Exercise(
    solution.pair_scores,
    cases={
        "one word": ({("f", "##i", "##l", "##m"): 1},),
        "two words, one of them often": ({("f", "##i", "##t"): 3, ("f", "##a", "##t"): 1},),
        "a pair twice in a word": ({("b", "##a", "##n", "##a", "##n", "##a"): 1},),
        "a word of one wordpiece": ({("film",): 4, ("film", "##s"): 2},),
        "s at the start and inside": ({("s", "##e", "##e", "##s"): 1, ("s", "##o"): 1},),
    },
    wrong={
        "frequency instead of likelihood": Wrong(
            "Two common wordpieces often meet by chance. What do you divide by to allow for that?",
            ("count / (singles[a] * singles[b])", "count"),
        ),
        "each word counted once": Wrong(
            "What is the number beside each word for? “the” should weigh more than “thelma”.",
            ("words.items()", "dict.fromkeys(words, 1).items()"),
        ),
        "a pair counted once in a word": Wrong(
            "How often does ##a ##n occur in “banana”? Does your count say so?",
            ("pairwise(pieces)", "set(pairwise(pieces))"),
        ),
        "words of one wordpiece left out": Wrong(
            "A wordpiece that is a whole word has no neighbor. Does it still count as a wordpiece?",
            ("for piece in pieces:", "for piece in pieces if len(pieces) > 1 else ():"),
        ),
        "divided by the left count only": Wrong(
            "Think of a right wordpiece that follows everything, like ##e. What makes up for its being "
            "common?",
            ("(singles[a] * singles[b])", "singles[a]"),
        ),
        "s and ##s counted together": Wrong(
            "Are s at the start of a word and ##s inside it the same wordpiece?",
            ("singles[piece]", 'singles[piece.strip("#")]'),
            ("singles[a] * singles[b]", 'singles[a.strip("#")] * singles[b.strip("#")]'),
        ),
        "multiplied by N": Wrong(
            "That is the whole factor. Which part of it does the task ask for?",
            ("count / (singles", "sum(singles.values()) * count / (singles"),
        ),
        "divided by the right count only": Wrong(
            "Think of a left wordpiece that stands in front of everything. What makes up for its being "
            "common?",
            ("(singles[a] * singles[b])", "singles[b]"),
        ),
        "divided by the sum of the counts": Wrong(
            "By chance, two wordpieces meet in proportion to c(a) times c(b). Is that your denominator?",
            ("singles[a] * singles[b]", "singles[a] + singles[b]"),
        ),
        "wordpieces counted once for each neighbor": Wrong(
            "A wordpiece inside a word has two neighbors. How often do you count it?",
            ("for piece in pieces:", "for piece in [piece for pair in pairwise(pieces) for piece in pair]:"),
        ),
        "left and right neighbors counted apart": Wrong(
            "c(a) counts every occurrence of a wordpiece. Where do you count the last one of a word as a, "
            "and "
            "a word of one wordpiece?",
            (
                "for piece in pieces:",
                "for piece in [(x, 0) for x in pieces[:-1]] + [(x, 1) for x in pieces[1:]]:",
            ),
            ("singles[a] * singles[b]", "singles[a, 0] * singles[b, 1]"),
        ),
        "pairs joined in the keys": Wrong(
            "Which two wordpieces does your key “film” stand for? The keys should be pairs.",
            ("return {(a, b): count", "return {a + b: count"),
        ),
        "pairs counted once per word": Wrong(
            "A word that occurs three times contains each of its pairs three times. Does your pair count "
            "say so?",
            ("pairs[pair] += count", "pairs[pair] += 1"),
        ),
        "single wordpieces counted once per word": Wrong(
            "A word that occurs three times contains each of its wordpieces three times. Does c(a) say so?",
            ("singles[piece] += count", "singles[piece] += 1"),
        ),
        "all pairs of a word, not only neighbors": Wrong(
            "Are the first and the last wordpiece of a word neighbors?",
            ("pairwise(pieces)", "((x, y) for i, x in enumerate(pieces) for y in pieces[i + 1 :])"),
        ),
    },
    hints=(
        "Count single wordpieces and pairs of neighbors over all words, adding the word's count each time.",
        "pairwise(wordpieces) of itertools gives the neighbors, a repeated pair as often as it occurs.",
        "The score of (a, b) is the pair's count divided by the product of both wordpieces' counts.",
    ),
    why="The score divides what was counted by what chance alone would give.",
)

wordpiece_offsets = Exercise(
    solution.wordpiece_offsets,
    cases={
        "one wordpiece": ("film", ["film"], 0),
        "one wordpiece further on": ("film", ["film"], 7),
        "three wordpieces": ("unwatchable", ["un", "##watch", "##able"], 0),
        "three wordpieces further on": ("unwatchable", ["un", "##watch", "##able"], 12),
        "an unknown word": ("电影电影电影电影", ["[UNK]"], 3),
        "a wordpiece twice": ("banana", ["b", "##an", "##an", "##a"], 2),
        "a number sign": ("#", ["#"], 5),
    },
    wrong={
        "## counted as letters": Wrong(
            "How many characters of the text is ##able?", ('.removeprefix("##")', "")
        ),
        "every # taken away": Wrong(
            "The text itself can hold a #. How long is the wordpiece “#”?",
            ('.removeprefix("##")', '.strip("#")'),
        ),
        "counted from the word's start": Wrong(
            "Offsets point into the whole text. Where in it does this word begin?",
            ("if wordpieces", "start = 0\n    if wordpieces"),
        ),
        "the end is the last letter": Wrong(
            "Slice the text with your offsets. Is the last letter there?",
            ("start + len(word)", "start + len(word) - 1"),
            ("append((start, end))", "append((start, end - 1))"),
        ),
        "every wordpiece from the word's start": Wrong(
            "Where does the second wordpiece begin, if not where the first ends?", ("start = end", "pass")
        ),
        "[UNK] counted as five letters": Wrong(
            "[UNK] stands for the whole word. How long is that in the text?",
            ('wordpieces == ["[UNK]"]', "False"),
        ),
        "the length instead of the end": Wrong(
            "The second number should be a position in the text. What is yours?",
            ("append((start, end))", "append((start, end - start))"),
            ("start + len(word)", "len(word)"),
        ),
        "two letters taken from every wordpiece": Wrong(
            "Does the first wordpiece have a ## in front?",
            ('len(piece.removeprefix("##"))', "len(piece) - 2"),
        ),
        "[UNK] counted as one letter": Wrong(
            "[UNK] stands for the whole word. How long is that in the text?",
            ("start + len(word)", "start + 1"),
        ),
        "a gap between the wordpieces": Wrong(
            "The end is one past the last character. Where does the next wordpiece begin?",
            ("start = end ", "start = end + 1 "),
        ),
        "the first place where a wordpiece occurs": Wrong(
            "find() searches from the front each time. Where does the second ##an of “banana” begin?",
            ("offsets = []", "offsets, first = [], start"),
            ("end = start +", "start = first + word.find(piece.removeprefix('##'))\n        end = start +"),
        ),
        "the first wordpiece alone": Wrong(
            "Is your `return` inside the loop?", ("return offsets", "return offsets[:1]")
        ),
    },
    hints=(
        "Each wordpiece begins where the one before ended; the first begins at start.",
        "## is not in the text: a wordpiece covers as many characters as it has without it.",
        "If the only wordpiece is [UNK], it covers the whole word.",
    ),
    why=(
        "With these offsets an answer or a name can be marked in the original text; chapter 5 does just that."
    ),
)


@dataclass(frozen=True)
class TokenizationComparison:
    """How many texts a tokenizer cuts differently when it runs on other functions."""

    names: str  # of the functions swapped in
    texts: int
    different: int = 0
    first: tuple[str, Encoding, Encoding] | None = None  # the first such text, yours, the package's
    error: str | None = None
    attempted: bool = True

    @property
    def ok(self) -> bool:
        """Whether the tokenizer ran and did the same to every text."""
        return self.attempted and self.error is None and self.different == 0

    def __repr__(self) -> str:
        """Say in a line or four what came out."""
        if not self.attempted:
            return f"– {self.names} in the tokenizer: not attempted yet"
        if self.error is not None:
            return f"✗ {self.names}: the tokenizer stops with {self.error}"
        if self.first is None:
            same = f"the same wordpieces in the same places, for all {self.texts:,} texts"
            return f"✓ the tokenizer runs on your own {self.names}; {same}"
        text, yours, package = self.first
        one, two = _where_they_part(yours, package)
        return (
            f"✗ {self.names}: {self.different:,} of {self.texts:,} texts come out differently, the first:\n"
            f"  {text}\n  yours:   {one}\n  package: {two}"
        )

    def _repr_html_(self) -> str | None:
        """Return the lines as HTML; see `Result`."""
        return as_html(repr(self)) if self.attempted else None


def compare_tokenizations(
    tokenizer: WordPieceTokenizer, texts: Sequence[str], **mine: Callable[..., Any]
) -> TokenizationComparison:
    """Encode `texts` as the package does and on your functions, and count the texts that differ.

    Args:
        tokenizer: one of this package's.
        texts: what to encode.
        mine: functions as for `use`.
    """
    names = ", ".join(mine)
    try:
        with use(**mine):
            yours = [tokenizer.encode(text) for text in texts]
    except NotImplementedError:
        return TokenizationComparison(names, len(texts), attempted=False)
    except Exception as error:
        return TokenizationComparison(names, len(texts), error=f"{type(error).__name__}: {error}")
    reference = [tokenizer.encode(text) for text in texts]
    found = [entry for entry in zip(texts, yours, reference, strict=True) if entry[1] != entry[2]]
    return TokenizationComparison(names, len(texts), len(found), found[0] if found else None)


def _where_they_part(yours: Encoding, package: Encoding, width: int = 6) -> list[str]:
    """Show both from just before the first difference: the pieces or, if they agree, the offsets."""
    same = yours.tokens == package.tokens
    both = [[str(item) for item in (e.offsets if same else e.tokens)] for e in (yours, package)]
    first = next((i for i, (one, two) in enumerate(zip(*both, strict=False)) if one != two), 0)
    start = max(first - 2, 0)
    return [
        f"{'… ' if start else ''}{' '.join(items[start : start + width])}"
        f"{' …' if len(items) > start + width else ''}"
        for items in both
    ]
