"""Sorts the tickets of a support desk with OpenAI's SDK. Its prompt stands in the code."""

from detent_client import Client
from detent_client.adapters.openai import wrap
from fastapi import FastAPI
from openai import OpenAI
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
PROMPT = "Is this request about billing or technical? Answer with one word.\n\n{{message}}"

llm = wrap(OpenAI(), model=MODEL)
detent = Client("http://127.0.0.1:8321", fallback={"triage": PROMPT})
app = FastAPI(lifespan=detent.lifespan)
tickets: dict[str, dict[str, str | None]] = {}


class Ticket(BaseModel):
    id: str
    customer: str
    text: str


@app.post("/tickets")
def sort(ticket: Ticket) -> dict[str, str | None]:
    prompt = detent.prompt("triage", unit=ticket.customer, message=ticket.text)
    answer = llm.chat.completions.create(prompt)
    topic = answer.choices[0].message.content
    tickets[ticket.id] = {"topic": topic, "assignment": prompt.assignment}
    return {"topic": topic}


@app.post("/tickets/{id}/close")
def close(id: str, was_moved: bool) -> dict[str, str | None]:
    """``was_moved``: somebody had to send it to the other team."""
    ticket = tickets.pop(id)
    detent.feedback(ticket["assignment"], success=not was_moved)
    return {"topic": ticket["topic"]}
