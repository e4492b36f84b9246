"""The assistant of the strategy editor: one answer at a time for each user, streamed, stored, and ended with whoever waits for it.

An answer is written by a task of its own, not by the request that shows it: when the browser goes, the request is cut off wherever it
happens to stand, and how the answer ended must still be stored.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from typing import Final, cast
from uuid import UUID

import structlog

from app.accounts import preferences
from app.accounts.ai import AiAccess, AiProviders
from app.accounts.models import AiProvider
from app.accounts.schemas import AiIn
from app.core.clock import Clock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.i18n import N_
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.core.tenancy import working_for
from app.errors import AiTooSlow, AppError, AssistantBusy, AssistantOff, ModelUnchosen
from app.strategies import assistant_store as store
from app.strategies.assistant_contract import contract
from app.strategies.assistant_models import LONGEST_TEXT, Outcome
from app.strategies.assistant_pieces import Ask, Finished, Piece, Place, Said, Thinking, Usage, Words
from app.strategies.assistant_prompt import prompt, proposal_in
from app.strategies.assistant_store import Begun, Ending

log = structlog.get_logger(__name__)

_BEAT_S: Final = 5.0
_SWEEP_S: Final = 30.0
#: An answer that nobody has read for so long was forgotten: its reader went before it began.
_FORGOTTEN_S: Final = 20.0
#: Answers on their way at one time, of all users: each holds a connection to its provider.
_MOST_AT_ONCE: Final = 64
_LARGEST_BYTES: Final = 16_000_000
_NO_PLACE: Final = N_("This server answers as many questions at a time as it can. Try again in a moment.")
_CUT: Final = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantLimits:
    """What one user may take.

    Attributes:
        per_minute: Questions.
        reply_s: Seconds from a question to the end of its answer.
        silence_s: Seconds that a provider may say nothing.
    """

    per_minute: int = 10
    reply_s: float = 600.0
    silence_s: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the user asks, about the code as it stands in the editor."""

    strategy_id: UUID
    message: str
    source: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """The answer proposes this code."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The answer has ended; nothing comes after it. `error` is set where it failed."""

    ending: Ending
    error: AppError | None = None


Event = Thinking | Words | Proposed | Ended


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer on its way. Whoever takes it from `ask` reads `next` until `Ended`, or says `stop`."""

    begun: Begun
    user_id: UUID
    question: Question
    provider: str
    model: str
    words: str = ""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    is_thinking: bool = False
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    #: As what it was stopped; None while nobody has.
    stopped_as: Outcome | None = None
    read_at: float = field(default_factory=time.monotonic)
    _task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """Have `task` write it."""
        self._task = task

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody reads it any more, and nobody said so."""
        return time.monotonic() - self.read_at > _FORGOTTEN_S

    async def next(self, *, wait_s: float) -> list[Event]:
        """Return the next events, words put together; none when `wait_s` seconds bring nothing."""
        self.read_at = time.monotonic()
        try:
            found = [await asyncio.wait_for(self.events.get(), wait_s)]
        except TimeoutError:
            return []
        while not self.events.empty():
            event = self.events.get_nowait()
            last = found[-1]
            if isinstance(event, Words) and isinstance(last, Words):
                found[-1] = Words(last.text + event.text)
            else:
                found.append(event)
        return found

    def stop(self, outcome: Outcome = Outcome.STOPPED) -> None:
        """End it, with the provider's work on it, unless it has ended."""
        if self._task is not None and not self._task.done():
            self.stopped_as = self.stopped_as or outcome
            self._task.cancel()


