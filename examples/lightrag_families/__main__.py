"""Builds LightRAG's graph of a text and asks it a question, every prompt from Detent's families.

Needs a running service: `detent serve` in another terminal.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightrag import LightRAG
from lightrag.utils import EmbeddingFunc, Tokenizer

from examples.detent_families import DetentFamilies
from examples.lightrag_families.families import LightRAGFamilies

TEXT = Path(__file__).parents[1] / "text.md"
QUESTION = "Who founded the Ferry Museum?"
TYPES = "location, organization, person"
RELATIONS = "born_in, captain_of, founded, located_in, owns, no_relation"
DIMENSIONS = 256


class Bytes:
    """LightRAG's own tokenizer is fetched from the network; UTF-8 bytes count as well, and stay here."""

    def encode(self, content: str) -> list[int]:
        return list(content.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="ignore")


async def embed(texts: list[str], **_: Any) -> np.ndarray:
    """Hashed words: texts with words in common lie near each other. Put your embedding model in its place."""
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for word in text.lower().split():
            row[zlib.crc32(word.strip(".,:;?!\"'()").encode()) % DIMENSIONS] += 1
        row /= np.linalg.norm(row) or 1
    return vectors


def open_rag(model: LightRAGFamilies, folder: Path, **more: Any) -> LightRAG:
    """``more``: settings of LightRAG."""
    embedding = EmbeddingFunc(embedding_dim=DIMENSIONS, max_token_size=8192, func=embed)
    tokenizer = Tokenizer("utf-8", Bytes())
    settings = {"working_dir": str(folder), "embedding_func": embedding, "tokenizer": tokenizer, **model.settings()}
    return LightRAG(**{**settings, **more})


async def run(url: str, key: str | None, text: str, question: str, folder: Path) -> str:
    families = DetentFamilies(url, key)
    model = LightRAGFamilies(families=families, types=TYPES, relations=RELATIONS)
    rag = open_rag(model, folder)
    await rag.initialize_storages()
    try:
        await rag.ainsert(text)
        graph = await rag.get_knowledge_graph("*")
        print(f"{len(graph.nodes)} entities, {len(graph.edges)} relations")
        answer = await model.ask(rag, question, user="a-user")
        print(f"{question}\n{answer}")
        await model.report(question, success="Marta Keel" in answer)
        return answer
    finally:
        await rag.finalize_storages()
        await families.close()


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="python -m examples.lightrag_families", description=__doc__)
    options.add_argument("--url", default="http://127.0.0.1:8321", help="address of the service")
    options.add_argument("--key", help="an API key of role feedback, where the service has keys")
    options.add_argument("--text", type=Path, default=TEXT, help="the file to read")
    options.add_argument("--question", default=QUESTION)
    chosen = options.parse_args(arguments)
    logging.getLogger("lightrag").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        text = chosen.text.read_text(encoding="utf-8")
        asyncio.run(run(chosen.url, chosen.key, text, chosen.question, Path(folder)))


if __name__ == "__main__":
    main()
