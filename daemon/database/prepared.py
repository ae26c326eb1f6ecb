"""Prepared statements: composed with SQLAlchemy, compiled once for the dialect that is spoken, then handed to the driver as text.

For what happens once an image: building, hashing, looking up and wrapping a statement costs several times what the database
needs for it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
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

    def rows(self, connection: Connection, values: Values) -> list[tuple[Any, ...]]:
        """Execute a SELECT, and return its rows as the driver gives them. Raises DBAPIError."""
        sql, bind = self._compiled(connection.dialect)
        with _cursor(connection, sql) as cursor:
            cursor.execute(sql, bind(values))
            return list(cursor.fetchall())

    def change(self, connection: Connection, *rows: Values) -> int:
        """Execute an INSERT or UPDATE for each row, and return how many rows the last one changed. Raises DBAPIError."""
        sql, bind = self._compiled(connection.dialect)
        changed = 0
        with _cursor(connection, sql) as cursor:
            for row in rows:
                cursor.execute(sql, bind(row))
                changed = cursor.rowcount
        return changed

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


@contextlib.contextmanager
def _cursor(connection: Connection, sql: str) -> Iterator[Any]:
    """The driver's cursor within the transaction of `connection`; its errors become SQLAlchemy's."""
    cursor = connection.connection.cursor()
    dbapi_error = connection.dialect.loaded_dbapi.Error
    try:
        yield cursor
    except dbapi_error as error:
        raise DBAPIError.instance(sql, None, error, dbapi_error, hide_parameters=True, dialect=connection.dialect) from error
    finally:
        cursor.close()
