"""One process of the embedded model: ``python -m optimizer.adapters.models.embedded_server WEIGHTS``.

Prints one JSON line with its address when it is ready, then serves until its standard input closes, which happens when
the process that started it ends in whatever way, also by kill -9.

Chosen by measurement (docs/reference/models.md): one thread, since two spin on a busy machine; one slot, since each
slot caches the prefix for itself; no flash attention, whose result depends on how many tokens were cached before;
prompts kept in memory, so that prefixes which take turns (champion and candidate) each stay warm.
"""

from __future__ import annotations

import json
import os
import signal
import sys

N_CTX = 8192  # tokens, the model's own limit
PROMPT_CACHE_MIB = 256  # about 23 kB a token: some 17 prompts of 650 tokens


def main(weights: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the owner decides when this ends
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    params.n_ctx = N_CTX
    # Asking how much fits into a graphics card's memory takes a third of the start, and there is no card.
    params.fit_params = False
    params.n_parallel = 1
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cors_origins = "http://127.0.0.1"  # no page in a browser may read it
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"url": server.listening_address, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)  # there is nothing to save, and the engine's own end may wait for a generation


if __name__ == "__main__":
    main(sys.argv[1])
