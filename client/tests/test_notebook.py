"""What a person sees in a notebook, from a server that exists only in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from detent_client import Detent, Unavailable
from detent_client.notebook import Record, Refused, Table, studies as notebook_studies
from detent_client.notebook.backend import OverHttp
from detent_client.notebook.records import MissingPackage

CLIENT = Path(__file__).parents[1]
FAMILY = {"name": "triage", "definition": {"inputs": {"message": {"type": "text"}}}}
STUDY = {"id": "st_1", "family": "triage", "champion": "v_1", "strategy": "bootstrap", "budget": {"calls": 40}}


class Stub:
    """Answers by method and path; a list is answered from its beginning, its last for ever."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = {"GET /v1/families/triage": FAMILY, **answers}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[f"{request.method} {request.url.path}"]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def detent(self) -> Detent:
        return Detent(OverHttp("http://detent.test", "key", httpx.MockTransport(self)))


def study(status: str, n_calls: int, **more: object) -> dict[str, object]:
    return {**STUDY, "status": status, "outcome": None, "spend": {"n_calls": n_calls, "usd": 0.5}, **more}


def trial(number: int, score: float | None) -> dict[str, object]:
    return {"number": number, "score": score, "proposer": "bootstrap", "status": "complete", "n": 20, "variant": "v_9"}


@pytest.mark.parametrize("progress", [True, False])
def test_a_study_is_followed_to_its_end_though_the_server_is_away_for_a_moment(progress, monkeypatch):
    monkeypatch.setattr(notebook_studies, "POLL_S", 0.001)
    page = {"items": [trial(0, 0.25), trial(1, None), trial(2, 0.75)], "next_cursor": None}
    server = Stub(
        {
            "POST /v1/families/triage/studies": study("queued", 0),
            "GET /v1/studies/st_1": [
                study("running", 10),
                httpx.ConnectError("away"),
                study("finished", 40, outcome="nominated", winner="v_9"),
            ],
            "GET /v1/studies/st_1/trials": page,
        }
    )
    one = server.detent().family("triage").study("bootstrap", calls=40, n_dev=20, seed=0, progress=progress)
    (asked,) = [json.loads(request.content) for request in server.requests if request.method == "POST"]
    assert asked == {"strategy": "bootstrap", "seed": 0, "budget": {"calls": 40}, "definition": {"n_dev": 20}}
    assert (one.status, one.winner, one.spend.n_calls) == ("finished", "v_9", 40)
    assert [row.number for row in one.trials] == [2, 0, 1]
    assert "40 calls, $0.5000" in repr(one)
    assert one._repr_html_().count("<tr>") == 6 + 1 + 3  # of the study, and its trials below their titles
    assert list(one.to_dataframe()["score"].dropna()) == [0.75, 0.25]


def test_a_study_that_ends_without_its_end_in_process_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        failure = ValueError("the model is gone")

        def is_alive(self) -> bool:
            return False

    server = Stub({"GET /v1/studies/st_1": study("running", 10)})
    backend = OverHttp("http://detent.test", None, httpx.MockTransport(server))
    with pytest.raises(ValueError, match="the model is gone"):
        notebook_studies.Study(backend, study("running", 1), Work()).wait(progress=False)


def test_lists_are_read_to_their_end() -> None:
    pages = [{"items": [{"variant": "v_1"}], "next_cursor": "more"}, {"items": [{"variant": "v_2"}]}]
    server = Stub({"GET /v1/families/triage/variants": pages})
    assert [row["variant"] for row in server.detent()["triage"].variants()] == ["v_1", "v_2"]
    assert server.requests[-1].url.params["cursor"] == "more"
    assert server.requests[-1].headers["authorization"] == "Bearer key"


