"""The assistant through the API: both providers, what is sent, what is stored, what a user may take, and every way an answer can end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from app.accounts.ai import AiProviders
from app.core.addresses import parse_allowed
from app.core.outgoing import Outgoing
from app.core.tenancy import working_for
from app.strategies.assistant import Question
from app.strategies.assistant_stream import AnswerStream
from tests.app.ai_server import DONE, KEY, AiServer, Talk, ai_server, chunk, failure, usage
from tests.app.asking import ASSIST, PROPOSED, SOURCE, Asker, asker, choose, events_of, ollama, openrouter, words_of
from tests.app.whole_site import Site, state_of
from tests.journeys.eventually import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

FENCED = f"Here it is.\n\n```python\n{PROPOSED}```\n\nIt may be hit by noise."


@pytest_asyncio.fixture(loop_scope="module")
async def provider(site: Site) -> AsyncIterator[AiServer]:
    """A provider that the administrator allows as an Ollama, and that stands in for OpenRouter."""
    async with ai_server() as running:
        outgoing = Outgoing(allowed=parse_allowed((f"127.0.0.1:{running.port}",)))
        with state_of(site, ai_providers=AiProviders(outgoing, openrouter_url=f"{running.url}/v1")):
            yield running


@pytest_asyncio.fixture(loop_scope="module")
async def quincy(site: Site) -> Asker:
    return await asker(site)


async def test_openrouter_streams_an_answer_with_a_proposal_tokens_and_cost(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.says(*FENCED.splitlines(keepends=True), took=usage(1500, 210, 0.0031))
    events = await quincy.told("Add a stop of 2 %.")
    assert [name for name, _ in events if name != "words"] == ["begun", "proposal", "ended"]
    begun, proposal, ended = (next(data for name, data in events if name == wanted) for wanted in ("begun", "proposal", "ended"))
    assert (begun["provider"], begun["model"]) == ("openrouter", "vendor/clever")
    assert words_of(events) == FENCED
    assert proposal == {"message_id": begun["message_id"], "source": PROPOSED}
    assert (ended["outcome"], ended["finish_reason"], ended["code"]) == ("done", "stop", None)
    assert (ended["prompt_tokens"], ended["completion_tokens"], ended["cost"]) == (1500, 210, "0.0031")
    asked, answered = await quincy.conversation()
    assert (asked["role"], asked["text"], asked["outcome"], asked["cost"]) == ("user", "Add a stop of 2 %.", "done", None)
    assert (answered["id"], answered["text"], answered["proposal"]) == (begun["message_id"], FENCED, PROPOSED)
    assert (answered["decision"], answered["model"], answered["cost"]) == ("none", "vendor/clever", "0.0031")
    assert f"authorization: bearer {KEY}" in provider.heard[-1].lower()


async def test_ollama_answers_through_its_openai_interface_and_is_sent_no_key(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    await ollama(quincy.person, provider)
    provider.says("It buys ", "above the average.")
    events = await quincy.told("Explain this strategy.")
    assert words_of(events) == "It buys above the average."
    assert events[-1][1]["cost"] is None
    assert provider.heard[-1].startswith("POST /v1/chat/completions ")
    assert "authorization" not in provider.heard[-1].lower()
    body = orjson.loads(provider.asked[-1])
    assert (body["model"], body["stream"], body["stream_options"]) == ("qwen3:32b", True, {"include_usage": True})


async def test_a_provider_is_told_the_contract_the_code_the_findings_and_the_question(quincy: Asker, provider: AiServer) -> None:
    await ollama(quincy.person, provider)
    provider.says("Fixed.")
    await quincy.told("Fix the problems.", findings=["line 9: name 'averge' is not defined (F821)"])
    system, question = orjson.loads(provider.asked[-1])["messages"]
    assert (system["role"], question["role"]) == ("system", "user")
    for part in ("should_long() -> bool", "crossed_above(first, second)", "risk_to_stop(risk: float", "param(default", "Importable: "):
        assert part in system["content"], part
    assert f"```python\n{SOURCE.rstrip()}\n```" in question["content"]
    assert "- line 9: name 'averge' is not defined (F821)" in question["content"]
    assert question["content"].endswith("Fix the problems.")


async def test_nothing_sent_to_a_provider_tells_who_asks_or_what_they_have(site: Site, provider: AiServer) -> None:
    quincy = await asker(site)
    await choose(quincy.person, ai_provider="openrouter", ai_api_key=KEY, ai_model="vendor/clever")
    broker = await quincy.person.call(
        "POST", "/api/brokers", json={"exchange": "paper", "name": "Vault of gold", "paper_balance_usdt": "73219"}
    )
    assert broker.status_code == 201
    provider.says("First.")
    provider.says("Second.")
    await quincy.told("What is this?")
    await quincy.told("And that?")
    me = (await quincy.person.call("GET", "/api/auth/current")).json()
    secrets = [KEY, quincy.name, "Vault of gold", str(quincy.user_id), str(quincy.strategy_id), broker.json()["id"], quincy.person.token]
    secrets += [me["default_broker_id"], "73219"]
    sent = b"".join(provider.asked).decode()
    assert [secret for secret in secrets if secret in sent] == []
    heads = "".join(provider.heard)
    assert [secret for secret in secrets[1:] if secret in heads] == []
    names = {line.partition(":")[0].lower() for line in provider.heard[-1].split("\r\n")[1:] if line}
    assert names == {"host", "accept", "accept-encoding", "authorization", "content-type", "content-length", "user-agent"}
    assert "user-agent: aristobot\r\n" in provider.heard[-1].lower()


async def test_the_conversation_so_far_is_told_without_the_code_that_was_proposed(quincy: Asker, provider: AiServer) -> None:
    await ollama(quincy.person, provider)
    provider.says(FENCED)
    events = await quincy.told("Add a stop.")
    message_id = events[0][1]["message_id"]
    assert (await quincy.person.call("POST", f"{ASSIST}/messages/{message_id}/decision", json={"accepted": False})).status_code == 204
    provider.says("Wider, then.")
    await quincy.told("Too tight.", source=SOURCE)
    _, asked, answered, question = orjson.loads(provider.asked[-1])["messages"]
    assert (asked["content"], answered["role"]) == ("Add a stop.", "assistant")
    assert answered["content"] == "Here it is.\n\n[code that the user rejected]\n\nIt may be hit by noise."
    assert question["content"].endswith("Too tight.")


async def test_a_long_conversation_is_cut_at_its_beginning(quincy: Asker, provider: AiServer) -> None:
    await ollama(quincy.person, provider)
    for number in range(9):
        provider.says(f"answer {number} " + "x" * 5000)
    for number in range(9):
        await quincy.told(f"question {number}")
    told = orjson.loads(provider.asked[-1])["messages"]
    assert sum(len(message["content"]) for message in told[1:-1]) <= 16_000
    assert [message["content"][:10] for message in told[1:-1]] == [
        "question 5",
        "answer 5 x",
        "question 6",
        "answer 6 x",
        "question 7",
        "answer 7 x",
    ]


async def test_reasoning_is_told_as_thinking_and_is_not_part_of_the_answer(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.talks.append(
        Talk(
            events=[
                b": OPENROUTER PROCESSING\n\n", chunk("", reasoning="hm, "), chunk(None, reasoning_content="secretly"), chunk("Yes."),
                chunk("", finish="stop"), chunk(usage=usage(cost=0.0)), DONE,
            ]
        )
    )  # fmt: skip
    events = await quincy.told()
    assert [name for name, _ in events] == ["begun", "thinking", "words", "ended"]
    assert words_of(events) == "Yes."
    assert events[-1][1]["cost"] == "0"


def refusing(status: str, document: object, headers: str = "") -> Talk:
    return Talk(status=status, document=document, headers=headers)


def breaking(*events: bytes) -> Talk:
    """An answer that begins well."""
    return Talk(events=[chunk("Half "), *events])


_LONG = "This endpoint's maximum context length is 8192 tokens."
_UNKNOWN = 'model "x" not found, try pulling it first'
FAILURES = {
    "key": (
        refusing("401 Unauthorized", {"error": {"code": 401, "message": f"No auth {KEY}"}}),
        "AI_KEY_REFUSED",
        "does not take your key",
    ),
    "credit": (refusing("402 Payment Required", {"error": {"code": 402, "message": "x"}}), "AI_OUT_OF_CREDIT", "Your credit with"),
    "moderation": (refusing("403 Forbidden", {"error": {"code": 403, "message": "flagged"}}), "AI_FORBIDDEN", "refuses to answer"),
    "model of ollama": (refusing("404 Not Found", {"error": {"message": _UNKNOWN}}), "AI_MODEL_MISSING", "no model of that name"),
    "model of openrouter": (
        refusing("400 Bad Request", {"error": {"message": "x is not a valid model ID"}}),
        "AI_MODEL_MISSING",
        "no model",
    ),
    "another server": (refusing("404 Not Found", b"<html>nothing here"), "AI_UNREADABLE", "cannot be read"),
    "too often": (refusing("429 Too Many Requests", {"error": {}}, "Retry-After: 17\r\n"), "AI_RATE_LIMITED", "again in 17 seconds"),
    "too often, until": (refusing("429 Too Many Requests", {}, "Retry-After: Wed, 21 Oct\r\n"), "AI_RATE_LIMITED", "in 30 seconds"),
    "context": (refusing("400 Bad Request", {"error": {"message": _LONG}}), "AI_TOO_LONG", "longer than this model can read"),
    "broken": (refusing("500 Internal Server Error", {"error": {"message": "boom"}}), "AI_FAILED", "answers with an error"),
    "redirect": (refusing("302 Found", {}, "Location: http://127.0.0.1:1/\r\n"), "AI_UNREACHABLE", "sends us elsewhere"),
    "packed": (refusing("200 OK", b"no events at all", "Content-Encoding: gzip\r\n"), "AI_UNREADABLE", "cannot be read"),
    "chunk that is no JSON": (breaking(b"data: {not json\n\n"), "AI_UNREADABLE", "cannot be read"),
    "chunk of another shape": (breaking(b'data: {"choices": 3}\n\n', DONE), "AI_UNREADABLE", "cannot be read"),
    "error inside": (breaking(failure(502, f"upstream {KEY}")), "AI_FAILED", "answers with an error"),
    "too often, inside": (breaking(failure(429, "slow down")), "AI_RATE_LIMITED", "overloaded"),
    "credit, inside": (breaking(failure(402, "no money")), "AI_OUT_OF_CREDIT", "Your credit with"),
}


@pytest.mark.parametrize(("talk", "code", "sentence"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failure_is_told_in_our_words_and_stored(quincy: Asker, provider: AiServer, talk: Talk, code: str, sentence: str) -> None:
    await openrouter(quincy.person)
    provider.talks.append(talk)
    with capture_logs() as logs:
        events = await quincy.told()
    ended = events[-1][1]
    assert (ended["outcome"], ended["code"]) == ("failed", code)
    assert sentence in ended["message"]
    assert KEY not in str(events) + str(logs)
    answered = (await quincy.conversation())[-1]
    assert (answered["outcome"], answered["error_code"], answered["proposal"]) == ("failed", code, None)
    assert answered["text"] == words_of(events)


async def test_who_hangs_up_within_an_answer_is_unreachable_and_what_came_is_kept(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.talks.append(Talk(headers="Content-Length: 5000\r\n", events=[chunk("Half ")]))
    events = await quincy.told()
    assert (events[-1][1]["code"], words_of(events)) == ("AI_UNREACHABLE", "Half ")


async def test_an_answer_without_an_end_of_its_own_is_done(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.talks.append(Talk(events=[chunk("That is all.")]))
    events = await quincy.told()
    assert (events[-1][1]["outcome"], events[-1][1]["finish_reason"]) == ("done", None)


async def test_nobody_listening_there_is_said(quincy: Asker, provider: AiServer) -> None:
    outgoing = Outgoing(allowed=parse_allowed(("127.0.0.1:1",)))
    with state_of(quincy.site, ai_providers=AiProviders(outgoing, openrouter_url="http://127.0.0.1:1/v1")):
        await openrouter(quincy.person)
        ended = (await quincy.told())[-1][1]
    assert ended["code"] == "AI_UNREACHABLE"
    assert "Nothing answers at that address" in ended["message"]


async def test_an_address_that_is_no_longer_allowed_is_never_called(quincy: Asker, provider: AiServer) -> None:
    await ollama(quincy.person, provider)
    with state_of(quincy.site, ai_providers=AiProviders(Outgoing(), openrouter_url="http://127.0.0.1:9/v1")):
        ended = (await quincy.told())[-1][1]
    assert ended["code"] == "ADDRESS_REFUSED"
    assert provider.asked == []


async def test_a_failure_is_told_in_the_language_of_who_asks(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    await choose(quincy.person, language="fr")
    provider.talks.append(Talk(status="401 Unauthorized", document={}))
    ended = (await quincy.told())[-1][1]
    assert "votre clé" in ended["message"]


async def test_without_a_provider_or_a_model_nothing_is_asked(quincy: Asker, provider: AiServer) -> None:
    refused = await quincy.ask()
    assert (refused.status_code, refused.json()["code"]) == (409, "AI_OFF")
    await choose(quincy.person, ai_provider="ollama", ai_endpoint_url=provider.url)
    refused = await quincy.ask()
    assert (refused.status_code, refused.json()["code"]) == (409, "AI_MODEL_UNCHOSEN")
    assert (provider.asked, await quincy.conversation()) == ([], [])


async def test_an_answer_that_is_cut_proposes_nothing(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.says(f"```python\n{PROPOSED[:200]}", finish="length")
    events = await quincy.told()
    assert [name for name, _ in events] == ["begun", "words", "ended"]
    assert events[-1][1]["finish_reason"] == "length"


async def test_one_answer_at_a_time_and_the_second_question_is_refused(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    go_on = asyncio.Event()
    provider.talks.append(Talk(events=[chunk("One"), go_on, chunk(" moment."), DONE]))
    async with asyncio.TaskGroup() as both:
        first = both.create_task(quincy.ask())
        await eventually_async(
            lambda: quincy.rows("SELECT 1 FROM assistant_calls WHERE user_id = $1", quincy.user_id), "the first is asked"
        )
        refused = await quincy.ask("Another?")
        go_on.set()
    assert (refused.status_code, refused.json()["code"]) == (429, "AI_BUSY")
    assert words_of(events_of(first.result().text)) == "One moment."
    provider.says("Now.")
    assert words_of(await quincy.told("Another?")) == "Now."


async def test_questions_are_counted_by_the_minute(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    assistant = quincy.site.app.state.assistant
    before, assistant.limits = assistant.limits, replace(assistant.limits, per_minute=2)
    try:
        for _ in range(2):
            provider.says("Yes.")
            await quincy.told()
        assert (await quincy.person.call("DELETE", f"/api/strategies/{quincy.strategy_id}/assist")).status_code == 204
        refused = await quincy.ask()
        assert (refused.status_code, refused.json()["code"]) == (429, "AI_TOO_SOON")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    finally:
        assistant.limits = before


async def test_a_provider_that_says_nothing_is_given_up(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    assistant = quincy.site.app.state.assistant
    before = assistant.limits
    try:
        assistant.limits = replace(before, silence_s=0.2)
        provider.talks.append(Talk(events=[chunk("Er"), 30.0]))
        ended = (await quincy.told())[-1][1]
        assert ended["code"] == "AI_TOO_SLOW"
        assistant.limits = replace(before, reply_s=0.5)
        provider.talks.append(Talk(events=[chunk("On "), 0.1, chunk("and on"), 30.0]))
        events = await quincy.told()
        assert (events[-1][1]["outcome"], events[-1][1]["finish_reason"], words_of(events)) == ("done", "length", "On and on")
    finally:
        assistant.limits = before


async def test_an_answer_ends_at_its_longest(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.talks.append(Talk(events=[chunk("y" * 50_000)] * 10))
    events = await quincy.told()
    assert (len(words_of(events)), events[-1][1]["finish_reason"]) == (160_000, "length")


async def test_when_the_browser_goes_the_provider_is_left_and_the_answer_is_marked_as_stopped(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.talks.append(Talk(events=[chunk("Once upon"), 60.0]))
    state = quincy.site.app.state
    with working_for(quincy.user_id):
        question = Question(strategy_id=quincy.strategy_id, message="A tale.", source=SOURCE)
        answer = await state.assistant.ask(quincy.user_id, question, state.ai_providers)
        async with asyncio.timeout(20), aclosing(AnswerStream(answer, state.stopping, language="en").messages()) as messages:
            async for message in messages:
                if b"Once upon" in message:
                    break
    async with asyncio.timeout(20):
        await provider.has_left.wait()

    async def has_ended() -> bool:
        return bool((await quincy.conversation())[-1]["outcome"] != "running")

    await eventually_async(has_ended, "the answer has ended")
    answered = (await quincy.conversation())[-1]
    assert (answered["outcome"], answered["text"], provider.left) == ("stopped", "Once upon", 1)


async def test_an_answer_that_nobody_begins_to_read_is_stopped(quincy: Asker, provider: AiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await openrouter(quincy.person)
    monkeypatch.setattr("app.strategies.assistant._FORGOTTEN_S", 0.0)
    provider.talks.append(Talk(events=[chunk("Hello?"), 60.0]))
    state = quincy.site.app.state
    with working_for(quincy.user_id):
        await state.assistant.ask(quincy.user_id, Question(strategy_id=quincy.strategy_id, message="Hm.", source=""), state.ai_providers)
    async with asyncio.timeout(20):
        await provider.has_left.wait()


async def test_what_a_process_that_is_gone_was_writing_is_interrupted_and_keeps_nobody_from_asking(
    quincy: Asker, provider: AiServer
) -> None:
    await openrouter(quincy.person)
    provider.says("Yes.")
    await quincy.told()
    await quincy.rows(
        "UPDATE assistant_calls SET outcome = 'running', ended_at = NULL, seen_at = $2 WHERE user_id = $1",
        quincy.user_id, quincy.site.app.state.clock.now() - timedelta(seconds=40),
    )  # fmt: skip
    assert (await quincy.conversation())[-1]["outcome"] == "interrupted"
    provider.says("Again.")
    assert words_of(await quincy.told()) == "Again."
    outcomes = await quincy.rows("SELECT outcome FROM assistant_calls WHERE user_id = $1 ORDER BY started_at", quincy.user_id)
    assert [row["outcome"] for row in outcomes] == ["interrupted", "done"]


async def test_a_decision_is_stored_once(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.says(FENCED)
    message_id = (await quincy.told())[0][1]["message_id"]
    place = f"{ASSIST}/messages/{message_id}/decision"
    for _ in range(2):
        assert (await quincy.person.call("POST", place, json={"accepted": True})).status_code == 204
    other = await quincy.person.call("POST", place, json={"accepted": False})
    assert (other.status_code, other.json()["code"]) == (409, "AI_DECIDED")
    assert (await quincy.conversation())[-1]["decision"] == "accepted"
    question_id = (await quincy.conversation())[0]["id"]
    nothing = await quincy.person.call("POST", f"{ASSIST}/messages/{question_id}/decision", json={"accepted": True})
    assert nothing.json()["code"] == "AI_DECIDED"


async def test_a_conversation_is_forgotten_and_what_it_took_is_not(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.says("One.", took=usage(100, 10, 0.01))
    provider.says("Two.", took=usage(200, 20, 0.02))
    await quincy.told()
    await quincy.told()
    await ollama(quincy.person, provider)
    provider.says("Three.", took=usage(300, 30))
    await quincy.told()
    assert (await quincy.person.call("DELETE", f"/api/strategies/{quincy.strategy_id}/assist")).status_code == 204
    assert await quincy.conversation() == []
    items = (await quincy.person.call("GET", f"{ASSIST}/usage")).json()["items"]
    month = f"{quincy.site.app.state.clock.now():%Y-%m}"
    tokens = {"prompt_tokens": 300, "completion_tokens": 30}
    assert items == [
        {"month": month, "provider": "openrouter", "model": "vendor/clever", "answers": 2, **tokens, "cost": "0.03"},
        {"month": month, "provider": "ollama", "model": "qwen3:32b", "answers": 1, **tokens, "cost": None},
    ]
    assert (await quincy.site.eve.call("GET", f"{ASSIST}/usage")).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [{"message": "  "}, {"message": "x" * 8001}, {"source": "x" * 131_073}, {"findings": ["x"] * 51}, {"findings": [""]}, {"key": "x"}],
    ids=str,
)
async def test_what_is_too_long_or_unknown_is_refused(quincy: Asker, body: dict[str, object]) -> None:
    whole = {"strategy_id": str(quincy.strategy_id), "message": "x", "source": "", **body}
    assert (await quincy.person.call("POST", ASSIST, json=whole)).status_code == 422
