import ast
from pathlib import Path

import remit_agent

BUDGET = 500


def test_the_library_stays_small():
    """A user reads it before trusting it with a key. Comments and docstrings do not count."""
    lines = sum(code_lines(file.read_text()) for file in Path(remit_agent.__file__).parent.glob("*.py"))
    assert 200 <= lines < BUDGET


def code_lines(text):
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and not line.strip().startswith("#") and number not in documented)