class Assistant:
    """Answers users. Its `run` is supervised, and the answers are its tasks.

    Args:
        tenants: Shows the rows of who is worked for.
        platform: Shows all rows: for what a process that is gone left behind.
        vault: Opens OpenRouter's key, right before it is sent there.
        clock: Says when something is said.
        limits: What one user may take.
    """

    def __init__(self, *, tenants: Database, platform: Database, vault: Vault, clock: Clock, limits: AssistantLimits) -> None:
        self._tenants = tenants
        self._platform = platform
        self._vault = vault
        self._clock = clock
        self.limits = limits
        self._group: asyncio.TaskGroup | None = None
        self._at_work: list[Answer] = []

    async def run(self, beat: Beat) -> None:
        """Own the answers, and mark those that a process which is gone left half written. Cancelled, it interrupts all of them."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                swept_at = -_SWEEP_S
                while True:
                    beat()
                    try:
                        await self._keep_all()
                        if time.monotonic() - swept_at >= _SWEEP_S:
                            await self._sweep()
                            swept_at = time.monotonic()
                    except Exception as error:
                        # Answers go on while the database is away; how they end is stored if it is back by then.
                        if not is_database_gone(error):
                            raise
                        log.warning("assistant_not_kept", reason=type(error).__name__)
                    await asyncio.sleep(_BEAT_S)
        finally:
            self._group = None

    async def _keep_all(self) -> None:
        for answer in tuple(self._at_work):
            if answer.is_forgotten:
                answer.stop()
                continue
            try:
                with working_for(answer.user_id):
                    async with self._tenants.transaction() as session:
                        await store.keep(session, answer.begun, answer.user_id, words=answer.words, now=self._clock.now())
            except Exception as error:
                if is_database_gone(error):
                    raise
                # Whatever is wrong with one answer is no reason to end those of others, as a loop that fails would.
                log.exception("assistant_not_kept", call=str(answer.begun.call_id))

    async def _sweep(self) -> None:
        async with self._platform.transaction() as session:
            found = await store.interrupt_silent(session, now=self._clock.now())
        if found:
            log.warning("assistant_answers_interrupted", answers=found)

    async def access(self, user_id: UUID) -> AiAccess:
        """Return how this user's provider is reached.

        Raises:
            AssistantOff: none is switched on.
            ModelUnchosen: it is not said which model answers.
            KeyUnreadable: no key of this server opens the stored one.
        """
        async with self._tenants.transaction() as session:
            access = await preferences.access_of(session, self._vault, user_id, AiIn())
        if access.provider is AiProvider.NONE:
            raise AssistantOff
        if not access.model:
            raise ModelUnchosen
        return access

    async def ask(self, user_id: UUID, question: Question, providers: AiProviders) -> Answer:
        """Store a question and have it answered.

        Raises:
            StrategyNotFound: no such strategy of this user.
            AssistantOff, ModelUnchosen: nobody is there to answer.
            AssistantBusy: another answer is on its way to this user, or as many as this server can give at a time.
            AssistantTooSoon: this user asks more often than one may.
        """
        async with self._tenants.transaction() as session:
            await store.check_strategy(session, user_id, question.strategy_id)
        access = await self.access(user_id)
        if self._group is None or len(self._at_work) >= _MOST_AT_ONCE:
            raise AssistantBusy(_NO_PLACE)
        async with self._tenants.transaction() as session:
            begun = await store.begin(
                session,
                user_id,
                question.strategy_id,
                access=access,
                message=question.message,
                now=self._clock.now(),
                per_minute=self.limits.per_minute,
            )
        answer = Answer(begun=begun, user_id=user_id, question=question, provider=access.provider.value, model=access.model or "")
        answer.begin(self._group.create_task(self._work(answer, access, providers), name=f"assistant {begun.call_id}"))
        try:
            # A task that is cancelled before its first step never says how it ended.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            answer.stop()
            raise
        return answer

    async def _work(self, answer: Answer, access: AiAccess, providers: AiProviders) -> None:
        self._at_work.append(answer)
        ended = Ended(ending=Ending(outcome=Outcome.FAILED, error_code=AppError.default_code), error=AppError())
        try:
            with working_for(answer.user_id):
                ended = await self._answered(answer, access, providers)
        except asyncio.CancelledError:
            # Whoever waited has gone; or, when nobody stopped it, this server is being stopped.
            ended = Ended(ending=Ending(outcome=answer.stopped_as or Outcome.INTERRUPTED, usage=answer.usage))
            raise
        except Exception:  # an error of one answer must not end the others, which the group would see to
            log.exception("assistant_failed", call=str(answer.begun.call_id))
        finally:
            try:
                with working_for(answer.user_id):
                    await self._store_end(answer, ended)
            except Exception:  # as above; the next sweep finds that nobody writes it any more
                log.exception("assistant_not_stored", call=str(answer.begun.call_id))
            finally:
                self._at_work.remove(answer)
                answer.events.put_nowait(ended)

    async def _answered(self, answer: Answer, access: AiAccess, providers: AiProviders) -> Ended:
        try:
            async with asyncio.timeout(self.limits.reply_s), aclosing(await self._pieces(answer, access, providers)) as pieces:
                await self._take(answer, pieces)
        except TimeoutError:
            if not answer.words:
                return _failed(answer, AiTooSlow())
            answer.finish_reason = _CUT
        except AppError as error:
            return _failed(answer, error)
        return Ended(ending=Ending(outcome=Outcome.DONE, finish_reason=answer.finish_reason, usage=answer.usage))

    async def _pieces(self, answer: Answer, access: AiAccess, providers: AiProviders) -> AsyncGenerator[Piece, None]:
        # In a thread: it takes more than a second, and orders do not wait for it.
        ask = await asyncio.to_thread(_client)
        question = answer.question
        told: Sequence[Said] = prompt(
            source=question.source, findings=question.findings, message=question.message, history=answer.begun.history
        )
        place = Place(
            base_url=providers.chat_url(access),
            transport=providers.chat_transport(access, largest_bytes=_LARGEST_BYTES),
            model=answer.model,
            api_key=access.api_key,
            silence_s=self.limits.silence_s,
        )
        return ask(place, told)

    async def _take(self, answer: Answer, pieces: AsyncGenerator[Piece, None]) -> None:
        async for piece in pieces:
            match piece:
                case Words():
                    text = piece.text[: LONGEST_TEXT - len(answer.words)]
                    answer.words += text
                    answer.events.put_nowait(Words(text))
                case Thinking() if not answer.is_thinking:
                    answer.is_thinking = True
                    answer.events.put_nowait(piece)
                case Usage():
                    answer.usage = piece
                case Finished():
                    answer.finish_reason = piece.reason
                case _:
                    pass
            if len(answer.words) >= LONGEST_TEXT:
                answer.finish_reason = _CUT
                return

    async def _store_end(self, answer: Answer, ended: Ended) -> None:
        is_whole = ended.ending.outcome is Outcome.DONE
        proposal = proposal_in(answer.words, source=answer.question.source) if is_whole else None
        async with self._tenants.transaction() as session:
            await store.end(
                session,
                answer.begun,
                answer.user_id,
                words=answer.words,
                proposal=proposal,
                ending=ended.ending,
                now=self._clock.now(),
            )
        if proposal is not None:
            answer.events.put_nowait(Proposed(source=proposal))
        log.info(
            "assistant_answered",
            outcome=ended.ending.outcome.value,
            code=ended.ending.error_code,
            provider=answer.provider,
            model=answer.model,
            characters=len(answer.words),
        )


@cache
def _client() -> Ask:
    """Load what asks models and read what they are told, which nobody needs before the first question."""
    contract()
    client = importlib.import_module("app.strategies.assistant_client")
    client.prepare()
    return cast("Ask", client.ask)


def _failed(answer: Answer, error: AppError) -> Ended:
    ending = Ending(outcome=Outcome.FAILED, error_code=error.code, finish_reason=answer.finish_reason, usage=answer.usage)
    return Ended(ending=ending, error=error)
