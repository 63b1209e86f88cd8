"""The workload in psycopg 3: text and binary, prepared statements, a pipeline, COPY, an error, a refusal.
Or the variable STATEMENTS, one on each line, in each of these ways."""
import os
import sys
import psycopg

connection = psycopg.connect(autocommit=True)


def shown(cursor):
    columns = cursor.description or ()
    print([(column.name, column.type_code) for column in columns], cursor.fetchall() if columns else None)


def together(text):
    """Three times in one pipeline; by a cursor of the server; ten times prepared."""
    with connection.pipeline():
        cursors = [connection.execute(text, [number], prepare=False) for number in (1, 2, 3)]
    for cursor in cursors:
        shown(cursor)
    with connection.transaction(), connection.cursor(name="served") as served:
        shown(served.execute(text, [1]))


def ten(text):
    for number in range(10):
        shown(connection.execute(text, [number % 3 + 1], prepare=True))


def labelled(text):
    if text.startswith("COPY"):
        with connection.cursor().copy(text) as copy:
            print(b"".join(bytes(block) for block in copy).decode())
        return
    text, simple = text.replace("$1", "%s"), text
    for number in (1, 2, 3):
        for options in ({}, {"binary": True}, {"prepare": True}, {"prepare": True, "binary": True}, None):
            try:
                if options is None:
                    cursor = connection.execute(simple.replace("$1", str(number)))
                else:
                    cursor = connection.execute(text, [number], **options)
                shown(cursor)
            except psycopg.Error as error:
                print("error", error.sqlstate)
                print(error, file=sys.stderr)
    for way in (together, ten):
        try:
            way(text)
        except psycopg.Error as error:
            print("error", error.sqlstate)
            print(error, file=sys.stderr)


for statement in os.environ.get("STATEMENTS", "").splitlines():
    labelled(statement)
if "STATEMENTS" in os.environ:
    sys.exit()
one = lambda text, *values, **options: connection.execute(text, values, **options).fetchone()

print("count", one("SELECT count(*) FROM orders")[0])
for number in range(1, 21):
    item = one("SELECT item FROM orders WHERE id = %s", number, prepare=True)[0]
print("item", item)
TYPES = "SELECT %s::int4, 2.5::float8, 'é', true, NULL, '\\x00ff'::bytea, '2020-01-02'::date, ARRAY[1, 2, 3], 1.10::numeric"
for binary in (False, True):
    print("types", connection.execute(TYPES, [4], binary=binary).fetchone())
try:
    with connection.transaction():
        connection.execute("INSERT INTO orders VALUES (%s, %s)", (5001, "rolled back"))
        print("inside", one("SELECT count(*) FROM orders")[0])
        raise psycopg.Rollback()
except psycopg.Rollback:
    pass
print("after", one("SELECT count(*) FROM orders")[0])
try:
    one("SELECT 1/%s", 0)
except psycopg.Error as error:
    print("error", error.sqlstate)
with connection.pipeline():
    cursors = [connection.execute("SELECT %s::int * 2", [number]) for number in range(50)]
print("pipeline", sum(cursor.fetchone()[0] for cursor in cursors))
connection.execute("CREATE TEMP TABLE copied (a int, b text)")
with connection.cursor().copy("COPY copied FROM STDIN") as copy:
    for number in range(100):
        copy.write_row((number, None if number == 7 else f"row {number}"))
with connection.cursor().copy("COPY copied TO STDOUT") as copy:
    print("copied", sum(len(bytes(block)) for block in copy))
with connection.transaction(), connection.cursor(name="served") as served:
    served.itersize = 7
    print("cursor", sum(row[0] for row in served.execute("SELECT id FROM orders WHERE id <= 50")))
try:
    connection.execute(os.environ["REFUSED"])
except psycopg.Error as error:
    print("refused", error.sqlstate)
print("usable", one("SELECT %s::text", "usable")[0])
