"""Builds the assistant of the strategy editor."""

from fastapi import FastAPI

from app.bootstrap.ground import Ground
from app.strategies.assistant import Assistant, AssistantLimits


def make_assistant(app: FastAPI, ground: Ground) -> None:
    """Put the assistant on `app.state`; its loop is `state.assistant.run`."""
    settings = ground.settings
    limits = AssistantLimits(
        per_minute=settings.assistant_per_minute, reply_s=settings.assistant_reply_s, silence_s=settings.assistant_silence_s
    )
    app.state.assistant = Assistant(
        tenants=ground.tenants, platform=ground.database, vault=ground.keyring.vault, clock=ground.clock, limits=limits
    )
