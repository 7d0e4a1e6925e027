"""Sorts the mails that come in on standard input, a JSON object a line; its prompt is a flag of OpenFeature.

    python examples/openfeature_flags.py < mails.jsonl

`{"id": "7", "customer": "ann", "text": "..."}` is a mail; `{"id": "7", "was_moved": true}` says that somebody had to
send it to the other team. All flags of a customer are asked for at once (`DetentBulkProvider`); the one that is read is
counted.
"""

from __future__ import annotations

import json
import os
import sys

from openai import OpenAI
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from detent_client import Client
from detent_client.adapters.openfeature import DetentBulkProvider, flag_prompt

DEFAULT = {"messages": [{"role": "user", "content": "Billing or technical?\n\n{{message}}"}], "model": {}}


def main() -> None:
    url, key = os.environ.get("DETENT_SERVER", "http://127.0.0.1:8321"), os.environ.get("DETENT_API_KEY")
    llm = OpenAI()
    assignments: dict[str, str] = {}
    with Client(url, key) as detent:
        api.set_provider_and_wait(DetentBulkProvider(detent, url, key))
        flags = api.get_client()
        for line in sys.stdin:
            mail = json.loads(line)
            if "was_moved" in mail:
                outcome = {"assignment": assignments.pop(mail["id"]), "success": not mail["was_moved"]}
                flags.track("sorted", tracking_event_details=TrackingEventDetails(attributes=outcome))
                continue
            customer = mail["customer"]
            flag = flags.get_object_details("triage", DEFAULT, EvaluationContext(customer))
            with flag_prompt(detent, flag, unit=customer, message=mail["text"]) as prompt:
                settings = dict(prompt.model)
                answer = llm.chat.completions.create(
                    model=settings.pop("name", "gpt-4o-mini"), messages=prompt.messages, **settings
                )
                prompt.record(answer.choices[0].message.content)
            assignments[mail["id"]] = prompt.assignment
            print(json.dumps({"id": mail["id"], "topic": answer.choices[0].message.content}), flush=True)


if __name__ == "__main__":
    main()
