"""The statement scanner, without an engine."""

from __future__ import annotations

import pytest

from deploy.local.engine.statement import Insert, read_insert, read_statement, whole_insert, with_own_query_id


@pytest.mark.parametrize(
    ("sql", "kind", "name"),
    [
        (b"SELECT 1 FORMAT JSON", "SELECT", "JSON"),
        (b"select 1 format csv;", "SELECT", "csv"),
        (b"SELECT 1 FORMAT Native SETTINGS max_threads = 1", "SELECT", "Native"),
        (b"SELECT 'FORMAT JSON'", "SELECT", ""),
        (b"SELECT 1 -- FORMAT JSON", "SELECT", ""),
        (b"SELECT (SELECT 1 AS FORMAT) AS x", "SELECT", ""),
        (b"SELECT a FROM t ORDER BY format DESC", "SELECT", ""),
        (b"/* a */ WITH 1 AS x SELECT x FORMAT TSV", "WITH", "TSV"),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT TSV", "(", "TSV"),
        (b"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT", ""),
        (b"  ", "", ""),
    ],
)
def test_kind_and_format(sql: bytes, kind: str, name: str) -> None:
    """The first word tells the kind; FORMAT counts only outside strings, comments and brackets, at the end."""
    statement = read_statement(sql)
    assert (statement.kind, statement.format) == (kind, name)


def test_many_statements_are_told_from_a_last_semicolon() -> None:
    """A semicolon at the end is fine, a statement behind it is not."""
    assert read_statement(b"SELECT 1; SELECT 2").many
    assert not read_statement(b"SELECT ';' ; -- end").many


@pytest.mark.parametrize(
    ("sql", "target", "name", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2", b"INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV \r\n1", b"INSERT INTO t ", "CSV", b"1"),
        (b"INSERT INTO `a FORMAT b` (x) VALUES (1)", b"INSERT INTO `a FORMAT b` (x) ", "Values", b" (1)"),
        (b"insert into values values (1)", b"insert into values ", "Values", b" (1)"),
        (b"INSERT INTO d.t (`format`) SETTINGS a = 1 FORMAT Native\n\n\xff", None, "Native", b"\n\xff"),
        (b"INSERT INTO FUNCTION null('a Int8') VALUES (1)", None, "Values", b" (1)"),
        (b"INSERT INTO TABLE t FORMAT TSV", b"INSERT INTO TABLE t ", "TSV", b""),
    ],
)
def test_where_an_inserts_data_begin(sql: bytes, target: bytes | None, name: str, data: bytes) -> None:
    """FORMAT's line ends the statement, and not one byte behind it is lost or read."""
    insert = whole_insert(sql)
    assert insert is not None
    assert (insert.format, sql[insert.data_at :]) == (name, data)
    assert target is None or insert.target == target


@pytest.mark.parametrize("sql", [b"INSERT INTO t SELECT 1", b"SELECT 1", b"CREATE TABLE t (a Int8)"])
def test_other_statements_have_no_data(sql: bytes) -> None:
    """INSERT SELECT and everything else goes to the engine as it is."""
    assert read_insert(sql + b" ") is None


@pytest.mark.parametrize("length", range(1, 32))
def test_a_cut_statement_is_incomplete(length: int) -> None:
    """A body may arrive in pieces of any size."""
    whole = b"INSERT INTO t (`a`) FORMAT Native\n\x01"
    found = read_insert(whole[:length])
    assert found == "incomplete" or (isinstance(found, Insert) and found.format == "Native")


def test_kill_query_means_the_clients_id() -> None:
    """Only the identifier is replaced, no string."""
    sql = with_own_query_id(b"KILL QUERY WHERE query_id = 'query_id'")
    assert sql.startswith(b"KILL QUERY WHERE coalesce(")
    assert sql.endswith(b"= 'query_id'")
