--# Function and operator tricks.

-- denied
SELECT pg_read_file('/etc/passwd');

-- denied
SELECT pg_catalog.pg_ls_dir('/');

-- denied
SELECT * FROM pg_read_file('/etc/passwd');

-- denied
SELECT (pg_stat_file('/etc/passwd')).size;

-- denied
SELECT lo_import('/etc/passwd');

-- denied
SELECT lo_export(1, '/tmp/gateway-never');

-- held
SELECT dblink('dbname=postgres', 'DROP TABLE orders');

-- held
SELECT dblink_exec('dbname=postgres', 'DROP TABLE orders');

-- denied
SELECT pg_terminate_backend(pid) FROM pg_locks;

-- denied
SELECT pg_cancel_backend(1);

-- denied
SELECT pg_reload_conf(), pg_rotate_logfile();

-- denied
SELECT pg_switch_wal();

-- denied
SELECT pg_create_restore_point('x');

-- denied
SELECT pg_drop_replication_slot('x');

-- denied
SELECT pg_file_write('x', 'y', false);

-- denied
SELECT pg_promote();

-- held
SELECT query_to_xml('DELETE FROM orders', true, true, '');

-- held
SELECT database_to_xml(true, true, '');

-- held
SELECT ts_stat('SELECT 1');

-- held
SELECT wipes();

-- held
SELECT * FROM wipes();

-- held
SELECT public.wipes() FROM orders LIMIT 1;

-- held
SELECT 1 WHERE wipes() IS NULL;

-- held
SELECT id FROM orders ORDER BY wipes() LIMIT 1;

-- held
SELECT count(wipes()) FROM orders;

-- held
INSERT INTO notes SELECT wipes()::text;

-- held
UPDATE notes SET a = wipes()::text WHERE a = 'x';

-- held
VALUES (wipes());

-- held
SELECT CASE WHEN true THEN wipes() END;

-- held
SELECT coalesce(NULL, wipes());

-- held
SELECT (ARRAY[wipes()])[1];

-- held
CALL wiping();

-- held
SELECT 1 !!! 1;

-- held
SELECT id FROM orders ORDER BY id USING !!!;

-- held
SELECT 1 WHERE 1 !!! ANY (SELECT 1);

-- held
SELECT n + 1 FROM notes n;

-- held: of which types it is, no text shows; while somebody has such an operator, each one is theirs
SELECT 1 + 1;

-- held
SELECT 1 OPERATOR(public.!!!) 1;

-- held: the server has one of that name too, of which the arguments fit less
SELECT initcap('a'::varchar);

-- held
SELECT count(*) FROM orders WHERE initcap(item::varchar) = 'x';

-- held: a name that only newer servers have
SELECT uuidv7('x');

-- passes: the server's own
SELECT pg_catalog.initcap('a');

-- held
SELECT n.wiped FROM notes n;

-- held
SELECT (n).wiped FROM notes n;

-- held
SELECT wiped(n) FROM notes n;

-- held
SELECT wipes(VARIADIC ARRAY[]::int[]);

-- held
EXPLAIN ANALYZE SELECT wipes();

-- held
PREPARE w AS SELECT wipes();
EXECUTE w;

-- held
DECLARE w CURSOR WITH HOLD FOR SELECT wipes();

-- held
COPY (SELECT wipes()) TO STDOUT;

-- held
COPY notes FROM STDIN WHERE wipes() IS NULL;

-- held
CREATE TEMP TABLE mine AS SELECT wipes();

-- held
CREATE TEMP TABLE mine (a int DEFAULT wipes());
INSERT INTO mine DEFAULT VALUES;

-- held
CREATE TEMP VIEW mine AS SELECT wipes();
SELECT * FROM mine;

-- held
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'DELETE FROM orders RETURNING 1';
SELECT pg_temp.f();

-- held
CREATE RULE r AS ON SELECT TO notes DO INSTEAD SELECT 'x'::text AS a;

-- held
CREATE TRIGGER t BEFORE INSERT ON notes EXECUTE FUNCTION suppress_redundant_updates_trigger();

-- held
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION wipes();

-- denied
CREATE EXTENSION IF NOT EXISTS dblink;

-- denied
CREATE LANGUAGE plpython3u;

-- denied
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;

-- denied
CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p;

-- denied
CREATE PUBLICATION p FOR ALL TABLES;

-- denied
COPY orders TO PROGRAM 'cat';

-- denied
COPY orders TO '/tmp/gateway-never';

-- denied
COPY notes FROM '/etc/passwd';

-- denied
COPY notes FROM PROGRAM 'id';

-- denied
GRANT ALL ON orders TO PUBLIC;

-- denied
ALTER USER agent SUPERUSER;

-- denied
CREATE ROLE evil LOGIN SUPERUSER;

-- denied
INSERT INTO pg_catalog.pg_proc SELECT * FROM pg_proc LIMIT 0;

-- denied
DELETE FROM pg_catalog.pg_class WHERE oid = 0;

-- denied
UPDATE pg_database SET datallowconn = false WHERE datname = 'x';

-- held
ALTER TABLE orders DISABLE TRIGGER ALL;

-- held
ALTER TABLE orders OWNER TO postgres;

-- denied
VACUUM FULL orders;

-- denied
REINDEX TABLE orders;

-- denied
CHECKPOINT;

-- passes
SELECT upper('a') || lower('B'), abs(-1), now() IS NOT NULL, 1 - 1, 'a' LIKE 'b', ARRAY[1] @> ARRAY[1];

-- passes
SELECT count(*), max(id), string_agg(item, ',' ORDER BY id) FROM orders WHERE id < 4;

-- passes
SELECT pg_typeof(1), pg_size_pretty(1024::bigint), format('%s', 'x');
