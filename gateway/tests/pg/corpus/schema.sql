-- What the statements of `leaks` are about. The labels are in `masking.toml`; the values in labelled columns of the row
-- with id 1 are what `canary.rs` looks for.
SET ROLE agent;
CREATE TABLE customers (
    id int PRIMARY KEY, name text CHECK (name <> ''), ssn text, email text, salary int, born date, notes jsonb, photo bytea,
    tags text[], initial text GENERATED ALWAYS AS (substr(email, 1, 20)) STORED);
INSERT INTO customers VALUES
    (1, 'Anna', '000-73-9184', 'quillfeather.anemone@sorrelwick.example', 7319426, '1931-07-23',
        '{"secret": "brackenmoor thistledown", "open": [1, 2]}', 'vermilionpheasant', '{kittiwake,kittiwake}'),
    (2, 'Bert', NULL, 'bert@example.org', 50000, '1990-01-02', '{}', NULL, '{}');
CREATE TABLE events (id int PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE, what text, happened timestamptz);
INSERT INTO events SELECT g, 1 + g % 2, 'event ' || g, '2026-01-01 00:00:00+00'::timestamptz + g * interval '1 hour'
    FROM generate_series(1, 20) g;
-- Views of every kind.
CREATE VIEW plain_view AS SELECT c.id, c.name, c.ssn AS code FROM customers c;
CREATE VIEW nested_view AS SELECT code, id FROM plain_view;
CREATE VIEW computed_view AS SELECT id, lower(email) || name AS mixed, 1 AS one FROM customers;
CREATE VIEW barrier_view WITH (security_barrier) AS SELECT id, ssn AS s FROM customers WHERE id > 0;
CREATE VIEW union_view AS SELECT id, ssn AS s FROM customers UNION ALL SELECT id, what FROM events;
CREATE VIEW comparing_view AS SELECT id FROM customers WHERE ssn LIKE '000%';
CREATE VIEW harmless_view AS SELECT id, name FROM customers;
CREATE VIEW star_view AS SELECT * FROM customers;
CREATE VIEW joined_view AS SELECT e.id, e.what, c.email AS mail FROM events e JOIN customers c ON c.id = e.customer;
CREATE MATERIALIZED VIEW stored_view AS SELECT id, ssn, upper(email) AS loud FROM customers;
CREATE RECURSIVE VIEW chain_view (id, s) AS
    SELECT id, ssn FROM customers WHERE id = 1 UNION ALL SELECT id + 1, s FROM chain_view WHERE id < 3;
-- Partitions and children.
CREATE TABLE people (id int, ssn text) PARTITION BY RANGE (id);
CREATE TABLE people_low PARTITION OF people FOR VALUES FROM (0) TO (100);
CREATE TABLE people_rest PARTITION OF people DEFAULT;
INSERT INTO people VALUES (1, '000-73-9184'), (200, '000-73-9184');
CREATE TABLE child (extra int) INHERITS (customers);
INSERT INTO child (id, name, ssn, email, extra) VALUES (3, 'Cleo', '000-73-9184', 'quillfeather@sorrelwick.example', 1);
-- Where values could be put.
CREATE TABLE copies (a text, b int);
CREATE TABLE strict (ssn date CHECK (ssn > '2000-01-01'));
CREATE TABLE unique_copies (a text UNIQUE);
CREATE SEQUENCE counter;
CREATE TABLE ruled (id int);
CREATE RULE tells AS ON INSERT TO ruled DO INSTEAD SELECT email || '' AS told FROM customers;
CREATE TABLE noisy (id int);
-- Code of users.
CREATE FUNCTION ssn_of(int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = $1';
CREATE FUNCTION defined(int) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT email FROM public.customers WHERE id = $1';
CREATE FUNCTION all_of() RETURNS TABLE (a int, b text) LANGUAGE sql AS 'SELECT id, ssn FROM public.customers';
CREATE FUNCTION set_of() RETURNS SETOF customers LANGUAGE sql AS 'SELECT * FROM public.customers';
CREATE FUNCTION dynamic(q text) RETURNS text LANGUAGE plpgsql AS 'DECLARE r text; BEGIN EXECUTE q INTO r; RETURN r; END';
CREATE FUNCTION shouts(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
CREATE FUNCTION tells() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE NOTICE ''%'', (SELECT email FROM public.customers WHERE id = 1); RETURN NEW; END';
CREATE TRIGGER tells BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION tells();
CREATE FUNCTION sees(int, int) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.customers WHERE id = $1';
CREATE OPERATOR #@# (leftarg = int, rightarg = int, function = sees);
CREATE FUNCTION step(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, '''') || $2';
CREATE AGGREGATE glued (text) (sfunc = step, stype = text);
CREATE TYPE pair AS (a text, b int);
CREATE DOMAIN mail AS text CHECK (value LIKE '%@%');
CREATE TABLE snapshots (id int, one customers, many customers[]);
INSERT INTO snapshots SELECT id, c, ARRAY[c] FROM customers c;
-- Computed when it is read where the server can do that (18), else when it is written.
DO $$ DECLARE how text := CASE WHEN current_setting('server_version_num')::int < 180000 THEN 'STORED' ELSE 'VIRTUAL' END;
    BEGIN EXECUTE 'CREATE TABLE computed (id int, ssn text, twice text GENERATED ALWAYS AS (ssn || ''+'') ' || how || ')'; END $$;
INSERT INTO computed VALUES (1, '000-73-9184');
RESET ROLE;
CREATE FUNCTION untrusted(int) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS
    'BEGIN RETURN (SELECT ssn FROM public.customers WHERE id = $1); END';
CREATE STATISTICS both_columns (mcv) ON name, ssn FROM customers;
SELECT lo_from_bytea(4711, 'a large object');
ANALYZE;
