"""Sorts the tickets of a support desk with OpenAI's SDK. Its prompt stands in the code."""

from fastapi import FastAPI
from openai import OpenAI
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
PROMPT = "Is this request about billing or technical? Answer with one word.\n\n{message}"

llm = OpenAI()
app = FastAPI()
tickets: dict[str, dict[str, str | None]] = {}


class Ticket(BaseModel):
    id: str
    customer: str
    text: str


@app.post("/tickets")
def sort(ticket: Ticket) -> dict[str, str | None]:
    messages = [{"role": "user", "content": PROMPT.format(message=ticket.text)}]
    answer = llm.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    topic = answer.choices[0].message.content
    tickets[ticket.id] = {"topic": topic}
    return {"topic": topic}


@app.post("/tickets/{id}/close")
def close(id: str, was_moved: bool) -> dict[str, str | None]:
    """``was_moved``: somebody had to send it to the other team."""
    ticket = tickets.pop(id)
    return {"topic": ticket["topic"]}
