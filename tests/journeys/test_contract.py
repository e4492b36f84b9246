"""The API keeps to its own description: whatever is sent, no failure of the server and no answer that `/openapi.json` does not promise."""

import itertools
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.conftest import Size
from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import MakeTrader
from tests.server_process import ServerProcess

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: They would end the token of all that follows, or never end themselves.
_NOT_TRIED = {("POST", "/api/auth/logout"), ("DELETE", "/api/auth/sessions/{session_id}"), ("GET", "/api/heartbeat/stream")}


def test_no_request_that_can_be_made_up_breaks_the_description(
    shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader, size: Size
) -> None:
    trader = make_trader(shared_server, market).sign_up().set_up()
    token = {"Authorization": trader._http.headers["Authorization"]}
    schema = schemathesis.openapi.from_url(f"{shared_server.url}/openapi.json", headers=token)
    schema.config.generation.with_security_parameters = False
    answers: Counter[int] = Counter()
    broken = []
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    for operation, mode in itertools.product(operations, GenerationMode):
        if (operation.method.upper(), operation.path) in _NOT_TRIED:
            continue

        @seed(7)
        @settings(
            max_examples=size(3, full=100),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answers[case.call_and_validate(headers=token, checks=_CHECKS).status_code] += 1

        try:
            ask()
        except Unsatisfiable:
            continue  # it takes nothing that could be wrong
        except FailureGroup as error:
            broken.append(f"{operation.method.upper()} {operation.path}: {error}"[:1500])
    print(f"{answers.total()} requests: {dict(sorted(answers.items()))}")
    assert broken == [], "\n\n".join(broken)
    assert answers.total() > 150
    assert {200, 201, 404, 422} <= answers.keys()
