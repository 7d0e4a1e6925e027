"""The hour of requests, for a few seconds of it: its server comes up, and each acknowledged report is on record."""

from bench.hour import measure


def test_a_few_seconds_of_the_hour_lose_nothing() -> None:
    of_case = {cell.case: cell.ours for cell in measure(0.1, 10, 0.01)}
    assert of_case["requests"] > 0
    assert [
        of_case[f"{what}, {table}"] for what in ("lost", "twice") for table in ("interactions", "feedback_events")
    ] == [0] * 4
