"""The command line: reads options, runs a command, reports its errors; data, pretrain, finetune, search.

The commands that need the course are in `bertlearn.course.commands`. A command raises its errors: they are
printed here, in one place and in one way.
"""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import is_dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro

from bertlearn.arguments import OptionError, check_count, check_device, check_share
from bertlearn.finetuning.options import FinetuneOptions, TableOptions
from bertlearn.pretraining.options import PretrainOptions, TextOptions

if TYPE_CHECKING:
    from bertlearn.data import Document
    from bertlearn.pretraining.corpus import SkippedRows
    from bertlearn.search import Hit, SearchIndex
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

Pooling = Literal["cls", "mean"]
SourceName = Literal[
    "reviews", "wikipedia", "bible", "minilm", "tasks", "splade", "dialogues", "glove", "multilingual",
    "shop_reviews", "novel",
]  # fmt: skip


def data(
    names: tyro.conf.Positional[tuple[SourceName, ...]] = (),
    chapter: Literal[7, 10] | None = None,
    all_chapters: Annotated[bool, tyro.conf.arg(name="all")] = False,
    model: Literal["bert-base-uncased", "bert-base-chinese"] | None = None,
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    endpoint: str | None = None,
    check: bool = False,
) -> int:
    """Fetch the course's texts and weights, verify them, and build the shards of chapter 4 from the texts.

    What is already there and intact is kept. To pretrain on these texts or on your own, see
    `bertlearn data build --help`.

    Args:
        names: Sources to fetch. If none is named, those of the set-up, and the shards.
        chapter: Fetch what only this chapter needs: 76 MB for a part of chapter 7, 131 MB for chapter 10.
        all_chapters: Fetch everything, 208 MB more than the set-up.
        model: Bring BERT-base, English or Chinese, about 440 MB, from the hub; other commands then take this
            name as their --model.
        source: Folder that holds this model, copied from a machine that has it.
        endpoint: Address of a mirror of the hub, to bring the model from.
        check: Fetch and build nothing; only report what is cached and intact.

    Returns:
        Exit status: 0 if all that was requested is there and intact, 1 if not.
    """
    from bertlearn import data as sources
    from bertlearn.course import corpus

    if model:
        return _bring(model, source, endpoint, check)
    if source or endpoint:
        raise OptionError("--from and --endpoint are for --model; name one")
    chosen: list[str] = list(names)
    chosen += [name for name, source in sources.SOURCES.items() if chapter and source.chapter == chapter]
    if all_chapters:
        chosen = list(sources.SOURCES)
    shards = all_chapters or not chosen
    if not check:
        sources.fetch(chosen or None)
    if not check and shards:
        corpus.ENGLISH.build()
    statuses = sources.status(chosen or None)
    statuses += [corpus.ENGLISH.status()] if shards else []
    for status in statuses:
        print(f"{status.name:<12} {status.state:<8} {status.size / 1e6:6.1f} MB  {status.folder}")
    return 0 if all(status.state == "intact" for status in statuses) else 1


def _bring(model: Any, source: Path | None, endpoint: str | None, check: bool) -> int:
    """Bring a published model, or report whether it is here."""
    from bertlearn.course import published

    if not check:
        published.bring(model, source, endpoint)
    here = published.is_here(model)
    print(f"{model} {'is in' if here else 'is not in'} {published.published_folder(model)}")
    return 0 if here else 1


