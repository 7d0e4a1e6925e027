"""Sorts the mails that come in on standard input, a JSON object a line, with LangChain. Its prompt stands in the code.

`{"id": "7", "customer": "ann", "text": "..."}` is a mail; `{"id": "7", "was_moved": true}` says that somebody had to
send it to the other team.
"""

import json
import sys

from detent_client import Client
from detent_client.adapters.langchain import detent_prompt
from langchain_core.output_parsers import StrOutputParser
from langchain_openai import ChatOpenAI

PROMPT = "Is this request about billing or technical? Answer with one word.\n\n{{message}}"

llm = ChatOpenAI(model="gpt-4o-mini", temperature=0)
detent = Client("http://127.0.0.1:8321", fallback={"triage": PROMPT})
mails: dict[str, dict[str, str]] = {}

for line in sys.stdin:
    mail = json.loads(line)
    if "was_moved" in mail:
        before = mails.pop(mail["id"])
        detent.feedback(before["assignment"], success=not mail["was_moved"])
        print(json.dumps({"topic": before["topic"], "was_right": not mail["was_moved"]}), flush=True)
        continue
    served = detent_prompt(detent, "triage", unit=mail["customer"])
    chain = served.template | served.bind(llm) | StrOutputParser()
    topic = chain.invoke({"message": mail["text"]})
    mails[mail["id"]] = {"topic": topic, "assignment": served.assignment}
    print(json.dumps({"topic": topic}), flush=True)
