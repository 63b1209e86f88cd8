--# What newer servers brought: MERGE … RETURNING, JSON_TABLE and the functions of SQL/JSON, old and new, AT LOCAL.

-- masked from 17
MERGE INTO customers t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = t.name RETURNING merge_action(), t.*;

-- denied from 17: MERGE is not followed; masked would do
WITH m AS (MERGE INTO customers t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = t.name RETURNING t.ssn AS x) SELECT upper(x) FROM m;

-- denied from 17
MERGE INTO copies t USING customers s ON t.b = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN NOT MATCHED AND s.ssn LIKE '0%' THEN INSERT VALUES ('x', s.id) RETURNING t.b;

-- masked from 18
MERGE INTO customers t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = t.name RETURNING old.ssn, new.email, old;

-- denied from 15
MERGE INTO copies t USING customers s ON false WHEN NOT MATCHED THEN INSERT (a) VALUES (s.email || '');

-- denied from 15
MERGE INTO customers t USING events s ON t.ssn = s.what WHEN MATCHED THEN DO NOTHING;

-- masked from 17
COPY (MERGE INTO customers t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = t.name RETURNING t.email) TO STDOUT;

-- denied from 17
SELECT t.* FROM JSON_TABLE('1'::jsonb, '$' PASSING (SELECT ssn FROM customers WHERE id = 1) AS x COLUMNS (a text PATH '$x')) t;

-- denied from 17
SELECT t.* FROM customers c, JSON_TABLE(c.notes, '$' COLUMNS (NESTED PATH '$.open[*]' COLUMNS (o int PATH '$'), s text PATH '$.nothing' DEFAULT c.ssn ON EMPTY)) t;

-- masked from 17
SELECT JSON_VALUE('1'::jsonb, '$x' PASSING ssn AS x) FROM customers WHERE id = 1;

-- masked from 17
SELECT JSON_VALUE(to_jsonb(ssn), '$.a' DEFAULT 'none' ON EMPTY) FROM customers WHERE id = 1;

-- masked from 17
SELECT JSON_QUERY('1'::jsonb, '$x' PASSING to_jsonb(email) AS x), JSON_SCALAR(ssn), JSON_SERIALIZE(JSON_SCALAR(email)) FROM customers WHERE id = 1;

-- scrubbed from 17
SELECT JSON(email) FROM customers WHERE id = 1;

-- scrubbed from 17
SELECT JSON_VALUE(notes, '$.secret' RETURNING int ERROR ON ERROR) FROM customers WHERE id = 1;

-- masked from 16
SELECT JSON_OBJECT(ssn: 1), JSON_OBJECT(ssn VALUE email) FROM customers WHERE id = 1;

-- masked from 16
SELECT JSON_OBJECTAGG(ssn: id) FROM customers WHERE id = 1;

-- masked from 16
SELECT JSON_ARRAY(SELECT ssn FROM customers WHERE id = 1);

-- masked from 16
SELECT id, JSON_ARRAYAGG(ssn) OVER (ORDER BY id) FROM customers;

-- masked from 16
SELECT JSON_ARRAYAGG(id) FILTER (WHERE ssn LIKE '000%') FROM customers;

-- denied from 16
SELECT JSON_ARRAYAGG(id ORDER BY ssn) FROM customers;

-- masked from 16
SELECT email IS JSON SCALAR, notes::text IS JSON OBJECT WITH UNIQUE KEYS, '1' || ssn IS JSON FROM customers WHERE id = 1;

-- denied from 14
SELECT id, max(name) FROM customers GROUP BY DISTINCT ROLLUP (id, email);

-- masked from 16
SELECT pg_input_is_valid(ssn, 'int') FROM customers WHERE id = 1;

-- denied from 16
SELECT * FROM pg_input_error_info((SELECT ssn FROM customers WHERE id = 1), 'int');

-- masked from 16
SELECT (pg_input_error_info(ssn, 'int')).message FROM customers WHERE id = 1;

-- masked from 18
COPY stored_view TO STDOUT;

-- masked from 17
MERGE INTO plain_view t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = t.name RETURNING t.code;

-- masked from 18
INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = customers.name RETURNING old.ssn, new.email, old.name;

-- masked from 17
SELECT born::timestamp AT LOCAL, ssn IS NFC NORMALIZED, to_bin(salary), to_oct(salary) FROM customers WHERE id = 1;

-- denied from 18
SELECT pg_restore_attribute_stats('relation', 'copies'::regclass, 'most_common_vals', ssn) FROM customers;
