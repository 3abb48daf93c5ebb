"""`--query`: pandas' DataFrame.query over a frame of results, of comparisons alone.

pandas would also look up Python variables (`@name`), read attributes and call methods. An expression is
therefore read first, and only columns, numbers, texts, comparisons, `and`, `or`, `not`, `in` and the four
operations of arithmetic are left of it; what pandas then gets is made of these.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING

from repro.errors import ParamsError
from repro.reports.columns import COUNT, NUMBER

if TYPE_CHECKING:
    from pandas import DataFrame

LONGEST = 1000  # characters
EXAMPLE = "--query 'gap < -1 and dataset == \"camvid\"'"
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_IN = (ast.In, ast.NotIn)
_COMPARED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, *_IN)


def queried(frame: DataFrame, expression: str) -> DataFrame:
    """The rows for which `expression` holds; ParamsError, with the columns, where it cannot be read."""
    from pandas.api.types import is_numeric_dtype

    numeric = {name: is_numeric_dtype(frame[name].dtype) for name in frame}
    condition = checked(expression, numeric)
    # Counts as floats: what is missing in them then meets `!=`, as it does in the other columns.
    counts = {name: NUMBER for name in frame if frame[name].dtype == COUNT}
    try:
        found = frame.astype(counts).query(condition, engine="python", local_dict={}, global_dict={})
        return frame.loc[found.index]
    except Exception as error:  # a text compared with a number: pandas raises a dozen kinds
        raise _refused(expression, str(error).splitlines()[0] if str(error) else "", numeric) from None


def checked(expression: str, numeric: Mapping[str, bool]) -> str:
    """`expression`, read and written again; `numeric` says of each column whether it holds numbers."""
    try:
        if len(expression) > LONGEST:
            raise ValueError(f"longer than {LONGEST} characters")
        tree = ast.parse(expression.strip(), mode="eval")
        _condition(tree.body, numeric)
        return ast.unparse(tree)
    except SyntaxError as error:
        raise _refused(expression, error.msg, numeric) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise _refused(expression, str(error) or type(error).__name__, numeric) from None


def _refused(expression: str, why: str, columns: Mapping[str, bool]) -> ParamsError:
    short = expression if len(expression) <= 100 else f"{expression[:100]}..."
    what = f"cannot read the query '{short}'" + (f": {why}" if why else "")
    return ParamsError(what, where="--query", allowed=", ".join(columns), hint=f"for example {EXAMPLE}")


def _condition(node: ast.expr, numeric: Mapping[str, bool]) -> None:
    """ValueError unless `node` says of each row whether it is wanted."""
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _condition(part, numeric)
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr(), right=right):
            _condition(left, numeric)
            _condition(right, numeric)
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=inner):
            _condition(inner, numeric)
        case ast.Compare():
            _comparison(node, numeric)
        case _:
            raise ValueError(f"'{_shown(node)}' is no comparison of a column")


def _comparison(node: ast.Compare, numeric: Mapping[str, bool]) -> None:
    if not any(isinstance(part, ast.Name) for part in ast.walk(node)):
        raise ValueError(f"'{_shown(node)}' names no column")
    _value(node.left, numeric)
    compared = [node.left]
    for sign, value in zip(node.ops, node.comparators, strict=True):
        if not isinstance(sign, _COMPARED):
            raise ValueError(f"'{_shown(node)}': compare with ==, !=, <, <=, >, >=, in or not in")
        if isinstance(sign, _IN) and isinstance(value, ast.List | ast.Tuple):
            for part in value.elts:
                _constant(part)
            compared += value.elts
        else:
            _value(value, numeric)
            compared.append(value)
    _one_kind(compared, numeric)


def _one_kind(compared: list[ast.expr], numeric: Mapping[str, bool]) -> None:
    """ValueError where a number meets a text: pandas would find no row, without a word."""
    numbers = {_shown(part): _is_number(part, numeric) for part in compared}
    if len(set(numbers.values())) == 2:
        number = next(text for text, yes in numbers.items() if yes)
        text = next(text for text, yes in numbers.items() if not yes)
        raise ValueError(f"{number} is a number, {text} is a text")


def _is_number(node: ast.expr, numeric: Mapping[str, bool]) -> bool:
    if isinstance(node, ast.Name):
        return numeric[node.id]
    return not (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _value(node: ast.expr, numeric: Mapping[str, bool]) -> None:
    """A column, a number, a text, or arithmetic of numbers."""
    match node:
        case ast.Name(id=name):
            if name not in numeric:
                raise ValueError(f"no column '{name}'")
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC):
            for part in (left, right):
                _number(part, numeric)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            _number(inner, numeric)
        case _:
            _constant(node)


def _number(node: ast.expr, numeric: Mapping[str, bool]) -> None:
    _value(node, numeric)
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    if text or (isinstance(node, ast.Name) and not numeric[node.id]):
        raise ValueError(f"'{_shown(node)}' is no number to calculate with")


def _constant(node: ast.expr) -> None:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
            pass
        case ast.Constant(value=value):
            pass
        case _:
            raise ValueError(f"'{_shown(node)}' is neither a column nor a number nor a text")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"'{_shown(node)}' is neither a column nor a number nor a text")


def _shown(node: ast.expr) -> str:
    return ast.unparse(node)[:60]
