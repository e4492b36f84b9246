"""The assistant through the API: both providers, what is sent, what is stored, what a user may take, and every way an answer can end."""

import orjson
import pytest
from structlog.testing import capture_logs

from app.accounts.ai import AiProviders
from app.core.addresses import parse_allowed
from app.core.outgoing import Outgoing
from tests.app.ai_server import DONE, KEY, AiServer, Talk, chunk, failure, usage
from tests.app.asking import ASSIST, FENCED, PROPOSED, SOURCE, Asker, asker, choose, ollama, openrouter, provider, quincy, words_of
from tests.app.whole_site import Site, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["provider", "quincy"]


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
    assert (await quincy.person.call("POST", f"{ASSIST}/messages/{message_id}/reject")).status_code == 204
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


async def test_the_panel_shows_what_was_said_and_what_it_took(quincy: Asker, provider: AiServer) -> None:
    place = f"/strategies/{quincy.strategy_id}/assistant"
    assert "The assistant is off" in (await quincy.person.browse("GET", place)).text
    await choose(quincy.person, ai_provider="ollama", ai_endpoint_url=provider.url)
    assert "which of its models answers" in (await quincy.person.browse("GET", place)).text
    await openrouter(quincy.person)
    provider.says("<b>Bold</b> words.", took=usage(1000, 234, 0.5))
    message_id = (await quincy.told("<i>Why?</i>"))[0][1]["message_id"]
    whole = (await quincy.person.browse("GET", place)).text
    for words in ("&lt;b&gt;Bold&lt;/b&gt; words.", "&lt;i&gt;Why?&lt;/i&gt;", "1,234 tokens", "0.5000", "OpenRouter · vendor/clever"):
        assert words in whole, words
    one = (await quincy.person.browse("GET", f"{place}/{message_id}")).text
    assert "&lt;b&gt;Bold&lt;/b&gt; words." in one
    await choose(quincy.person, language="fr")
    provider.talks.append(Talk(status="401 Unauthorized", document={}))
    await quincy.told()
    assert "Le fournisseur refuse votre clé" in (await quincy.person.browse("GET", place)).text
    cleared = await quincy.person.browse("POST", f"{place}/clear", headers={"X-CSRF-Token": quincy.person.csrf})
    assert (cleared.status_code, "assistant-message" in cleared.text) == (200, False)
