"""What ruff finds, in plain words: of each rule that matters in a strategy how grave it is, and a sentence with places for its names."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from app.core.i18n import N_

Severity = Literal["error", "warning", "note"]
_QUOTED: Final = re.compile(r"`([^`]*)`")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `words` is a sentence in English; its names are those that ruff quotes, in ruff's order."""

    severity: Severity
    words: str

    def values(self, told: str) -> dict[str, str]:
        """Return the values of the sentence's names out of what ruff told."""
        names = re.findall(r"%\((\w+)\)s", self.words)
        # Extra words that ruff quotes say no more than the sentence does.
        return {name: value[:64] for name, value in zip(dict.fromkeys(names), _QUOTED.findall(told), strict=False)}


def _error(words: str) -> Rule:
    return Rule("error", words)


def _warning(words: str) -> Rule:
    return Rule("warning", words)


#: Everything that is looked for. What is certain to fail when it is reached is an error; the rest is advice.
RULES: Final[dict[str, Rule]] = {
    "F821": _error(N_("The name %(name)s is not defined: it is misspelt, or never assigned or imported.")),
    "F822": _error(N_("The name %(name)s is listed in __all__ and is not defined.")),
    "F823": _error(N_("The variable %(name)s is read before it is assigned.")),
    "F811": _warning(N_("%(name)s is defined twice: only the second one counts.")),
    "F841": _warning(N_("The variable %(name)s is assigned and never read.")),
    "F401": _warning(N_("%(name)s is imported and never used.")),
    "F402": _warning(N_("The loop's variable hides the import %(name)s.")),
    "F502": _error(N_("The text after % needs a dictionary, and gets a sequence.")),
    "F507": _error(N_("The text has more or fewer places for values than it gets.")),
    "F524": _error(N_("The call of format lacks a value that the text has a place for.")),
    "F601": _warning(N_("The dictionary has the key %(name)s twice: only the last one counts.")),
    "F632": _warning(N_("Compare values with == or !=: `is` asks whether they are the same object.")),
    "F701": _error(N_("break stands outside a loop.")),
    "F702": _error(N_("continue stands outside a loop.")),
    "F704": _error(N_("%(keyword)s stands outside a function.")),
    "F706": _error(N_("return stands outside a function.")),
    "F707": _error(N_("A bare except must be the last one.")),
    "F901": _warning(N_("Raise NotImplementedError: NotImplemented is no exception.")),
    "E711": _warning(N_("Compare with None by `is` or `is not`.")),
    "E722": _warning(N_("A bare except also hides mistakes of the strategy itself: name what may go wrong.")),
    "B002": _warning(N_("Python has no ++ and no --: this does nothing.")),
    "B006": _warning(N_("A list or dictionary as a default is shared by all calls: it keeps what an earlier candle left in it.")),
    "B012": _warning(N_("%(keyword)s inside finally hides the error that came before it.")),
    "B015": _warning(N_("This comparison does nothing: was a value to be assigned, or returned?")),
    "B016": _error(N_("Only an exception can be raised.")),
    "B018": _warning(N_("This line does nothing: was its value to be assigned, or returned?")),
    "B020": _warning(N_("The loop's variable %(name)s replaces what the loop runs over.")),
    "B021": _warning(N_("A docstring cannot be an f-string: it is not shown.")),
    "B023": _warning(N_("This function sees the last value of the loop's variable %(name)s, not that of its round.")),
    "B025": _warning(N_("%(name)s is caught twice: the second time never happens.")),
    "B030": _error(N_("Only exceptions can be caught.")),
    "B031": _warning(N_("The groups of groupby can be read once only.")),
    "B032": _warning(N_("This line annotates a name and assigns nothing: was : meant to be =?")),
    "B033": _warning(N_("The set has the same item twice.")),
    "B035": _warning(N_("Each round writes the same key, so that only the last one is left.")),
    "PLE0100": _error(N_("__init__ cannot yield.")),
    "PLE0101": _error(N_("__init__ cannot return a value.")),
    "PLE0115": _error(N_("%(name)s cannot be both nonlocal and global.")),
    "PLE0117": _error(N_("%(name)s is nonlocal, and no function around this one has it.")),
    "PLE0118": _error(N_("%(name)s is used before it is declared global.")),
    "PLE0237": _error(N_("The class has no place for the attribute %(name)s: it is not in __slots__.")),
    "PLE0643": _error(N_("There is nothing at this place of the sequence.")),
    "PLE0704": _error(N_("A bare raise repeats the exception that is handled, and here is none.")),
    "PLE1142": _error(N_("await stands outside an async function. A strategy cannot wait for anything.")),
    "PLR0124": _warning(N_("A value is compared with itself.")),
    "PLR0133": _warning(N_("Two constants are compared: this is always the same.")),
    "PLW0127": _warning(N_("The variable %(name)s is assigned to itself.")),
    "PLW0128": _warning(N_("%(name)s is assigned twice at once: only the last one counts.")),
    "PLW0129": _warning(N_("An assertion of a text says nothing.")),
    "PLW0133": _warning(N_("The exception is made and not raised: `raise` is missing.")),
    "PLW0177": _warning(N_("Nothing is equal to NaN, not even NaN: use np.isnan.")),
    "PLW0245": _warning(N_("super needs its parentheses: super().")),
    "PLW0642": _warning(N_("self is assigned anew: everything that it held is out of reach.")),
    "PLW0711": _warning(N_("Of an `or` or `and` of exceptions only one is caught: use a tuple.")),
    "NPY001": _error(N_("numpy has no %(name)s any more: use Python's own type.")),
    "NPY003": _error(N_("numpy has no %(name)s any more: use %(replacement)s.")),
    "NPY201": _error(N_("numpy has no %(name)s any more.")),
    "N805": _warning(N_("The first argument of a method is self.")),
    "S311": _warning(N_("A strategy that draws lots decides otherwise each time: its results cannot be repeated.")),
    "NPY002": _warning(N_("A strategy that draws lots decides otherwise each time: its results cannot be repeated.")),
    "DTZ003": _warning(N_("The clock of the machine is not the market's: use the time of the candle.")),
    "DTZ005": _warning(N_("The clock of the machine is not the market's: use the time of the candle.")),
    "DTZ011": _warning(N_("The clock of the machine is not the market's: use the time of the candle.")),
}
#: Mistakes that only Python's own parser names; ruff says what it wants in its place.
SYNTAX: Final = _error(N_("This is no Python: %(problem)s"))
UNKNOWN: Final = _warning("%(problem)s")
