-- The workload in psql: simple statements, prepared ones, COPY, an error, a refusal.
\pset null '(null)'
SELECT 'count', count(*) FROM orders;
PREPARE one (int) AS SELECT item FROM orders WHERE id = $1;
EXECUTE one(1);
EXECUTE one(20);
SELECT 4::int4, 2.5::float8, 'é', true, NULL, '\x00ff'::bytea, '2020-01-02'::date, ARRAY[1, 2, 3], 1.10::numeric;
BEGIN;
INSERT INTO orders VALUES (5001, 'rolled back');
SELECT 'inside', count(*) FROM orders;
ROLLBACK;
SELECT 'after', count(*) FROM orders;
SELECT 1/0;
\echo error :LAST_ERROR_SQLSTATE
SELECT sum(g) FROM generate_series(1, 10000) g;
CREATE TEMP TABLE copied (a int, b text);
COPY copied FROM STDIN;
1	one
2	\N
\.
\copy copied FROM PROGRAM 'printf "3\tthree\n"'
COPY copied TO STDOUT;
\set FETCH_COUNT 7
SELECT id FROM orders ORDER BY id LIMIT 20;
\unset FETCH_COUNT
:refused;
\echo refused :LAST_ERROR_SQLSTATE
SELECT 'usable';