def pretrain(
    output: Path,
    pretraining: tyro.conf.OmitArgPrefixes[PretrainOptions],
    data: Path | None = None,
    held_out: Path | None = None,
    start_from: str | None = None,
    resume: bool = False,
    verify: bool = False,
    device: str | None = None,
) -> int:
    """Pretrain a BERT, from scratch or from an earlier run's model; with torchrun, on several devices.

    Ctrl-C ends the run after the step in progress and keeps a checkpoint; --resume continues from there.

    Args:
        output: Folder for checkpoints, history.csv and, at the end, the model.
        pretraining: Model, objective and training.
        data: Shards made by `bertlearn data build`; the course's own corpus if not given.
        held_out: Shards to evaluate the model on. Without --data, the default is the course's own held-out
            text, which contains nothing about a film of the test set.
        start_from: Folder of a pretrained model whose weights to start from, such as one trained on shorter
            sequences: if --max-length needs more positions, they are added. The vocabulary must be that of
            the shards, and --preset its size.
        resume: Continue from the newest checkpoint in the output folder; all other options stay the same.
        verify: Verify the checksums of the shards, even if that was done before.
        device: A device such as cpu or cuda:0; by default the GPU, if there is one.

    Returns:
        Exit status: 0 if the last step was reached, 3 if the run was stopped before, 1 on an error.
    """
    from bertlearn.course.corpus import course_shards
    from bertlearn.files import check_output
    from bertlearn.pretraining.run import pretrain as run_pretraining
    from bertlearn.training.distributed import is_first_process

    check_device(device)
    if is_first_process():
        check_output(output)  # before the shards, which may take a while
    if data is None:
        data, held_out = course_shards("train"), held_out or course_shards("validation")
    run = run_pretraining(
        data, pretraining, output, held_out, resume, device, start_from=start_from, verify=verify
    ).run
    if is_first_process():
        print(run.summary)
    return 0 if run.finished else 3


def finetune(
    model: str,
    output: Path,
    table: tyro.conf.OmitArgPrefixes[TableOptions],
    finetuning: tyro.conf.OmitArgPrefixes[FinetuneOptions],
    pooling: Pooling = "cls",
    dropout: float | None = None,
    max_length: int = 128,
    resume: bool = False,
    device: str | None = None,
) -> int:
    """Fine-tune a BERT on your own labeled texts; the result is a folder that transformers can load.

    Rows that cannot be used are skipped and counted, and the first few of each kind are reported with their
    line number. Ctrl-C ends the run after the step in progress: the folder then has the best model so far,
    and --resume continues.

    Args:
        model: Where to start: minilm (packaged, 6 layers, more accurate), snapshot (the last one of chapter
            4's pretraining, 2 layers, faster), or a model's folder or hub name.
        output: Folder to write; it must be empty, or not exist yet. During the run, it holds the checkpoints.
        table: Texts and labels.
        finetuning: How to train.
        pooling: Input of the head: cls, the first token through the pooler, as in the paper; or mean, the
            average of all tokens, which this package supports and transformers does not.
        dropout: Dropout in encoder and head; the model's own if not given.
        max_length: Maximum number of tokens per text, at most the model's number of positions; longer texts
            are truncated.
        resume: Continue from the newest checkpoint in the output folder, with the same texts and options.
        device: A device such as cpu or cuda:0; by default the GPU, if there is one.

    Returns:
        Exit status: 0 if the last step was reached, 3 if the run was stopped before, 1 on an error.
    """
    import torch

    from bertlearn.course.encoders import load_encoder
    from bertlearn.files import check_output
    from bertlearn.finetuning import classifier

    check_device(device)  # cheap checks come first, so errors show before any long work
    check_count("max_length", max_length, 2 * len(table.text_column) + 1)  # a token per text, [CLS] and [SEP]
    check_share("dropout", dropout or 0.0)
    output = output.expanduser()
    checkpoints = output / classifier.CHECKPOINTS
    resume = classifier.check_folder(output, resume)
    train, validation = classifier.read_tables(table, finetuning.seed)
    generator = torch.Generator().manual_seed(finetuning.seed)
    encoder, tokenizer = load_encoder(model)
    setup = classifier.make_setup(
        encoder, tokenizer, train, validation, generator, pooling, dropout, max_length
    )
    check_output(output, sum(parameter.nbytes for parameter in setup.model.parameters()))
    print(classifier.describe_setup(setup, finetuning), flush=True)
    tuned = classifier.train_setup(setup, finetuning, device, checkpoints, resume)
    if tuned.scores:
        classifier.save_setup(setup, output, replace=resume)
    if not tuned.run.finished:
        print(classifier.describe_stop(setup, tuned, output))
        return 3
    shutil.rmtree(checkpoints)
    print(classifier.describe_result(setup, tuned, output))
    return 0


