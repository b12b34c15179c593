"""Small slips of the pen in a module, one at a time: what a mutation harness tries on the tests."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {"min": "max", "amin": "amax", "any": "all", "argmin": "argmax", "zeros": "ones"}
NAMES |= {new: old for old, new in NAMES.items()} | {"sum": "mean", "mean": "sum"}
# Annotations, decorators and messages are no behaviour that a test should pin down.
SKIPPED = {"annotation", "returns", "decorator_list", "exc", "msg"}


@dataclass(frozen=True)
class Mutant:
    """A module with one fault."""

    module: str
    line: int
    source: str  # the line as it stands
    fault: str  # before -> after
    code: str  # of the whole module


def faults(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """What may stand in a node's place by a slip of the pen."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
        if field == "value":  # of a keyword argument, where None often means "both"
            yield ast.Constant(None)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
    elif isinstance(node, ast.Name) and field == "func" and node.id in NAMES:
        yield ast.Name(NAMES[node.id], ast.Load())
    elif isinstance(node, ast.Attribute) and field == "func" and node.attr in NAMES:
        yield ast.Attribute(node.value, NAMES[node.attr], ast.Load())
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    if field == "test" and isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr):
        yield ast.UnaryOp(ast.Not(), node)


def mutants(module: str) -> Iterator[Mutant]:
    """Every fault of a module, in the order of its syntax tree."""
    text = (ROOT / f"clipworks/{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()

    def visit(parent: ast.AST) -> Iterator[Mutant]:
        for field, value in ast.iter_fields(parent):
            if field in SKIPPED or isinstance(parent, ast.JoinedStr):
                continue
            siblings = value if isinstance(value, list) else [value]
            for i, node in enumerate(siblings):
                if not isinstance(node, ast.AST):
                    continue
                for new in faults(node, field):
                    before, after = (" ".join(ast.unparse(n).split()) for n in (node, new))
                    _place(parent, field, i, new)
                    code = ast.unparse(ast.fix_missing_locations(tree))
                    _place(parent, field, i, node)
                    line = getattr(node, "lineno", 1)
                    yield Mutant(
                        module, line, lines[line - 1].strip(), f"{before} -> {after}", code
                    )
                yield from visit(node)

    yield from visit(tree)


def _place(parent: ast.AST, field: str, index: int, node: ast.AST) -> None:
    value = getattr(parent, field)
    if isinstance(value, list):
        value[index] = node
    else:
        setattr(parent, field, node)
