"""Runs statements on one connection and prints all that the server says: statements.py CONNINFO FILE.

FILE has a JSON list of {"sql"} for the simple protocol, with "params" for the extended one, with "name" as a statement
prepared under that name, and "copy" for what COPY ... FROM STDIN reads. One line of JSON is printed for each: the
SQLSTATE, and the texts of errors and notices.
"""

import json
import sys

from psycopg.pq import DiagnosticField, ExecStatus, PGconn

FIELDS = [getattr(DiagnosticField, name) for name in
          ("MESSAGE_PRIMARY", "MESSAGE_DETAIL", "MESSAGE_HINT", "INTERNAL_QUERY", "CONTEXT")]


def texts(result):
    return [text.decode() for text in map(result.error_field, FIELDS) if text]


def encoded(params):
    return [None if param is None else param.encode() for param in params]


def send(connection, step):
    sql = step["sql"].encode()
    if "name" in step:
        name = step["name"].encode()
        result = connection.prepare(name, sql)
        return result if result.status == ExecStatus.FATAL_ERROR else \
            connection.exec_prepared(name, encoded(step["params"]))
    if "params" in step:
        return connection.exec_params(sql, encoded(step["params"]))
    return connection.exec_(sql)


def copy(connection, result, data):
    if result.status == ExecStatus.COPY_IN:
        connection.put_copy_data(data.encode())
        connection.put_copy_end()
    elif result.status == ExecStatus.COPY_OUT:
        while connection.get_copy_data(0)[0] > 0:
            pass
    else:
        return result
    return connection.get_result()


def run(connection, step, notices):
    notices.clear()
    result = copy(connection, send(connection, step), step.get("copy", ""))
    while connection.get_result() is not None:
        pass
    state = result.error_field(DiagnosticField.SQLSTATE)
    return {"state": state.decode() if state else "00000", "texts": notices + texts(result)}


def main():
    conninfo, file = sys.argv[1:]
    connection = PGconn.connect(conninfo.encode())
    if connection.error_message:
        raise SystemExit(connection.error_message.decode())
    notices = []
    connection.notice_handler = lambda result: notices.extend(texts(result))
    with open(file, encoding="utf-8") as steps:
        for step in json.load(steps):
            print(json.dumps(run(connection, step, notices)), flush=True)


if __name__ == "__main__":
    main()
