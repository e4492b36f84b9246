"""Which pages are looked at in which of two looks: a width with a theme or a language."""

from tests.ui import sample_views


def is_turn(name: str, look: int, *, is_full: bool) -> bool:
    """Whether a page is looked at in look 0 or 1.

    Both if it stands alone; variants of a page (`portfolio-empty`), which share most of their parts with it and each other, take turns.
    """
    variants = sorted(other for other in sample_views.pages() if other.split("-")[0] == name.split("-")[0])
    return is_full or len(variants) == 1 or variants.index(name) % 2 == look
