"""What a user may take of the assistant, every way in which an answer ends early, and what is kept of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from app.core.ids import new_id
from app.core.supervisor import Supervisor
from app.core.tenancy import working_for
from app.strategies.assistant import Assistant, AssistantLimits, Question
from app.strategies.assistant_stream import AnswerStream
from tests.app.ai_server import DONE, AiServer, Talk, chunk, usage
from tests.app.asking import (
    ASSIST,
    FENCED,
    SOURCE,
    Asker,
    asker,
    events_of,
    listening,
    ollama,
    openrouter,
    provider,
    quincy,
    words_of,
)
from tests.journeys.eventually import eventually_async
from tests.postgres import connected

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["provider", "quincy"]


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
    await eventually_async(quincy.has_ended, "the answer has ended")
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
    place = f"{ASSIST}/messages/{message_id}"
    for _ in range(2):
        assert (await quincy.person.call("POST", f"{place}/accept")).status_code == 204
    other = await quincy.person.call("POST", f"{place}/reject")
    assert (other.status_code, other.json()["code"]) == (409, "AI_DECIDED")
    assert (await quincy.conversation())[-1]["decision"] == "accepted"
    question_id = (await quincy.conversation())[0]["id"]
    nothing = await quincy.person.call("POST", f"{ASSIST}/messages/{question_id}/accept")
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


async def test_a_conversation_keeps_its_newest_messages(quincy: Asker, provider: AiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await openrouter(quincy.person)
    monkeypatch.setattr("app.strategies.assistant_store.MOST_KEPT", 4)
    for number in range(4):
        provider.says(f"answer {number}")
        await quincy.told(f"question {number}")
    kept = ["question 1", "answer 1", "question 2", "answer 2", "question 3", "answer 3"]
    assert [message["text"] for message in await quincy.conversation()] == kept, "four, and what was said since they were counted"


@pytest.mark.parametrize(
    "body",
    [{"message": "  "}, {"message": "x" * 8001}, {"source": "x" * 131_073}, {"findings": ["x"] * 51}, {"findings": [""]}, {"key": "x"}],
    ids=str,
)
async def test_what_is_too_long_or_unknown_is_refused(quincy: Asker, body: dict[str, object]) -> None:
    whole = {"strategy_id": str(quincy.strategy_id), "message": "x", "source": "", **body}
    assert (await quincy.person.call("POST", ASSIST, json=whole)).status_code == 422


async def test_what_is_anothers_cannot_be_told_from_what_there_is_not(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.says(FENCED)
    message_id = (await quincy.told())[0][1]["message_id"]
    eve = quincy.site.eve
    for strategy_id, message in ((str(quincy.strategy_id), message_id), (str(new_id()), str(new_id()))):
        asked = await eve.call("POST", ASSIST, json={"strategy_id": strategy_id, "message": "Mine?", "source": ""})
        read = await eve.call("GET", f"/api/strategies/{strategy_id}/assist")
        cleared = await eve.call("DELETE", f"/api/strategies/{strategy_id}/assist")
        decided = [await eve.call("POST", f"{ASSIST}/messages/{message}/{word}") for word in ("accept", "reject")]
        pages = [await eve.browse("GET", f"/strategies/{strategy_id}/assistant{place}") for place in ("", f"/{message}")]
        forgotten = await eve.browse("POST", f"/strategies/{strategy_id}/assistant/clear", headers={"X-CSRF-Token": eve.csrf})
        assert {answer.status_code for answer in (asked, read, cleared, *decided, *pages, forgotten)} == {404}
    assert len(await quincy.conversation()) == 2
    assert len(provider.asked) == 1


async def test_a_program_that_hangs_up_stops_the_answer(quincy: Asker, provider: AiServer) -> None:
    """Over a real connection: what ends it there is that the server notices."""
    await openrouter(quincy.person)
    provider.talks.append(Talk(events=[chunk("Once upon"), 60.0]))
    headers = {"Authorization": f"Bearer {quincy.person.token}"}
    body = {"strategy_id": str(quincy.strategy_id), "message": "A tale.", "source": SOURCE}
    async with listening(quincy.site.app) as base, httpx.AsyncClient(base_url=base, timeout=20) as http, asyncio.timeout(30):
        async with http.stream("POST", ASSIST, json=body, headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if "Once upon" in line:
                    break
        await provider.has_left.wait()
        await eventually_async(quincy.has_ended, "the answer has ended")
    assert (await quincy.conversation())[-1]["outcome"] == "stopped"


@asynccontextmanager
async def no_database(quincy: Asker) -> AsyncIterator[None]:
    """Cut every connection, and take no other inside the block."""
    owner_url = quincy.site.app.state.settings.database_owner_url.get_secret_value()
    async with connected(owner_url) as owner:
        name = await owner.fetchval("SELECT current_database()")
        await owner.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        try:
            await quincy.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user"
            )
            yield
        finally:
            await owner.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')


def is_noticed(logs: Sequence[Mapping[str, Any]]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return any(line["event"] == "assistant_not_kept" for line in logs)

    return ask


async def test_an_answer_outlives_a_database_that_goes_away(quincy: Asker, provider: AiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await openrouter(quincy.person)
    monkeypatch.setattr("app.strategies.assistant._BEAT_S", 0.05)
    go_on = asyncio.Event()
    provider.talks.append(Talk(events=[chunk("Half "), go_on, chunk("and half."), DONE]))
    async with asyncio.TaskGroup() as both:
        asked = both.create_task(quincy.ask())
        await eventually_async(
            lambda: quincy.rows("SELECT 1 FROM assistant_messages WHERE user_id = $1 AND text = 'Half '", quincy.user_id),
            "what there is was kept",
            within_s=20,
        )
        with capture_logs() as logs:
            async with no_database(quincy):
                await eventually_async(is_noticed(logs), "the loop has noticed", within_s=20)
        go_on.set()
    assert words_of(events_of(asked.result().text)) == "Half and half."
    await eventually_async(quincy.has_ended, "the answer has ended")
    assert (await quincy.conversation())[-1]["text"] == "Half and half."
    provider.says("Still there.")
    assert words_of(await quincy.told()) == "Still there."


async def test_an_answer_with_signs_that_no_text_has_ends_neither_itself_nor_the_answers_of_others(
    quincy: Asker, provider: AiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = await asker(quincy.site)
    await ollama(hostile.person, provider)
    monkeypatch.setattr("app.strategies.assistant._BEAT_S", 0.05)
    broken = chunk("Half @").replace(b"@", rb"\ud83d\u0000")
    go_on = asyncio.Event()
    provider.talks.append(Talk(events=[broken, go_on, chunk("", finish="@").replace(b"@", rb"\udc00\u0000"), DONE]))
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as both:
            asked = both.create_task(hostile.ask())
            await eventually_async(
                lambda: hostile.rows("SELECT 1 FROM assistant_messages WHERE user_id = $1 AND text LIKE 'Half %'", hostile.user_id),
                "what there is was kept",
                within_s=20,
            )
            go_on.set()
    assert words_of(events_of(asked.result().text)) == "Half \ufffd\ufffd"
    answered = (await hostile.conversation())[-1]
    assert (answered["outcome"], answered["text"], answered["finish_reason"]) == ("done", "Half \ufffd\ufffd", "\ufffd\ufffd")
    assert [line for line in logs if line["event"] in ("loop_failed", "assistant_not_kept", "assistant_not_stored")] == []


async def test_an_answer_that_cannot_be_kept_ends_no_other_one(quincy: Asker, provider: AiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = await asker(quincy.site)
    await ollama(hostile.person, provider)
    await openrouter(quincy.person)
    monkeypatch.setattr("app.strategies.assistant._BEAT_S", 0.05)
    go_on = asyncio.Event()
    provider.talks += [Talk(events=[chunk("One "), go_on, DONE]), Talk(events=[chunk("Two "), go_on, chunk("words."), DONE])]
    state = quincy.site.app.state
    with capture_logs() as logs:
        with working_for(hostile.user_id):
            question = Question(strategy_id=hostile.strategy_id, message="Hm.", source="")
            bad = await state.assistant.ask(hostile.user_id, question, state.ai_providers)
        while not bad.words:
            await bad.next(wait_s=5)
        bad.words = "\ud83d"  # as if something had come through that no text has
        await eventually_async(is_noticed(logs), "it could not be kept", within_s=20)
        async with asyncio.TaskGroup() as both:
            good = both.create_task(quincy.ask())
            await eventually_async(
                lambda: quincy.rows("SELECT 1 FROM assistant_messages WHERE user_id = $1 AND text = 'Two '", quincy.user_id),
                "the other one is kept",
                within_s=20,
            )
            go_on.set()
    bad.stop()
    assert words_of(events_of(good.result().text)) == "Two words."
    assert [line for line in logs if line["event"] == "loop_failed"] == []


async def test_a_server_that_stops_interrupts_its_answers_and_stores_that(quincy: Asker, provider: AiServer) -> None:
    await openrouter(quincy.person)
    provider.talks.append(Talk(events=[chunk("This will"), 60.0]))
    state = quincy.site.app.state
    mine = Assistant(
        tenants=state.database, platform=state.platform_database, vault=state.vault, clock=state.clock, limits=AssistantLimits()
    )
    async with Supervisor() as supervisor:
        supervisor.start("assistant", mine.run)
        await asyncio.sleep(0)
        with working_for(quincy.user_id):
            question = Question(strategy_id=quincy.strategy_id, message="Go on.", source=SOURCE)
            answer = await mine.ask(quincy.user_id, question, state.ai_providers)
        while answer.words != "This will":
            await answer.next(wait_s=5)
    answered = (await quincy.conversation())[-1]
    assert (answered["outcome"], answered["text"], answered["proposal"]) == ("interrupted", "This will", None)
    async with asyncio.timeout(10):
        await provider.has_left.wait()
