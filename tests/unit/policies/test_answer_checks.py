"""The validator on a handwritten table: bad answers that must be found,
and good ones that look a little like them and must be left alone.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from optimizer.core.family.settings import Output
from optimizer.core.policy.answer_checks import CheckedAnswer
from optimizer.core.policy.validator import NAMED_CHECKS, ask_again, issues_in

LABEL = Output(parser="label", labels=("refund", "bug", "other"))
LIST = Output(parser="list")
JSON = Output(parser="json", json_schema={"type": "object"})
POLICY = (
    "Our refund policy allows returns within thirty days of delivery. Shipping costs are not refunded. Customers in"
    " Norway pay import duties themselves, and gift cards cannot be returned at all. Contact support for exceptions and"
    " damaged goods."
)
WEATHER = json.dumps({"city": "Oslo", "temperature_c": 21.4, "sky": "clear"})
STOCKS = json.dumps({"ticker": "ACME", "close": 118.25})
NEWS = json.dumps({"headline": "Acme opens a factory in Lisbon", "source": "Tribune"})


def answer(text: str, **more: Any) -> CheckedAnswer:
    return CheckedAnswer(text=text, **more)


def tools(*results: str) -> dict[str, Any]:
    return {"tool_results": [(f"tool{i}", result) for i, result in enumerate(results)]}


def asked(text: str) -> dict[str, Any]:
    return {"input": {"question": text}}


ARTICLE = (
    "The city council of Ghent voted on Tuesday to close the inner ring to cars from 2026 on. Shop owners fear losses,"
    " while cyclists welcome the plan. A study of the university found that air quality improved by a fifth during the"
    " trial."
)
MORNING, NOON = {"no": "LH 882", "dep": "07:40", "price_eur": 129}, {"no": "KL 1410", "dep": "12:15", "price_eur": 98}
FLIGHTS = json.dumps({"flights": [MORNING, NOON]})
ORDER = json.dumps({"order": "A-5531", "status": "shipped", "carrier": "PostNord", "eta": "2026-03-04"})

BAD = {
    "empty": [answer(""), answer("  \n"), answer("..."), answer("—")],
    "refused": [
        answer("I'm sorry, but I can't assist with that request."),
        answer("I cannot help with that."),
        answer("Sorry, I can’t help with this one."),
        answer("As an AI language model, I cannot provide medical advice."),
        answer("I am unable to provide a translation of this text."),
        answer("I'm not able to discuss that topic."),
        answer("I apologize, but I'm unable to help with that request."),
        answer("Unfortunately I can't provide that information."),
        answer("I'm really sorry, but I can't do that."),
        answer("I'm not comfortable discussing this."),
        answer("It is against my guidelines to answer this question."),
        answer("I must decline to answer this question."),
        answer("We cannot comply with this request."),
        answer("I won't write that for you."),
        answer("This request violates our content policies, so no text is given."),
        answer("I’m sorry, but I cannot fulfill this request as it goes against my guidelines.", output=LABEL),
    ],
    "cut_off": [
        answer("The treaty was signed in 1648 and it ended the war between", finish_reason="length"),
        answer('{"topic": "physics", "conf', finish_reason="length", output=JSON),
        answer("- one\n- two\n- thr", finish_reason="length", output=LIST),
    ],
    "not_found": [
        answer("I couldn't find any information about the refund policy.", **tools(POLICY)),
        answer("I was unable to find anything.", **tools(WEATHER)),
        answer("There are no flights listed in the results.", **tools(FLIGHTS)),
        answer("I'm sorry, I couldn't find the status of order A-5531.", **tools(ORDER)),
        answer("No mention of cyclists.", input={"article": ARTICLE, "question": "How do cyclists see it?"}),
        answer(
            "Nothing about shop owners is stated in the article.",
            input={"article": ARTICLE, "question": "shop owners?"},
        ),
        answer(
            "It isn't specified when the inner ring will be closed.",
            input={"article": ARTICLE, "question": "When will it close?"},
        ),
        answer("No results were found for Oslo.", **tools(WEATHER)),
        answer(
            "There is no information about import duties in Norway.",
            input={"document": POLICY, "question": "Who pays import duties?"},
        ),
        answer(
            "The document does not mention gift cards.",
            input={"document": POLICY, "question": "Can I return gift cards?"},
        ),
        answer("I don't have any information on the temperature in Oslo.", **tools(WEATHER)),
        answer(
            "The return of gift cards is not mentioned in the text.",
            input={"document": POLICY, "question": "gift cards?"},
        ),
        answer("Unfortunately, I did not find details on shipping costs.", **tools(POLICY)),
    ],
    "tool_results_ignored": [
        answer("I think it is usually cold there at this time of year.", **tools(WEATHER)),
        answer("Let me know if you need anything else!", **tools(STOCKS)),
        answer("Please check your email for updates on your parcel.", **tools(ORDER)),
        answer("The market did well today.", **tools(STOCKS)),
        answer(
            "You may want to look at the website of the airline.",
            **tools('[{"flight": "SK 4417", "departs": "18:05", "gate": "B12"}]'),
        ),
    ],
    "incomplete_coverage": [
        answer("ACME closed at 118.25.", **tools(STOCKS, json.dumps({"city": "Bergen", "sky": "rain", "wind_ms": 14}))),
        answer("In Oslo it is clear.", **tools(WEATHER, NEWS)),
        answer("1. Copper\n2. Iron", **asked("List five metals.")),
        answer("- red\n- green", **asked("Name three colours.")),
        answer("copper\niron", output=LIST, **asked("Give me 4 metals")),
        answer("Your order A-5531 has shipped.", **tools(ORDER, FLIGHTS)),
        answer("* one idea\n* another", **asked("Suggest four names for a cat.")),
        answer("Paris.", **asked("Answer these:\n1. What is the capital of France?\n2. What is the capital of Spain?")),
    ],
}

GOOD = [
    answer("I can see why you are upset; here is a refund."),
    answer("Yes, you can't go wrong with that."),
    answer("We're sorry for the delay and will not charge you."),
    answer("He won't share the prize."),
    answer("N/A"),
    answer("The lawyer declined to comment."),
    answer("I will not be in the office; please write to Ann."),
    answer("She said she couldn't help laughing."),
    answer("Unable to connect: check the cable and restart the router."),
    answer(
        "Shop owners did not see any gain; they fear losses.",
        input={"article": ARTICLE, "question": "What do shop owners think?"},
    ),
    answer("The article does not mention trains.", input={"article": ARTICLE, "question": "What about trains?"}),
    answer("No costs are given in the article.", input={"article": ARTICLE, "question": "What are the costs?"}),
    answer("He could not find his keys.", input={"story": ARTICLE + " He could not find his keys, the mayor joked."}),
    answer("LH 882 leaves at 7:40.", **tools(FLIGHTS)),
    answer("The cheapest flight costs 98 euros.", **tools(FLIGHTS)),
    answer("Your parcel is on its way and arrives on 4 March.", **tools(ORDER)),
    answer("Booked: table for two at 19:00.", **tools('{"ok": true, "booking_id": "X91"}')),
    answer("I sent the message to Ann.", **tools('{"message_id": "8f3a", "delivered": true}')),
    answer("The balance is 1.234,50 EUR.", **tools('{"balance": 1234.5}')),
    answer("Milo, Luna, Felix and Nala.", **asked("Suggest four names for a cat.")),
    answer("Meeting moved to 3 pm.", **asked("Give me the 2 most important points as one line.")),
    answer("I found no bugs in this code.", **asked("Review this code.")),
    answer("Paris."),
    answer("42"),
    answer("👍"),
    answer("-1"),
    answer("No."),
    answer("C#"),
    answer("The company refused to answer questions about the merger."),
    answer("The minister said: 'I cannot comment on that matter.'"),
    answer("You cannot use this coupon twice, but your order ships today."),
    answer("I can help with that: open the settings and choose Export."),
    answer("The customer writes that he is unable to log in.", **asked("Summarize: I cannot log in since Monday.")),
    answer("Sorry to hear that! Your parcel will be replaced."),
    answer("I can't stress enough how important backups are: make one each day."),
    answer("As an AI model, GPT-4 was trained on text and images."),
    answer("refund", output=LABEL),
    answer("refund I cannot help with that", output=LABEL),
    answer("The policy forbids returns after thirty days."),
    answer(
        "I will not be able to attend, so please start without me.", **asked("Write a short note that I cannot come.")
    ),
    answer("We are sorry that we cannot deliver on Sunday.", **asked("Write an apology about Sunday.")),
    answer("It was signed in 1648.", finish_reason="length"),
    answer("bug and then some more words that were not", finish_reason="length", output=LABEL),
    answer('{"topic": "physics"} and so', finish_reason="length", output=JSON),
    answer("The treaty ended the war", finish_reason="stop"),
    answer("I couldn't find any information about that."),
    answer("No results were found.", **tools('{"results": []}')),
    answer("I could not find the order.", **tools('{"error": "order not found"}')),
    answer(
        "The document does not mention the price of oil.",
        input={"document": POLICY, "question": "What does it say about the oil price?"},
    ),
    answer("There is no information about Finland.", input={"document": POLICY, "question": "What of Finland?"}),
    answer("The text does not say who wrote it.", input={"document": POLICY}),
    answer("There is no doubt that the refund policy allows returns.", input={"document": POLICY}),
    answer(
        "Scientists could not find water on the moon until 2009.",
        **asked("Summarize in one sentence: Scientists could not find water."),
    ),
    answer("Gift cards cannot be returned.", input={"document": POLICY, "question": "Can I return gift cards?"}),
    answer("Yes, within thirty days; shipping costs are not refunded.", **tools(POLICY)),
    answer("It is 21 degrees and clear.", **tools(WEATHER)),
    answer("About 21 °C.", **tools(WEATHER)),
    answer("In Oslo the sky is clear.", **tools(WEATHER)),
    answer("Done.", **tools('{"status": "ok"}')),
    answer("Your table is booked.", **tools('{"success": true}')),
    answer("Yes, it is available.", **tools('{"available": true, "id": 4711}')),
    answer("There are three open tickets.", **tools('{"open": 3}')),
    answer("The search failed, please try again.", **tools("Error: timeout after 30 s")),
    answer("ACME closed at 118.25 while it opened a factory in Lisbon.", **tools(STOCKS, NEWS)),
    answer("It costs 1,200 dollars.", **tools('{"price": 1200}')),
    answer("I looked it up: nothing is planned.", **tools("[]")),
    answer("1. Copper\n2. Iron\n3. Tin", **asked("List three metals.")),
    answer("Copper, iron, tin, zinc, lead.", **asked("List five metals.")),
    answer("- short\n- shorter", **asked("Give two sentences and list 2 words.")),
    answer(
        "Paris and Madrid.\nBoth are capitals.",
        **asked("1. What is the capital of France?\n2. What is the capital of Spain?"),
    ),
    answer("Paris, Madrid", **asked("1. What is the capital of France?\n2. What is the capital of Spain?")),
    answer("One sentence of twenty words.", **asked("Write five sentences.")),
    answer("copper\niron\ntin", output=LIST, **asked("Name metals.")),
    answer("The report has 3 parts: a) costs.", **asked("Summarize the 3 parts.")),
    answer("He found no evidence of fraud, said the judge.", **asked("Summarize: a judge spoke on fraud.")),
    answer("The results do not include taxes: 118.25 at close for ACME.", **tools(STOCKS)),
]


@pytest.mark.parametrize(("issue", "case"), [(issue, case) for issue, cases in BAD.items() for case in cases])
def test_a_bad_answer_is_found(issue: str, case: CheckedAnswer) -> None:
    assert issue in issues_in(case)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.text[:40])
def test_a_good_answer_is_left_alone(case: CheckedAnswer) -> None:
    assert issues_in(case) == ()


@pytest.mark.parametrize("issue", NAMED_CHECKS)
def test_every_issue_has_words_for_the_model(issue: str) -> None:
    assert ask_again((issue,)).endswith(".")


MINUTES = (
    "The council met on 12 March with 31 members. Anna Berg asked for 4,500 euros for the library, and the council gave"
    " half of it. Per Lund spoke against the plan, and 18 members voted for it in the end."
)


@pytest.mark.parametrize(
    "case",
    [
        answer("It is 27 degrees in Oslo.", **tools(WEATHER)),
        answer("ACME closed at 119.25.", **tools(STOCKS)),
        answer("The library asked for 5,400 euros.", input={"minutes": MINUTES}),
        answer("The plan came from Jonas Holm.", input={"minutes": MINUTES}),
        answer("Acme opens a factory in Porto, says Maria Silva.", **tools(NEWS)),
    ],
    ids=lambda case: case.text[:40],
)
def test_a_number_or_a_name_that_the_material_does_not_hold_is_a_factual_error(case: CheckedAnswer) -> None:
    assert issues_in(case, ("factual_errors",)) == ("factual_errors",)
    assert "factual_errors" not in issues_in(case), "looked for only where it is named"


@pytest.mark.parametrize(
    "case",
    [
        *GOOD,
        answer("It is about 21 degrees in Oslo.", **tools(WEATHER)),
        answer("It is 27 degrees in Oslo.", **tools("no results")),
        answer("It is 27 degrees.", **asked("How warm is it?")),
        answer("The library asked for 4500 euros.", input={"minutes": MINUTES}),
        answer("Two people spoke, 18 voted for it.\n12. Anna Berg\n13. Per Lund", input={"minutes": MINUTES}),
        answer("Key Findings\n\nMrs Berg asked for money.", input={"minutes": MINUTES}),
        answer('{"confidence": 87}', output=Output(parser="json"), input={"minutes": MINUTES}),
        answer("\u59d4\u54e1\u4f1a\u3002", input={"minutes": MINUTES}),
    ],
    ids=lambda case: case.text[:40],
)
def test_what_the_material_holds_or_cannot_tell_is_no_factual_error(case: CheckedAnswer) -> None:
    assert issues_in(case, ("factual_errors",)) == ()


def test_only_the_named_issues_are_looked_for() -> None:
    assert issues_in(answer(""), ("refused",)) == ()


def test_an_answer_that_calls_tools_is_no_empty_answer() -> None:
    assert issues_in(answer("", tool_calls=True)) == ()
