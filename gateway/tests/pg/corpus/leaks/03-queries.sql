--# Subqueries, CTEs, set operations, joins, VALUES, LATERAL.

-- masked
SELECT (SELECT ssn FROM customers WHERE id = 1);

-- masked
SELECT (SELECT (SELECT ssn FROM customers WHERE id = 1));

-- masked
SELECT z FROM (SELECT ssn AS z FROM customers WHERE id = 1) s;

-- masked
SELECT s.y FROM (SELECT * FROM (SELECT ssn AS z FROM customers WHERE id = 1) t) s (y);

-- masked
WITH q AS (SELECT ssn AS z FROM customers WHERE id = 1) SELECT z FROM q;

-- masked
WITH q (y) AS (SELECT ssn FROM customers WHERE id = 1) SELECT y FROM q;

-- masked
WITH q AS MATERIALIZED (SELECT * FROM customers) SELECT * FROM q WHERE id = 1;

-- masked
WITH a AS (SELECT ssn FROM customers WHERE id = 1), b AS (SELECT * FROM a), c AS (TABLE b) SELECT * FROM c;

-- masked
WITH RECURSIVE r AS (SELECT 1 AS n, ssn FROM customers WHERE id = 1 UNION ALL SELECT n + 1, ssn FROM r WHERE n < 3) SELECT * FROM r;

-- masked
WITH RECURSIVE r (n, s) AS (SELECT 1, ''::text UNION ALL SELECT n + 1, (SELECT ssn FROM customers WHERE id = 1) FROM r WHERE n < 3) SELECT * FROM r;

-- masked
WITH RECURSIVE a AS (SELECT ssn FROM customers WHERE id = 1), b AS (SELECT ssn FROM a UNION ALL SELECT 'x') SELECT * FROM b;

-- masked
WITH events AS (SELECT ssn AS what FROM customers WHERE id = 1) SELECT what FROM events;

-- masked
WITH customers AS (SELECT id, ssn AS name FROM customers WHERE id = 1) SELECT name FROM customers;

-- masked
SELECT * FROM (WITH q AS (SELECT ssn FROM customers WHERE id = 1) SELECT * FROM q) s;

-- masked
SELECT ssn FROM customers WHERE id = 1 UNION ALL SELECT NULL;

-- masked
SELECT what FROM events WHERE id = 1 UNION ALL SELECT ssn FROM customers WHERE id = 1;

-- denied
SELECT NULL::text WHERE false UNION SELECT ssn FROM customers WHERE id = 1;

-- denied
SELECT ssn FROM customers EXCEPT SELECT 'x';

-- denied
SELECT ssn FROM customers INTERSECT SELECT ssn FROM people;

-- masked
(SELECT ssn FROM customers WHERE id = 1) UNION ALL (SELECT name FROM customers) UNION ALL (SELECT what FROM events);

-- masked
SELECT name, id FROM customers UNION ALL SELECT ssn, salary FROM customers;

-- masked
VALUES ((SELECT ssn FROM customers WHERE id = 1)), ('x');

-- masked
SELECT * FROM (VALUES (1, (SELECT email FROM customers WHERE id = 1))) v (a, b);

-- masked
SELECT l.z FROM events o, LATERAL (SELECT c.ssn AS z FROM customers c WHERE c.id = o.customer) l WHERE o.id = 2;

-- masked
SELECT l.* FROM customers c CROSS JOIN LATERAL (SELECT c.email || 'x' AS z) l WHERE c.id = 1;

-- masked
SELECT x FROM customers c, LATERAL (VALUES (c.ssn)) v (x) WHERE c.id = 1;

-- denied
SELECT u FROM customers c, LATERAL unnest(ARRAY[c.ssn]) u WHERE c.id = 1;

-- denied
SELECT * FROM customers c, LATERAL regexp_split_to_table(c.ssn, '-') r WHERE c.id = 1;

