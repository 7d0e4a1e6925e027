"""A package of your own: a strategy, a metric, a parser and an exporter (docs/how-to/add-a-strategy-or-scorer.md)."""

from dataclasses import replace
from difflib import SequenceMatcher

from optimizer.core.family.metrics import metric
from optimizer.core.family.parsers import parser
from optimizer.core.search.strategy import Proposal, strategy
from optimizer.jobs.families.export_variant import exporter

TEXTS = ("Read everything first.", "Answer with one word.", "Think of who asks.")


@strategy(does="tries sentences in front of the prompt", n_trials=lambda definition: len(TEXTS))
class Openings:
    """Tries sentences in front of the prompt."""

    def __init__(self, setting):
        self.start, self.left = setting.start, list(TEXTS)

    def ask(self):
        if not self.left:
            return None
        text, (first, *rest) = self.left.pop(0), self.start.messages
        messages = ({**first, "content": f"{text} {first['content']}"}, *rest)
        return Proposal(variant=replace(self.start, messages=messages), proposer="openings", params={"text": text})

    def tell(self, proposal, score, results):
        """The score of each proposal; openings learns nothing from it."""


@metric(parsers=("text", "label", "last_line"))
def likeness(example, output):
    (wanted,) = example["expected"].values()
    return SequenceMatcher(None, str(wanted), str(output)).ratio()


@parser()
def last_line(text, output):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("empty output")
    return lines[-1]


@exporter(needs_prompt=True)
def plain(family, record):
    return "\n\n".join(f"{message['role']}: {message.get('content', '')}" for message in record.variant.messages) + "\n"