@pytest.mark.parametrize("form", ["rows", "flat", "file", "frame"])
def test_examples_come_in_each_form(form: str, tmp_path: Path) -> None:
    flat = [{"message": f"m\u2028\x85{n}", "topic": "billing", "id": f"e{n}"} for n in range(501)]
    rows = [{"id": row["id"], "input": {"message": row["message"]}, "expected": {"topic": "billing"}} for row in flat]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    report = {"family": "triage", "n_read": 1, "n_accepted": 1, "n_gate": 100, "reasons": {}, "cases": {}, "labels": {}}
    server = Stub({"POST /v1/families/triage/examples": report})
    family = server.detent().family("triage")
    if form == "frame":
        flat = pytest.importorskip("pandas").DataFrame([{**row, "group": float("nan")} for row in flat])
    told = family.import_examples({"rows": rows, "flat": flat, "file": file, "frame": flat}[form], curated=True)
    sent = [json.loads(request.content) for request in server.requests[1:]]
    assert [row for body in sent for row in body["rows"]] == [
        {**row, "where": f"row {place}"} for place, row in enumerate(rows, start=1)
    ]
    assert [len(body["rows"]) for body in sent] == [500, 1]
    assert (told.n_read, told.n_gate) == (2, 100)


def test_the_report_on_an_import_tells_of_all_its_parts() -> None:
    def report(n_accepted: int, rejected: dict[str, list[str]], label_counts: tuple[int, int], n_train: int) -> object:
        reasons = {why: len(cases) for why, cases in rejected.items()}
        return {
            "n_accepted": n_accepted,
            "n_gate": 100,
            "reasons": reasons,
            "cases": rejected,
            "splits": {"train": n_train},
            "labels": dict(zip(("billing", "other"), label_counts, strict=True)),
        }

    first = report(496, {"too long": ["row 1", "row 2", "row 3"], "no text": ["row 4"]}, (496, 0), 400)
    second = report(497, {"too long": ["row 501", "row 502", "row 503"]}, (490, 7), 800)
    server = Stub({"POST /v1/families/triage/examples": [first, second]})
    rows = [{"message": str(n), "topic": "billing"} for n in range(1000)]
    assert server.detent()["triage"].import_examples(rows).to_dict() == {
        "n_accepted": 993,
        "n_gate": 100,
        "reasons": {"too long": 6, "no text": 1},
        "cases": {"too long": ["row 1", "row 2", "row 3", "row 501", "row 502"], "no text": ["row 4"]},
        "splits": {"train": 800},
        "labels": {"billing": 986, "other": 7},
    }


def test_a_refusal_says_why_and_a_server_that_is_away_is_another_error() -> None:
    problem = {"type": "https://detent.example/problems/not-found", "detail": "There is no family 'x'."}
    server = Stub(
        {
            "GET /v1/families/x": httpx.Response(404, json=problem),
            "GET /v1/families/y": httpx.Response(502, text="<html>"),
            "GET /v1/families/z": httpx.ConnectError("nobody"),
        }
    )
    with pytest.raises(Refused, match="no family 'x'") as refusal:
        server.detent().family("x")
    assert refusal.value.type == "not-found"
    with pytest.raises(Refused, match="502"):
        server.detent().family("y")
    with pytest.raises(Unavailable, match="ConnectError"):
        server.detent().family("z")


def test_a_table_shows_texts_as_they_are_and_no_html_of_theirs() -> None:
    table = Table([{"name": "<b>a</b>", "score": 0.123456, "more": {"x": 1}}, {"name": "x" * 500, "score": None}])
    assert table.columns == ("name", "score")
    assert "<b>a</b>" not in table._repr_html_()
    assert "0.1235" in repr(table)
    assert max(map(len, repr(table).splitlines())) < 320
    assert (table[0].more.x, table[-1].score, len(table[:1])) == (1, None, 1)
    assert type(table.__rich__()).__name__ == "Table"
    assert repr(Table([])) == ""


def test_a_record_has_its_members_as_attributes() -> None:
    record = Record({"champion": {"variant": "v_1"}, "items": [{"a": 1}], "tags": ["x"]})
    assert (record.champion.variant, record["tags"], dict(record.champion)) == ("v_1", ["x"], {"variant": "v_1"})
    assert "champion" in dir(record)
    with pytest.raises(AttributeError, match="it has champion"):
        _ = record.champoin


def test_open_without_the_server_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "optimizer"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optimizer", None)
    with pytest.raises(MissingPackage, match=r"Detent\.connect"):
        Detent.open(tmp_path)


def test_an_application_loads_nothing_of_the_notebook() -> None:
    program = "import sys, detent_client; print([n for n in sys.modules if 'notebook' in n or 'optimizer' in n])"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=CLIENT, capture_output=True, text=True, timeout=60)
    assert loaded.stdout.strip() == "[]"
