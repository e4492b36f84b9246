"""The whole error tree. An expected outcome has a class, a stable code and a status; `core.http` alone turns it into an answer.

AppError 500 (never raised bare)
├─ NotFound 404          BrokerNotFound · OrderNotFound · WebhookNotFound · DeliveryNotFound · SymbolNotFound   (another tenant's row too)
│                        TokenNotFound · UserNotFound · InvitationNotFound · StrategyNotFound · VersionNotFound
├─ Conflict 409          DuplicateIntent · InvalidTransition · OrderNotCancellable · NameTaken · BrokerInUse · LastAdministrator
├─ InvalidInput 422      a field that cannot be what was given; AddressRefused · CandleFileUnreadable
├─ OrderDenied 422       code = DenialReason; ours, before anything is sent
├─ NotAuthenticated 401  SecondFactorNeeded
├─ Forbidden 403         CsrfFailed · FreshCodeNeeded · ScopeMissing · SessionNeeded · InvitationInvalid
├─ RateLimited 429       TooManyAttempts (UpdateTooSoon · BackfillTooSoon · StrategyPaused) · BodyTooLarge 413
├─ WebhookError          BadToken 404 · BadPayload 422
├─ ExchangeError 502     OrderRejected 409 · InsufficientFunds 409 · BadCredentials 409 · Unsupported 422 (TimeframeMissing)
│  ├─ RetryableError 503 ExchangeUnavailable · ExchangeRateLimited · NotSent      (reads, and writes proved unsent)
│  └─ OutcomeUnknown 504 the write may have happened; reconcile decides
├─ UpstreamFailed 502    another server that a user named gave no answer that can be used; AssistantFailed (Ai…): the AI provider, and why
│                        AssistantOff, ModelUnchosen, AlreadyDecided 409 · AssistantBusy, AssistantTooSoon 429 · MessageNotFound 404
├─ StrategyFailed 422  StrategyKilled   the user's code; JailClosed 503 · JailBusy, TrialRate, ShareRate 429 (RateLimited)
│                        StrategyInUse, VersionInUse, StrategyNotValid, StrategyLimit, DraftChanged 409
│                        SourceTooLong, StrategyFileUnreadable 422 (InvalidInput)
├─ BacktestNotFound 404  BacktestLimit, ResultMissing, WorkerLost 409 · TooManyCandles, NoCandles 422 (InvalidInput)
│                        SearchNotFound, SearchTrialNotFound, RobustnessNotFound 404 · SearchLimit, SearchUnderWay, SearchExhausted,
│                        DraftUnsaved 409
├─ BotNotFound 404       BotSignalNotFound, BotTripNotFound 404 · BotLimit, BotStateWrong, BotNotStartable, BotTripped, BotHoldsPosition,
│                        BotHoldsNothing, SignalDecided 409 · BotInvalid 422 (InvalidInput)
│                        ShadowNotFound 404 · ShadowTooEarly, PromotionRefused 409
├─ TargetNotFound, NoticeNotFound 404 · TargetRefused 422 (InvalidInput) · TargetLimit 409       where people are told, and what
├─ Fenced 503            this process no longer owns the role; it must stop writing
├─ KeyMissing 503        the encryption key is not here · KeyUnreadable 409: no key here opens one stored secret
└─ ConfigError           refuses to start

A class's docstring is its default message. Messages say what, which, why and what was given; pages in the reader's language.
"""

