"""LightRAG asks Detent's families: which family answers what, and how its answers take LightRAG's form.

LightRAG fills a template and hands the text to a model function. Here the templates carry their variables and nothing
else, so that the function knows what was asked; the prompt is the family's champion, or a rollout's candidate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from lightrag import LightRAG, QueryParam, RoleLLMConfig
from lightrag.prompt import PROMPTS

from examples.detent_families import DetentFamilies, FamilyAnswer, unit_of_text

EXTRACT, SUMMARIZE = "<detent:extract>\n", "<detent:summarize>\n"
TEMPLATES = {
    "entity_extraction_json_system_prompt": "",
    "entity_extraction_json_user_prompt": EXTRACT + "{input_text}",
    "summarize_entity_descriptions": SUMMARIZE + "{description_list}",
    "keywords_extraction": "{query}",
    "rag_response": "{context_data}",
    "naive_rag_response": "{content_data}",
}
# What LightRAG has to be told so that these templates are all it uses, and so that a new champion is asked at once.
SETTINGS: dict[str, Any] = {
    "entity_extraction_use_json": True,
    "entity_extract_max_gleaning": 0,
    "enable_llm_cache": False,
    "enable_llm_cache_for_entity_extract": False,
}


@dataclass(kw_only=True)
class LightRAGFamilies:
    """LightRAG's model functions. ``types`` and ``relations``: those of the graph, separated by commas."""

    families: DetentFamilies
    types: str
    relations: str
    asked: dict[str, list[FamilyAnswer]] = field(default_factory=dict)  # by question
    users: dict[str, str] = field(default_factory=dict)  # by question

    def __deepcopy__(self, memo: dict[int, Any]) -> LightRAGFamilies:
        """Itself: LightRAG copies its settings deeply, functions and what they are bound to included."""
        return self

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of ``LightRAG``; puts the templates in place, which hold for the whole process."""
        PROMPTS.update(TEMPLATES)
        functions = {"extract": self.extract, "keyword": self.keywords, "query": self.answer}
        roles = {name: RoleLLMConfig(func=function) for name, function in functions.items()}
        return {**SETTINGS, "llm_model_func": self.extract, "role_llm_configs": roles}

    async def ask(self, rag: LightRAG, question: str, *, user: str, param: QueryParam | None = None) -> str:
        """LightRAG's answer for this user, whose arm it is in a rollout.

        LightRAG hands no user on to a model function, so the question says whose it is: ask the same question for two
        users one after the other.
        """
        self.users[question] = user
        self.asked[question] = []
        return str(await rag.aquery(question, param=param or QueryParam(mode="mix", enable_rerank=False)))

    async def report(self, question: str, *, success: bool, source: str = "user") -> None:
        """What the user made of the answer: an outcome of the answer and of the query that found its context."""
        await self.families.report(self.asked.pop(question, []), success=success, source=source)

    # --- what LightRAG calls ------------------------------------------------------------------------------------------

    async def extract(self, prompt: str, **_: Any) -> str:
        """Entities and relations of a chunk, or one description of several."""
        if prompt.startswith(SUMMARIZE):
            lines = prompt.removeprefix(SUMMARIZE).splitlines()
            document = " ".join(json.loads(line)["Description"] for line in lines if line)
            unit = unit_of_text(document)
            return (await self.families.ask("summarization", {"document": document}, unit=unit)).text
        if not prompt.startswith(EXTRACT):
            raise ValueError("LightRAG sent a prompt of its own to the extract role: its templates were not replaced.")
        text = prompt.removeprefix(EXTRACT)
        extraction = await self.families.extract(text, types=self.types, relations=self.relations)
        # As LightRAG reads it. What a sentence says is the description of its entities and relations.
        return json.dumps(
            {
                "entities": [
                    {"name": name, "type": kind, "description": one.sentence}
                    for one in extraction
                    for name, kind in one.entities
                ],
                "relationships": [
                    {"source": subject, "target": object, "keywords": relation, "description": one.sentence}
                    for one in extraction
                    for subject, relation, object in one.relations
                ],
            },
            ensure_ascii=False,
        )

    async def keywords(self, prompt: str, **_: Any) -> str:
        """A search query: LightRAG looks for it among entities (low level) and relations (high level)."""
        query = (await self._of_question("query_processing", {"question": prompt}, prompt)).text
        return json.dumps({"high_level_keywords": [query], "low_level_keywords": [query]}, ensure_ascii=False)

    async def answer(self, prompt: str, system_prompt: str = "", **_: Any) -> str:
        """The answer to a question from the context that LightRAG has found."""
        variables = {"question": prompt, "context": system_prompt}
        return (await self._of_question("answer_generation", variables, prompt)).text

    async def _of_question(self, family: str, variables: dict[str, str], question: str) -> FamilyAnswer:
        answer = await self.families.ask(family, variables, unit=self.users.get(question, question))
        self.asked.setdefault(question, []).append(answer)
        return answer
