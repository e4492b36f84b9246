"""Parameters of a strategy that somebody typed into a form: which of them differ, and which cannot be used."""

from collections.abc import Mapping

from starlette.datastructures import FormData

from app.sandbox.messages import Described, Value
from app.ui.strategy_editor import NotAValue, read_value


def typed_parameters(form: FormData) -> dict[str, str]:
    """Return what somebody typed into the parameters' fields; what stands there as it was drawn is the source's to say."""
    sent = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    fields = {name.removeprefix("was:"): value for name, value in sent.items() if name.startswith("was:")}
    # A switch that is off sends nothing.
    given = {name: sent.get(f"param:{name}", "false") for name in fields}
    return {name: value for name, value in given.items() if value != fields[name]}


def parameter_values(described: Described, typed: Mapping[str, str]) -> tuple[dict[str, Value], dict[str, str]]:
    """Return the parameters that differ from what the source says, and what is wrong with others."""
    values: dict[str, Value] = {}
    errors: dict[str, str] = {}
    for parameter in described.parameters:
        if parameter.name not in typed:
            continue
        try:
            value = read_value(parameter, typed[parameter.name])
        except NotAValue as error:
            errors[parameter.name] = str(error)
            continue
        if value != parameter.default:
            values[parameter.name] = value
    return values, errors
