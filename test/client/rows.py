"""Prints the rows of a query as they come, each at once: rows.py libpq|psycopg CONNINFO QUERY.

Two ways in which applications read rows one by one: libpq's single-row mode, and psycopg's stream().
"""

import sys

import psycopg
from psycopg.pq import ExecStatus


def _libpq(conninfo, query):
    connection = psycopg.pq.PGconn.connect(conninfo.encode())
    connection.send_query(query.encode())
    connection.set_single_row_mode()
    while result := connection.get_result():
        if result.status == ExecStatus.SINGLE_TUPLE:
            yield result.get_value(0, 0).decode()
        elif result.status != ExecStatus.TUPLES_OK:
            raise SystemExit(result.error_message.decode())


def _psycopg(conninfo, query):
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        for (value,) in cursor.stream(query):
            yield psycopg.types.json.json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    read, conninfo, query = sys.argv[1:]
    for row in {"libpq": _libpq, "psycopg": _psycopg}[read](conninfo, query):
        print(row, flush=True)
