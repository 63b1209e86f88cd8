--# Whole rows, composite values, arrays, JSON and XML made from rows.

-- masked
SELECT c FROM customers c WHERE id = 1;

-- masked
SELECT customers FROM customers WHERE id = 1;

-- masked
SELECT c::text, c.*::text FROM customers c WHERE id = 1;

-- masked
SELECT ROW(c.*), ROW(c), ROW(ssn, 1) FROM customers c WHERE id = 1;

-- masked
SELECT (c).ssn, (c).email FROM customers c WHERE id = 1;

-- masked
SELECT (c).* FROM customers c WHERE id = 1;

-- denied
SELECT ssn(c) FROM customers c WHERE id = 1;

-- masked
SELECT to_json(c), row_to_json(c), to_jsonb(c), json_agg(c), jsonb_agg(c) FROM customers c WHERE id = 1 GROUP BY c.id;

-- masked
SELECT row_to_json(c)->'ssn', to_jsonb(c)->>'email', (to_jsonb(c)->'notes')->>'secret' FROM customers c WHERE id = 1;

-- masked
SELECT row_to_json(s) FROM (SELECT ssn, email FROM customers WHERE id = 1) s;

-- masked
SELECT c.row_to_json, (c).to_jsonb FROM customers c WHERE id = 1;

-- masked
SELECT json_build_object('a', ssn), jsonb_build_array(ssn, email), json_object(ARRAY['a', ssn]) FROM customers WHERE id = 1;

-- masked
SELECT array_agg(c) FROM customers c;

-- masked
SELECT ARRAY[c, c], (ARRAY[c])[1], (ARRAY[c])[1].ssn FROM customers c WHERE id = 1;

-- denied
SELECT (unnest(array_agg(c))).ssn FROM customers c;

-- masked
SELECT max(c::text) FROM customers c;

-- masked
SELECT c IS NULL, c = c, c IS DISTINCT FROM NULL, length(c::text), hashtext(c::text) FROM customers c WHERE id = 1;

-- masked
SELECT xmlforest(ssn, email), xmlelement(name a, xmlattributes (ssn AS b), email) FROM customers WHERE id = 1;

-- masked
SELECT xmlconcat(xmlelement(name a, ssn)), xmlserialize(content xmlelement(name a, ssn) AS text), xmlcomment(ssn) FROM customers WHERE id = 1;

-- masked from 17
SELECT xmlpi(name a, ssn), xmltext(ssn) FROM customers WHERE id = 1;

-- denied
SELECT t.* FROM customers c, XMLTABLE('/a' PASSING xmlelement(name a, c.ssn) COLUMNS b text PATH '.') t WHERE c.id = 1;

-- masked
SELECT xpath('/a/text()', xmlelement(name a, ssn)) FROM customers WHERE id = 1;

-- masked
SELECT one, (one).email, (one).ssn, many, many[1].ssn FROM snapshots WHERE id = 1;

-- masked
SELECT to_json(s) FROM snapshots s WHERE id = 1;

-- denied
SELECT u.ssn FROM snapshots s, LATERAL unnest(s.many) u WHERE s.id = 1;

-- masked
SELECT json_populate_record(NULL::customers, row_to_json(c)) FROM customers c WHERE id = 1;

-- masked
SELECT (jsonb_populate_record(NULL::customers, to_jsonb(c))).ssn FROM customers c WHERE id = 1;

-- masked
SELECT * FROM (SELECT c AS whole FROM customers c WHERE id = 1) s;

-- masked
SELECT (s.whole).ssn FROM (SELECT c AS whole FROM customers c WHERE id = 1) s;

-- denied
SELECT (jsonb_each_text(to_jsonb(c))).value FROM customers c WHERE id = 1;

-- masked
WITH q AS (SELECT c FROM customers c WHERE id = 1) SELECT (q.c).ssn, q FROM q;

-- masked
SELECT j, to_json(j), (SELECT j) FROM (customers c JOIN events e ON e.customer = c.id) j LIMIT 1;

-- denied from 17
SELECT t.* FROM customers c, JSON_TABLE(c.notes, '$' COLUMNS (secret text PATH '$.secret')) t WHERE c.id = 1;

-- passes
SELECT e, row_to_json(e), ROW(e.*) FROM events e WHERE id = 1;

-- passes
SELECT row_to_json(s) FROM (SELECT id, name FROM customers WHERE id = 1) s;

-- passes
SELECT h FROM harmless_view h ORDER BY h.id;
