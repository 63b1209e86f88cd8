"""The workload in pg8000: named statements, types, a transaction, COPY, an error, a refusal.
Or the variable STATEMENTS, one on each line: with parameters, prepared and run ten times, and without."""
import io
import os
import sys
import pg8000.native

connection = pg8000.native.Connection(
    os.environ["PGUSER"], host=os.environ["PGHOST"], database=os.environ["PGDATABASE"])
Failure = pg8000.native.DatabaseError


def code(error):
    return error.args[0]["C"]


def show(run):
    try:
        rows = run()
        print([(column["name"], column["type_oid"]) for column in connection.columns or ()], rows)
    except Failure as error:
        print("error", code(error))
        print(error, file=sys.stderr)


def labelled(text):
    if text.startswith("COPY"):
        out = io.BytesIO()
        connection.run(text, stream=out)
        print(out.getvalue().decode())
        return
    named = text.replace("$1", ":id")
    for number in (1, 2, 3):
        show(lambda: connection.run(named, id=number))
        show(lambda: connection.run(text.replace("$1", str(number))))
    # What is denied is so when it is prepared; past the gateway the server says it each time.
    try:
        prepared = connection.prepare(named)
    except Failure:
        prepared = None
    for number in range(10):
        show(lambda: prepared.run(id=number % 3 + 1) if prepared else connection.run(named, id=number % 3 + 1))
    if prepared:
        prepared.close()


for statement in os.environ.get("STATEMENTS", "").splitlines():
    labelled(statement)
if "STATEMENTS" in os.environ:
    sys.exit()
one = lambda text, **values: connection.run(text, **values)[0]

print("count", one("SELECT count(*) FROM orders")[0])
prepared = connection.prepare("SELECT item FROM orders WHERE id = :id")
for number in range(1, 21):
    item = prepared.run(id=number)[0][0]
print("item", item)
print("types", one("SELECT :a ::int4, 2.5::float8, 'é', true, NULL, '\\x00ff'::bytea, '2020-01-02'::date, ARRAY[1, 2], 1.10::numeric", a=4))
connection.run("BEGIN")
connection.run("INSERT INTO orders VALUES (:a, :b)", a=5001, b="rolled back")
print("inside", one("SELECT count(*) FROM orders")[0])
connection.run("ROLLBACK")
print("after", one("SELECT count(*) FROM orders")[0])
try:
    one("SELECT 1 / :a ::int", a=0)
except Failure as error:
    print("error", code(error))
connection.run("CREATE TEMP TABLE copied (a int, b text)")
connection.run("COPY copied FROM STDIN", stream=io.BytesIO(b"".join(b"%d\trow\n" % number for number in range(100))))
out = io.BytesIO()
connection.run("COPY copied TO STDOUT", stream=out)
print("copied", len(out.getvalue()))
for values in ({}, {"a": 1}):
    try:
        connection.run(os.environ["REFUSED"] + (" WHERE :a = 1" if values else ""), **values)
    except Failure as error:
        print("refused", code(error))
print("usable", one("SELECT :a ::text", a="usable")[0])
connection.close()
