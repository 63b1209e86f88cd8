--# Functions: of users, built-in ones that read by name, table functions.

-- denied
SELECT ssn_of(1);

-- denied
SELECT defined(1);

-- denied
SELECT * FROM all_of();

-- denied
SELECT * FROM set_of();

-- denied
SELECT (set_of()).ssn;

-- denied
SELECT dynamic('SELECT ssn FROM customers WHERE id = 1');

-- denied
SELECT untrusted(1);

-- denied
SELECT shouts(email) FROM customers WHERE id = 1;

-- denied
SELECT 1 #@# 1;

-- denied
SELECT 1 OPERATOR(public.#@#) 1;

-- denied
SELECT glued(name) FROM customers;

-- denied
SELECT query_to_xml('SELECT ssn FROM customers', true, false, '');

-- denied
SELECT table_to_xml('customers', true, false, '');

-- denied
SELECT schema_to_xml('public', true, false, '');

-- denied
SELECT database_to_xml(true, false, '');

-- denied
SELECT query_to_xml_and_xmlschema('SELECT ssn FROM customers', true, false, '');

-- denied
BEGIN;
DECLARE x CURSOR FOR SELECT ssn FROM customers;
SELECT cursor_to_xml('x', 10, true, false, '');
COMMIT;

-- denied
SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', email) FROM customers');

-- denied
SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, plainto_tsquery(''simple'', email) FROM customers WHERE id = 1');

-- denied
SELECT * FROM dblink('dbname=postgres', 'SELECT ssn FROM customers') AS t (x text);

-- denied
SELECT dblink_connect('dbname=postgres');

-- denied
SELECT pg_read_file('PG_VERSION'), pg_read_binary_file('PG_VERSION');

-- denied
SELECT pg_read_binary_file(pg_relation_filepath('customers'));

-- denied
SELECT pg_ls_dir('.');

-- denied
SELECT pg_stat_file('PG_VERSION');

-- denied
SELECT get_raw_page('customers', 0);

-- denied
SELECT lo_import('/etc/hostname');

-- denied
SELECT lo_export(4711, '/tmp/gateway-never');

-- denied
SELECT lo_from_bytea(0, ssn::bytea) FROM customers WHERE id = 1;

-- denied
SELECT lo_put(4711, 0, ssn::bytea) FROM customers WHERE id = 1;

-- denied
SELECT convert_from(lo_get(4711), 'UTF8');

-- denied
SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL);

-- denied
SELECT pg_create_logical_replication_slot('s', 'test_decoding');

-- denied
DO $$ BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers WHERE id = 1); END $$;

-- denied
DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM customers LOOP RAISE WARNING '%', r; END LOOP; END $$;

-- denied
CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers WHERE id = 1';
SELECT pg_temp.f();

-- denied
CREATE FUNCTION fresh() RETURNS SETOF customers LANGUAGE sql BEGIN ATOMIC SELECT * FROM customers; END;
SELECT * FROM fresh();

-- denied
CREATE PROCEDURE fresh() LANGUAGE sql AS 'SELECT ssn FROM customers';
CALL fresh();

-- denied
BEGIN;
CREATE FUNCTION pg_temp.rc() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor := 'rr'; BEGIN OPEN r FOR SELECT ssn FROM customers; RETURN r; END $$;
SELECT pg_temp.rc();
FETCH ALL FROM rr;
ROLLBACK;

-- denied
CREATE AGGREGATE gather (text) (sfunc = textcat, stype = text);
SELECT gather(ssn) FROM customers;

-- denied
CREATE OPERATOR ### (leftarg = text, rightarg = text, function = textcat);
SELECT ssn ### '' FROM customers;

-- denied
CREATE CAST (customers AS int) WITH FUNCTION ssn_of(int);

-- scrubbed
INSERT INTO noisy VALUES (1);

-- masked
SELECT generate_series(1, 2), ssn FROM customers WHERE id = 1;

-- denied
SELECT regexp_split_to_table(ssn, '-') FROM customers WHERE id = 1;

-- denied
SELECT unnest(tags) FROM customers WHERE id = 1;

-- denied
SELECT generate_series(1, salary) FROM customers WHERE id = 1 LIMIT 3;

-- denied
SELECT * FROM generate_series(1, (SELECT salary FROM customers WHERE id = 1)) LIMIT 3;

-- denied
SELECT jsonb_object_keys(notes), jsonb_array_elements(notes->'open') FROM customers WHERE id = 1;

-- denied
SELECT * FROM string_to_table((SELECT ssn FROM customers WHERE id = 1), '-');

-- denied
SELECT * FROM ROWS FROM (unnest(ARRAY(SELECT ssn FROM customers)), generate_series(1, 2)) AS r (a, b);

-- passes
SELECT generate_series(1, 3), now() IS NOT NULL, version() IS NOT NULL;

-- passes
SELECT pg_size_pretty(pg_total_relation_size('events')) IS NOT NULL, to_regclass('customers') IS NOT NULL;
