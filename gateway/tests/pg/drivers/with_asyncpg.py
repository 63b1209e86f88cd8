"""The workload in asyncpg: binary throughout, prepared statements, cursors, COPY, an error, a refusal.
Or the variable STATEMENTS, one on each line: prepared, in binary, and COPY."""
import asyncio
import io
import os
import sys
import asyncpg


async def labelled(connection, text):
    if text.startswith("COPY"):
        out, columns = io.BytesIO(), text[text.find("("):text.find(")")].strip("( ").split(", ") if "csv" in text else None
        csv = {"format": "csv", "header": True} | ({"force_quote": ["code", "born"]} if "FORCE_QUOTE" in text else {})
        await connection.copy_from_table(text.split()[1], columns=columns, output=out, **(csv if columns else {}))
        print(out.getvalue().decode())
        return
    async def served(number):
        async with connection.transaction():
            return [row async for row in connection.cursor(text, number, prefetch=1)]
    for number in range(11):
        try:
            rows = await (connection.fetch(text, number % 3 + 1) if number < 10 else served(1))
            print([[(name, type(value), value) for name, value in row.items()] for row in rows])
        except asyncpg.PostgresError as error:
            print("error", error.sqlstate)
            print(error, error.detail, file=sys.stderr)


async def main():
    connection = await asyncpg.connect()
    if "STATEMENTS" in os.environ:
        for statement in os.environ["STATEMENTS"].splitlines():
            await labelled(connection, statement)
        return
    print("count", await connection.fetchval("SELECT count(*) FROM orders"))
    statement = await connection.prepare("SELECT item FROM orders WHERE id = $1")
    for number in range(1, 21):
        item = await statement.fetchval(number)
    print("item", item)
    print("types", tuple(await connection.fetchrow(
        "SELECT $1::int4, 2.5::float8, 'é', true, NULL, '\\x00ff'::bytea, '2020-01-02'::date, ARRAY[1, 2, 3], 1.10::numeric", 4)))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO orders VALUES ($1, $2)", 5001, "rolled back")
    print("inside", await connection.fetchval("SELECT count(*) FROM orders"))
    await transaction.rollback()
    print("after", await connection.fetchval("SELECT count(*) FROM orders"))
    try:
        await connection.fetchval("SELECT 1/$1::int", 0)
    except asyncpg.PostgresError as error:
        print("error", error.sqlstate)
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("SELECT id FROM orders WHERE id <= 50", prefetch=7):
            total += row[0]
        print("cursor", total)
    await connection.execute("CREATE TEMP TABLE copied (a int, b text)")
    await connection.copy_records_to_table("copied", records=[(number, f"row {number}") for number in range(100)])
    out = io.BytesIO()
    await connection.copy_from_query("SELECT * FROM copied WHERE a < $1", 50, output=out)
    print("copied", len(out.getvalue()))
    await connection.executemany("INSERT INTO copied VALUES ($1, $2)", [(1, "x"), (2, "y")])
    print("many", await connection.fetchval("SELECT count(*) FROM copied"))
    try:
        await connection.execute(os.environ["REFUSED"])
    except asyncpg.PostgresError as error:
        print("refused", error.sqlstate)
    try:
        await connection.fetch(os.environ["REFUSED"])
    except asyncpg.PostgresError as error:
        print("refused", error.sqlstate)
    print("usable", await connection.fetchval("SELECT $1::text", "usable"))
    await connection.close()


asyncio.run(main())
