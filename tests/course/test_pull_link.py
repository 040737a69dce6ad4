"""Links for nbgitpuller lead where they should, and addresses that cannot work are refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from bertlearn import cli
from bertlearn.arguments import OptionError
from bertlearn.course.pull_link import pull_link
from bertlearn.course.sources import chapter_files

HUB, REPOSITORY = "https://hub.example.org", "https://git.example.org/school/bert.git"


def query_of(link: str) -> dict[str, str]:
    """Return the link's parameters as nbgitpuller's server reads them."""
    return {name: value for name, (value,) in parse_qs(urlsplit(link).query, strict_parsing=True).items()}


def test_the_link_names_repository_branch_folder_and_chapter() -> None:
    link = pull_link(f"{HUB}/class/", REPOSITORY, "week-3", chapter=4)
    assert link.startswith(f"{HUB}/class/hub/user-redirect/git-pull?")
    assert query_of(link) == {
        "repo": REPOSITORY,
        "branch": "week-3",
        "targetpath": "bert",
        "urlpath": f"lab/tree/bert/notebooks/{chapter_files()[4].name}",
    }


@pytest.mark.parametrize("name", ["bert & friends", "a%20b", "über+mut", "x#y?z=1"])
def test_names_with_special_characters_survive_both_decodings(name: str) -> None:
    """The server decodes the link's parameters; the browser then decodes `urlpath` as its address."""
    repository = f"file:///srv/{name}".replace("#", "%23").replace("?", "%3F").replace(" ", "%20")
    query = query_of(pull_link(HUB, repository, chapter=1))
    page = urlsplit(f"https://hub.example.org/user/a/{query['urlpath']}")
    assert not page.query and not page.fragment
    assert unquote(page.path) == f"/user/a/lab/tree/{query['targetpath']}/notebooks/01_attention.ipynb"


@pytest.mark.parametrize("folder", [".", "", "./", "notebooks/../notebooks"])
def test_notebooks_may_be_at_the_top_but_not_outside(folder: str) -> None:
    if ".." in folder:
        with pytest.raises(OptionError, match="leads out of the repository"):
            pull_link(HUB, REPOSITORY, folder=folder)
    else:
        assert (
            "lab/tree/bert/00_welcome.ipynb" in query_of(pull_link(HUB, REPOSITORY, folder=folder))["urlpath"]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hub": "hub.example.org"}, "begins with https:// or http://"),
        ({"hub": "javascript:alert(1)"}, "begins with https:// or http://"),
        ({"hub": f"{HUB}/hub/home?next=x"}, "leave out spaces and what follows"),
        ({"repository": "git@git.example.org:school/bert.git"}, "begins with https://"),
        ({"repository": "https://me:secret@git.example.org/school/bert"}, "every student would see"),
        ({"repository": "https://git.example.org/"}, "does not name a repository"),
        ({"branch": "--upload-pack=x"}, "not the name of a branch"),
        ({"branch": ""}, "not the name of a branch"),
        ({"chapter": 99}, "chapter=99 is not one of 0, 1,"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as refused:
        pull_link(**{"hub": HUB, "repository": REPOSITORY} | change)
    assert "secret" not in str(refused.value)


def test_the_command_prints_the_link_or_the_fault(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["course", "link", "--hub", HUB, "--repository", REPOSITORY]
    assert cli._run([*words, "--chapter", "1"]) == 0
    assert capsys.readouterr().out.strip() == pull_link(HUB, REPOSITORY, chapter=1)
    assert cli._run([*words, "--chapter", "99"]) == 1
    assert "bertlearn course link: --chapter=99" in capsys.readouterr().err
