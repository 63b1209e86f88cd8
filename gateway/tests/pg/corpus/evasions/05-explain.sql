--# EXPLAIN spellings: what is explained may run, and its plan tells what it would do.

-- denied
EXPLAIN ANALYZE DELETE FROM orders;

-- denied
EXPLAIN (ANALYZE) DELETE FROM orders;

-- denied
EXPLAIN (ANALYZE true, COSTS off) DELETE FROM orders;

-- denied
EXPLAIN (ANALYZE 1) UPDATE orders SET item = 'x';

-- denied
EXPLAIN (ANALYZE 'on') UPDATE orders SET item = 'x';

-- denied
EXPLAIN (analyze off, analyze on) DELETE FROM orders;

-- denied
EXPLAIN ("analyze") DELETE FROM orders;

-- denied
EXPLAIN ANALYZE VERBOSE DELETE FROM orders;

-- denied
explain analyse delete from orders;

-- denied
EXPLAIN DELETE FROM orders;

-- denied
EXPLAIN (ANALYZE, FORMAT json) WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone;

-- held
EXPLAIN ANALYZE CREATE TABLE made AS SELECT 1;

-- denied
EXPLAIN ANALYZE SELECT pg_read_file('/etc/passwd');

-- denied
EXPLAIN ANALYZE SELECT * FROM pg_authid;

-- denied
EXPLAIN SELECT * FROM pg_authid;

-- denied
PREPARE gone AS DELETE FROM orders;
EXPLAIN ANALYZE EXECUTE gone;

-- denied
EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT pg_read_file('x');

-- denied
EXPLAIN (ANALYZE, SERIALIZE) DELETE FROM orders;

-- denied
EXPLAIN EXPLAIN DELETE FROM orders;

-- passes
EXPLAIN (COSTS off) SELECT 1;

-- passes
EXPLAIN (COSTS off) SELECT * FROM orders WHERE id = 1;

-- passes
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT 1;
