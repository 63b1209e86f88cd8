--# Views, materialized views, rules, partitions, children, generated columns.

-- masked
SELECT code FROM plain_view WHERE id = 1;

-- masked
SELECT * FROM plain_view;

-- masked
SELECT code FROM nested_view WHERE id = 1;

-- masked
SELECT upper(code) FROM nested_view WHERE id = 1;

-- masked
SELECT mixed FROM computed_view WHERE id = 1;

-- masked
SELECT s FROM barrier_view;

-- masked
SELECT s FROM union_view LIMIT 3;

-- masked
SELECT * FROM star_view WHERE id = 1;

-- masked
SELECT mail FROM joined_view LIMIT 2;

-- masked
SELECT ssn FROM stored_view WHERE id = 1;

-- masked
SELECT loud FROM stored_view WHERE id = 1;

-- masked
SELECT s FROM chain_view;

-- masked
SELECT v FROM plain_view v WHERE id = 1;

-- masked
SELECT row_to_json(v) FROM star_view v WHERE id = 1;

-- masked
SELECT ssn FROM people;

-- masked
SELECT ssn FROM people_low;

-- masked
SELECT ssn FROM people_rest;

-- masked
SELECT ssn || '' FROM people_rest;

-- masked
SELECT ssn, email FROM child;

-- masked
SELECT c::customers FROM child c;

-- masked
SELECT (c::customers).ssn FROM child c;

-- masked
SELECT initial, upper(initial) FROM customers WHERE id = 1;

-- passes: the condition is that of who made the view
SELECT id FROM comparing_view;

-- denied
SELECT id FROM plain_view WHERE code > '0';

-- denied
SELECT id FROM computed_view WHERE mixed LIKE 'q%';

-- denied
SELECT id FROM stored_view ORDER BY ssn;

-- denied
SELECT e.id FROM union_view e WHERE e.s = 'x';

-- denied
INSERT INTO ruled VALUES (1);

-- denied
CREATE VIEW fresh AS SELECT ssn AS s FROM customers;
SELECT s FROM fresh;

-- denied
CREATE TEMP VIEW fresh AS SELECT ssn AS s FROM customers;
SELECT s FROM fresh;

-- denied
BEGIN;
CREATE VIEW in_transaction AS SELECT ssn AS s FROM customers;
SELECT s FROM in_transaction;
ROLLBACK;

-- denied
CREATE MATERIALIZED VIEW fresh AS SELECT ssn FROM customers;
SELECT * FROM fresh;

-- denied
CREATE OR REPLACE VIEW harmless_view AS SELECT id, ssn AS name FROM customers;
SELECT name FROM harmless_view;

-- denied
CREATE RULE "_RETURN" AS ON SELECT TO copies DO INSTEAD SELECT ssn AS a, 1 AS b FROM customers;
SELECT a FROM copies;

-- denied
ALTER TABLE customers ADD COLUMN g text GENERATED ALWAYS AS (reverse(ssn)) STORED;
SELECT g FROM customers;

-- held
ALTER TABLE customers ADD COLUMN d text DEFAULT (SELECT 'x');
SELECT d FROM customers;

-- held
CREATE TABLE par (LIKE people) PARTITION BY LIST (id);
ALTER TABLE par ATTACH PARTITION people_low DEFAULT;
SELECT ssn FROM par;

-- held
CREATE TABLE grandchild () INHERITS (customers);
SELECT * FROM grandchild;

-- passes
SELECT id, name FROM plain_view ORDER BY id;

-- passes
SELECT one, id FROM computed_view ORDER BY id;

-- passes
SELECT what FROM joined_view WHERE id = 2;

-- passes
SELECT id FROM people ORDER BY id;

-- passes
SELECT extra, name FROM child;

-- passes
SELECT id FROM stored_view ORDER BY id;

-- passes
SELECT id FROM chain_view ORDER BY id;
