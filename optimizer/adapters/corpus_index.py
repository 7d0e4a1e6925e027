"""A family's corpus, searched by BM25: what a query finds there tells how good the query is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from optimizer.core.base.canonical import digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.strict_json import read_json
from optimizer.core.evaluation.scorers.words import words

INDEX_VERSION = "1"  # raise it with every change that finds other passages: scores before and after are not comparable


@dataclass(frozen=True, kw_only=True)
class CorpusIndex:
    """BM25 in Lucene's form (k1 1.5, b .75) over words in every script, not stemmed.

    Attributes:
        version: of the index: the hash of the corpus' file, the name of its ids, and how they are read and searched.

    Source: Robertson and Zaragoza (2009), by bm25s (Lù 2024, arXiv:2407.03618).
    """

    version: str
    ids: tuple[str, ...]
    scores: Any  # of bm25s: words -> a score per passage

    def search(self, query: str, k: int) -> list[str]:
        """The ids of at most ``k`` passages that share a word with the query, best first,
        equals in the file's order.
        """
        query_words = words(query)
        if not query_words:
            return []
        scores = self.scores(query_words)
        best = (-scores).argsort(kind="stable")[:k]
        return [self.ids[at] for at in best if scores[at] > 0]


def open_corpus(file: Path, id_field: str = "id") -> CorpusIndex:
    """The index over a JSONL file; one is kept in memory until its file changes.

    Args:
        file: a line per passage, an object with its id and texts; all its other texts are searched together.
    Raises:
        InvalidInput: the file cannot be read, holds no passage, or a line is none.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"The corpus {file} cannot be read ({type(error).__name__}). Put it there, or correct `corpus` in `scorer`."
        ) from error
    return _index(str(file), content, id_field)


@lru_cache(maxsize=2)
def _index(file: str, content: bytes, id_field: str) -> CorpusIndex:
    import bm25s  # takes a third of a second to load

    ids, texts = [], []
    for id, text in _passages(file, content, id_field):
        ids.append(id)
        texts.append(words(text))
    if not any(texts):
        raise InvalidInput(f"The corpus {file} holds no passage with a word. It needs a line of JSON for each.")
    index = bm25s.BM25()
    index.index(texts, show_progress=False)
    version = f"{INDEX_VERSION} bm25s {bm25s.__version__} {id_field} {digest(content)[:16]}"
    return CorpusIndex(version=version, ids=tuple(ids), scores=index.get_scores)


def _passages(file: str, content: bytes, id_field: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            passage = read_json(line)
        except ValueError as error:
            raise InvalidInput(f"Line {number} of the corpus {file} is no JSON: {error}. Correct it.") from error
        id = passage.get(id_field) if isinstance(passage, dict) else None
        if not isinstance(id, str) or not id.strip() or id.strip() in seen:
            what = "an id that stood before" if isinstance(id, str) and id.strip() else f"no text {id_field!r}"
            raise InvalidInput(f"Line {number} of the corpus {file} has {what}. Give each passage an id of its own.")
        seen.add(id.strip())
        texts = [value for key, value in passage.items() if key != id_field and isinstance(value, str)]
        yield id.strip(), "\n".join(texts)
