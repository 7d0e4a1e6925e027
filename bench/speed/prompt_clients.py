"""Clients that give an application its prompts, each in a process of its own: this file run as a program, by an
interpreter that has the client's package. It takes nothing from the rest of the project.

    python bench/speed/prompt_clients.py '{"client": "detent", "url": ..., "key": ..., "family": "triage"}'

It says on standard output what it is, then answers each line of standard input, a JSON object {"call": "decision" or
"prompt", "n": ..., "threads": ...}, by one of microseconds: of all together a call, and the median and the slowest
hundredth of single calls.
"""

import importlib.metadata
import json
import sys
import threading
from time import perf_counter_ns

N_UNITS = 20_000
TEXT = "Invoice 17 came twice, and nobody answers the phone. What now?"
UNITS = [f"u{n}" for n in range(N_UNITS)]


def detent(url, key, family):
    from detent_client import Client

    client = Client(url, key)
    calls = {
        "decision": lambda unit: client.decide(family, unit),
        "prompt": lambda unit: client.prompt(family, unit=unit, text=TEXT).messages,
    }
    return calls, "detent_client, in process"


def langfuse(url, key, family):
    """From its cache, without traces. It draws no version for a unit: everyone has the one of the label."""
    from langfuse import Langfuse

    client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=url, tracing_enabled=False)
    calls = {
        "decision": lambda unit: client.get_prompt(family, type="chat", cache_ttl_seconds=3600),
        "prompt": lambda unit: client.get_prompt(family, type="chat", cache_ttl_seconds=3600).compile(text=TEXT),
    }
    return calls, f"langfuse {importlib.metadata.version('langfuse')}, from its cache"


def openfeature(url, key, family):
    from openfeature import api
    from openfeature.contrib.provider.ofrep import OFREPProvider
    from openfeature.evaluation_context import EvaluationContext

    api.set_provider_and_wait(OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
    client = api.get_client()

    def prompt(unit):
        flag = client.get_object_details(family, {}, EvaluationContext(unit))
        assert flag.value, flag.error_message
        return [{**turn, "content": turn["content"].replace("{{text}}", TEXT)} for turn in flag.value["messages"]]

    version = importlib.metadata.version("openfeature-provider-ofrep")
    calls = {"decision": lambda unit: client.get_object_details(family, {}, EvaluationContext(unit)), "prompt": prompt}
    return calls, f"openfeature-provider-ofrep {version}, a request each"


CLIENTS = {"detent": detent, "langfuse": langfuse, "openfeature": openfeature}


def timed(call, n, n_threads):
    """Each thread has a share of the calls, and begins when all are there."""
    waits = [[] for _ in range(n_threads)]
    ready = threading.Barrier(n_threads + 1)

    def work(mine, first):
        ready.wait()
        for i in range(first, n, n_threads):
            unit = UNITS[i % N_UNITS]
            began = perf_counter_ns()
            call(unit)
            mine.append(perf_counter_ns() - began)

    threads = [threading.Thread(target=work, args=(mine, first)) for first, mine in enumerate(waits)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = perf_counter_ns()
    for thread in threads:
        thread.join()
    whole = perf_counter_ns() - began
    single = sorted(wait for mine in waits for wait in mine)
    return {"mean_us": whole / n / 1e3, "p50_us": single[n // 2] / 1e3, "p99_us": single[n * 99 // 100] / 1e3}


def main():
    order = json.loads(sys.argv[1])
    calls, name = CLIENTS[order["client"]](order["url"], order["key"], order["family"])
    first = calls["prompt"](UNITS[0])
    turns = [dict(turn) for turn in first]
    print(json.dumps({"name": name, "messages": turns}), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(timed(calls[wanted["call"]], wanted["n"], wanted["threads"])), flush=True)


if __name__ == "__main__":
    main()