def build(
    output: Path,
    text: tyro.conf.OmitArgPrefixes[TextOptions],
    vocab: str | None = None,
    vocab_size: int = 4096,
    limit_alphabet: int | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> int:
    """Turn text of any size into shards for pretraining: tokens on disk, read without copying.

    Memory use does not grow with the text. Text that cannot be read is skipped and counted; the first few
    cases of each kind are reported with file and line.

    Args:
        output: Folder to fill.
        text: What to read.
        vocab: A vocab.txt, or a tokenizer's folder or hub name. If not given, a vocabulary is learned first,
            from documents sampled evenly over the whole input, up to 10 million characters.
        vocab_size: Number of tokens in a learned vocabulary.
        limit_alphabet: Maximum number of different characters in a learned vocabulary; the rarest
            become [UNK]. The default is 1,000, or a quarter of the vocabulary if that is more, but nearly
            all of it for Chinese.
        workers: Number of processes that tokenize.
        overwrite: Replace finished shards in the folder.

    Returns:
        Exit status: 0 if the shards are complete, 1 if not.
    """
    from bertlearn.files import check_output
    from bertlearn.pretraining import corpus

    skipped = corpus.SkippedRows()
    check_count("workers", workers, 1)
    check_output(output)
    corpus.check_free(output, overwrite)
    documents = _documents(text, skipped)
    corpus.check_apart(text.input, output)
    size = corpus.input_bytes(text.input)
    check_output(output, 0 if size is None else size // 4)  # 2 bytes per token, of 8 at most
    tokenizer = _load_tokenizer(vocab) if vocab else _learn_tokenizer(text, vocab_size, limit_alphabet)
    corpus.build_shards(
        documents, output, tokenizer, workers, overwrite=overwrite, skipped=skipped, total_bytes=size
    )
    return 0


def search(
    index: Path,
    query: tuple[str, ...] = (),
    input: tuple[str, ...] = (),
    field: str = "text",
    split: str = "train",
    model: str = "minilm",
    max_length: int | None = None,
    k: int = 5,
    device: str | None = None,
) -> int:
    """Search your own texts by meaning: make an index of them, and ask it.

    An index is made once and kept. If making it is interrupted, the same command continues. To add texts,
    name the old ones first: --input "old/*.txt" "new/*.txt". They are compared, not computed again. Memory
    does not grow with the number of texts.

    Args:
        index: Folder of the index; a new or empty one to make it.
        query: What to look for, one or more in quotes. With neither this nor --input, queries are read line
            by line from the terminal, or from a pipe, until an empty one.
        input: Texts to put into the index: quoted patterns such as "notes/**/*.txt", with a text on each
            line; .jsonl files with a text on each line in --field; both may be compressed. An index can
            only grow: after a text was changed or removed, make a new one.
        field: Field of a .jsonl line, or of a row of a data set, that contains the text.
        split: Split of a hub data set to read.
        model: What makes the vectors: minilm, or the folder or hub name of a BERT that was trained to give
            similar vectors to similar texts.
        max_length: Tokens of a text that are read; by default as many as the model can (minilm 512, about 400
            words). What a longer text says after them is not found; such texts are counted.
        k: How many texts to show for each query.
        device: A device such as cpu or cuda:0; by default the GPU, if there is one.

    Returns:
        Exit status: 0, or 1 on an error.
    """
    import torch

    from bertlearn.course.encoders import load_encoder
    from bertlearn.search import SearchIndex
    from bertlearn.search.record import RECORD

    check_device(device)
    check_count("k", k)
    for wanted in query:
        _check_query(wanted)
    texts = _Texts(input, field, split, index) if input else None
    if not (texts or (index.expanduser() / RECORD).exists()):
        raise OptionError(f"{str(index)!r} is not an index; correct --index, or make one with --input")
    encoder, tokenizer = load_encoder(model)
    encoder.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    opened = SearchIndex(index, encoder, tokenizer, max_length)
    if texts:
        texts.add_to(opened)
    if not opened.record.complete:
        print(
            f"{index} is not complete: adding texts was interrupted. It answers from {len(opened):,} texts; "
            "repeat the command with its --input to go on",
            file=sys.stderr,
        )
    elif not texts:
        print(f"{index}: {len(opened):,} texts", file=sys.stderr)
    for wanted in query or (() if input else _typed_queries()):
        _show(wanted, opened.search(wanted, k))
    return 0


class _Texts:
    """The texts of --input on their way into an index."""

    def __init__(self, patterns: tuple[str, ...], field: str, split: str, folder: Path) -> None:
        """Check the files, before a model is loaded."""
        from bertlearn.pretraining import corpus

        corpus.check_apart(patterns, folder)
        self.skipped = corpus.SkippedRows(shown=0)  # blank lines are no news; the summary counts them
        self.documents = corpus.read_documents(patterns, self.skipped, True, field, split)

    def add_to(self, opened: SearchIndex) -> None:
        """Build the index, and say what it has."""
        from bertlearn.search import Entry

        try:
            opened.build(Entry(document.text, document.location) for document in self.documents)
        except KeyboardInterrupt:
            kept = f"{opened.folder} keeps {len(opened):,} texts"
            print(f"\n{kept}; repeat the command to go on", file=sys.stderr)
            raise
        skipped = self.skipped.with_places()
        if not len(opened):
            raise ValueError(f"--input has no text to index; skipped: {skipped}")
        print(f"{opened.folder}: {len(opened):,} texts; skipped: {skipped}")
        if cut := opened.record.cut:
            limit = opened.record.max_length
            print(f"longer than {limit} tokens: {cut:,}; only their beginning is found, so split them")


def _show(query: str, hits: Iterable[Hit]) -> None:
    """Print a query and what was found: the cosine, file and line, the text."""
    print(f"\n{_printable(query)}")
    for hit in hits:
        print(f"{hit.score:6.3f}  {_printable(hit.place)}\n        {_printable(hit.text)}")


def _typed_queries() -> Iterator[str]:
    """Yield lines from the terminal until an empty one, or the end of the input."""
    with suppress(EOFError):
        while line := input("\nsearch for (an empty line ends): " if sys.stdin.isatty() else "").strip():
            _check_query(line)
            yield line


def _check_query(text: str) -> None:
    """Refuse a query without text, or in bytes that are not text in the terminal's encoding."""
    if not text.strip():
        raise OptionError("--query is blank; put what you look for in quotes")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the query {text[:40]!a} is not UTF-8 text; save or type it as UTF-8") from error


def _printable(text: str, width: int = 200) -> str:
    """Return a text in one line, cut, and without characters that could command a terminal."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= width else f"{line[: width - 2]} …"


def _documents(text: TextOptions, skipped: SkippedRows) -> Iterable[Document]:
    from bertlearn.course.corpus import course_documents
    from bertlearn.pretraining.corpus import read_documents

    if not text.input:
        return course_documents(text.split)
    return read_documents(text.input, skipped, text.lines, text.field, text.split)


def _load_tokenizer(vocab: str) -> WordPieceTokenizer:
    """Read a tokenizer from a folder, from the hub, or from a vocabulary file alone."""
    from bertlearn.tokenizer.vocab_files import check_vocab, read_vocab
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

    path = Path(vocab).expanduser()
    if path.is_file() and path.name not in ("vocab.txt", "tokenizer.json"):
        return WordPieceTokenizer(check_vocab(read_vocab(path), path))
    return WordPieceTokenizer.from_pretrained(path.parent if path.is_file() else vocab)


def _learn_tokenizer(text: TextOptions, vocab_size: int, limit_alphabet: int | None) -> WordPieceTokenizer:
    from bertlearn.pretraining.corpus import SkippedRows, sample_texts
    from bertlearn.tokenizer.learn import check_sizes, train_wordpiece
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

    check_sizes(vocab_size, limit_alphabet)
    print(f"learning a vocabulary of up to {vocab_size:,} tokens", flush=True)
    if not text.input:
        text = replace(text, split="train")  # never from text that a model is evaluated on
    skipped = SkippedRows(shown=0)  # reported when the shards are built
    texts = sample_texts(_documents(text, skipped))
    if not texts:
        raise ValueError(
            f"no text to learn a vocabulary from was read; skipped: {skipped.with_places()}. Correct these "
            "files or name others; for JSON, name the --field that has the text"
        )
    learned = train_wordpiece(texts, vocab_size, limit_alphabet=limit_alphabet)
    return WordPieceTokenizer(learned.vocab)


def main() -> None:
    """Run the command line and exit with its status."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not support ✓
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:
        print("bertlearn: stopped", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # the reader, such as `head`, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def commands() -> dict[str, Callable[..., int]]:
    """Return each command's function by its name."""
    from bertlearn.course.commands import COMMANDS

    own: dict[str, Callable[..., int]] = {"data": data, "data build": build, "pretrain": pretrain}
    return {**COMMANDS, **own, "finetune": finetune, "search": search}


def _run(arguments: list[str]) -> int:
    """Run the command that the arguments name; one of two words, such as `data build`, is its own command."""
    two_words = " ".join(arguments[:2])
    name = two_words if two_words in commands() else " ".join(arguments[:1])
    if name in commands():
        command = _parse(name, arguments[len(name.split()) :])
        try:
            return command()
        except BrokenPipeError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            return _fail(name, error)
    return tyro.extras.subcommand_cli_from_dict(
        {name: command for name, command in commands().items() if " " not in name},
        prog="bertlearn",
        description="Tools of the bertlearn course. For teachers: bertlearn course build --help, "
        "bertlearn course grade --help.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _parse(name: str, words: list[str]) -> Callable[[], int]:
    """Return a command with the options that the words set; with wrong ones, say so and exit with status 2.

    Values that our own checks refuse are reported in one line. Everything else is reported by tyro, which
    would frame those as well, under a name of its own.
    """
    command, errors = commands()[name], io.StringIO()

    @functools.wraps(command)
    def with_options(*values: Any, **options: Any) -> Callable[[], int]:
        return functools.partial(command, *values, **options)

    try:
        _check_not_empty(words)
        with redirect_stderr(errors):
            return tyro.cli(
                with_options, prog=f"bertlearn {name}", args=words, config=(tyro.conf.FlagCreatePairsOff,)
            )
    except (OptionError, SystemExit) as error:
        refused = _refused_option(error)
        if refused is None:
            raise
        errors = io.StringIO()
        _fail(name, f"{refused}; see bertlearn {name} --help")
        raise SystemExit(2) from None
    finally:
        sys.stderr.write(errors.getvalue())


def _check_not_empty(words: list[str]) -> None:
    """Refuse empty values: no option has one, and an empty path would mean the working directory.

    What comes after `--` is for another program.
    """
    option = "an argument"
    for word in takewhile(lambda word: word != "--", words):
        option, equals, value = word.partition("=") if word.startswith("--") else (option, "=", word)
        if equals and not value:
            raise OptionError(f"{option} is empty; give it a value, or leave it out")


def _refused_option(error: BaseException | None) -> OptionError | None:
    """Return the error of our own checks that an error came from."""
    while error is not None and not isinstance(error, OptionError):
        error = error.__context__
    return error


def _fail(name: str, error: object) -> int:
    """Print the error of a command, in which options have the names of the command line; return status 1."""
    names = (name + (r"\b" if "_" in name else "(?==)") for name in _option_names(commands()[name]))
    own_names = rf"(?<![^\s(])({'|'.join(names)})"
    message = re.sub(own_names, lambda found: "--" + found[0].replace("_", "-"), str(error))
    print(f"bertlearn {name}: {message}", file=sys.stderr)
    return 1


def _option_names(options: Any) -> Iterator[str]:
    """Yield the names that a command's options have in Python, those inside its dataclasses as well."""
    for name, kind in get_type_hints(options).items():
        if is_dataclass(kind):
            yield from _option_names(kind)
        else:
            yield name


if __name__ == "__main__":
    main()
