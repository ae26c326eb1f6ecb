"""Prepared statements: composed with SQLAlchemy, compiled once for the dialect that is spoken, and then executed as text.

For what happens once an image: building, hashing and looking up a statement costs several times what the database needs for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

Values = Mapping[str, object]
"""Name of a bind parameter (for an insert: of a column) -> value."""


class Prepared:
    """A statement with named bind parameters; safe to share between threads."""

    def __init__(self, statement: UpdateBase | Select[Any], columns: Sequence[str] | None = None) -> None:
        """`columns`: those that an INSERT fills."""
        self._statement = statement
        self._columns = columns
        self._compiled = functools.lru_cache(maxsize=4)(self._compile)

    def execute(self, connection: Connection, values: Values) -> CursorResult[Any]:
        """Execute it once."""
        sql, bind = self._compiled(connection.dialect)
        return connection.exec_driver_sql(sql, bind(values))

    def execute_many(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Execute it for each row."""
        sql, bind = self._compiled(connection.dialect)
        connection.exec_driver_sql(sql, [bind(row) for row in rows])

    def _compile(self, dialect: Dialect) -> tuple[str, Callable[[Values], Any]]:
        compiled = self._statement.compile(dialect=dialect, column_keys=None if self._columns is None else list(self._columns))
        constants = compiled.params
        processors = [(name, parameter.type.dialect_impl(dialect).bind_processor(dialect)) for name, parameter in compiled.binds.items()]

        def bind(values: Values) -> dict[str, object]:
            given = ((name, values[name] if name in values else constants[name], process) for name, process in processors)
            return {name: process(value) if process else value for name, value, process in given}

        if not compiled.positional:
            return str(compiled), bind
        order = tuple(compiled.positiontup or ())

        def bind_in_order(values: Values) -> tuple[object, ...]:
            bound = bind(values)
            return tuple(bound[name] for name in order)

        return str(compiled), bind_in_order
