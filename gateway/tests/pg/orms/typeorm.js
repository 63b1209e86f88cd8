// Rows read and saved by TypeORM: save() writes what changed, update() what it is given.
"use strict";
const { DataSource, EntitySchema } = require("typeorm");

const id = { type: "int", primary: true };
const Person = new EntitySchema({
  name: "Person", tableName: "people",
  columns: { id, name: { type: "text" }, ssn: { type: "text" }, salary: { type: "int" } },
});
const Pay = new EntitySchema({
  name: "Pay", tableName: "pays", columns: { id, note: { type: "text" }, salary: { type: "int" } },
});
const { PGHOST: host, PGDATABASE: database, PGUSER: username } = process.env;
const source = new DataSource({ type: "postgres", host, database, username, entities: [Person, Pay] });

const works = {
  async changed(people) {
    const person = await people.findOneByOrFail({ id: 1 });
    console.log("read", person.ssn, person.salary);
    person.name = "changed by typeorm";
    await people.save(person);
  },
  async whole(people) {
    const { id, ...all } = await people.findOneByOrFail({ id: 1 });
    await people.update(id, { ...all, name: "whole" });
  },
  async numbers(_, pays) {
    const { id, ...all } = await pays.findOneByOrFail({ id: 1 });
    await pays.update(id, { ...all, note: "whole" });
  },
  async copied(people) {
    const person = await people.findOneByOrFail({ id: 1 });
    await people.insert({ ...person, id: 2 });
  },
  async in_bulk(people) {
    await people.upsert(await people.find(), ["id"]);
  },
};

(async () => {
  await source.initialize();
  for (const [what, work] of Object.entries(works)) {
    try {
      await work(source.getRepository(Person), source.getRepository(Pay));
      console.log(what, "saved");
    } catch (error) {
      console.log(what, error.code, error.message);
    }
  }
  await source.destroy();
})();
