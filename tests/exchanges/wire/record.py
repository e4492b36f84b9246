"""Write the golden requests anew: `uv run python -m tests.exchanges.wire.record [VENUE…]`. Read the difference before committing it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.exchanges.wire.calls import calls_of
from tests.exchanges.wire.clients import VENUES, make_client
from tests.exchanges.wire.session import Answer, RecordingSession

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "golden"


def answers_of(venue: str) -> dict[str, list[Answer]]:
    """Return what the venue is made to answer; bodies after its documentation, values made up."""
    laid_down = json.loads((FOLDER / "answers" / f"{venue}.json").read_text(encoding="utf-8"))
    return {name: [Answer(body=body)] for name, body in laid_down.items()}


async def requests_of(venue: str) -> dict[str, Any]:
    """Make every call of `venue` and return the requests that would have left, by call."""
    session = RecordingSession(answers_of(venue))
    client = make_client(venue, session)
    found = {}
    for name, run in calls_of(client):
        session.sent.clear()
        await run(client)
        found[name] = [sent.as_golden() for sent in session.sent]
    await client.close()
    return found


def as_text(requests: dict[str, Any]) -> str:
    """Return the text of a golden file: one request a line."""
    calls = [
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"    {json.dumps(request, sort_keys=True)}" for request in sent) + "\n  ]"
        for name, sent in requests.items()
    ]
    return "{\n" + ",\n".join(calls) + "\n}\n"


def main(venues: list[str]) -> None:
    """Write the files of some venues, or of all."""
    GOLDEN.mkdir(exist_ok=True)
    for venue in venues or VENUES:
        requests = asyncio.run(requests_of(venue))
        (GOLDEN / f"{venue}.json").write_text(as_text(requests), encoding="utf-8")
        print(f"{venue}: {len(requests)} calls, {sum(map(len, requests.values()))} requests")


if __name__ == "__main__":
    main(sys.argv[1:])
