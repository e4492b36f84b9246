"""Where things stand in the user's source."""

import ast
from functools import cached_property


class Source:
    """Answers by line and column, counted from 1; 0 where there is nothing to point at."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _tree(self) -> ast.AST:
        return ast.parse(self._text)

    def class_named(self, name: str) -> ast.ClassDef | None:
        """Return a class of that name."""
        found = [node for node in ast.walk(self._tree) if isinstance(node, ast.ClassDef) and node.name == name]
        return found[-1] if found else None

    def place(self, class_name: str, attribute: str) -> tuple[int, int]:
        """Return where a method or class attribute is written, or where `self.attribute` is first assigned."""
        attribute = attribute.partition("[")[0]
        written = self.class_named(class_name)
        if written is not None:
            for statement in written.body:
                if attribute in _names(statement):
                    return statement.lineno, statement.col_offset + 1
        for node in ast.walk(self._tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and node.attr == attribute
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            ):
                return node.lineno, node.col_offset + 1
        return (written.lineno, written.col_offset + 1) if written is not None and not attribute else (0, 0)

    def anywhere(self, attribute: str) -> tuple[int, int]:
        """Return where an attribute is written in whichever class, or else where the last class begins; does not raise."""
        try:
            classes = [node for node in ast.walk(self._tree) if isinstance(node, ast.ClassDef)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return 0, 0
        for written in reversed(classes):
            place = self.place(written.name, attribute) if attribute else (0, 0)
            if place != (0, 0):
                return place
        return (classes[-1].lineno, classes[-1].col_offset + 1) if classes else (0, 0)

    def is_read(self, attribute: str) -> bool:
        """Return whether anything reads `.attribute`, or names it in a string for getattr."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr == attribute:
                return True
            if isinstance(node, ast.Constant) and node.value == attribute:
                return True
        return False

    def written_in(self, class_name: str) -> list[tuple[str, int, int]]:
        """Return (name, line, column) of what a class's body defines, in order."""
        written = self.class_named(class_name)
        if written is None:
            return []
        return [(name, node.lineno, node.col_offset + 1) for node in written.body for name in _names(node)]


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []
