"""Log-probabilities, asked for and read alike on both ways to a provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from optimizer.core.models.settings import ModelSettings
from tests.contract.outside.test_language_models import behind, both
from tests.stand_ins.scripted_model import Provider, chat_answer, request
from tests.waited import Waited

__all__ = ["behind"]


def answered(logprobs: Any) -> bytes:
    value = chat_answer("hi")
    value["choices"][0]["logprobs"] = logprobs
    return json.dumps(value).encode()


def tokens(*values: Any) -> dict[str, Any]:
    return {"content": [{"token": "t", "logprob": value, "bytes": None, "top_logprobs": []} for value in values]}


@both
def test_the_mean_over_the_answers_tokens_is_kept(make: Any, behind: Provider) -> None:
    behind.answer = lambda body: (200, {}, answered(tokens(-0.5, -1.5)))
    assert make(behind.url).complete(request(logprobs=True)).log_probability == pytest.approx(-1.0)
    assert behind.bodies[-1]["logprobs"] is True


@both
@pytest.mark.parametrize("impossible", [-9999.0, float("-inf")])
def test_one_token_that_is_called_impossible_does_not_make_the_mean(
    make: Any, behind: Provider, impossible: float
) -> None:
    behind.answer = lambda body: (200, {}, answered(tokens(0.0, impossible)))
    answer = make(behind.url).complete(request(logprobs=True))
    assert (answer.log_probability, answer.log_probability_min) == (-25.0, -50.0)


@both
def test_an_answer_without_them_has_none(make: Any, behind: Provider) -> None:
    assert make(behind.url).complete(request()).log_probability is None
    assert "logprobs" not in behind.bodies[-1]


@pytest.mark.parametrize(
    "logprobs",
    [
        *(None, {}, {"content": None}, {"content": []}, tokens("x"), tokens(None), {"content": [{}]}, [1]),
        *(tokens(float("nan")), tokens(-0.5, float("nan"))),
    ],
)
def test_what_is_no_log_probability_is_none(behind: Provider, logprobs: Any) -> None:
    from tests.contract.outside.test_language_models import own_wire

    behind.answer = lambda body: (200, {}, answered(logprobs))
    assert own_wire(behind.url).complete(request(logprobs=True)).log_probability is None


def test_a_provider_that_does_not_know_the_parameter_is_not_sent_it(behind: Provider) -> None:
    from optimizer.adapters.models.litellm_models import LiteLLMModel

    settings = ModelSettings(litellm="ollama_chat/big", api_base=behind.url, retries=0, max_output_tokens=9)
    model = Waited(LiteLLMModel("m", settings, api_key=None, price=None))
    behind.answer = lambda body: (
        200,
        {},
        json.dumps(
            {
                "model": "big",
                "created_at": "2026-01-01T00:00:00Z",
                "message": {"role": "assistant", "content": "hi"},
                "done": True,
                "prompt_eval_count": 3,
                "eval_count": 1,
            }
        ).encode(),
    )
    assert model.complete(request(logprobs=True)).log_probability is None
    assert "logprobs" not in json.dumps(behind.bodies[-1])
