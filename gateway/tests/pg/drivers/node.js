// The workload in node-postgres: simple statements, parameters, prepared ones, an error, a refusal; or the variable STATEMENTS, one
// on each line.
const { Client } = require("pg");

// Rows as they are, with parameters, prepared, and in text and binary. COPY is not in this driver.
async function labelled(client, texts) {
  for (const text of texts.filter((text) => !text.startsWith("COPY"))) {
    for (const id of [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]) {
      const ways = [{ text: text.replace("$1", id) }, { text, values: [id] }, { text, values: [id], name: text }, { text, values: [id], binary: true }];
      for (const way of ways) {
        await client.query(way).then(
          (result) => console.log(JSON.stringify([result.fields.map((field) => [field.name, field.dataTypeID]), result.rows])),
          (error) => { console.log("error", error.code); console.error(error.message, error.detail); },
        );
      }
    }
  }
  await client.end();
}

async function main() {
  const client = new Client();
  await client.connect();
  if (process.env.STATEMENTS) return labelled(client, process.env.STATEMENTS.split("\n"));
  const one = async (text, values) => Object.values((await client.query(text, values)).rows[0]);
  console.log("count", await one("SELECT count(*) FROM orders"));
  let item;
  for (let number = 1; number <= 20; number++) {
    const result = await client.query({ name: "one", text: "SELECT item FROM orders WHERE id = $1", values: [number] });
    item = result.rows[0].item;
  }
  console.log("item", item);
  const types = "SELECT $1::int4 AS a, 2.5::float8 AS b, 'é' AS c, true AS d, NULL AS e, '\\x00ff'::bytea AS f, ARRAY[1, 2, 3] AS g, 1.10::numeric AS h";
  console.log("types", JSON.stringify(await one(types, [4])));
  await client.query("BEGIN");
  await client.query("INSERT INTO orders VALUES ($1, $2)", [5001, "rolled back"]);
  console.log("inside", await one("SELECT count(*) FROM orders"));
  await client.query("ROLLBACK");
  console.log("after", await one("SELECT count(*) FROM orders"));
  await client.query("SELECT 1/$1::int", [0]).catch((error) => console.log("error", error.code));
  const several = await client.query("SELECT 1 AS a; SELECT 2 AS a");
  console.log("several", several.map((result) => result.rows[0].a));
  await client.query(process.env.REFUSED).catch((error) => console.log("refused", error.code));
  await client.query({ text: process.env.REFUSED, values: [] }).catch((error) => console.log("refused", error.code));
  console.log("usable", await one("SELECT $1::text", ["usable"]));
  await client.end();
}

main().catch((error) => { console.log(error.message); process.exit(1); });