from app.denials import DenialReason as DenialReason
from app.errors.assistant import AiForbidden as AiForbidden
from app.errors.assistant import AiKeyRefused as AiKeyRefused
from app.errors.assistant import AiModelMissing as AiModelMissing
from app.errors.assistant import AiOutOfCredit as AiOutOfCredit
from app.errors.assistant import AiRateLimited as AiRateLimited
from app.errors.assistant import AiTooLong as AiTooLong
from app.errors.assistant import AiTooSlow as AiTooSlow
from app.errors.assistant import AiUnreachable as AiUnreachable
from app.errors.assistant import AiUnreadable as AiUnreadable
from app.errors.assistant import AlreadyDecided as AlreadyDecided
from app.errors.assistant import AssistantBusy as AssistantBusy
from app.errors.assistant import AssistantFailed as AssistantFailed
from app.errors.assistant import AssistantOff as AssistantOff
from app.errors.assistant import AssistantTooSoon as AssistantTooSoon
from app.errors.assistant import MessageNotFound as MessageNotFound
from app.errors.assistant import ModelUnchosen as ModelUnchosen
from app.errors.backtests import BacktestLimit as BacktestLimit
from app.errors.backtests import BacktestNotFound as BacktestNotFound
from app.errors.backtests import BeyondNumbers as BeyondNumbers
from app.errors.backtests import FileTooLarge as FileTooLarge
from app.errors.backtests import NoCandles as NoCandles
from app.errors.backtests import ResultMissing as ResultMissing
from app.errors.backtests import TooManyCandles as TooManyCandles
from app.errors.backtests import WorkerLost as WorkerLost
from app.errors.bots import BotHoldsNothing as BotHoldsNothing
from app.errors.bots import BotHoldsPosition as BotHoldsPosition
from app.errors.bots import BotInvalid as BotInvalid
from app.errors.bots import BotLimit as BotLimit
from app.errors.bots import BotNotFound as BotNotFound
from app.errors.bots import BotNotStartable as BotNotStartable
from app.errors.bots import BotSignalNotFound as BotSignalNotFound
from app.errors.bots import BotStateWrong as BotStateWrong
from app.errors.bots import BotTripNotFound as BotTripNotFound
from app.errors.bots import BotTripped as BotTripped
from app.errors.bots import SignalDecided as SignalDecided
from app.errors.exchange import BadCredentials as BadCredentials
from app.errors.exchange import ExchangeError as ExchangeError
from app.errors.exchange import ExchangeRateLimited as ExchangeRateLimited
from app.errors.exchange import ExchangeUnavailable as ExchangeUnavailable
from app.errors.exchange import InsufficientFunds as InsufficientFunds
from app.errors.exchange import NotSent as NotSent
from app.errors.exchange import OrderRejected as OrderRejected
from app.errors.exchange import OutcomeUnknown as OutcomeUnknown
from app.errors.exchange import RetryableError as RetryableError
from app.errors.exchange import TimeframeMissing as TimeframeMissing
from app.errors.exchange import Unsupported as Unsupported
from app.errors.general import AddressRefused as AddressRefused
from app.errors.general import AppError as AppError
from app.errors.general import BackfillTooSoon as BackfillTooSoon
from app.errors.general import BadPayload as BadPayload
from app.errors.general import BadToken as BadToken
from app.errors.general import BodyTooLarge as BodyTooLarge
from app.errors.general import BrokerInUse as BrokerInUse
from app.errors.general import BrokerNotFound as BrokerNotFound
from app.errors.general import CandleFileUnreadable as CandleFileUnreadable
from app.errors.general import ConfigError as ConfigError
from app.errors.general import Conflict as Conflict
from app.errors.general import CsrfFailed as CsrfFailed
from app.errors.general import DeliveryNotFound as DeliveryNotFound
from app.errors.general import DuplicateIntent as DuplicateIntent
from app.errors.general import Fenced as Fenced
from app.errors.general import Forbidden as Forbidden
from app.errors.general import FreshCodeNeeded as FreshCodeNeeded
from app.errors.general import InvalidInput as InvalidInput
from app.errors.general import InvalidTransition as InvalidTransition
from app.errors.general import InvitationInvalid as InvitationInvalid
from app.errors.general import InvitationNotFound as InvitationNotFound
from app.errors.general import KeyMissing as KeyMissing
from app.errors.general import KeyUnreadable as KeyUnreadable
from app.errors.general import LastAdministrator as LastAdministrator
from app.errors.general import NameTaken as NameTaken
from app.errors.general import NotAuthenticated as NotAuthenticated
from app.errors.general import NotFound as NotFound
from app.errors.general import OrderDenied as OrderDenied
from app.errors.general import OrderNotCancellable as OrderNotCancellable
from app.errors.general import OrderNotFound as OrderNotFound
from app.errors.general import RateLimited as RateLimited
from app.errors.general import ScopeMissing as ScopeMissing
from app.errors.general import SecondFactorNeeded as SecondFactorNeeded
from app.errors.general import SessionNeeded as SessionNeeded
from app.errors.general import SymbolNotFound as SymbolNotFound
from app.errors.general import TokenNotFound as TokenNotFound
from app.errors.general import TooManyAttempts as TooManyAttempts
from app.errors.general import UpdateTooSoon as UpdateTooSoon
from app.errors.general import UpstreamFailed as UpstreamFailed
from app.errors.general import UserNotFound as UserNotFound
from app.errors.general import WebhookError as WebhookError
from app.errors.general import WebhookNotFound as WebhookNotFound
from app.errors.notifications import NoticeNotFound as NoticeNotFound
from app.errors.notifications import TargetLimit as TargetLimit
from app.errors.notifications import TargetNotFound as TargetNotFound
from app.errors.notifications import TargetRefused as TargetRefused
from app.errors.searches import DraftUnsaved as DraftUnsaved
from app.errors.searches import RobustnessNotFound as RobustnessNotFound
from app.errors.searches import SearchExhausted as SearchExhausted
from app.errors.searches import SearchLimit as SearchLimit
from app.errors.searches import SearchNotFound as SearchNotFound
from app.errors.searches import SearchTrialNotFound as SearchTrialNotFound
from app.errors.searches import SearchUnderWay as SearchUnderWay
from app.errors.shadows import PromotionRefused as PromotionRefused
from app.errors.shadows import ShadowNotFound as ShadowNotFound
from app.errors.shadows import ShadowTooEarly as ShadowTooEarly
from app.errors.strategies import DraftChanged as DraftChanged
from app.errors.strategies import JailBusy as JailBusy
from app.errors.strategies import JailClosed as JailClosed
from app.errors.strategies import ShareRate as ShareRate
from app.errors.strategies import SourceTooLong as SourceTooLong
from app.errors.strategies import StrategyFailed as StrategyFailed
from app.errors.strategies import StrategyFileUnreadable as StrategyFileUnreadable
from app.errors.strategies import StrategyInUse as StrategyInUse
from app.errors.strategies import StrategyKilled as StrategyKilled
from app.errors.strategies import StrategyLimit as StrategyLimit
from app.errors.strategies import StrategyNotFound as StrategyNotFound
from app.errors.strategies import StrategyNotValid as StrategyNotValid
from app.errors.strategies import StrategyPaused as StrategyPaused
from app.errors.strategies import TrialRate as TrialRate
from app.errors.strategies import VersionInUse as VersionInUse
from app.errors.strategies import VersionNotFound as VersionNotFound