-- denied
SELECT * FROM customers c, LATERAL jsonb_each_text(c.notes) n WHERE c.id = 1;

-- denied
SELECT * FROM customers c, LATERAL jsonb_to_record(c.notes) AS r (secret text) WHERE c.id = 1;

-- masked
SELECT c.ssn, d.email FROM customers c JOIN customers d ON d.id = c.id WHERE c.id = 1;

-- masked
SELECT c.ssn FROM customers c LEFT JOIN events e ON e.customer = c.id WHERE c.id = 1 LIMIT 1;

-- masked
SELECT ssn FROM customers FULL JOIN (SELECT 1 AS id) q USING (id) WHERE id = 1;

-- masked
SELECT * FROM customers c CROSS JOIN (SELECT 1 one) x WHERE c.id = 1;

-- masked
SELECT e.what, (SELECT c.ssn FROM customers c WHERE c.id = e.customer) FROM events e WHERE e.id = 2;

-- masked
SELECT ARRAY(SELECT ssn FROM customers WHERE id = 1);

-- masked
SELECT (SELECT array_agg(ssn) FROM customers);

-- masked
SELECT (ARRAY(SELECT email FROM customers WHERE id = 1))[1];

-- masked
SELECT (SELECT ROW(ssn, email) FROM customers WHERE id = 1);

-- masked
SELECT (SELECT c FROM customers c WHERE id = 1).ssn;

-- masked
SELECT EXISTS (SELECT ssn FROM customers WHERE id = 1), (SELECT ssn FROM customers WHERE id = 1);

-- masked
SELECT (SELECT x FROM (SELECT c.email AS x) s, (SELECT 1) c) FROM customers c WHERE id = 1;

-- masked
SELECT (SELECT x FROM (SELECT c.email AS x) s, events c LIMIT 1) FROM customers c WHERE c.id = 1;

-- masked
SELECT a.ssn FROM (customers a JOIN events b ON a.id = b.customer) WHERE b.id = 2;

-- masked
SELECT ssn FROM customers TABLESAMPLE BERNOULLI (100) WHERE id = 1;

-- masked
SELECT ssn FROM customers WHERE id = 1 FOR SHARE;

-- masked
SELECT ssn FROM customers ORDER BY id LIMIT 1 OFFSET 0;

-- masked
SELECT ssn FROM customers ORDER BY id FETCH FIRST 1 ROW WITH TIES;

-- masked
SELECT DISTINCT ON (id) id, ssn FROM customers;

-- masked
WITH q AS (UPDATE customers SET name = name WHERE id = 1 RETURNING ssn, email) SELECT * FROM q;

-- masked
WITH q AS (SELECT 1) SELECT ssn FROM customers, q WHERE id = 1;

-- masked from 14
WITH RECURSIVE t (n, s) AS (SELECT 1, email FROM customers WHERE id = 1 UNION ALL SELECT n + 1, s FROM t WHERE n < 2) SEARCH DEPTH FIRST BY n SET o SELECT * FROM t;

-- passes
SELECT e.what FROM events e WHERE e.customer IN (SELECT id FROM customers) ORDER BY e.id;

-- passes
WITH q AS (SELECT id, name FROM customers) SELECT * FROM q ORDER BY id;

-- passes
SELECT name FROM (SELECT name, id FROM customers) s WHERE s.id = 1;

-- passes: the subquery reads a label, the outer query takes another column of it
SELECT n FROM (SELECT name AS n, ssn FROM customers WHERE id = 1) s;

-- passes
SELECT c.name, e.n FROM customers c JOIN LATERAL (SELECT count(*) n FROM events e WHERE e.customer = c.id) e ON true ORDER BY c.id;

-- passes
SELECT name FROM customers UNION ALL SELECT what FROM events WHERE id < 3 ORDER BY 1;

-- passes
SELECT EXISTS (SELECT ssn FROM customers WHERE id = 1);
