"""A support desk with OpenAI's Agents SDK, whose agent is instructed by the family `desk`.

Each line of its input is a customer and a question, such as `ann: Where is my invoice?`. Each answer is followed by
its assignment: what a later outcome needs.
"""

import asyncio
import os
import sys
from dataclasses import dataclass

from agents import Agent, Runner, function_tool, set_trace_processors

from detent_client import AsyncClient, Prompt
from detent_client.adapters.openai_agents import AgentPrompts

OWN = [
    {"role": "system", "content": "You answer customers of a shop. Look the invoice up before you answer."},
    {"role": "user", "content": "{{question}}"},
]


@dataclass
class Context:
    customer: str
    question: str
    prompt: Prompt | None = None


@function_tool
def find_invoice(customer: str) -> str:
    """Finds the last invoice of a customer."""
    return f"invoice 7 of {customer}: paid"


async def answer(agent: Agent[Context], line: str) -> None:
    customer, _, question = line.strip().partition(": ")
    context = Context(customer, question)
    result = await Runner.run(agent, question, context=context)
    print(result.final_output, context.prompt.assignment if context.prompt else "", flush=True)


async def main() -> None:
    url = os.environ.get("DETENT_SERVER", "http://127.0.0.1:8321")
    async with AsyncClient(url, os.environ.get("DETENT_API_KEY"), fallback={"desk": OWN}) as detent:
        prompts = AgentPrompts(detent, model="gpt-4o-mini")
        set_trace_processors([prompts])  # and no other: what customers say goes into no trace elsewhere
        agent = Agent[Context](
            name="Desk",
            instructions=prompts.instructions(
                "desk",
                unit=lambda context: context.customer,
                variables=lambda context: {"question": context.question},
                on_prompt=lambda context, prompt: setattr(context, "prompt", prompt),
            ),
            model=prompts.model,
            tools=[find_invoice],
        )
        for line in sys.stdin:
            await answer(agent, line)


if __name__ == "__main__":
    asyncio.run(main())
